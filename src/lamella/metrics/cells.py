"""Cells: how many there are, and how well each one is found.

An instance is a labelled region, as `lamella.metrics.instances` finds them in a mask. Two labelled images are
compared once, by `compare`; all scores derive from its counts, and counts of several images add up (`pool`): count
first, divide last.

Instances and cells are paired one to one, at an IoU of at least a threshold from 0.5 to 0.95. Every such pairing is
the optimal assignment: above one half nothing can be paired in two ways, and at exactly one half only the two equal
halves of one region can, whichever is taken. With TP pairs, FP instances and FN cells without a partner:

    precision           TP / (TP + FP)
    recall              TP / (TP + FN)
    f1                  2 TP / (2 TP + FP + FN)
    average_precision   TP / (TP + FP + FN), at one threshold; "AP" is its mean over 0.5, 0.55, ... 0.95, as the 2018
                        Data Science Bowl had it (J. C. Caicedo et al. 2019, Nature Methods 16:1247) and StarDist
                        reports it (U. Schmidt et al. 2018, arXiv:1806.03535, which pairs at >= as here; the Bowl
                        wrote >). COCO's AP, an area under a curve over confidences, is another number.
    aggregated_jaccard  N. Kumar et al. 2017, IEEE TMI 36:1550
    panoptic_quality    A. Kirillov et al. 2019, CVPR (arXiv:1801.00868), pairs of IoU > 0.5

Where there is no cell, all are NaN, whatever was found; where there are cells and none was found, all are 0. Scores are
of the counts of one image, or of arrays of (summed) counts, one score each.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

Integers = npt.NDArray[np.integer[Any]]
Numbers = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]

IOU_THRESHOLDS: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class CellCounts(NamedTuple):
    """How many cells of one image were found, and how well: what all its cell scores are made of.

    All are single numbers, or arrays (...) of the counts of many.

    Attributes:
        truth: cells.
        predicted: instances.
        hits: (..., 10) pairs at each of IOU_THRESHOLDS.
        pairs: pairs of an IoU above one half.
        quality: the sum of those pairs' IoU.
        shared: pixels that each cell shares with the instance of the best IoU, summed over cells.
        joined: pixels of each cell united with that instance, summed, and of the instances that are no cell's best.
    """

    truth: int | Numbers
    predicted: int | Numbers
    hits: Numbers
    pairs: int | Numbers
    quality: float | Numbers
    shared: int | Numbers
    joined: int | Numbers

    def row(self) -> Scores:
        """The counts of one image in one row (16,), which add up over images."""
        others = (self.truth, self.predicted, self.pairs, self.quality, self.shared, self.joined)
        return np.concatenate([np.array(others, np.float64), self.hits])

    @classmethod
    def of(cls, rows: Scores) -> "CellCounts":
        """Counts from (sums of) rows (..., 16)."""
        truth, predicted, pairs, quality, shared, joined = np.moveaxis(rows[..., :6], -1, 0)
        return cls(truth, predicted, rows[..., 6:], pairs, quality, shared, joined)


def compare(predicted: Integers, truth: Integers) -> CellCounts:
    """Compares the cells found in one image with those that are there.

    Args:
        predicted: (H, W) integer, 0 outside instances; any other ids, whatever their shape.
        truth: the same of the cells.

    Returns:
        Counts that depend on no numbering.

    Raises:
        ValueError: shapes differ, or an id is negative.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted has shape {predicted.shape}, truth {truth.shape}")
    found, found_sizes = _renumbered(predicted)
    true, true_sizes = _renumbered(truth)
    both = (found > 0) & (true > 0)
    cell, instance = true[both] - 1, found[both] - 1
    shape = len(true_sizes), len(found_sizes)
    # Its conversion adds up what falls on the same pair, and leaves the pairs sorted by cell, then instance.
    table = sparse.coo_array((np.ones(cell.size, np.int64), (cell, instance)), shape=shape).tocsr().tocoo()
    (cell, instance), shared = table.coords, table.data
    union = true_sizes[cell] + found_sizes[instance] - shared
    iou = shared / union
    at_half = _one_to_one(cell, instance, iou)
    above = iou > 0.5
    best = _best_of_each_cell(cell, iou, shared)
    alone = np.bincount(cell[best], minlength=shape[0]) == 0
    unused = np.bincount(instance[best], minlength=shape[1]) == 0
    joined = union[best].sum() + true_sizes[alone].sum() + found_sizes[unused].sum()
    return CellCounts(
        truth=shape[0],
        predicted=shape[1],
        hits=np.array([(at_half >= each).sum() for each in IOU_THRESHOLDS]),
        pairs=int(above.sum()),
        quality=float(iou[above].sum()),
        shared=int(shared[best].sum()),
        joined=int(joined),
    )


