"""Preference losses: pure functions from what two networks say of a pair to one loss per pair.

Nothing here knows a model, a trainer or a data set, and nothing averages over the batch.
"""
