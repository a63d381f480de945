"""Every method with its size and source: python scripts/methods.py; or every encoder. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("methods")
