"""Objectives that learn from the steps of a chain, each a Gaussian with a likelihood."""
