"""A picture for people: the image, made small where it is large, with what was found drawn over it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from lamella.data.audit.pictures import class_colours
from lamella.data.io.read import Bytes, Pixels
from lamella.plots.overlays import visible

SIDE = 2048  # pixels of the longer side at most
_TINT = 0.25

Colour = tuple[int, int, int]


def colours(class_names: tuple[str, ...]) -> list[Colour]:
    """RGB of each class in overlays and label files, background black."""
    return [(0, 0, 0), *(colour for _, colour in class_colours(class_names))]


class Overview:
    """Takes the rows of a picture as they pass, and keeps them small: levels averaged, classes picked.

    Args:
        size: (H, W) of the picture.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._step = max(1, -(-max(size) // SIDE))
        self._size = size
        height, width = (-(-side // self._step) for side in size)
        self._classes = np.zeros((height, width), np.uint8)
        self._levels: npt.NDArray[np.float64] | None = None
        self._dtype = np.dtype(np.uint8)

    def add(self, top: int, image: Pixels, classes: Bytes) -> None:
        """Takes the next rows: levels (C, h, W) as stored, and class ids (h, W)."""
        step, image = self._step, image if len(image) == 3 else image[:1]
        if self._levels is None:
            self._levels, self._dtype = np.zeros((len(image), *self._classes.shape)), image.dtype
        places = np.arange(top, top + len(classes))
        rows, first = np.unique(places // step, return_index=True)
        wide = np.add.reduceat(image, np.arange(0, self._size[1], step), axis=2, dtype=np.float64)
        self._levels[:, rows] += np.add.reduceat(wide, first, axis=1)
        # Of each block the class of the pixel in its middle, or of the last one that there is.
        middles = np.minimum(np.arange(self._classes.shape[0]) * step + step // 2, self._size[0] - 1)
        columns = np.minimum(np.arange(self._classes.shape[1]) * step + step // 2, self._size[1] - 1)
        here = np.flatnonzero((middles >= top) & (middles < top + len(classes)))
        self._classes[here] = classes[middles[here] - top][:, columns]

    def write(self, path: Path, class_names: tuple[str, ...]) -> None:
        """Writes the picture as PNG: what was found tinted, and outlined. Raises OSError."""
        assert self._levels is not None  # there is always a row
        counts = [
            np.minimum(self._step, side - np.arange(places) * self._step)
            for side, places in zip(self._size, self._classes.shape, strict=True)
        ]
        levels = self._levels / (counts[0][:, None] * counts[1])
        seen = visible(levels.round().astype(np.uint8) if self._dtype == np.uint8 else levels.astype(np.float32))
        greatest = ndimage.maximum_filter(self._classes, 3, mode="nearest")
        outline = greatest != ndimage.minimum_filter(self._classes, 3, mode="nearest")
        strength = np.where(outline, 1, np.where(self._classes > 0, _TINT, 0))[..., None]
        painted = seen + strength * (np.array(colours(class_names), float)[greatest] - seen)
        Image.fromarray(painted.round().astype(np.uint8)).save(path, "PNG")
