"""The test: a trained network on test images, its scores, the table of them and pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lamella.data.io.read import Bytes
from lamella.data.loaders.crops import whole
from lamella.data.prepared import PreparedData
from lamella.data.types import IGNORE
from lamella.evaluation import error_maps, scores
from lamella.evaluation.image_scores import Numbered, ScoreSettings
from lamella.hardware import Hardware
from lamella.inference.segmenter import Segmenter
from lamella.inference.settings import OperatingPoint
from lamella.metrics import calibration
from lamella.plots import run as figures


def evaluate_test(
    data: PreparedData,
    segmenter: Segmenter,
    operating_point: OperatingPoint,
    settings: ScoreSettings,
    hardware: Hardware,
    folder: Path,
    *,
    heading: str,
    shown: int,
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """The scores of the test images, by name; figures, error maps and the per-image tables are left in `folder`.

    Args:
        data: its `split.test` is scored.
        segmenter: on the hardware's device, with the operating point's threshold.
        operating_point: chosen on the validation images.
        folder: the run's files.
        heading: stands above every figure.
        shown: how many test images are drawn, from the worst to the best.
        progress: called with the number of images done, and of all; in threads.
    """
    samples, names = data.split.test, data.dataset.card.class_names
    predictions: dict[int, Bytes] = {}
    confusions: list[npt.NDArray[np.int64]] = []

    def each(place: int, truth: Bytes, predicted: Bytes) -> None:
        error_maps.write(folder, scores.case(place), data.store.full_image(samples[place]), truth, predicted)
        confusions.append(confusion_of(truth, predicted, len(names)))
        predictions[place] = predicted
        progress(len(predictions), len(samples))

    batches = whole(samples, data.store, ahead=hardware.device.type == "cuda")
    temperature = operating_point.temperature
    scored = scores.score_images(
        segmenter,
        batches,
        hardware,
        settings,
        samples=samples,
        temperature=temperature,
        each=each,
        numbered=lambda place: Numbered(data.store.objects(samples[place])),
    )
    found = scores.columns(scored, names, operating_point.neurite_threshold)
    values = scores.summary(scored, found, names, settings)
    values["time/test_images_per_s"] = scored.images_per_s
    values["model/parameters"] = sum(p.numel() for p in segmenter.network.parameters())
    values["test/threshold"] = operating_point.threshold
    if operating_point.neurite_threshold is not None:
        values["test/v_rand/threshold"] = operating_point.neurite_threshold
        values |= scores.oracle(scored)
    (folder / "scores").mkdir(parents=True)
    pd.DataFrame(scores.rows(scored, found)).to_csv(folder / "scores" / "test.csv", index=False)
    if cell_rows := scores.cell_rows(scored):
        pd.DataFrame(cell_rows).to_csv(folder / "scores" / "cells.csv", index=False)
    confusion = np.sum(confusions, axis=0)
    figures.confusion_matrix(folder / "figures" / "confusion_matrix.png", confusion, names, heading)
    if histograms := scored.histograms():
        values["calibration/temperature"] = temperature
        table = reliability(histograms)
        table.to_csv(folder / "scores" / "reliability.csv", index=False)
        figures.reliability(folder / "figures" / "reliability.png", table, temperature, heading)
    _draw(data, found["dice"], predictions, folder / "figures", heading, shown)
    return values


def reliability(histograms: tuple[calibration.Histogram, ...]) -> pd.DataFrame:
    """The points of the reliability curves, empty bins left out.

    Returns:
        Columns `kind` ("as predicted" or "tempered"), `probability`, `right` (the share that is) and `pixels`.
    """
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
    data: PreparedData, dice: scores.Column, predictions: dict[int, Bytes], folder: Path, heading: str, shown: int
) -> None:
    """Writes some test images, from the worst to the best; those without foreground, which have no Dice, at the end."""
    order, having = np.argsort(dice), int((~np.isnan(dice)).sum())
    places = np.unique(np.linspace(0, len(order) - 1, min(shown, len(order))).round().astype(int))
    for rank, place in enumerate(places, 1):
        case = int(order[place])
        sample = data.split.test[case]
        standing = (
            f"Dice {dice[case]:.4f}, number {place + 1} of {having} from the worst"
            if place < having
            else "no foreground in the truth"
        )
        figures.prediction(
            folder / f"prediction_{rank}.png",
            image=data.store.full_image(sample),
            truth=data.store.truth(sample),
            predicted=predictions[case],
            title=f"{heading}\n{sample.id}: {standing}",
            class_names=data.dataset.card.class_names,
        )
