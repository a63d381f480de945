"""Statistics of one sample for the audit: grey levels, classes, coarse patterns, how image and mask fit.

All of it is small, so that it is remembered: a data set is audited again without a pixel being read.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from PIL import Image
from scipy import ndimage

from lamella.data.annotations import rasterise
from lamella.data.cache.arrays import Store
from lamella.data.io.intensity import Levels, levels
from lamella.data.io.labels import read_as
from lamella.data.io.pieces.blocks import blocks_of, is_large, release, rows_at_a_time, rows_of, values_at
from lamella.data.io.read import Bytes, Pixels, size
from lamella.data.io.resize import strips
from lamella.data.types import IGNORE, Sample

_VERSION = 4  # counts up when the meaning of a statistic changes
CELLS = 64  # patterns are squeezed into a square of so many cells
REACH = 8  # pixels of the network's input by which image and mask are moved against each other, each way
_WINDOW = 512  # of which at most so many pixels a side, from the middle, take part in that
_SEEN = 128  # rows and columns of pixels, evenly spread, that tell of an image's levels
_STEPS = 64  # of a histogram

Floats = npt.NDArray[np.float32]
Pattern = npt.NDArray[np.int8]


@dataclass(frozen=True)
class SampleStats:
    """What the audit measures on one image and its mask.

    Attributes:
        image: hash of the image as the network gets it.
        mask: hash of the mask as the network gets it, with the counts at full size.
        image_size: (H, W) as stored.
        mask_size: (H, W) as stored.
        dtype: of the image.
        classes: class id, or IGNORE -> pixels of the mask.
        objects: how many there are; None where nothing tells objects apart.
        lost: what annotations call the objects that have no pixel.
        mean: level over all channels; this and what follows over 128 x 128 pixels, evenly spread.
        low: least level.
        high: greatest level.
        at_low: share of values that are the least.
        at_high: share of values that are the greatest.
        histogram: counts of values in equal steps from `low` to `high`.
        levels: of all pixels of the image as the network gets it, for a run's normalisation.
        texture: the image's pattern, (CELLS, CELLS), without what is coarse, such as uneven light.
        layout: likewise one pattern for each class of the mask but the background, (K - 1, CELLS, CELLS).
        shifts: cross-correlation of the image, moved, with the mask's foreground, (2 REACH + 1, 2 REACH + 1): the
            middle is unmoved, further down and right is moved down and right. In pixels of the network's input.
    """

    image: str
    mask: str
    image_size: tuple[int, int]
    mask_size: tuple[int, int]
    dtype: str
    classes: dict[int, int]
    objects: int | None
    lost: list[str]
    mean: float
    low: float
    high: float
    at_low: float
    at_high: float
    histogram: list[int]
    levels: Levels
    texture: Pattern
    layout: Pattern
    shifts: Floats


def sample_stats(sample: Sample, store: Store) -> SampleStats:
    """The statistics of one sample, measured now or remembered from an earlier audit.

    Raises:
        DataError: image or mask is missing, unreadable or unsound.
        StorageError: the store's folder cannot be written.
    """
    return _unpack(store.facts.recall(_key(sample, store), lambda: _pack(_measured(sample, store))))


def remembered(sample: Sample, store: Store) -> SampleStats | None:
    """The statistics of one sample from an earlier audit; None where there are none, or a file must be read to tell."""
    if not all(store.facts.knows(path) for ref in (sample.image, sample.mask) for path in ref.paths):
        return None
    found = store.facts.remembered(_key(sample, store))
    return None if found is None else _unpack(found)


def _key(sample: Sample, store: Store) -> str:
    card = store.card
    parts = (
        f"measures {_VERSION}:",
        *map(store.facts.source, (sample.image, sample.mask)),
        *(card.channels, len(card.class_names), card.objects, read_as(sample, card)),
        *(store.scale, store.offset_of(sample), store.percentiles),
    )
    return " ".join(map(str, parts))


def _measured(sample: Sample, store: Store) -> SampleStats:
    image, truth = store.image(sample), store.truth(sample)
    size_ = image.shape[1], image.shape[2]
    window = tuple(slice(max(0, (n - _WINDOW) // 2), max(0, (n - _WINDOW) // 2) + _WINDOW) for n in size_)
    found = np.zeros(256, np.int64)
    for block in blocks_of(truth):
        found += Image.fromarray(block.pixels).histogram()
    counts = {id_: int(found[id_]) for id_ in range(1, len(store.card.class_names))}
    may_ignore = bool(found[IGNORE]) or IGNORE in store.card.mask_values.values()
    if may_ignore:
        counts[IGNORE] = int(found[IGNORE])
    counts[0] = truth.size - sum(counts.values())
    digest = hashlib.sha256(f"{np.dtype(np.uint8)} {(len(store.card.class_names) - 1, *size_)}".encode())
    layers = [_layer(truth, id_, size_, window, digest) for id_ in range(1, len(store.card.class_names))]
    ignored = _layer(truth, IGNORE, size_, window)[1] if may_ignore else None
    seen = values_at(image, *(np.arange(0, side, -(-side // _SEEN)) for side in size_))
    low, high = float(seen.min()), float(seen.max())
    squeezed = [[_squeezed(plane) for plane in block.pixels] for block in blocks_of(image)]
    stats = SampleStats(
        image=_hash(image),
        mask=f"{digest.hexdigest()} {sorted(counts.items())}",
        image_size=size(sample.image),
        mask_size=(truth.shape[0], truth.shape[1]),
        dtype=str(image.dtype),
        classes={id_: count for id_, count in sorted(counts.items()) if count},
        objects=_objects(sample, store, truth),
        lost=_lost(sample, store, (truth.shape[0], truth.shape[1])),
        mean=float(seen.mean(dtype=np.float64)),
        low=low,
        high=high,
        at_low=float((seen == seen.min()).mean()),
        at_high=float((seen == seen.max()).mean()),
        histogram=np.histogram(seen, _STEPS, (low, max(high, low + 1e-6)))[0].tolist(),
        levels=levels(image),
        texture=_pattern(np.mean([_cells(rows) for rows in zip(*squeezed, strict=True)], axis=0)),
        layout=np.stack([_pattern(cells) for cells, _ in layers]),
        shifts=_shifts(image[:, *window], np.sum([part for _, part in layers], axis=0), ignored),
    )
    release(image)
    release(truth)
    return stats


def _hash(image: Pixels) -> str:
    digest = hashlib.sha256(f"{image.dtype} {image.shape}".encode())
    for block in blocks_of(image.reshape(-1, image.shape[-1])):
        digest.update(np.ascontiguousarray(block.pixels).data)
    return digest.hexdigest()


def _layer(
    truth: Bytes, id_: int, size_: tuple[int, int], window: tuple[slice, ...], digest: Any = None
) -> tuple[Floats, Floats]:
    """The share, 0 to 255, that a class takes of the cells of a pattern, and of each pixel in a window.

    Args:
        truth: class ids.
        id_: of the class.
        size_: (h, w) of the network's input.
        window: rows and columns of it.
        digest: a hash that takes in the share of every pixel of the network's input.
    """
    rows, seen, top = [], [], 0
    for share in _shares(truth, id_, size_):
        if digest is not None:
            digest.update(np.ascontiguousarray(share).data)
        rows.append(_squeezed(share))
        # A copy: a part of an array keeps all of it in memory.
        seen.append(share[max(0, window[0].start - top) : max(0, window[0].stop - top), window[1]].copy())
        top += len(share)
    return _cells(rows), np.concatenate(seen).astype(np.float32)


def _shares(truth: Bytes, id_: int, size_: tuple[int, int]) -> Iterator[Bytes]:
    """How much of each pixel of the network's input a class takes, 0 to 255; of a large mask some rows at a time."""
    if truth.shape == size_:
        for block in blocks_of(truth):
            yield _as_share(block.pixels == id_)
        return
    height, width = size_
    if not is_large(truth):
        whole = Image.fromarray(_as_share(truth == id_))
        if whole.height % height == 0 and whole.width % width == 0:  # four times as quick
            yield np.asarray(whole.reduce((whole.width // width, whole.height // height)), np.uint8)
        else:
            yield np.asarray(whole.resize((width, height), Image.Resampling.BOX), np.uint8)
        return
    for strip in strips((truth.shape[0], truth.shape[1]), height, rows_at_a_time(truth)):
        piece = Image.fromarray(_as_share(rows_of(truth, strip.first, strip.last) == id_))
        small = piece.resize((width, strip.bottom - strip.top), Image.Resampling.BOX, strip.box)
        yield np.asarray(small, np.uint8)


def _as_share(there: npt.NDArray[np.bool_]) -> Bytes:
    """255 where it is so. Spends `there`."""
    bytes_ = there.view(np.uint8)
    bytes_ *= 255
    return bytes_


def _squeezed(rows: Pixels) -> Pixels:
    """Rows of a picture (h, W) as (h, CELLS), by area averaging."""
    picture = Image.fromarray(rows if rows.dtype == np.uint8 else rows.astype(np.float32))
    return np.asarray(picture.resize((CELLS, picture.height), Image.Resampling.BOX))


def _cells(rows: Sequence[Pixels]) -> Floats:
    """The squeezed rows of a picture as (CELLS, CELLS), by area averaging."""
    picture = Image.fromarray(np.concatenate(rows))
    return np.asarray(picture.resize((CELLS, CELLS), Image.Resampling.BOX), np.float32)


def _objects(sample: Sample, store: Store, truth: Bytes) -> int | None:
    """How many objects an image has; None where nothing says so, or they are too many pixels to count regions of."""
    numbered = store.objects(sample)
    if numbered is not None:
        ids = [np.unique(block.pixels) for block in blocks_of(numbered)]
        return int(np.count_nonzero(np.unique(np.concatenate(ids))))
    if store.card.objects != "cells" or is_large(truth):
        return None
    return int(ndimage.label((truth > 0) & (truth != IGNORE), np.ones((3, 3)))[1])


def _lost(sample: Sample, store: Store, size_: tuple[int, int]) -> list[str]:
    drawn = sample.redrawn.kind == "outlines" if sample.redrawn else store.card.labelling.objects == "drawn"
    return [*rasterise(sample.mask, size_).lost] if drawn else []


def _pattern(cells: Floats) -> Pattern:
    """What stands out from its surroundings, in steps of 1/32 standard deviation; zeros where nothing does."""
    fine = cells - ndimage.gaussian_filter(cells, 2.0, mode="nearest")
    spread = fine.std()
    if not spread > 1e-4 * max(1.0, float(np.abs(cells).max())):
        return np.zeros(cells.shape, np.int8)
    return np.asarray(np.clip(32 * (fine - fine.mean()) / spread, -127, 127).round(), np.int8)


def _shifts(image: Pixels, mask: Floats, ignored: Floats | None) -> Floats:
    """The cross-correlation of `SampleStats.shifts`, by Fourier transform: quicker than 289 sums."""
    grey = image.mean(axis=0, dtype=np.float32)
    # Only pixels that stay in the picture however it is moved, so that every shift compares as many.
    counted = np.zeros(mask.shape, np.bool_)
    counted[REACH:-REACH, REACH:-REACH] = True
    if ignored is not None:
        counted &= ignored == 0
    weight = np.where(counted, mask - (mask[counted].mean() if counted.any() else 0), np.float32(0))
    grey = grey - grey.mean()
    norm = float(np.linalg.norm(weight) * np.linalg.norm(grey))
    side = 2 * REACH + 1
    if norm == 0:
        return np.zeros((side, side), np.float32)
    product = scipy.fft.rfft2(weight) * np.conj(scipy.fft.rfft2(grey))
    every = np.roll(scipy.fft.irfft2(product, mask.shape), (REACH, REACH), axis=(0, 1))
    return np.asarray(every[:side, :side] / norm, np.float32)


def _pack(stats: SampleStats) -> dict[str, Any]:
    packed = dict(vars(stats))
    for name, array in packed.items():
        if isinstance(array, np.ndarray):
            packed[name] = [str(array.dtype), array.shape, base64.b64encode(array.tobytes()).decode()]
    return packed


def _unpack(packed: dict[str, Any]) -> SampleStats:
    for name in ("levels", "texture", "layout", "shifts"):
        dtype, shape, text = packed[name]
        packed[name] = np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
    packed["classes"] = {int(id_): count for id_, count in packed["classes"].items()}
    for name in ("image_size", "mask_size"):
        packed[name] = tuple(packed[name])
    return SampleStats(**packed)
