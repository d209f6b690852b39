"""Rewards in another process or on another machine: server, client, and what travels."""
