"""`python -m scoreward` is the command `scoreward`."""

import sys

from scoreward.cli import main

if __name__ == "__main__":
    sys.exit(main())
