"""A trained network on test images: scores, the per-image table, pictures."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console

from lamella.commands.setup import Data
from lamella.config.schema import Config
from lamella.data.loaders.datamodule import whole
from lamella.data.types import IGNORE, Sample
from lamella.evaluation import error_maps as outcomes
from lamella.evaluation import scores as scoring
from lamella.evaluation.image_scores import Wanted
from lamella.hardware import Hardware
from lamella.inference.checkpoint import Decided
from lamella.inference.segmenter import Segmenter
from lamella.metrics import calibration
from lamella.models.classical.base import Classical
from lamella.plots import run as figures
from lamella.tracking.provenance import title

Bytes = npt.NDArray[np.uint8]


def judge(
    cfg: Config,
    data: Data,
    segmenter: Segmenter,
    decided: Decided,
    machine: Hardware,
    folder: Path,
    out: Console,
) -> dict[str, float]:
    """Scores the test images; leaves figures, outcomes and the per-image table in `folder`.

    Args:
        cfg: the run's.
        data: its `split.test` is scored.
        segmenter: on the machine's device, with the threshold that was decided.
        decided: by the validation images.
        machine: device and precision.
        folder: the run's files.
        out: where progress is shown.

    Returns:
        Metrics by name.
    """
    card, samples = data.dataset.card, data.split.test
    names = card.class_names
    predictions: dict[int, Bytes] = {}
    confusions: dict[int, npt.NDArray[np.int64]] = {}
    with out.status("scoring the test images") as status:

        def each(place: int, truth: Bytes, predicted: Bytes) -> None:
            outcomes.write(folder, scoring.case(place), data.store.full_image(samples[place]), truth, predicted)
            confusions[place] = confusion_of(truth, predicted, len(names))
            predictions[place] = predicted
            status.update(f"scoring the test images: {len(predictions)} of {len(samples)}")

        wanted = Wanted(
            num_classes=len(names),
            objects=card.objects,
            spacing_nm=card.spacing_nm,
            tolerance=cfg.score.tolerance,
            tolerance_nm=cfg.score.tolerance_nm,
            smallest=cfg.score.min_cell_size,
            neck=cfg.score.split_neck,
            probabilities=not isinstance(segmenter.network, Classical),
            temperature=decided.temperature,
        )
        scored = scoring.score(
            segmenter,
            whole(samples, data.store),
            machine,
            wanted,
            groups=[sample.group for sample in samples],
            tta=segmenter.how.tta,
            resized=cfg.score.resized,
            each=each,
        )
        found = scoring.columns(scored, names, decided.neurite_threshold)
        values = scoring.summary(scored, found, names, cfg.score.tolerance)
    values["time/test_images_per_s"] = scored.images_per_s
    values["model/parameters"] = sum(p.numel() for p in segmenter.network.parameters())
    values["test/threshold"] = decided.threshold
    if decided.neurite_threshold is not None:
        values["test/v_rand/threshold"] = decided.neurite_threshold
        values |= scoring.oracle(scored)
    (folder / "scores").mkdir()
    pd.DataFrame(scoring.rows(scored, found)).to_csv(folder / "scores" / "test.csv", index=False)
    if cell_rows := scoring.cell_rows(scored):
        pd.DataFrame(cell_rows).to_csv(folder / "scores" / "cells.csv", index=False)
    heading = title(cfg, data)
    confusion = np.sum(list(confusions.values()), axis=0)
    figures.confusion_matrix(folder / "figures" / "confusion_matrix.png", confusion, names, heading)
    if histograms := scored.histograms():
        values["calibration/temperature"] = decided.temperature
        table = reliability(histograms)
        table.to_csv(folder / "scores" / "reliability.csv", index=False)
        figures.reliability(folder / "figures" / "reliability.png", table, decided.temperature, heading)
    _draw(cfg, data, samples, found["dice"], predictions, folder / "figures")
    return values


def reliability(histograms: tuple[calibration.Histogram, ...]) -> pd.DataFrame:
    """The reliability curves: kind ("as predicted" or "tempered"), probability, right, pixels; empty bins left out."""
    parts = []
    for kind, histogram in zip(("as predicted", "tempered"), histograms, strict=True):
        part = pd.DataFrame(calibration.curve(histogram)._asdict())
        parts.append(part[part["pixels"] > 0].assign(kind=kind))
    return pd.concat(parts, ignore_index=True)[["kind", "probability", "right", "pixels"]]


def confusion_of(truth: Bytes, predicted: Bytes, num_classes: int) -> npt.NDArray[np.int64]:
    """Pixel counts (K, K): truth in rows, prediction in columns; ignored pixels nowhere."""
    valid = truth != IGNORE
    pairs = truth[valid].astype(np.int64) * num_classes + predicted[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _draw(
    cfg: Config,
    data: Data,
    samples: tuple[Sample, ...],
    dice: npt.NDArray[np.float64],
    predictions: dict[int, Bytes],
    folder: Path,
) -> None:
    """Writes some test images, from the worst to the best."""
    order = np.argsort(dice)
    wanted = min(cfg.tracking.figures, len(order))
    places = np.unique(np.linspace(0, len(order) - 1, wanted).round().astype(int))
    for rank, place in enumerate(places, 1):
        sample = samples[order[place]]
        figures.prediction(
            folder / f"prediction_{rank}.png",
            image=data.store.full_image(sample),
            truth=data.store.truth(sample),
            predicted=predictions[int(order[place])],
            title=f"{title(cfg, data)}\n{sample.id}: Dice {dice[order[place]]:.4f}, "
            f"number {place + 1} of {len(order)} from the worst",
            class_names=data.dataset.card.class_names,
        )