def pool(counts: Iterable[CellCounts]) -> CellCounts:
    """The counts of several images taken as one; of none, those of an empty image."""
    none = CellCounts(0, 0, np.zeros(len(IOU_THRESHOLDS), np.int64), 0, 0.0, 0, 0)
    total = [sum(parts) for parts in zip(none, *counts, strict=True)]
    return CellCounts(*total)


def count_error(counts: CellCounts) -> int | Numbers:
    """Instances found minus cells there: above 0 where too many were found."""
    return counts.predicted - counts.truth


def precision(counts: CellCounts, iou: float = 0.5) -> Scores:
    """The share of the instances that are a cell."""
    return _ratio(_hits(counts, iou), counts.predicted, counts)


def recall(counts: CellCounts, iou: float = 0.5) -> Scores:
    """The share of the cells that are found."""
    return _ratio(_hits(counts, iou), counts.truth, counts)


def f1(counts: CellCounts, iou: float = 0.5) -> Scores:
    """The harmonic mean of precision and recall."""
    return _ratio(2 * _hits(counts, iou), counts.predicted + counts.truth, counts)


def average_precision(counts: CellCounts, iou: float | None = None) -> Scores:
    """TP / (TP + FP + FN) at one IoU threshold; its mean over all ten where none is given."""
    if iou is None:
        return np.asarray(np.stack([average_precision(counts, each) for each in IOU_THRESHOLDS], axis=-1).mean(axis=-1))
    hits = _hits(counts, iou)
    return _ratio(hits, counts.predicted + counts.truth - hits, counts)


def aggregated_jaccard(counts: CellCounts) -> Scores:
    """Pixels shared by each cell and its best instance over their unions and all instances that are no cell's best.

    Of instances with an equal IoU the larger is a cell's best, of equally large ones the one that starts higher up,
    or further left. As published, one instance may be the best of several cells; a cell that nothing overlaps adds
    its own pixels to the denominator.
    """
    return _ratio(counts.shared, counts.joined, counts)


def panoptic_quality(counts: CellCounts) -> Scores:
    """Sum of the IoU of pairs / (TP + FP / 2 + FN / 2), the product of the two below."""
    return _ratio(counts.quality, (counts.predicted + counts.truth) / 2, counts)


def segmentation_quality(counts: CellCounts) -> Scores:
    """The mean IoU of pairs: how well the cells that were found are outlined."""
    return _ratio(counts.quality, counts.pairs, counts)


def recognition_quality(counts: CellCounts) -> Scores:
    """TP / (TP + FP / 2 + FN / 2), the F1 of pairs of IoU > 0.5: how well cells are found."""
    return _ratio(counts.pairs, (counts.predicted + counts.truth) / 2, counts)


def _hits(counts: CellCounts, iou: float) -> Numbers:
    return np.asarray(counts.hits[..., IOU_THRESHOLDS.index(iou)])


def _ratio(part: float | Numbers, whole: float | Numbers, counts: CellCounts) -> Scores:
    part, whole, truth = np.asarray(part), np.asarray(whole), np.asarray(counts.truth)
    share = np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
    return np.where(truth > 0, share, np.nan)


def _renumbered(labels: Integers) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Ids 1..n in the order of their first pixels, and the pixels of each."""
    flat = labels.reshape(-1)
    if flat.min(initial=0) < 0:
        raise ValueError("labels must not be negative: 0 is background, ids start at 1")
    place = np.flatnonzero(flat)
    ids = flat[place]
    if ids.max(initial=0) > flat.size:  # ids too high to count in a table
        ids = np.unique(ids, return_inverse=True)[1] + 1
    first = np.full(int(ids.max(initial=0)) + 1, flat.size)
    first[ids[::-1]] = place[::-1]  # of several values for one id the last stays: that of its first pixel
    present = np.flatnonzero(first < flat.size)
    number = np.zeros(first.size, np.int32)
    number[present[np.argsort(first[present])]] = np.arange(1, present.size + 1)
    renumbered = np.zeros(flat.size, np.int32)
    renumbered[place] = number[ids]
    return renumbered, np.bincount(renumbered, minlength=1)[1:]


def _one_to_one(cell: Integers, instance: Integers, iou: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The IoU of the pairs of at least one half, none sharing a cell or an instance with another."""
    chosen = np.flatnonzero(iou >= 0.5)
    chosen = chosen[np.unique(cell[chosen], return_index=True)[1]]
    chosen = chosen[np.unique(instance[chosen], return_index=True)[1]]
    return iou[chosen]


def _best_of_each_cell(
    cell: Integers, iou: npt.NDArray[np.float64], shared: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The place of each cell's best pair; the pairs come sorted by cell, then instance, and the sort is stable."""
    order = np.lexsort((-shared, -iou, cell))
    return order[np.unique(cell[order], return_index=True)[1]]
