"""What runs take on disk, and what dead ones left: python scripts/tidy.py. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("tidy")
