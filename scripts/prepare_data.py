"""A data set, ready to train on: python scripts/prepare_data.py dataset=em. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("prepare_data")
