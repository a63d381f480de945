"""A page on 127.0.0.1 to try a trained network on: python scripts/look.py run=ID. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("look")
