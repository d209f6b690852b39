"""What every method is made of: processes, predictions, Gaussian steps, chains, likelihoods."""
