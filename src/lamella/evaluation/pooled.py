"""All test images taken as one: pooled scores, and their intervals, from counts of each image that add up."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.evaluation.image_scores import (
    CALIBRATION_SCORES,
    CELL_SCORES,
    ImageScores,
    calibration_scores,
    cell_scores,
    outline_scores,
)
from lamella.metrics import boundaries, calibration, cells
from lamella.metrics.catalogue import lookup
from lamella.metrics.pixels import ALL_SCORE_NAMES, ImageTable, of_class, of_image
from lamella.statistics import interval_of

Floats = npt.NDArray[np.float64]


class _Pooled(NamedTuple):
    """A score of all images taken as one, and what its interval is made of.

    Attributes:
        name: as it is logged, after `test/pooled/`.
        value: NaN where it is undefined.
        rows: (N, C) counts of each image, which add up.
        of: sums of such rows (..., C) -> scores (...); None: it has no interval.
    """

    name: str
    value: float
    rows: npt.NDArray[Any]
    of: Callable[[Floats], Floats] | None


def pooled_scores(
    table: ImageTable,
    images: Sequence[ImageScores],
    groups: Sequence[str],
    *,
    classes: Sequence[tuple[int, str]],
    tolerance: float,
) -> dict[str, float]:
    """Scores of all images taken as one with 95 % intervals, under `test/pooled/`; what is undefined is left out.

    HD95 has no interval.

    Args:
        table: pixel counts of each image.
        images: what else was measured of each image; none: scores of pixels alone.
        groups: the group of each image; those of a group are drawn as one. Images that add nothing are not drawn.
        classes: id and name of each class that has scores of its own.
        tolerance: of outlines, in pixels.
    """
    values: dict[str, float] = {}
    names, found = np.asarray(groups), [*_pixels(table, classes)]
    if images:
        found += [*_outlines(images, tolerance), *_cells(images), *_calibration(images)]
    for name, value, rows, of in found:
        if isnan(value):
            continue
        values[f"test/pooled/{name}"] = value
        if of is None:
            continue
        adds = rows.any(axis=1)
        ends = interval_of(rows[adds], of, groups=names[adds], bounds=lookup(name).bounds)
        if not isnan(ends.low):
            values |= {f"test/pooled/{name}/low": ends.low, f"test/pooled/{name}/high": ends.high}
    return values


def _pixels(table: ImageTable, classes: Sequence[tuple[int, str]]) -> Iterator[_Pooled]:
    number, *shape = table.counts.shape
    rows, together = table.counts.reshape(number, -1), table.counts.sum(axis=0)

    def of_sums(score: Callable[[Any], Floats], sums: Floats) -> Floats:
        return score(sums.reshape(*sums.shape[:-1], *shape))

    def there(counts: Any) -> Any:
        """Whether each class but the background is there."""
        return counts[..., 1:, 0] + counts[..., 1:, 2] > 0

    def of_all(name: str, counts: Any) -> Floats:
        """Nothing without a class that all images together have: a mean over fewer classes is another number."""
        scores = of_image(name, counts)
        if name in ("accuracy", "pixel_error"):
            return scores
        return np.where((there(counts) | ~there(together)).all(axis=-1), scores, nan)

    for name in ALL_SCORE_NAMES:
        yield _Pooled(name, table.pooled(name), rows, partial(of_sums, partial(of_all, name)))
    for class_id, plain in classes:
        for name in ("dice", "iou", "precision", "recall"):
            score = partial(of_class, name, class_id=class_id)
            yield _Pooled(f"{plain}/{name}", float(score(together)), rows, partial(of_sums, score))


def _outlines(images: Sequence[ImageScores], tolerance: float) -> Iterator[_Pooled]:
    by_class = [boundaries.pool(of) for of in zip(*(each.outlines for each in images), strict=True)]
    scores = outline_scores(by_class, tolerance)
    if isnan(scores["boundary/hd95"]):
        return
    both = [np.concatenate(gaps[:2]) for each in images for gaps in each.outlines]
    number, total, within = (
        np.array([of(each) for each in both], np.float64).reshape(len(images), -1)
        for of in (len, np.sum, lambda each: (each <= tolerance).sum())
    )

    there = number.sum(axis=0) > 0

    def ratio(sums: Floats) -> Floats:
        part, whole = (each[..., there] for each in np.split(sums, 2, axis=-1))
        return np.asarray(np.where(whole > 0, part / np.where(whole > 0, whole, 1), nan).mean(axis=-1))

    # A percentile of distances between pixels jumps from one to the next, or stays: resamples tell little of it.
    yield _Pooled("boundary/hd95", scores["boundary/hd95"], number, None)
    for name, part in (("boundary/surface_distance", total), ("boundary/surface_dice", within)):
        yield _Pooled(name, scores[name], np.hstack([part, number]), ratio)


def _cells(images: Sequence[ImageScores]) -> Iterator[_Pooled]:
    def of_sums(score: Callable[[cells.CellCounts], Floats], sums: Floats) -> Floats:
        return score(cells.CellCounts.of(sums))

    for prefix in images[0].cells:
        counts = [each.cells[prefix] for each in images]
        rows, together = np.stack([each.row() for each in counts]), cell_scores("", cells.pool(counts))
        for name, score in CELL_SCORES.items():
            if lookup(name).kind == "score":
                yield _Pooled(f"{prefix}{name}", together[name], rows, partial(of_sums, score))


def _calibration(images: Sequence[ImageScores]) -> Iterator[_Pooled]:
    def of_sums(score: Callable[[calibration.Histogram], Floats], sums: Floats) -> Floats:
        return score(calibration.Histogram.of(sums))

    kinds = [*zip(*(each.calibration for each in images), strict=True)]  # as predicted and tempered, or none
    if not kinds:
        return
    together = calibration_scores(*map(calibration.pool, kinds))
    for histograms, end in zip(kinds, ("", "_tempered"), strict=True):
        rows = np.stack([each.row() for each in histograms])
        for name, score in CALIBRATION_SCORES.items():
            yield _Pooled(f"{name}{end}", together[f"{name}{end}"], rows, partial(of_sums, score))
