"""One predicted image -> every score beyond pixel counts: outlines, cells, neurites, calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.read import Bytes
from lamella.metrics import boundaries, calibration, cells, instances, neurites
from lamella.metrics.pixels import count_at

Mask = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.int32]

CELL_SCORES: dict[str, Callable[[cells.CellCounts], Any]] = {
    "count/true": lambda counts: counts.truth,
    "count/found": lambda counts: counts.predicted,
    "count/error": cells.count_error,
    "cells/precision": cells.precision,
    "cells/recall": cells.recall,
    "cells/f1": cells.f1,
    "cells/ap50": lambda counts: cells.average_precision(counts, 0.5),
    "cells/ap": cells.average_precision,
    "cells/aji": cells.aggregated_jaccard,
    "cells/pq": cells.panoptic_quality,
}
"""Every score of cell counts, of one image's or of arrays of them."""

CALIBRATION_SCORES: dict[str, Callable[[calibration.Histogram], Any]] = {
    "calibration/ece": calibration.ece,
    "calibration/brier": calibration.brier,
}
"""Every score of a calibration histogram, of one image's or of arrays of them."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What whole images are scored by, beside pixel counts, and how.

    Attributes:
        num_classes: background included.
        objects: what connected regions stand for, as a data set's card has it.
        spacing_nm: height and width of a pixel where they are known.
        tolerance: pixels that two outlines may lie apart and still be one.
        tolerance_nm: the same in nanometres.
        min_cell_size: regions of fewer pixels are no cell; objects that are numbered are, however small.
        split_neck: pixels by which a region must be narrower in between for it to be two cells.
        border: pixels on each side that part touching objects in the class ids (`lamella.metrics.instances.rejoined`);
            0 where nothing does.
        resized: side of the square that prediction and truth are resized to for the soft scores; None: none.
        failure: an image whose Dice is below it is counted as a failure.
    """

    num_classes: int
    objects: str
    spacing_nm: tuple[float, float] | None
    tolerance: float
    tolerance_nm: float
    min_cell_size: int
    split_neck: float
    border: int
    resized: int | None
    failure: float


class Numbered(NamedTuple):
    """The single objects of one image, where somebody told them apart; None: they are what regions of pixels say.

    Attributes:
        truth: int32 (H, W), 0 for none.
        predicted: the same.
    """

    truth: Objects | None = None
    predicted: Objects | None = None


NOT_NUMBERED = Numbered()


class ImageScores(NamedTuple):
    """The scores of one image, and the counts behind them, which add up over images to pooled scores.

    Attributes:
        columns: score -> value; NaN where it is undefined.
        outlines: distances between outlines in pixels, of each class but the background.
        cells: prefix ("" or "watershed/") -> counts; empty where regions are no cells.
        calibration: pixels by probability, as predicted and at the temperature; empty for masks without probabilities.
        neurites: scores at each of `neurites.THRESHOLDS`; empty where there are no neurites.
        interior: (T, 4) pixel counts of the interior at the same thresholds; likewise.
    """

    columns: dict[str, float]
    outlines: tuple[boundaries.Gaps, ...]
    cells: dict[str, cells.CellCounts]
    calibration: tuple[calibration.Histogram, ...]
    neurites: tuple[neurites.NeuriteScores, ...]
    interior: npt.NDArray[np.int64]


