"""New images segmented by what was trained: python scripts/predict.py run=ID input=PATH output=DIR. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("predict")
