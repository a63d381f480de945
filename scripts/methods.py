"""Every method with its size and source: python scripts/methods.py; or every encoder. See `--help`."""

import sys

from lamella.commands import methods

if __name__ == "__main__":
    sys.exit(methods.run(sys.argv[1:]))
