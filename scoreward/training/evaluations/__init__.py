"""What is measured between rounds, on what is held out."""
