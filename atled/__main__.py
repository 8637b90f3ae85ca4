"""`python -m atled` is the command `atled`."""

import sys

from atled.cli import main

if __name__ == "__main__":
    sys.exit(main())
