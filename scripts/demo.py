"""The first experiment, on images that the program makes: python scripts/demo.py, or `make demo`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("demo")
