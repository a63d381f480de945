"""Finished runs compared: python scripts/compare.py experiment=NAME. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("compare")
