"""The image as the network is given it, made some rows at a time of an array too large to be in memory as a whole."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lamella.data.io.intensity import counted_percentiles, stretched
from lamella.data.io.pieces.blocks import Block, rows_at_a_time, rows_of
from lamella.data.io.pieces.memory import require_memory
from lamella.data.io.resize import Pixels, move, scaled_size, shrink, strips

_REACH = 32  # rows beyond which a cubic spline feels nothing any longer


def input_blocks(
    image: Pixels, offset: tuple[float, float], scale: float, percentiles: Sequence[float] | None
) -> Iterator[Block]:
    """The image as the network is given it, (C, h, w), some rows at a time, of a large array as stored, (C, H, W)."""
    size = image.shape[1], image.shape[2]
    limits = None if percentiles is None else _percentiles(image, offset, percentiles)
    height = scaled_size(size, scale)[0]
    for strip in strips(size, height, rows_at_a_time(image)):
        piece = _moved(image, offset, strip.first, strip.last)
        piece = piece if limits is None else stretched(piece, limits)
        yield Block(shrink(piece, scale, strip), strip.top, height)


def _moved(image: Pixels, offset: tuple[float, float], first: int, last: int) -> Pixels:
    """Some rows of a large image that is moved."""
    if offset == (0, 0):
        return rows_of(image, first, last)
    reach = _REACH + math.ceil(abs(offset[0]))
    top = max(0, first - reach)
    return move(rows_of(image, top, last + reach), offset)[:, first - top : last - top]


def _percentiles(image: Pixels, offset: tuple[float, float], percentiles: Sequence[float]) -> npt.NDArray[np.float64]:
    """The percentiles of each channel of a large image that is moved, (2, C, 1, 1)."""
    if image.dtype.kind != "u":  # of fractions nothing but all of them at once will do
        require_memory("an image of fractions whose percentiles are asked for", image.shape, image.itemsize)
        return np.asarray(np.percentile(move(np.asarray(image), offset), list(percentiles), (1, 2), keepdims=True))
    counts = np.zeros((len(image), np.iinfo(image.dtype).max + 1), np.int64)
    step = rows_at_a_time(image)
    for top in range(0, image.shape[1], step):
        for channel, plane in enumerate(_moved(image, offset, top, min(top + step, image.shape[1]))):
            counts[channel] += np.bincount(plane.ravel(), minlength=counts.shape[1])
    return counted_percentiles(counts, percentiles)
