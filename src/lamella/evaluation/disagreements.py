"""Where labels and a confident prediction disagree, object by object, and what seems to be wrong there.

A pixel counts where the prediction is another class than the label, by how much likelier the network finds its own
class than the label's (0 to 1): learning from confident disagreement is the idea of confident learning (C. Northcutt
et al. 2021, JAIR 70:1373). Regions that nowhere leave the neighbourhood of the label's outline count for nothing, since
no two people draw it alike; nor do cells that the frame cuts, which labels often leave out. Each region belongs to one
object: of the label, or of the prediction where the label has none. The sum over an object's regions is its weight.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import label

from lamella.data.io.masks import Objects
from lamella.data.io.resize import Bytes
from lamella.metrics import instances

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Box = tuple[slice, ...]

KINDS = {
    "missing": "the label lacks an object that the network sees",
    "extra": "the label has an object where the network sees none",
    "merged": "the label joins what the network parts",
    "split": "the label parts what the network joins",
    "class": "the label has another class than the network",
    "shifted": "the label's outline lies elsewhere than the network's",
}
"""What may be wrong with a label, from its point of view."""


class Settings(NamedTuple):
    """How objects are cut out of class masks, and which disagreement counts.

    Attributes:
        tolerance: pixels from the label's outline up to which nothing counts.
        cells: objects are cut at their necks, and count only where they are whole; else connected regions are objects.
        split_neck, smallest: as in `lamella.metrics.instances.split_touching`.
    """

    tolerance: float
    cells: bool
    split_neck: float
    smallest: int


class Disagreement(NamedTuple):
    """An object whose label a network disagrees with.

    Attributes:
        kind: one of KINDS.
        weight: the sum over pixels of how sure the network is of its disagreement.
        pixels: that disagree.
        y, x: the middle of the main region, in pixels of the full image from its upper left corner.
        box: top, left, bottom, right of all that disagrees.
        label: the class id of the label in the main region.
        predicted: the class id that the network has there.
    """

    kind: str
    weight: float
    pixels: int
    y: int
    x: int
    box: tuple[int, int, int, int]
    label: int
    predicted: int


class Looked(NamedTuple):
    """What was found in one image.

    Attributes:
        disagreements: the gravest first.
        sizes: pixels of each object of the label.
        packed: the predicted class ids, in a hundredth of their memory.
    """

    disagreements: list[Disagreement]
    sizes: npt.NDArray[np.int64]
    packed: bytes

    def predicted(self, shape: tuple[int, ...]) -> Bytes:
        """The predicted class ids (H, W)."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(shape)


class _Region(NamedTuple):
    owner: tuple[str, int]
    kind: str
    weight: float
    pixels: int
    box: Box
    middle: tuple[int, int]
    label: int
    predicted: int


def disagreements(
    probability: Floats, predicted: Bytes, truth: Bytes, valid: Mask, objects: Objects | None, settings: Settings
) -> Looked:
    """The objects of one image whose labels a network confidently disagrees with.

    Args:
        probability: (K', H, W), see `lamella.inference.tiling.predict`.
        predicted: class ids (H, W).
        truth: class ids (H, W), 0 where not valid.
        valid: (H, W); False counts nowhere.
        objects: ids (H, W) of the label's objects, 0 for none; None: they are cut out of `truth`.
    """
    true = instances_of(truth, valid, settings) if objects is None else np.where(valid, objects, np.int32(0))
    found = instances_of(predicted, valid, settings)
    sizes = np.bincount(true.ravel())[1:]
    margin = np.where(valid & (predicted != truth), _margin(probability, predicted, truth), np.float32(0))
    wrong = _beyond(margin > 0, truth, settings.tolerance)
    regions = label(np.where(wrong, truth.astype(np.int32) * 256 + predicted + 1, 0), connectivity=2, background=0)
    shares = _Shares(true, found)
    by_owner: dict[tuple[str, int], list[_Region]] = defaultdict(list)
    for number, box in enumerate(ndimage.find_objects(regions), 1):
        there = regions[box] == number
        middle = _middle(there, box)
        at = truth[middle], predicted[middle]
        owner, kind = _judged(there, box, int(at[0]), int(at[1]), shares, settings)
        owner = owner or ("region", number)
        if settings.cells and (owner in shares.cut or _on_frame(box, truth.shape)):
            continue
        weight = float(margin[box][there].sum())
        region = _Region(owner, kind, weight, int(there.sum()), box, middle, int(at[0]), int(at[1]))
        by_owner[owner].append(region)
    joined = [_joined(some) for some in by_owner.values()]
    return Looked(
        sorted(joined, key=lambda each: -each.weight), sizes[sizes > 0], zlib.compress(predicted.tobytes(), 1)
    )


def instances_of(classes: Bytes, valid: Mask, settings: Settings) -> Objects:
    """The objects (H, W) of a class mask, ids from 1."""

    def cut(mask: Mask) -> Objects:
        if settings.cells:
            return instances.split_touching(mask, valid, depth=settings.split_neck, smallest=settings.smallest)
        return instances.components(mask, valid, smallest=settings.smallest)

    return instances.of_classes(cut, classes)


