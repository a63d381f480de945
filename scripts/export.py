"""A trained network for other programs: python scripts/export.py run=ID output=model.onnx. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("export")
