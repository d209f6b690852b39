"""Is a run healthy, and if not, why: one set of limits for whoever tells it."""
