"""Losses on preferences, as pure functions of what a network said about a pair."""