def score_image(
    probability: npt.NDArray[np.float32],
    predicted: Bytes,
    truth: Bytes,
    valid: Mask,
    settings: ScoreSettings,
    temperature: float | None,
    numbered: Numbered = NOT_NUMBERED,
) -> ImageScores:
    """Every score of one image beyond its pixel counts.

    Args:
        probability: (K', H, W), see `lamella.inference.tiling.predict`.
        predicted: class ids (H, W).
        truth: class ids (H, W).
        valid: (H, W); False counts nowhere.
        temperature: fitted on validation images, 1 changes nothing; None for a method that gives masks without
            probabilities, which has no calibration.
        numbered: its objects.
    """
    ids = range(1, settings.num_classes)
    gaps = tuple(boundaries.gaps(predicted == each, truth == each, valid) for each in ids)
    columns = outline_scores(gaps, settings.tolerance) | {"boundary/imputed": sum(each.imputed for each in gaps)}
    if settings.spacing_nm is not None:
        spaced = [boundaries.gaps(predicted == each, truth == each, valid, settings.spacing_nm) for each in ids]
        columns |= {f"{name}_nm": value for name, value in outline_scores(spaced, settings.tolerance_nm).items()}
    counted = _cells(predicted, truth, valid, settings, numbered) if settings.objects == "cells" else {}
    for prefix, counts in counted.items():
        columns |= cell_scores(prefix, counts)
    histograms: tuple[calibration.Histogram, ...] = ()
    if temperature is not None:
        tempered = calibration.tempered(probability, temperature)
        histograms = tuple(calibration.histogram(each, truth, valid) for each in (probability, tempered))
        columns |= calibration_scores(*histograms)
    found: tuple[neurites.NeuriteScores, ...] = ()
    interior = np.empty((0, 4), np.int64)
    if settings.objects == "neurites":
        share = 1 - probability[0]  # class 1 is membrane
        inside = (truth == 0) & valid  # what is ignored is no neurite's
        found = tuple(neurites.scores_at(share, inside, neurites.THRESHOLDS))
        batch, there, counts_where = (torch.from_numpy(each)[None] for each in (share[None], inside, valid))
        interior = count_at(batch, there, counts_where, neurites.THRESHOLDS)[0].numpy()
    if not valid.any():  # not even counts of cells say anything
        columns = dict.fromkeys(columns, nan)
    return ImageScores(columns, gaps, counted, histograms, found, interior)


def outline_scores(gaps: Sequence[boundaries.Gaps], tolerance: float) -> dict[str, float]:
    """The scores of the outlines of each class but the background, of one image or pooled: means over the classes.

    Classes without an outline in the truth are left out; NaN without any.
    """
    return {
        "boundary/hd95": _mean([boundaries.hausdorff95(each) for each in gaps]),
        "boundary/surface_distance": _mean([boundaries.surface_distance(each) for each in gaps]),
        "boundary/surface_dice": _mean([boundaries.surface_dice(each, tolerance) for each in gaps]),
    }


def cell_scores(prefix: str, counts: cells.CellCounts) -> dict[str, float]:
    """The scores of cell counts, of one image or pooled."""
    return {f"{prefix}{name}": float(score(counts)) for name, score in CELL_SCORES.items()}


def calibration_scores(found: calibration.Histogram, tempered: calibration.Histogram) -> dict[str, float]:
    """The scores of calibration histograms, of one image or pooled."""
    of_both = {"": found, "_tempered": tempered}
    return {
        f"{name}{end}": float(score(each))
        for end, each in of_both.items()
        for name, score in CALIBRATION_SCORES.items()
    }


def _mean(scores: Sequence[float]) -> float:
    """Of those that are defined."""
    defined = [score for score in scores if not isnan(score)]
    return fmean(defined) if defined else nan


def _cells(
    predicted: Bytes, truth: Bytes, valid: Mask, settings: ScoreSettings, numbered: Numbered
) -> dict[str, cells.CellCounts]:
    """Cells of truth and prediction, compared; what is not numbered is cut in the same way, whichever it is.

    Of several classes: a cell counts as found whatever its class, which is for the scores of pixels to judge.
    """
    if numbered.truth is not None:
        valid = valid | (numbered.truth > 0)  # the border between objects, where it is to be ignored, is theirs
    smallest, depth = settings.min_cell_size, settings.split_neck
    cuts: dict[str, Callable[[Mask], instances.Labels]] = {
        "": lambda mask: instances.components(mask, valid, smallest=smallest),
        "watershed/": lambda mask: instances.split_touching(mask, valid, depth=depth, smallest=smallest),
    }

    def labelled(classes: Bytes, objects: Objects | None, cut: Callable[[Mask], instances.Labels]) -> instances.Labels:
        if objects is not None:
            return np.where(valid, objects, np.int32(0))
        return instances.of_classes(cut, classes)

    result = {}
    for prefix, cut in cuts.items():
        found = labelled(predicted, numbered.predicted, cut)
        if numbered.truth is not None and numbered.predicted is None:
            found = instances.rejoined(found, valid, settings.border)
        result[prefix] = cells.compare(found, labelled(truth, numbered.truth, cut))
    return result
