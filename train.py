"""One experiment: python train.py dataset=blood model=ternausnet. `--help` lists every choice."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("train")
