"""TIFF images and stacks as PNG files: python scripts/tiff_to_png.py input=stack.tif output=dir. See `--help`."""

from lamella.cli import main as cli


def run(cfg: "cli.DictConfig") -> None:
    from lamella.commands import tiff_to_png as convert  # late: `--help` should not wait for it

    convert.run(cfg)


if __name__ == "__main__":
    cli.main("tiff_to_png", run)
