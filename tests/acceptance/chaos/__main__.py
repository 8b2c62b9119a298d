"""The long run: `python -m tests.acceptance.chaos [trial ...] [--kills N] [--events N] [--seed N]`."""

import sys

from tests.acceptance.chaos.long_run import main

if __name__ == "__main__":
    sys.exit(main())
