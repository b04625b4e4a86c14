"""``python -m ffedge`` is the command line."""

import sys

from ffedge.cli import main

if __name__ == "__main__":
    sys.exit(main())
