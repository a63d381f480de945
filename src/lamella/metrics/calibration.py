"""Whether a probability of 0.8 is right in 8 of 10 pixels, and a temperature that makes it so.

Two classes: the probability is the foreground's, and a pixel is "right" where it is foreground. More classes: the
probability is that of the likeliest class, and a pixel is right where that class is the true one. Each image leaves
one small histogram; histograms add up (`pool`), and all scores derive from them. Without a valid pixel they are NaN.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, softmax

Probability = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

BINS = 15
"""As many as in most published calibration errors."""

TEMPERATURES = (0.05, 20.0)
"""The least and the greatest temperature that is ever fitted."""

# Probabilities nearer to 0 or 1 than this are taken as this: their logits are finite, in float32, too.
_LEAST = 1e-6


class Histogram(NamedTuple):
    """Pixels by probability, in bins of equal width over [0, 1]; a bin holds its lower edge, the last one also 1.

    Attributes:
        pixels: (..., B) valid pixels.
        probability: (..., B) the sum of their probabilities.
        right: (..., B) how many are right.
        squared: (...) sum over pixels of the squared error of the probabilities, summed over classes for more than two.
    """

    pixels: Floats
    probability: Floats
    right: Floats
    squared: float | Floats

    def row(self) -> Floats:
        """The numbers of one image in one row (3 B + 1,), which add up over images."""
        return np.concatenate([self.pixels, self.probability, self.right, [self.squared]])

    @classmethod
    def of(cls, rows: Floats) -> "Histogram":
        """Histograms from (sums of) rows (..., 3 B + 1)."""
        pixels, probability, right = np.split(rows[..., :-1], 3, axis=-1)
        return cls(pixels, probability, right, rows[..., -1])


class Curve(NamedTuple):
    """A reliability curve: one point a bin, NaN where a bin is empty.

    Attributes:
        probability: (B,) mean probability.
        right: (B,) share of pixels that are right; equal to it where the network is calibrated.
        pixels: (B,) valid pixels.
    """

    probability: Floats
    right: Floats
    pixels: Floats


def histogram(probability: Probability, truth: Integers, valid: Mask, *, bins: int = BINS) -> Histogram:
    """How many valid pixels of one image have which probability, and how many of them are right.

    Args:
        probability: (K', H, W) in [0, 1]; K' = 1 is the foreground's, else one for each class.
        truth: class ids (H, W).
        valid: bool (H, W); False counts nowhere.
        bins: B.
    """
    values, classes = probability[:, valid], truth[valid]  # (K', pixels)
    if len(values) == 1:
        stated, right = values[0], classes == 1
        squared = _squared(stated - right)
    else:
        likeliest = values.argmax(axis=0)
        stated, right = values.max(axis=0), likeliest == classes
        squared = sum(_squared(share - (classes == class_id)) for class_id, share in enumerate(values))
    place = np.minimum((stated * np.float32(bins)).astype(np.intp), bins - 1)
    pixels, total = (np.bincount(place, weights, bins).astype(np.float64) for weights in (None, stated))
    return Histogram(pixels, total, np.bincount(place[right], minlength=bins).astype(np.float64), squared)


def pool(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of several images taken as one; there must be at least one, and all of as many bins."""
    pixels, probability, right, squared = zip(*histograms, strict=True)
    return Histogram(np.sum(pixels, axis=0), np.sum(probability, axis=0), np.sum(right, axis=0), float(sum(squared)))


def curve(found: Histogram) -> Curve:
    """The reliability curve (M. DeGroot, S. Fienberg 1983, The Statistician 32:12)."""
    with np.errstate(invalid="ignore"):
        return Curve(found.probability / found.pixels, found.right / found.pixels, found.pixels)


def ece(found: Histogram) -> Floats:
    """The expected calibration error, in [0, 1], 0 is best: |right - probability|, a mean over pixels by bins.

    M. Naeini et al. 2015, AAAI; C. Guo et al. 2017, ICML (arXiv:1706.04599). It depends on the number of bins, and
    over- and underconfidence within a bin cancel; Brier's score has neither weakness.
    """
    return _mean(np.abs(found.right - found.probability).sum(axis=-1), found)


def brier(found: Histogram) -> Floats:
    """The mean squared error of the probabilities; 0 is best.

    G. Brier 1950, Monthly Weather Review 78:1. For two classes it is the foreground's, in [0, 1]: half of what
    Brier wrote. For more it is summed over classes, as he wrote it, in [0, 2].
    """
    return _mean(np.asarray(found.squared), found)


class LogitSample(NamedTuple):
    """Some pixels of one image, to fit a temperature on.

    Attributes:
        logits: float32 (n, K), finite; two classes have two columns, background first.
        classes: (n,) true class ids.
    """

    logits: Probability
    classes: npt.NDArray[np.intp]


def logit_sample(
    probability: Probability, truth: Integers, valid: Mask, *, most: int = 20_000, seed: int = 0
) -> LogitSample:
    """Draws valid pixels of one image at random, all of them where there are few.

    Args:
        probability: (K', H, W), as the network gives it.
        truth: class ids (H, W).
        valid: bool (H, W).
        most: pixels drawn at most, so that memory stays small.
        seed: decides which.
    """
    place = np.flatnonzero(valid)
    if place.size > most:
        place = np.random.default_rng(seed).choice(place, most, replace=False, shuffle=False)
    values = probability.reshape(len(probability), -1)[:, place]
    if len(values) == 1:
        values = np.concatenate([1 - values, values])
    logits = np.log(np.clip(values, _LEAST, 1 - _LEAST))
    return LogitSample(np.ascontiguousarray(logits.T), truth.reshape(-1)[place].astype(np.intp))


def fit_temperature(samples: Sequence[LogitSample]) -> float:
    """The temperature that makes the true classes likeliest: logits are divided by it before they become probabilities.

    C. Guo et al. 2017 (arXiv:1706.04599). The mean negative log-likelihood is convex in 1 / temperature, so its
    slope has one root. For validation images, never for those of a test.

    Returns:
        Within TEMPERATURES; above 1 the network was too sure of itself, below 1 not sure enough. 1 where no
        temperature is better than another (no pixel, or the same logit for all classes).
    """
    logits = np.concatenate([sample.logits for sample in samples]) if samples else np.zeros((0, 2), np.float32)
    if not np.ptp(logits, axis=1).any():
        return 1.0
    classes = np.concatenate([sample.classes for sample in samples])
    of_truth = logits[np.arange(len(logits)), classes].sum(dtype=np.float64)

    def slope(log_temperature: float) -> float:
        """The slope of the negative log-likelihood over 1 / temperature."""
        shares = softmax(logits * np.float32(np.exp(-log_temperature)), axis=1)
        return float((shares * logits).sum(dtype=np.float64) - of_truth)

    low, high = np.log(TEMPERATURES)
    if slope(low) <= 0:  # even the least is too high: all pixels are right
        return TEMPERATURES[0]
    if slope(high) >= 0:
        return TEMPERATURES[1]
    return float(np.exp(brentq(slope, low, high, xtol=1e-6)))


def tempered(probability: Probability, temperature: float) -> Probability:
    """The probabilities (K', ...) at another temperature; at 1 they are as they were.

    The order of pixels, and with it every class, stays, but for rounding: masks are made from the probabilities as
    the network gave them.
    """
    if temperature == 1:
        return probability
    limited = np.clip(probability, _LEAST, 1 - _LEAST)
    if len(limited) == 1:
        return np.asarray(expit((np.log(limited) - np.log1p(-limited)) / np.float32(temperature)))
    return np.asarray(softmax(np.log(limited) / np.float32(temperature), axis=0))


def _mean(total: Floats, found: Histogram) -> Floats:
    pixels = found.pixels.sum(axis=-1)
    return np.where(pixels > 0, total / np.where(pixels > 0, pixels, 1), np.nan)


def _squared(errors: npt.NDArray[np.float32]) -> float:
    return float(np.sum(errors * errors, dtype=np.float64))
