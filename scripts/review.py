"""Labels that trained networks doubt, ranked: python scripts/review.py experiment=NAME. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("review")
