"""Objectives that learn from stored pictures: pairs with a winner, or single ones."""
