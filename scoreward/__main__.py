"""`python -m scoreward` is the command `scoreward`."""

from scoreward.cli import main

if __name__ == "__main__":
    main()
