"""Judges: a reward a file, and how they are found by name and combined."""
