"""Objectives that learn from finished samples, which are noised anew."""
