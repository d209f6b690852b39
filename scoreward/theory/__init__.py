"""Exact laws: the oracles of samplers, objectives and bounds."""
