"""Masks made elsewhere scored as any method's: python scripts/score.py masks=DIR name=cellpose run=ID. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("score")
