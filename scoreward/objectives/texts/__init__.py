"""Objectives that learn from stored texts, by the log-probabilities of their tokens."""
