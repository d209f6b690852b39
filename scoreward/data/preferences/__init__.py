"""Preference data: records, files, readers of public layouts, pairs made from rewards."""
