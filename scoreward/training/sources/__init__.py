"""Where rounds of data come from: drawn and scored, or read."""
