"""Which images are near duplicates, and whose mask fits whose image: all compared with all, on coarse patterns.

A pattern is what `lamella.data.audit.sample_stats` keeps of an image or mask: 64 x 64 cells without coarse changes of
light. Two patterns are compared by their correlation, so neither brightness nor contrast matters, and a comparison of
all with all is a product of matrices.

The thresholds were set on real data: 60 blood smears and 30 neighbouring sections of neuropil. There a mask fits its
own image with 0.62 to 0.97 and another's with at most 0.30 (that of the next section); two images are alike with at
most 0.38 (the next section), where an image and its copy, compressed anew, blurred or half as large, reach 0.98.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.audit.sample_stats import CELLS, Floats, Pattern, SampleStats

Grid = npt.NDArray[Any]

_FAR_WORSE = 0.6  # of the typical fit: a mask that fits its image less well is looked into
_AS_GOOD = 0.75  # of the typical fit: another's mask that fits as well belongs there
_NO_FIT = 0.3  # of the typical fit: a mask that fits less well has nothing to do with its image
_LEAST_FIT = 0.3  # a typical fit below is too weak to judge single masks by
_REFERENCE = 256  # samples from which the typical fit is estimated

_ALIKE = 0.8  # correlation from which on two images show one picture
_NEARLY_ALL = 0.8  # of all samples: they agree in how masks are to be turned
_TURNS = (  # by the number that `_dihedral` has for each
    "as they are",
    "turned a quarter to the left",
    "turned upside down",
    "turned a quarter to the right",
    "with rows and columns exchanged",
    "mirrored left to right",
    "mirrored along the other diagonal",
    "mirrored top to bottom",
)
_BITS = 16  # rows and columns of a perceptual hash
_MAY_DIFFER = _BITS**2 // 4  # bits; hashes of different images differ in half of them
_BLOCK = 1024  # rows of a large matrix that are held at a time


@dataclass(frozen=True)
class Misfit:
    """A mask that fits its image far worse than masks do here.

    Attributes:
        sample: its place among the samples.
        fit: how well the mask fits its image, 0 to 1.
        better: the sample whose mask fits this image as well as own masks do; None where there is none.
        better_fit: how well that one does.
    """

    sample: int
    fit: float
    better: int | None = None
    better_fit: float = 0.0


@dataclass(frozen=True)
class Twins:
    """Two images of a data set that show one picture: copies, or nearly so.

    Attributes:
        first: the place of one among the samples.
        second: the place of the other, further on.
        same: True where the pixels are the same, False where the pictures are.
        turned: True where one is turned or mirrored.
    """

    first: int
    second: int
    same: bool
    turned: bool = False


@dataclass(frozen=True)
class Turn:
    """What would make masks fit that do not as they are.

    Attributes:
        words: what is to be done to a mask.
        fit: how well masks fit as they are, in the median, 0 to 1.
        better_fit: how well so.
    """

    words: str
    fit: float
    better_fit: float


def misfits(stats: Sequence[SampleStats]) -> list[Misfit]:
    """The masks that do not fit their images, with the masks that would.

    How well a mask fits is how much of the image's pattern its classes explain (a multiple correlation), whether
    they are dark or bright. Nothing is found where masks explain too little of the images, or where all masks are
    so alike that they cannot be told apart.
    """
    images, classes = _normalised([one.texture for one in stats]), _orthogonal(stats)
    usable = np.flatnonzero(images.any(axis=1) & classes.any(axis=(0, 2)))
    if len(usable) < 2:
        return []
    own_fit = np.sqrt((np.einsum("nd,knd->kn", images, classes) ** 2).sum(axis=0))
    reference = usable[:: -(-len(usable) // _REFERENCE)]
    fits = _fits(images[reference], classes)
    typical = float(np.median(fits.max(axis=1)))
    # What chance does: all others' masks, except the best, which may be the right one.
    row = np.arange(len(reference))
    fits[row, reference] = 0
    fits[row, fits.argmax(axis=1)] = 0
    least = max(_LEAST_FIT, 4 * float(np.median(fits)))
    if typical < least:
        return []
    found = []
    suspects = usable[own_fit[usable] < _FAR_WORSE * typical]
    for start in range(0, len(suspects), _BLOCK):
        block = suspects[start : start + _BLOCK]
        fits = _fits(images[block], classes)
        fits[np.arange(len(block)), block] = 0
        for sample, better, fit in zip(block.tolist(), fits.argmax(axis=1).tolist(), fits.max(axis=1), strict=True):
            if fit >= max(_AS_GOOD * typical, least):
                found.append(Misfit(sample, float(own_fit[sample]), better, float(fit)))
            elif own_fit[sample] < _NO_FIT * typical:
                found.append(Misfit(sample, float(own_fit[sample])))
    return found


def turned(stats: Sequence[SampleStats]) -> Turn | None:
    """How all masks are to be turned or mirrored to fit their images; None where they fit as they are, or in no way."""
    images, classes = _normalised([one.texture for one in stats]), _orthogonal(stats)
    usable = np.flatnonzero(images.any(axis=1) & classes.any(axis=(0, 2)))
    if len(usable) < 2:
        return None
    images, grids = images[usable], classes[:, usable].reshape(-1, len(usable), CELLS, CELLS)
    each = (_dihedral(grids, turn).reshape(len(grids), *images.shape) for turn in range(8))
    fits = np.stack([np.sqrt((np.einsum("nd,knd->kn", images, way) ** 2).sum(axis=0)) for way in each])
    typical = np.median(fits, axis=1)
    best = int(typical.argmax())
    sure = (fits.argmax(axis=0) == best).mean() >= _NEARLY_ALL
    if typical[best] < _LEAST_FIT or typical[0] >= _FAR_WORSE * typical[best] or not sure:
        return None
    return Turn(_TURNS[best], float(typical[0]), float(typical[best]))


def polarity(stats: Sequence[SampleStats]) -> Floats:
    """How bright the foreground of each mask is in its image, (N,): 1 bright, -1 dark, 0 neither. For two classes."""
    images, foreground = _normalised([one.texture for one in stats]), _normalised([one.layout[0] for one in stats])
    return np.asarray((images * foreground).sum(axis=1))


def twins(stats: Sequence[SampleStats]) -> list[Twins]:
    """The pairs of images that show one picture: the same pixels, nearly so, or turned or mirrored.

    Candidates have perceptual hashes that differ in few bits (a bit a cell of 16 x 16: brighter or darker than its
    surroundings); they are verified by the correlation of their patterns. Of images that are the same to the
    pixel, only the first is compared with others.
    """
    first: dict[str, int] = {}
    found = []
    for place, one in enumerate(stats):
        if first.setdefault(one.image, place) != place:
            found.append(Twins(first[one.image], place, same=True))
    places = np.array([place for place in first.values() if stats[place].texture.any()], np.int64)
    if len(places) < 2:
        return found
    patterns = np.stack([stats[place].texture for place in places])
    hashes = _hashes(patterns)
    seen = set()
    for turn in range(8):
        turned = _dihedral(hashes, turn).reshape(len(places), -1)
        for start in range(0, len(places), _BLOCK):
            rows, columns = hashes[start : start + _BLOCK].reshape(-1, _BITS**2), turned[start:]
            alike = np.flatnonzero(rows @ columns.T >= _BITS**2 - 2 * _MAY_DIFFER)
            for row, column in zip(*(each.tolist() for each in np.divmod(alike, len(columns))), strict=True):
                pair = row + start, column + start
                other = pair[1]
                if row >= column:
                    continue
                if pair not in seen and _correlation(patterns[pair[0]], _dihedral(patterns[other], turn)) >= _ALIKE:
                    seen.add(pair)
                    found.append(Twins(int(places[pair[0]]), int(places[other]), same=False, turned=turn > 0))
    return found


def alike(one: SampleStats, other: SampleStats) -> bool:
    """Whether two images show one picture, neither turned."""
    return one.image == other.image or _correlation(one.texture, other.texture) >= _ALIKE


def _normalised(patterns: Sequence[Pattern]) -> Floats:
    """(N, CELLS²), each with mean 0 and length 1; zeros stay."""
    flat = np.stack(patterns).reshape(len(patterns), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(length > 0, length, 1), np.float32)


def _orthogonal(stats: Sequence[SampleStats]) -> Floats:
    """(K - 1, N, CELLS²): each mask's patterns made orthogonal, so that what they explain can be added up."""
    found: list[Floats] = []
    for class_ in range(len(stats[0].layout)):
        pattern = _normalised([one.layout[class_] for one in stats])
        for earlier in found:
            pattern = pattern - (pattern * earlier).sum(axis=1, keepdims=True) * earlier
        length = np.linalg.norm(pattern, axis=1, keepdims=True)
        found.append(np.where(length > 0.05, pattern / np.maximum(length, 0.05), np.float32(0)))
    return np.stack(found)


def _fits(images: Floats, classes: Floats) -> Floats:
    """(n, CELLS²), (K - 1, N, CELLS²) -> (n, N): how well each mask fits each image."""
    return np.asarray(np.sqrt(sum((images @ class_.T) ** 2 for class_ in classes)), np.float32)


def _hashes(patterns: Pattern) -> Floats:
    """(N, 16, 16) of 1 and -1, since the product of two such then counts the bits that agree."""
    width = CELLS // _BITS
    pooled = patterns.reshape(-1, _BITS, width, _BITS, width).sum(axis=(2, 4), dtype=np.int32)
    return np.where(pooled > 0, np.float32(1), np.float32(-1))


def _dihedral(arrays: Grid, turn: int) -> Grid:
    """One of the eight ways to turn and mirror a square, on the last two axes; 0 leaves it."""
    turned = np.rot90(arrays, turn % 4, axes=(-2, -1))
    return turned if turn < 4 else np.swapaxes(turned, -2, -1)


def _correlation(one: Grid, other: Grid) -> float:
    first, second = _normalised([one, other])
    return float(first @ second)
