"""What the commands of `scoreward` do; `cli.py` only chooses between them."""
