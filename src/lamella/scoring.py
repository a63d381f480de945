"""Whole images -> per-image scores, the same way for validation, test and any later evaluation."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lamella.data.types import Batch
from lamella.hardware import Hardware
from lamella.inference import classes
from lamella.metrics import neurites
from lamella.metrics.pixels import SCORE_NAMES, ImageTable, soft_dice, soft_iou, soft_sums
from lamella.models.choice import Classical
from lamella.statistics import interval
from lamella.task import SegmentationTask, image_table

Probability = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Scored:
    """One set of images, scored.

    Attributes:
        table: pixel counts of each image.
        neurites: scores[i][t] of image i at `neurites.THRESHOLDS[t]`; empty where the data has no neurites.
        resized: sums behind the soft scores of the resized images (N, K', 3); empty where they were not asked for.
    """

    table: ImageTable
    neurites: Sequence[Sequence[neurites.NeuriteScores]]
    resized: np.ndarray[Any, np.dtype[np.float64]]


def score(
    task: SegmentationTask,
    batches: Iterable[Batch],
    hardware: Hardware,
    *,
    tta: bool,
    objects: str,
    resized: int | None = None,
    each: Callable[[Batch, Probability], None] | None = None,
) -> Scored:
    """Predicts and counts every image once.

    Args:
        task: in evaluation mode, on the hardware's device.
        batches: whole images, one a batch.
        hardware: device and precision.
        tta: average over the eight flips and quarter turns.
        objects: the data set card's `objects`.
        resized: side of the square that prediction and truth are resized to for the soft scores; None: none.
        each: called with every batch and its probabilities (K', H, W).
    """
    counted, sums = [], []
    found: list[Sequence[neurites.NeuriteScores]] = []
    mixed = hardware.precision == "bf16-mixed"
    with torch.inference_mode(), torch.autocast(hardware.device.type, torch.bfloat16, enabled=mixed):
        for batch in batches:
            tensors = (batch.image, batch.mask, batch.valid)
            image, mask, valid = (tensor.to(hardware.device) for tensor in tensors)
            on_device = Batch(image, mask, valid, batch.id)
            probability = task.probability(on_device, tta=tta)
            counted.append((batch.id[0], task.count(probability, on_device)[0]))
            if resized is not None:
                # A method without training has a mask, and no probabilities.
                hard = isinstance(task.network, Classical)
                share = classes(probability, task.inference.threshold)[:, None] if hard else probability
                sums.append(_resized_sums(share, on_device, resized))
            map_ = probability[0].float().cpu().numpy()
            if objects == "neurites":
                interior = 1 - map_[0]  # class 1 is membrane
                found.append(neurites.scores_at(interior, batch.mask[0].numpy() == 0, neurites.THRESHOLDS))
            if each:
                each(batch, map_)
    return Scored(image_table(counted), found, torch.cat(sums).cpu().double().numpy() if sums else np.empty(0))


def _resized_sums(probability: torch.Tensor, batch: Batch, side: int) -> torch.Tensor:
    """The sums of `soft_sums` after prediction (by area) and truth (nearest) were resized to a square."""
    size = (side, side)
    share = F.interpolate(probability.float(), size, mode="area")
    truth, valid = (F.interpolate(t[:, None].float(), size)[:, 0] for t in (batch.mask, batch.valid))
    return soft_sums(share, truth.to(torch.uint8), valid > 0)


def summary(scored: Scored, prefix: str, class_names: Sequence[str]) -> dict[str, float]:
    """Means over images with 95 % intervals, and pooled scores, under `prefix`/; each class's own for more than two."""
    values: dict[str, float] = {}
    columns = {name: scored.table.per_image(name) for name in SCORE_NAMES}
    if scored.neurites:
        columns["pixel_error"] = 1 - columns["accuracy"]
        columns["interior/dice"] = scored.table.of_class("dice", 0)
    for class_id, class_name in enumerate(class_names) if len(class_names) > 2 else ():
        plain = re.sub(r"[^\w .-]", "_", class_name)  # what MLflow allows in a metric's name
        for name in ("dice", "iou"):
            columns[f"class/{plain}/{name}"] = scored.table.of_class(name, class_id)
    columns |= _soft_columns(scored)
    for name, column in columns.items():
        values |= with_interval(f"{prefix}/{name}", column)
    for name in ("dice", "iou"):
        values[f"{prefix}/pooled/{name}"] = scored.table.pooled(name)
    return values


def _soft_columns(scored: Scored) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Soft scores of the resized images, mean over foreground classes; none where they were not asked for."""
    if not scored.resized.size:
        return {}
    return {
        "resized/soft_dice": soft_dice(scored.resized),
        "resized/soft_iou": soft_iou(scored.resized),
    }


def neurite_summary(test: Scored, val: Scored) -> tuple[dict[str, float], int]:
    """V_rand and V_info of the test sections at the threshold that validation chose, and at the best one.

    The best threshold is an oracle: it has seen the truth it is judged by, and is named so.

    Returns:
        The metrics, and the place in `neurites.THRESHOLDS` that validation chose.
    """
    mean = np.array([[s.v_rand for s in section] for section in val.neurites]).mean(axis=0)
    threshold = neurites.best_threshold(dict(zip(neurites.THRESHOLDS, mean.tolist(), strict=True)))
    chosen = neurites.THRESHOLDS.index(threshold)
    rand = np.array([[s.v_rand for s in section] for section in test.neurites])
    info = np.array([[s.v_info for s in section] for section in test.neurites])
    values = {
        **with_interval("test/v_rand", rand[:, chosen]),
        **with_interval("test/v_info", info[:, chosen]),
        "test/v_rand/threshold": threshold,
        "test/v_rand/oracle": float(rand.mean(axis=0).max()),
        "test/v_info/oracle": float(info.mean(axis=0).max()),
        "val/v_rand": float(mean[chosen]),
    }
    return values, chosen


def with_interval(name: str, column: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """{name: mean, name/low: ..., name/high: ...}."""
    found = interval(column)
    return {name: found.mean, f"{name}/low": found.low, f"{name}/high": found.high}


def rows(scored: Scored, chosen: int | None) -> list[dict[str, Any]]:
    """One row an image: id, scores, and the counts of class 1 (or of each class, numbered, for more)."""
    table = scored.table
    columns = {name: table.per_image(name) for name in SCORE_NAMES}
    columns |= {name.removeprefix("resized/"): column for name, column in _soft_columns(scored).items()}
    result = []
    for i, name in enumerate(table.ids):
        row: dict[str, Any] = {"id": name, **{c: float(v[i]) for c, v in columns.items()}}
        for class_id in range(1, table.num_classes):
            suffix = "" if table.num_classes == 2 else f"_{class_id}"
            counts = table.counts[i, class_id]
            row |= {f"{n}{suffix}": int(v) for n, v in zip(("tp", "fp", "fn", "tn"), counts, strict=True)}
        if scored.neurites and chosen is not None:
            row |= {"pixel_error": 1 - row["accuracy"], "v_rand": scored.neurites[i][chosen].v_rand,
                    "v_info": scored.neurites[i][chosen].v_info}  # fmt: skip
        result.append(row)
    return result
