"""Language models: loading them, what they say of texts, and texts they write."""
