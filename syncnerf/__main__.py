"""`python -m syncnerf`, the same as the command `syncnerf`."""

import sys

from syncnerf.cli import main

if __name__ == "__main__":
    sys.exit(main())
