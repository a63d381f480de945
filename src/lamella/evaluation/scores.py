"""Whole images -> per-image scores, the same way for a run's own test and any later evaluation."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from lamella.data.io.masks import Objects
from lamella.data.io.read import Bytes
from lamella.data.types import IGNORE, Batch, Sample
from lamella.evaluation.image_scores import ImageScores, Numbered, ScoreSettings, score_image
from lamella.evaluation.pooled import pooled_scores
from lamella.hardware import processors
from lamella.inference.whole_images import Predicted, certain
from lamella.metrics import calibration, cells, neurites
from lamella.metrics.catalogue import beside, lookup
from lamella.metrics.image_counts import ImageCounts
from lamella.metrics.pixels import (
    ALL_SCORE_NAMES,
    ImageTable,
    count,
    defined_mean,
    dice,
    soft_dice,
    soft_iou,
    soft_sums,
)
from lamella.statistics import agreement, interval, share

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_MOST_WAITING = 2 * 2**30
"""Bytes of predicted images that wait to be scored, or are: a large one is half a GB, and a GPU may be faster."""


@dataclass(frozen=True)
class TestScores:
    """All that was counted and measured of a set of test images.

    Attributes:
        table: pixel counts of each image.
        groups: the group of each image.
        resized: sums behind the soft scores of the resized images (N, K', 3); empty where they were not asked for.
        images: what else was measured of each image.
        images_per_s: how fast the network was, all images one after the other.
    """

    __test__ = False  # to pytest, a name that begins like this is a test

    table: ImageTable
    groups: Sequence[str]
    resized: npt.NDArray[np.float64]
    images: Sequence[ImageScores]
    images_per_s: float

    def histograms(self) -> tuple[calibration.Histogram, ...]:
        """Pixels by probability over all images, as predicted and tempered; none for a method that gives masks."""
        return tuple(calibration.pool(some) for some in zip(*(i.calibration for i in self.images), strict=True))


def score_images(
    predicted: Iterable[Predicted],
    settings: ScoreSettings,
    *,
    samples: Sequence[Sample],
    temperature: float | None,
    each: Callable[[int, Bytes, Bytes], None],
    true_objects: Callable[[int], Objects | None] = lambda _place: None,
) -> TestScores:
    """Counts and measures of every image, each predicted once.

    Args:
        predicted: whole images, predicted when they are asked for.
        samples: the same images, in their order.
        temperature: of the operating point; None for masks without probabilities.
        each: called with every image's place, truth and predicted classes, (H, W); in threads.
        true_objects: an image's place -> the ids of its objects, None where none are told apart; in threads.
    """
    counts = ImageCounts([sample.id for sample in samples])
    sums, seconds = [], 0.0
    measured: list[Future[ImageScores]] = []

    def look(place: int, map_: Floats, found: Bytes, objects: Objects | None, truth: Bytes, valid: Mask) -> ImageScores:
        each(place, np.where(valid, truth, IGNORE).astype(np.uint8), found)
        numbered = Numbered(true_objects(place), objects)
        return score_image(map_, found, truth, valid, settings, temperature, numbered)

    waiting, held = deque[tuple[Future[ImageScores], int]](), 0
    # scipy and scikit-image let go of the interpreter: the network goes on.
    with ThreadPoolExecutor(processors()) as pool:
        for place, (there, probability, classes, began, objects) in enumerate(predicted):
            counts.update(there.id, count(classes, there.mask, there.valid, settings.num_classes))
            if settings.resized is not None:
                soft = probability if temperature is not None else certain(classes, settings.num_classes)
                sums.append(_resized_sums(soft, there, settings.resized))
            found = classes[0].cpu().numpy()  # waits for the device
            seconds += time.perf_counter() - began
            map_, truth, valid = (tensor[0].cpu().numpy() for tensor in (probability, there.mask, there.valid))
            measured.append(pool.submit(look, place, map_, found, objects, truth, valid))
            arrays = [map_, found, truth, valid, *([] if objects is None else [objects])]
            waiting.append((measured[-1], sum(array.nbytes for array in arrays)))
            held += waiting[-1][1]
            while held > _MOST_WAITING:
                oldest, size = waiting.popleft()
                oldest.result()
                held -= size
        done = [future.result() for future in measured]
    resized = torch.cat(sums).cpu().double().numpy() if sums else np.empty(0)
    return TestScores(counts.table(), [sample.group for sample in samples], resized, done, len(done) / seconds)


def _resized_sums(share: torch.Tensor, batch: Batch, side: int) -> torch.Tensor:
    """The sums of `soft_sums` after prediction (by area) and truth (nearest) were resized to a square."""
    size = (side, side)
    small = F.interpolate(share.float(), size, mode="area")
    truth, valid = (F.interpolate(t[:, None].float(), size)[:, 0] for t in (batch.mask, batch.valid))
    return soft_sums(small, truth.to(torch.uint8), valid > 0)


def columns(scored: TestScores, class_names: Sequence[str], neurite_threshold: float | None) -> dict[str, Column]:
    """The column of every score: one value an image.

    Args:
        scored: the images.
        class_names: one a class; for more than two each has columns of its own.
        neurite_threshold: one of `neurites.THRESHOLDS`, chosen on validation; None where there are no neurites.
    """
    table = scored.table
    found = {name: table.per_image(name) for name in ALL_SCORE_NAMES}
    if neurite_threshold is not None:
        found["interior/dice"] = table.of_class("dice", 0)
        chosen = neurites.THRESHOLDS.index(neurite_threshold)
        for name in ("v_rand", "v_info"):
            found[name] = np.array([getattr(each.neurites[chosen], name) for each in scored.images])
    for class_id, of in _classes(class_names):
        for name in ("dice", "iou"):
            found[f"{of}/{name}"] = table.of_class(name, class_id)
    if scored.resized.size:
        found |= {"resized/soft_dice": soft_dice(scored.resized), "resized/soft_iou": soft_iou(scored.resized)}
    for name in scored.images[0].columns:
        found[name] = np.array([each.columns[name] for each in scored.images], np.float64)
    return found


def summary(
    scored: TestScores, found: dict[str, Column], class_names: Sequence[str], settings: ScoreSettings
) -> dict[str, float]:
    """Means over images and pooled scores with 95 % intervals, failures, and what images without a class say.

    What is undefined or not known is left out: none is NaN.

    Args:
        scored: the images.
        found: their `columns`.
        class_names: for more than two there are scores a class, and a macro average, the background included.
        settings: the tolerance of outlines, and what a failure is.

    Returns:
        Names under `test/`. A mean that stands on fewer images than there are has their number as `NAME/images`.
    """
    values: dict[str, float] = {}
    table, groups = scored.table, scored.groups
    for name, column in found.items():
        if lookup(name).kind == "signed error":
            values |= _count_errors(f"test/{name}", column, groups)
        elif lookup(name).kind != "count":
            values |= with_interval(f"test/{name}", column, groups)
    if len(class_names) > 2:
        for name in ("dice", "iou"):
            values |= with_interval(f"test/macro/{name}", table.macro(name), groups)
        for class_id, of in _classes(class_names):
            values |= _absent(f"test/{of}/absent", table.counts[:, class_id])
    else:
        values |= _absent("test/absent", table.counts[:, 1])
    if not np.isnan(found["boundary/surface_dice"]).all():
        values["test/boundary/imputed"] = int((found["boundary/imputed"] > 0).sum())
    values |= _failures(found["dice"], groups, settings.failure)
    return values | pooled_scores(
        table, scored.images, groups, classes=_classes(class_names), tolerance=settings.tolerance
    )


def _classes(class_names: Sequence[str]) -> list[tuple[int, str]]:
    """Id and `class/NAME` of each class that has scores of its own: none of two, where they are the image's."""
    # What MLflow allows in a metric's name.
    plain = [re.sub(r"[^\w .-]", "_", name) for name in class_names]
    return [(class_id, f"class/{name}") for class_id, name in enumerate(plain)] if len(plain) > 2 else []


def _absent(name: str, counts: Counts) -> dict[str, float]:
    """Of the images without a class: how many, the share in which none was found, and the pixels wrongly found."""
    tp, fp, fn, tn = counts.T
    fp = fp[(tp + fn == 0) & (fp + tn > 0)]
    if not fp.size:
        return {}
    return {f"{name}/images": len(fp), f"{name}/empty": float((fp == 0).mean()), f"{name}/fp": float(fp.mean())}


def _failures(column: Column, groups: Sequence[str], least: float) -> dict[str, float]:
    """The share of images with a Dice below `least`, and its exact bounds: known where each image is by itself."""
    defined = column[~np.isnan(column)]
    if not defined.size:
        return {}
    found = share(int((defined < least).sum()), len(defined))
    grouped = len(set(groups)) < len(groups)
    return {"test/failures": found.share} | ({} if grouped else _ends("test/failures", found.low, found.high))


def cell_rows(scored: TestScores) -> list[dict[str, Any]]:
    """The table of how well cells are found: one row for each way of cutting regions apart and each IoU threshold.

    Returns:
        `cells` ("components" or "watershed"), `iou`, then precision, recall, F1 and AP: means over the images with
        cells, and pooled.
    """
    scores = {"precision": cells.precision, "recall": cells.recall, "f1": cells.f1, "ap": cells.average_precision}
    result = []
    for prefix in scored.images[0].cells:
        counts = [each.cells[prefix] for each in scored.images]
        together = cells.pool(counts)
        for iou in cells.IOU_THRESHOLDS:
            row: dict[str, Any] = {"cells": prefix.strip("/") or "components", "iou": iou}
            row |= {name: float(defined_mean([of(each, iou) for each in counts])) for name, of in scores.items()}
            result.append(row | {f"pooled_{name}": float(of(together, iou)) for name, of in scores.items()})
    return result


def _count_errors(name: str, error: Column, groups: Sequence[str]) -> dict[str, float]:
    """Of counts: mean absolute error, bias, and the limits within which 95 % of the errors lie."""
    limits = agreement(error, np.zeros_like(error))
    values = {
        **with_interval(beside(name, "mae"), np.abs(error), groups),
        **with_interval(beside(name, "bias"), error, groups),
    }
    if not isnan(limits.low):
        values |= {beside(name, "agreement_from"): limits.low, beside(name, "agreement_to"): limits.high}
    return values


def oracle(scored: TestScores) -> dict[str, float]:
    """Scores at the threshold that is best on the very test images they are taken from, as challenges report them.

    `test/pixel_error/isbi2012` is that challenge's pixel error, the measure of the 6.11 % in U-Net's paper: 1 - the
    highest F-score of the interior's pixels, all sections pooled, as Fiji's `PixelError` counts it. It is no share of
    wrong pixels: where a fifth is membrane it is about 0.6 times that share.
    """
    interior = np.sum([each.interior for each in scored.images], axis=0)
    best = {"test/pixel_error/isbi2012": 1 - float(dice(interior).max())}
    for name in ("v_rand", "v_info"):
        at_thresholds = [[getattr(s, name) for s in each.neurites] for each in scored.images]
        best[f"test/{name}/oracle"] = float(defined_mean(at_thresholds, axis=0).max())
    return {name: value for name, value in best.items() if not isnan(value)}


def with_interval(name: str, column: Column, groups: Sequence[str]) -> dict[str, float]:
    """The mean over the images that have a score, and its 95 % interval, {name, name/low, name/high, name/images}.

    The mean is left out where no image has the score, the ends where they are not known, the number of images where
    all have it. The images of a group are drawn as one.
    """
    found = interval(column, groups=groups, bounds=lookup(name).bounds)
    values = {} if isnan(found.mean) else {name: found.mean, **_ends(name, found.low, found.high)}
    return values if found.images == len(column) else {**values, f"{name}/images": found.images}


def _ends(name: str, low: float, high: float) -> dict[str, float]:
    return {} if isnan(low) else {f"{name}/low": low, f"{name}/high": high}


def rows(scored: TestScores, found: dict[str, Column]) -> list[dict[str, Any]]:
    """The table of images, a row each: id, number, group, scores, and pixel counts (numbered for more classes)."""
    table, result = scored.table, []
    for i, name in enumerate(table.ids):
        row: dict[str, Any] = {"id": name, "case": case(i), "group": scored.groups[i]}
        row |= {column: float(values[i]) for column, values in found.items()}
        for class_id in range(1, table.num_classes):
            suffix = "" if table.num_classes == 2 else f"_{class_id}"
            counts = table.counts[i, class_id]
            row |= {f"{n}{suffix}": int(v) for n, v in zip(("tp", "fp", "fn", "tn"), counts, strict=True)}
        result.append(row)
    return result


def case(place: int) -> str:
    """What names the pictures of an image: its number in the order of scoring, four digits."""
    return f"{place:04d}"
