"""The test: what is predicted of test images, its scores, the table of them and pictures."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lamella.data.io.read import Bytes
from lamella.data.prepared import PreparedData
from lamella.data.types import IGNORE
from lamella.evaluation import error_maps, scores
from lamella.evaluation.image_scores import ScoreSettings
from lamella.inference.settings import OperatingPoint
from lamella.inference.whole_images import Predicted
from lamella.metrics import calibration
from lamella.plaintext import write_csv
from lamella.plots import run as figures


def evaluate_test(
    data: PreparedData,
    predicted: Iterable[Predicted],
    operating_point: OperatingPoint | None,
    settings: ScoreSettings,
    folder: Path,
    *,
    probabilities: bool,
    heading: str,
    shown: int,
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """The scores of the test images, by name; figures, error maps and the per-image tables are left in `folder`.

    Args:
        data: its `split.test` is scored.
        predicted: whole images, one for each sample of the test, in their order.
        operating_point: chosen on the validation images; None where nothing was chosen.
        folder: the run's files.
        probabilities: whether what was predicted says how sure it is; else it is masks alone.
        heading: stands above every figure.
        shown: how many test images are drawn, from the worst to the best.
        progress: called with the number of images done, and of all; in threads.
    """
    samples, names = data.split.test, data.dataset.card.class_names
    predictions: dict[int, Bytes] = {}
    confusions: list[npt.NDArray[np.int64]] = []

    def each(place: int, truth: Bytes, classes: Bytes) -> None:
        error_maps.write(folder, scores.case(place), data.store.full_image(samples[place]), truth, classes)
        confusions.append(confusion_of(truth, classes, len(names)))
        predictions[place] = classes
        progress(len(predictions), len(samples))

    point = operating_point or _nothing_chosen(settings.objects)
    scored = scores.score_images(
        predicted,
        settings,
        samples=samples,
        temperature=point.temperature if probabilities else None,
        each=each,
        true_objects=lambda place: data.store.objects(samples[place]),
    )
    found = scores.columns(scored, names, point.neurite_threshold)
    values = scores.summary(scored, found, names, settings)
    if operating_point is not None:
        values["time/test_images_per_s"] = scored.images_per_s
        values["test/threshold"] = point.threshold
    if point.neurite_threshold is not None:
        values["test/v_rand/threshold"] = point.neurite_threshold
        values |= scores.oracle(scored)
    (folder / "scores").mkdir(parents=True, exist_ok=True)  # a run may have been killed here
    write_csv(pd.DataFrame(scores.rows(scored, found)), folder / "scores" / "test.csv")
    if cell_rows := scores.cell_rows(scored):
        write_csv(pd.DataFrame(cell_rows), folder / "scores" / "cells.csv")
    confusion = np.sum(confusions, axis=0)
    figures.confusion_matrix(folder / "figures" / "confusion_matrix.png", confusion, names, heading)
    if histograms := scored.histograms():
        values["calibration/temperature"] = point.temperature
        table = reliability(histograms)
        write_csv(table, folder / "scores" / "reliability.csv")
        figures.reliability(folder / "figures" / "reliability.png", table, point.temperature, heading)
    _draw(data, found["dice"], predictions, folder / "figures", heading, shown)
    return values


def _nothing_chosen(objects: str) -> OperatingPoint:
    """That of masks, in which any threshold finds the same."""
    return OperatingPoint(0.5, 1.0, 0.5 if objects == "neurites" else None)


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
