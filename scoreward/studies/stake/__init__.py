"""Trading of stakes under proof of stake: optimal strategies, in closed form or solved."""
