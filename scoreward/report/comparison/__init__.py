"""The page that sets several runs side by side, with intervals over seeds."""
