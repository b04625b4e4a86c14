"""``python -m ffedge`` is the command line."""

from ffedge.cli import main

if __name__ == "__main__":
    main()
