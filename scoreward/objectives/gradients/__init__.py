"""Objectives that differentiate the reward through the chain that drew the sample."""
