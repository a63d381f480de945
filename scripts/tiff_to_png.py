"""TIFF images and stacks as PNG files: python scripts/tiff_to_png.py input=stack.tif output=dir. See `--help`."""

from lamella import cli


def run(cfg: "cli.DictConfig") -> None:
    from lamella import convert  # late: `--help` should not wait for it

    convert.run(cfg)


if __name__ == "__main__":
    cli.main("tiff_to_png", run)
