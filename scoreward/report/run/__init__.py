"""The page of one run, from the files in its folder."""
