"""Compressed sensing: operators, sparse bases, decoders and what they guarantee."""
