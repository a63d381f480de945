"""TIFF images and stacks as PNG files: python scripts/tiff_to_png.py input=stack.tif output=dir. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("tiff_to_png")
