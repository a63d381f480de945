"""Choosing the operating point: thresholds and a temperature, on the validation images alone, never on the test's."""

from collections.abc import Iterable

import numpy as np

from lamella.data.types import Batch
from lamella.errors import DataError
from lamella.hardware import Hardware
from lamella.inference.segmenter import Segmenter
from lamella.inference.settings import OperatingPoint
from lamella.inference.whole_images import predict_images
from lamella.metrics import calibration, neurites
from lamella.metrics.pixels import choose_threshold as best_threshold
from lamella.metrics.pixels import count_at, defined_mean


def select(
    segmenter: Segmenter, batches: Iterable[Batch], hardware: Hardware, *, objects: str, choose_threshold: bool
) -> tuple[OperatingPoint, dict[str, float]]:
    """The operating point that suits the validation images best, each predicted once, as the test's will be.

    Args:
        segmenter: on the hardware's device. A method without training gives masks: its threshold stays, and it has no
            temperature.
        batches: whole validation images, one a batch.
        objects: the data set card's `objects`.
        choose_threshold: take the threshold with the best mean Dice; else `segmenter`'s own stays. Two classes.

    Returns:
        The operating point, and the metrics it was chosen by.

    Raises:
        DataError: no validation image has what a threshold is to be chosen by.
    """
    counts, samples, rand = [], [], []
    for there, probability, *_ in predict_images(segmenter, batches, hardware, tta=segmenter.inference.tta):
        map_, truth, valid = (each[0].cpu().numpy() for each in (probability, there.mask, there.valid))
        if segmenter.gives_probabilities:
            samples.append(calibration.logit_sample(map_, truth, valid))
        if segmenter.gives_probabilities and choose_threshold:
            counts.append(count_at(probability, there.mask, there.valid)[0].cpu().numpy())
        if objects == "neurites":
            inside = (truth == 0) & valid
            rand.append([s.v_rand for s in neurites.scores_at(1 - map_[0], inside, neurites.THRESHOLDS)])
    threshold, neurite_threshold, temperature = segmenter.inference.threshold, None, 1.0
    values: dict[str, float] = {}
    if counts:
        if not any((each[:, 0] + each[:, 2]).any() for each in counts):
            raise _nothing("pixel of foreground", "a threshold")
        threshold = best_threshold(np.stack(counts))
    if samples:
        temperature = calibration.fit_temperature(samples)
    if rand:
        mean = defined_mean(rand, axis=0)
        if np.isnan(mean).all():
            raise _nothing("neurite", "V_rand's threshold")
        neurite_threshold = neurites.best_threshold(dict(zip(neurites.THRESHOLDS, mean.tolist(), strict=True)))
        values["val/v_rand"] = float(mean.max())
    return OperatingPoint(threshold, temperature, neurite_threshold), values


def _nothing(what: str, chosen: str) -> DataError:
    return DataError(
        f"no validation image has a {what}, so there is nothing to choose {chosen} by",
        "Choose a split (dataset/split=...) whose validation images have some.",
    )
