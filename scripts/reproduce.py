"""A finished run again, and whether it comes out the same: python scripts/reproduce.py run=ID. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("reproduce")
