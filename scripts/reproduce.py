"""A finished run run again, to see whether it comes out the same: python scripts/reproduce.py run=ID. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("reproduce")
