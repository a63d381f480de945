"""Statistics of one sample for the audit: grey levels, classes, coarse patterns, how image and mask fit.

All of it is small, so that it is remembered: a data set is audited again without a pixel being read.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from PIL import Image
from scipy import ndimage

from lamella.data.cache.arrays import Store
from lamella.data.io.read import Bytes, Pixels, size
from lamella.data.types import IGNORE, Sample

_VERSION = 2  # counts up when the meaning of a statistic changes
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
        mean: level over all channels; this and what follows over 128 x 128 pixels, evenly spread.
        low: least level.
        high: greatest level.
        at_low: share of values that are the least.
        at_high: share of values that are the greatest.
        histogram: counts of values in equal steps from `low` to `high`.
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
    mean: float
    low: float
    high: float
    at_low: float
    at_high: float
    histogram: list[int]
    texture: Pattern
    layout: Pattern
    shifts: Floats


def sample_stats(sample: Sample, store: Store) -> SampleStats:
    """The statistics of one sample, measured now or remembered from an earlier audit.

    Raises:
        DataError: image or mask is missing, unreadable or unsound.
        StorageError: the store's folder cannot be written.
    """
    card, facts = store.card, store.facts
    key = (
        f"measures {_VERSION}:",
        *(f"{facts.sha256(ref.path)} {ref.page} {ref.axes}" for ref in (sample.image, sample.mask)),
        *(card.channels, len(card.class_names), sorted((str(v), i) for v, i in card.mask_values.items())),
        *(store.scale, tuple(store.offset), store.percentiles),
    )
    return _unpack(facts.recall(" ".join(map(str, key)), lambda: _pack(_measured(sample, store))))


def _measured(sample: Sample, store: Store) -> SampleStats:
    image, truth = np.asarray(store.image(sample)), np.asarray(store.truth(sample))
    counts, shares = {}, {}
    for id_ in (*range(1, len(store.card.class_names)), *({IGNORE} & set(store.card.mask_values.values()))):
        there = truth == id_
        counts[id_], shares[id_] = int(np.count_nonzero(there)), _share(there, image)
    counts[0] = truth.size - sum(counts.values())
    ignored = shares.pop(IGNORE, None)
    layout = np.stack(list(shares.values()))
    seen = image[:, :: -(-image.shape[1] // _SEEN), :: -(-image.shape[2] // _SEEN)]
    low, high = float(seen.min()), float(seen.max())
    return SampleStats(
        image=_hash(image),
        mask=f"{_hash(layout)} {sorted(counts.items())}",
        image_size=size(sample.image),
        mask_size=(truth.shape[0], truth.shape[1]),
        dtype=str(image.dtype),
        classes={id_: count for id_, count in sorted(counts.items()) if count},
        mean=float(seen.mean(dtype=np.float64)),
        low=low,
        high=high,
        at_low=float((seen == seen.min()).mean()),
        at_high=float((seen == seen.max()).mean()),
        histogram=np.histogram(seen, _STEPS, (low, max(high, low + 1e-6)))[0].tolist(),
        texture=_pattern(np.mean([_cells(channel) for channel in image], axis=0)),
        layout=np.stack([_pattern(_cells(share)) for share in layout]),
        shifts=_shifts(image, layout.sum(axis=0, dtype=np.float32), ignored),
    )


def _hash(array: Pixels) -> str:
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).data).hexdigest()


def _share(there: npt.NDArray[np.bool_], image: Pixels) -> Bytes:
    """How much of each pixel of the network's input a class takes, 0 to 255. Spends `there`."""
    bytes_ = there.view(np.uint8)
    bytes_ *= 255
    whole, (height, width) = Image.fromarray(bytes_), image.shape[1:]
    if whole.height % height == 0 and whole.width % width == 0:  # four times as quick
        return np.asarray(whole.reduce((whole.width // width, whole.height // height)), np.uint8)
    return np.asarray(whole.resize((width, height), Image.Resampling.BOX), np.uint8)


def _cells(plane: Pixels) -> Floats:
    source = plane if plane.dtype == np.uint8 else plane.astype(np.float32)
    return np.asarray(Image.fromarray(source).resize((CELLS, CELLS), Image.Resampling.BOX), np.float32)


def _pattern(cells: Floats) -> Pattern:
    """What stands out from its surroundings, in steps of 1/32 standard deviation; zeros where nothing does."""
    fine = cells - ndimage.gaussian_filter(cells, 2.0, mode="nearest")
    spread = fine.std()
    if not spread > 1e-4 * max(1.0, float(np.abs(cells).max())):
        return np.zeros(cells.shape, np.int8)
    return np.asarray(np.clip(32 * (fine - fine.mean()) / spread, -127, 127).round(), np.int8)


def _shifts(image: Pixels, foreground: Floats, ignored: Bytes | None) -> Floats:
    """The cross-correlation of `SampleStats.shifts`, by Fourier transform: quicker than 289 sums."""
    window = tuple(slice(max(0, (n - _WINDOW) // 2), max(0, (n - _WINDOW) // 2) + _WINDOW) for n in foreground.shape)
    grey, mask = image[:, *window].mean(axis=0, dtype=np.float32), foreground[window]
    # Only pixels that stay in the picture however it is moved, so that every shift compares as many.
    counted = np.zeros(mask.shape, np.bool_)
    counted[REACH:-REACH, REACH:-REACH] = True
    if ignored is not None:
        counted &= ignored[window] == 0
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
    for name in ("texture", "layout", "shifts"):
        dtype, shape, text = packed[name]
        packed[name] = np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
    packed["classes"] = {int(id_): count for id_, count in packed["classes"].items()}
    for name in ("image_size", "mask_size"):
        packed[name] = tuple(packed[name])
    return SampleStats(**packed)
