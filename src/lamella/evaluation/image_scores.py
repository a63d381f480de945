"""One predicted image -> every score beyond pixel counts: outlines, cells, neurites, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.read import Bytes
from lamella.metrics import boundaries, calibration, cells, instances, neurites
from lamella.metrics.pixels import count_at

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What whole images are scored by, beside pixel counts, and how.

    Attributes:
        num_classes: background included.
        objects: what connected regions stand for, as a data set's card has it.
        spacing_nm: height and width of a pixel where they are known.
        tolerance: pixels that two outlines may lie apart and still be one.
        tolerance_nm: the same in nanometres.
        min_cell_size: regions of fewer pixels are no cell.
        split_neck: pixels by which a region must be narrower in between for it to be two cells.
        resized: side of the square that prediction and truth are resized to for the soft scores; None: none.
    """

    num_classes: int
    objects: str
    spacing_nm: tuple[float, float] | None
    tolerance: float
    tolerance_nm: float
    min_cell_size: int
    split_neck: float
    resized: int | None


class ImageScores(NamedTuple):
    """The scores of one image, and the counts behind them, which add up over images to pooled scores.

    Attributes:
        columns: score -> value.
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
) -> ImageScores:
    """Every score of one image beyond its pixel counts.

    Args:
        probability: (K', H, W), see `lamella.inference.tiling.predict`.
        predicted: class ids (H, W).
        truth: class ids (H, W).
        valid: (H, W); False counts nowhere.
        temperature: fitted on validation images, 1 changes nothing; None for a method that gives masks without
            probabilities, which has no calibration.
    """
    ids = range(1, settings.num_classes)
    gaps = tuple(boundaries.gaps(predicted == each, truth == each, valid) for each in ids)
    columns = outline_scores(gaps, settings.tolerance)
    if settings.spacing_nm is not None:
        spaced = [boundaries.gaps(predicted == each, truth == each, valid, settings.spacing_nm) for each in ids]
        columns |= {f"{name}_nm": value for name, value in outline_scores(spaced, settings.tolerance_nm).items()}
    counted = _cells(predicted > 0, truth > 0, valid, settings) if settings.objects == "cells" else {}
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
        found = tuple(neurites.scores_at(share, truth == 0, neurites.THRESHOLDS))
        batch, there, counts_where = (torch.from_numpy(each)[None] for each in (share[None], truth == 0, valid))
        interior = count_at(batch, there, counts_where, neurites.THRESHOLDS)[0].numpy()
    return ImageScores(columns, gaps, counted, histograms, found, interior)


def outline_scores(gaps: Sequence[boundaries.Gaps], tolerance: float) -> dict[str, float]:
    """The scores of the outlines of each class but the background, of one image or pooled: means over classes."""
    return {
        "boundary/hd95": fmean(boundaries.hausdorff95(each) for each in gaps),
        "boundary/surface_distance": fmean(boundaries.surface_distance(each) for each in gaps),
        "boundary/surface_dice": fmean(boundaries.surface_dice(each, tolerance) for each in gaps),
    }


def cell_scores(prefix: str, counts: cells.CellCounts) -> dict[str, float]:
    """The scores of cell counts, of one image or pooled."""
    return {
        f"{prefix}count/true": counts.truth,
        f"{prefix}count/found": counts.predicted,
        f"{prefix}count/error": cells.count_error(counts),
        f"{prefix}cells/precision": cells.precision(counts),
        f"{prefix}cells/recall": cells.recall(counts),
        f"{prefix}cells/f1": cells.f1(counts),
        f"{prefix}cells/ap50": cells.average_precision(counts, 0.5),
        f"{prefix}cells/ap": cells.average_precision(counts),
        f"{prefix}cells/aji": cells.aggregated_jaccard(counts),
        f"{prefix}cells/pq": cells.panoptic_quality(counts),
    }


def calibration_scores(found: calibration.Histogram, tempered: calibration.Histogram) -> dict[str, float]:
    """The scores of calibration histograms, of one image or pooled."""
    return {
        "calibration/ece": calibration.ece(found),
        "calibration/brier": calibration.brier(found),
        "calibration/ece_tempered": calibration.ece(tempered),
        "calibration/brier_tempered": calibration.brier(tempered),
    }


def _cells(predicted: Mask, truth: Mask, valid: Mask, settings: ScoreSettings) -> dict[str, cells.CellCounts]:
    """Truth and prediction are cut into cells in the same way, whichever it is."""
    masks, smallest, depth = (predicted, truth), settings.min_cell_size, settings.split_neck
    plain = [instances.components(mask, valid, smallest=smallest) for mask in masks]
    cut = [instances.split_touching(mask, valid, depth=depth, smallest=smallest) for mask in masks]
    return {"": cells.compare(*plain), "watershed/": cells.compare(*cut)}