class _Shares:
    """Objects of label and prediction, and how they cover each other."""

    def __init__(self, true: Objects, found: Objects) -> None:
        self.true, self.found = true, found
        on_frame = {name: np.unique(_frame(ids)) for name, ids in (("true", true), ("found", found))}
        self.cut = {(name, int(each)) for name, ids in on_frame.items() for each in ids if each}
        self.true_sizes = np.bincount(true.ravel())
        self.found_sizes = np.bincount(found.ravel())
        self.true_covered = np.bincount(true.ravel(), (found > 0).ravel())
        self.found_covered = np.bincount(found.ravel(), (true > 0).ravel())
        pairs = found.ravel().astype(np.int64) * len(self.true_sizes) + true.ravel()
        counts = np.bincount(pairs[(found > 0).ravel() & (true > 0).ravel()], minlength=0)
        self.best: dict[int, int] = {}
        most: dict[int, int] = defaultdict(int)
        for pair in np.flatnonzero(counts):
            instance, cell = divmod(int(pair), len(self.true_sizes))
            if counts[pair] > most[instance]:
                most[instance], self.best[instance] = int(counts[pair]), cell

    def mostly_in_label(self, instance: int) -> bool:
        return bool(2 * self.found_covered[instance] > self.found_sizes[instance])

    def mostly_found(self, cell: int) -> bool:
        return bool(2 * self.true_covered[cell] > self.true_sizes[cell])


def _judged(
    there: Mask, box: Box, label_: int, predicted: int, shares: _Shares, settings: Settings
) -> tuple[tuple[str, int] | None, str]:
    """The object that a region of disagreement belongs to, None if too small, and what it says of its label."""
    cell = _most(shares.true[box][there])
    instance = _most(shares.found[box][there])
    around = _around(there, box, shares.true.shape, int(settings.tolerance) + 2)
    if label_ == 0:
        if not instance:
            return None, "shifted"
        if not shares.mostly_in_label(instance):
            return ("found", instance), "missing"
        cells = [each for each in around(shares.true) if shares.mostly_found(each)]
        owner = shares.best.get(instance, 0)
        return ("true", owner), "split" if len(cells) > 1 else "shifted"
    if not cell:
        return None, "shifted"
    if predicted > 0:
        return ("true", cell), "class"
    if not shares.mostly_found(cell):
        return ("true", cell), "extra"
    parts = [each for each in around(shares.found) if shares.mostly_in_label(each)]
    return ("true", cell), "merged" if len(parts) > 1 else "shifted"


def _frame(ids: Objects) -> Objects:
    """The pixels at the four sides of a picture."""
    return np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]])


def _on_frame(box: Box, shape: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == whole for side, whole in zip(box, shape, strict=True))


def _around(there: Mask, box: Box, shape: tuple[int, ...], reach: int) -> Callable[[Objects], list[int]]:
    """A function that gives the objects in a region and up to `reach` pixels around it."""
    wide = tuple(slice(max(0, s.start - reach), min(side, s.stop + reach)) for s, side in zip(box, shape, strict=True))
    room = np.zeros([s.stop - s.start for s in wide], np.bool_)
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
    room[inner] = there
    near = ndimage.distance_transform_edt(~room) <= reach
    return lambda objects: [int(each) for each in np.unique(objects[wide][near]) if each]


def _joined(regions: list[_Region]) -> Disagreement:
    main = max(regions, key=lambda each: each.weight)
    rows, columns = zip(*(each.box for each in regions), strict=True)
    box = (
        min(s.start for s in rows),
        min(s.start for s in columns),
        max(s.stop for s in rows),
        max(s.stop for s in columns),
    )
    weight, pixels = sum(each.weight for each in regions), sum(each.pixels for each in regions)
    return Disagreement(main.kind, weight, pixels, *main.middle, box, main.label, main.predicted)


def _margin(probability: Floats, predicted: Bytes, truth: Bytes) -> Floats:
    """How much likelier the predicted class is than the label's, per pixel; below 0 where it is less likely."""
    whole = np.concatenate([1 - probability, probability]) if len(probability) == 1 else probability
    of = [np.take_along_axis(whole, each[None].astype(np.int64), axis=0)[0] for each in (predicted, truth)]
    return np.asarray(of[0] - of[1], np.float32)


def _beyond(wrong: Mask, truth: Bytes, tolerance: float) -> Mask:
    """The wrong pixels that lie beyond the tolerance from the label's outline, with those beside them up to there."""
    core = wrong & (ndimage.distance_transform_edt(~_outline(truth)) > tolerance)
    if not core.any():
        return core
    return np.asarray(wrong & (ndimage.distance_transform_edt(~core) <= 1.5 * (tolerance + 1)))  # into corners, too


def _outline(classes: Bytes) -> Mask:
    """Pixels that touch another class, on both sides."""
    return np.asarray(ndimage.maximum_filter(classes, 3) != ndimage.minimum_filter(classes, 3))


def _middle(there: Mask, box: Box) -> tuple[int, int]:
    """The pixel of a region that lies deepest in it."""
    deep = ndimage.distance_transform_edt(np.pad(there, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(deep)), deep.shape)
    return int(y) + box[0].start, int(x) + box[1].start


def _most(ids: Objects) -> int:
    """The object that has the most of these pixels; 0 for none."""
    counts = np.bincount(ids)
    counts[0] = 0
    return int(counts.argmax()) if counts.any() else 0
