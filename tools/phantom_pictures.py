"""Draws docs/phantom_em.png and docs/phantom_blood.png, the pictures of the phantoms in the README.

    python tools/phantom_pictures.py

The right-hand half of each image shows the truth: membranes tinted, cells outlined.
"""

import tempfile
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from lamella.data.datasets.phantom import write_blood, write_em

DOCS = Path(__file__).resolve().parent.parent / "docs"
GAP = 6  # pixels between images
ORANGE = np.array([255.0, 140.0, 0.0])


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_em(Path(folder) / "em", seed=4, sections=3, size=256)
        write_blood(Path(folder) / "blood", seed=11, train=6, test=0, height=240, width=320)
        _save([_panel(*pair, tint=0.45) for pair in _read_em(Path(folder) / "em")], DOCS / "phantom_em.png")
        _save(
            [_panel(*pair, tint=0) for pair in _read_blood(Path(folder) / "blood")],
            DOCS / "phantom_blood.png",
        )


def _read_em(folder: Path) -> list[tuple[Image.Image, Image.Image]]:
    """Images and masks, 255 where something is to be shown: membranes."""
    images = tifffile.imread(folder / "train-volume.tif")
    labels = tifffile.imread(folder / "train-labels.tif")
    return [(Image.fromarray(i).convert("RGB"), Image.fromarray(255 - m)) for i, m in zip(images, labels, strict=True)]


def _read_blood(folder: Path) -> list[tuple[Image.Image, Image.Image]]:
    """Images and masks, 255 where something is to be shown: cells."""
    images = sorted((folder / "train" / "original").iterdir())
    masks = [folder / "train" / "mask" / f"{image.stem}.png" for image in images]
    return [(Image.open(i).convert("RGB"), Image.open(m).convert("L")) for i, m in zip(images, masks, strict=True)]


def _panel(image: Image.Image, mask: Image.Image, tint: float) -> NDArray[np.uint8]:
    """One image, 396 pixels wide, its mask drawn on the right-hand half."""
    size = (396, round(396 * image.height / image.width))
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).astype(float)
    shown = np.asarray(mask.resize(size, Image.Resampling.BICUBIC)) > 127
    weight = tint * shown if tint else find_boundaries(shown, mode="inner")
    weight[:, : size[0] // 2] = 0
    pixels += weight[..., None] * (ORANGE - pixels)
    pixels[:, size[0] // 2] = 255
    return pixels.round().astype(np.uint8)


def _save(panels: list[NDArray[np.uint8]], path: Path) -> None:
    """The panels in rows of three on white, in 256 colours to keep the file small."""
    height, width, _ = panels[0].shape
    rows = len(panels) // 3
    sheet = Image.new("RGB", (3 * width + 2 * GAP, rows * height + (rows - 1) * GAP), "white")
    for number, panel in enumerate(panels):
        row, column = divmod(number, 3)
        sheet.paste(Image.fromarray(panel), (column * (width + GAP), row * (height + GAP)))
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {sheet.width} x {sheet.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
