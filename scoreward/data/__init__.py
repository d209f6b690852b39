"""What is read rather than drawn: packs that ship, prompts, pictures, texts, preferences."""
