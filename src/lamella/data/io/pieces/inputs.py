"""The image as the network is given it, made some rows at a time of one too large to be in memory as a whole."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lamella.data.io.intensity import counted_percentiles, stretched
from lamella.data.io.pieces.blocks import Block, rows_at_a_time, rows_of
from lamella.data.io.resize import Pixels, move, scaled_size, shrink, strips

_REACH = 32  # rows beyond which a cubic spline feels nothing any longer
_HALF = 2**16
Limits = npt.NDArray[np.float64]


def input_blocks(
    image: Pixels, offset: tuple[float, float], scale: float, percentiles: Sequence[float] | None
) -> Iterator[Block]:
    """The image as the network is given it, (C, h, w), some rows at a time, of a large array as stored, (C, H, W)."""

    def moved() -> Iterator[Block]:
        height, step = image.shape[1], rows_at_a_time(image)
        for top in range(0, height, step):
            yield Block(_moved(image, offset, top, min(top + step, height)), top, height)

    limits = None if percentiles is None else percentiles_of(moved, percentiles)
    return network_blocks(moved(), scale, limits)


def network_blocks(blocks: Iterator[Block], scale: float, limits: Limits | None) -> Iterator[Block]:
    """The image as the network is given it, (C, h, w), from top to bottom, of its rows as stored, (C, n, W).

    Args:
        blocks: the rows.
        scale: the network's image is this times as large.
        limits: each channel is stretched from these levels, (2, C, 1, 1); None: levels as stored.
    """
    held: list[Block] = []

    def rows(first: int, last: int) -> Pixels:
        """Rows of the large image; those above are not asked for again."""
        while not held or held[-1].top + held[-1].pixels.shape[-2] < last:
            held.append(next(blocks))
        while held[0].top + held[0].pixels.shape[-2] <= first:
            del held[0]
        parts = [each.pixels[..., max(0, first - each.top) : max(0, last - each.top), :] for each in held]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)

    held.append(next(blocks))
    height, width = held[0].height, held[0].pixels.shape[-1]
    whole = np.broadcast_to(held[0].pixels[..., :1, :], (*held[0].pixels.shape[:-2], height, width))  # takes no memory
    small = scaled_size((height, width), scale)[0]
    for strip in strips((height, width), small, rows_at_a_time(whole)):
        piece = rows(strip.first, strip.last)
        piece = piece if limits is None else stretched(piece, limits)
        all_ = (strip.top, strip.bottom) == (0, small)
        yield Block(shrink(piece, scale, None if all_ else strip), strip.top, small)


def percentiles_of(blocks: Callable[[], Iterator[Block]], percentiles: Sequence[float]) -> Limits:
    """The percentiles of each channel of a whole image, (2, C, 1, 1), as `np.percentile` gives them.

    Args:
        blocks: begins to give its rows, (C, n, W); of an image of fractions they are gone through twice.
        percentiles: which.
    """
    first = next(reading := blocks())
    if first.pixels.shape[-2] == first.height:
        return np.asarray(np.percentile(first.pixels, list(percentiles), (1, 2), keepdims=True))
    if first.pixels.dtype.kind != "u":
        reading.close()  # type: ignore[attr-defined]
        return _of_fractions(blocks, percentiles)
    counts = _counts(first.pixels, np.iinfo(first.pixels.dtype).max + 1)
    for block in reading:
        counts += _counts(block.pixels, counts.shape[1])
    return counted_percentiles(counts, percentiles)


def _of_fractions(blocks: Callable[[], Iterator[Block]], percentiles: Sequence[float]) -> Limits:
    """Percentiles of float32 values: their bits, in order, are counted by the upper half, then by the lower one."""
    upper: npt.NDArray[np.int64] | None = None
    for block in blocks():
        counted = _counts(_ordered(block.pixels) // _HALF, _HALF)
        upper = counted if upper is None else upper + counted
    assert upper is not None  # no image is without rows
    below, last = upper.cumsum(axis=1), int(upper[0].sum()) - 1
    places = [percent / 100 * last for percent in percentiles]
    ranks = sorted({min(math.floor(place) + more, last) for place in places for more in (0, 1)})
    starts = {
        (channel, rank): int(np.searchsorted(below[channel], rank, side="right"))
        for channel in range(len(upper))
        for rank in ranks
    }
    lower = {(channel, start): np.zeros(_HALF, np.int64) for (channel, _), start in starts.items()}
    for block in blocks():
        keys = _ordered(block.pixels)
        for (channel, start), counts in lower.items():
            found = keys[channel][keys[channel] // _HALF == start]
            counts += np.bincount(found % _HALF, minlength=_HALF)
    values = {}
    for (channel, rank), start in starts.items():
        before = int(below[channel, start] - upper[channel, start])
        rest = int(np.searchsorted(lower[channel, start].cumsum(), rank - before, side="right"))
        values[channel, rank] = _value(start * _HALF + rest)
    found = np.zeros((len(percentiles), len(upper), 1, 1))
    for number, place in enumerate(places):
        for channel in range(len(upper)):
            one, other = (values[channel, min(math.floor(place) + more, last)] for more in (0, 1))
            share = place - math.floor(place)
            step = other - one  # of float32, as NumPy has it
            found[number, channel] = one + step * share if share < 0.5 else other - step * (1 - share)
    return found


def _ordered(values: Pixels) -> npt.NDArray[np.uint32]:
    """The bits of float32 values as whole numbers in the order of the values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(2**31))


def _value(ordered: int) -> np.float64:
    bits = ordered - 2**31 if ordered >= 2**31 else ordered ^ 0xFFFFFFFF
    return np.float64(np.array(bits, np.uint32).view(np.float32))


def _counts(image: npt.NDArray[np.unsignedinteger], levels: int) -> npt.NDArray[np.int64]:
    """How often each level from 0 on occurs in each channel, (C, levels)."""
    return np.stack([np.bincount(plane.ravel(), minlength=levels) for plane in image])


def _moved(image: Pixels, offset: tuple[float, float], first: int, last: int) -> Pixels:
    """Some rows of a large image that is moved."""
    if offset == (0, 0):
        return rows_of(image, first, last)
    reach = _REACH + math.ceil(abs(offset[0]))
    top = max(0, first - reach)
    return move(rows_of(image, top, last + reach), offset)[:, first - top : last - top]
