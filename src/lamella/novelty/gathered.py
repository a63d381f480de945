"""What is kept of an image while its rows pass: pixels from all over it, and some windows as they are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.cache.arrays import network_input
from lamella.data.io.intensity import stretched
from lamella.data.io.read import Pixels

SIDE = 128  # of a window, pixels as the network sees them
ACROSS = 4  # windows along a side of the image at most
_LONGEST = 4096  # pixels as stored that windows cover along a side, at most, but for one: of much shrunk images
SPREAD = 192  # evenly spread pixels along a side at most

Places = npt.NDArray[np.intp]


class Gathered(NamedTuple):
    """Pixels of one image, as the network is given them: shrunk, stretched, but not normalised.

    Attributes:
        spread: (C, h, w), evenly spread over the whole image; these alone are never shrunk.
        windows: (N, C, s, t), no larger than `SIDE`.
        pixels: of the whole image, shrunk.
    """

    spread: Pixels
    windows: Pixels
    pixels: int


class Gathering:
    """Takes the rows of one image as they pass, and keeps what a description of it needs.

    What is kept depends on the image alone, not on how its rows are cut. It takes tens of megabytes at most.

    Args:
        scale: images are shrunk by this before the network sees them.
        percentiles: each image is stretched from these of its levels; None: its levels are taken as stored.
    """

    def __init__(self, scale: float = 1.0, percentiles: Sequence[float] | None = None) -> None:
        self._scale, self._percentiles = scale, percentiles
        self._side = round(SIDE / scale)
        self._next = 0  # the row that must come
        self._size = 0, 0
        self._spread: npt.NDArray[Any] | None = None

    def add(self, rows: Pixels, top: int, height: int) -> None:
        """Takes the next rows.

        Args:
            rows: levels as stored, (C, h, W).
            top: the number of the first of them in the image.
            height: of the whole image.

        Raises:
            ValueError: rows are missing, or come twice.
        """
        if top != self._next:
            raise ValueError(f"row {self._next} was to come, not row {top}")
        if self._spread is None:
            self._begin(rows, height)
        assert self._spread is not None  # just made
        bottom = top + rows.shape[1]
        here = (self._rows >= top) & (self._rows < bottom)
        self._spread[:, here] = rows[:, self._rows[here] - top][..., self._columns]
        for number, start in enumerate(self._tops):
            first, last = max(start, top), min(start + self._windows.shape[-2], bottom)
            for place, left in enumerate(self._lefts):
                if first < last:
                    kept = self._windows[number * len(self._lefts) + place]
                    kept[:, first - start : last - start] = rows[
                        :, first - top : last - top, left : left + kept.shape[-1]
                    ]
        self._next = bottom

    def gathered(self) -> Gathered:
        """What was kept, when all rows have passed. Raises ValueError where some have not."""
        height, width = self._size
        if self._spread is None or self._next != height:
            raise ValueError(f"{self._next} of {height} rows have passed")
        spread, windows = self._spread, self._windows
        if self._percentiles is not None:
            limits = np.percentile(spread, list(self._percentiles), axis=(1, 2), keepdims=True)
            spread, windows = stretched(spread, limits), np.stack([stretched(each, limits) for each in windows])
        if self._scale != 1:
            windows = np.stack([network_input(each, scale=self._scale, percentiles=None) for each in windows])
        return Gathered(spread, windows, round(height * width * self._scale**2))

    def _begin(self, rows: Pixels, height: int) -> None:
        channels, _, width = rows.shape
        self._size = height, width
        self._rows, self._columns = _even(height, SPREAD), _even(width, SPREAD)
        self._spread = np.empty((channels, len(self._rows), len(self._columns)), rows.dtype)
        side = min(self._side, height), min(self._side, width)
        self._tops, self._lefts = _starts(height, side[0]), _starts(width, side[1])
        self._windows = np.empty((len(self._tops) * len(self._lefts), channels, *side), rows.dtype)


def gather(image: Pixels, scale: float = 1.0, percentiles: Sequence[float] | None = None) -> Gathered:
    """What is kept of an image (C, H, W) that is there as a whole."""
    gathering = Gathering(scale, percentiles)
    gathering.add(image, 0, image.shape[1])
    return gathering.gathered()


def _even(length: int, most: int) -> Places:
    """Places along a side, at most so many, evenly spread."""
    count = min(length, most)
    return ((np.arange(count) * 2 + 1) * length // (2 * count)).astype(np.intp)


def _starts(length: int, side: int) -> list[int]:
    """Where windows start along a side: as many as fit side by side, evenly spread."""
    count = max(1, min(length // side, ACROSS, _LONGEST // side))
    return [((2 * number + 1) * length // count - side) // 2 for number in range(count)]
