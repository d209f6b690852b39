"""What a round of samples, or of stored data, teaches: one file a method."""
