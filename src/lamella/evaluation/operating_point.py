"""What the validation images decide once training is over: thresholds and a temperature. Never the test images."""

from collections.abc import Iterable

import numpy as np

from lamella.data.types import Batch
from lamella.evaluation import scores as scoring
from lamella.hardware import Hardware
from lamella.inference.checkpoint import Decided
from lamella.inference.segmenter import Segmenter
from lamella.metrics import calibration, neurites
from lamella.metrics.pixels import choose_threshold, count_at
from lamella.models.classical.base import Classical


def decide(
    segmenter: Segmenter, batches: Iterable[Batch], hardware: Hardware, *, objects: str, choose: bool, tta: bool
) -> tuple[Decided, dict[str, float]]:
    """Predicts the validation images as the test's will be, once, and decides by them.

    Args:
        segmenter: on the hardware's device. A method without training gives masks: its threshold stays, and it has no
            temperature.
        batches: whole validation images, one a batch.
        hardware: device and precision.
        objects: the data set card's `objects`.
        choose: take the threshold with the best mean Dice; else `segmenter`'s own stays. Two classes.
        tta: as in the test.

    Returns:
        What was decided, and the metrics that say by what.
    """
    probabilities = not isinstance(segmenter.network, Classical)
    counts, samples, rand = [], [], []
    for batch in batches:
        there, found = scoring.probability(segmenter, batch, hardware, tta=tta)
        map_, truth, valid = found[0].cpu().numpy(), batch.mask[0].numpy(), batch.valid[0].numpy()
        if probabilities:
            samples.append(calibration.logit_sample(map_, truth, valid))
        if probabilities and choose:
            counts.append(count_at(found, there.mask, there.valid)[0].cpu().numpy())
        if objects == "neurites":
            rand.append([s.v_rand for s in neurites.scores_at(1 - map_[0], truth == 0, neurites.THRESHOLDS)])
    threshold, neurite_threshold, temperature = segmenter.how.threshold, None, 1.0
    values: dict[str, float] = {}
    if counts:
        threshold = choose_threshold(np.stack(counts))
    if samples:
        temperature = calibration.fit_temperature(samples)
    if rand:
        mean = np.mean(rand, axis=0)
        neurite_threshold = neurites.best_threshold(dict(zip(neurites.THRESHOLDS, mean.tolist(), strict=True)))
        values["val/v_rand"] = float(mean.max())
    return Decided(threshold, temperature, neurite_threshold), values
