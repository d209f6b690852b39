"""Transaction-fee mechanisms of a proof-of-stake chain, and exact checks of their incentives."""
