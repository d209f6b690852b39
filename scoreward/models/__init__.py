"""Networks with what a sampler and a reward need around them."""
