"""A finished run scored again, there or on another data set: python scripts/evaluate.py run=ID. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("evaluate")
