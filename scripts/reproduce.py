"""A finished run run again: python scripts/reproduce.py run=ID. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("reproduce")
