"""Pixel scores: count first, divide last.

For every image and class the pixels are counted once: true and false positives, false and true negatives.
All scores, per image or pooled, derive from that table, so batch size and order can never change one. The same
holds for the counts at a grid of thresholds, and for the sums of probabilities behind the soft scores.

A score is undefined (NaN), whatever was predicted, where the truth gives it nothing to measure: Dice, IoU, precision,
recall and MCC of a class that is not there, specificity where all is the class, every score without a valid pixel. So
two methods always lose the same images. Means are over what is defined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from lamella.metrics.neurites import best_threshold

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

THRESHOLDS: tuple[float, ...] = tuple(i / 100 for i in range(1, 100))
"""Foreground probabilities a threshold can be chosen from."""


def count(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Counts pixels per image and class, one class against the rest.

    Args:
        predicted: class ids (B, H, W), integer.
        truth: class ids (B, H, W), integer.
        valid: bool (B, H, W); False counts nowhere.
        num_classes: K.

    Returns:
        int64 (B, K, 4): true positives, false positives, false negatives, true negatives.
    """
    total = valid.sum((1, 2))  # (B,)
    table = []
    for class_id in range(num_classes):
        said, true = valid & (predicted == class_id), valid & (truth == class_id)
        tp, positive, there = (said & true).sum((1, 2)), said.sum((1, 2)), true.sum((1, 2))
        table.append(torch.stack([tp, positive - tp, there - tp, total - positive - there + tp], dim=-1))
    return torch.stack(table, dim=1)


def count_at(
    probability: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor, thresholds: Sequence[float] = THRESHOLDS
) -> torch.Tensor:
    """Counts pixels per image at many thresholds, by one histogram of the probabilities. Two classes only.

    Args:
        probability: of the foreground, float32 (B, 1, H, W).
        truth: class ids (B, H, W), integer; 1 is foreground.
        valid: bool (B, H, W); False counts nowhere.
        thresholds: T of them, ascending; foreground is what lies strictly above.

    Returns:
        int64 (B, T, 4): what `count` says of class 1 at each threshold.

    Raises:
        ValueError: more than one probability a pixel, or thresholds that do not ascend.
    """
    if probability.shape[1] != 1:
        raise ValueError(f"a threshold parts two classes; there are {probability.shape[1]} probabilities a pixel")
    if any(low >= high for low, high in pairwise(thresholds)):
        raise ValueError("thresholds must ascend")
    bins = len(thresholds) + 1
    edges = torch.tensor(thresholds, dtype=probability.dtype, device=probability.device)
    passed = torch.bucketize(probability[:, 0], edges, out_int32=True)  # how many thresholds a pixel lies above
    place = (passed + (truth == 1).int() * bins).masked_fill_(~valid, 2 * bins).flatten(1)
    counted = torch.stack([torch.bincount(each, minlength=2 * bins + 1) for each in place])
    above = counted[:, :-1].view(-1, 2, bins).flip(-1).cumsum(-1).flip(-1)  # (B, background or foreground, bins)
    fp, tp = above[:, 0, 1:], above[:, 1, 1:]
    background, foreground = above[:, 0, :1], above[:, 1, :1]
    return torch.stack([tp, fp, foreground - tp, background - fp], dim=-1)


def choose_threshold(counts: Counts, thresholds: Sequence[float] = THRESHOLDS, score: str = "dice") -> float:
    """The threshold with the best mean score over images. For validation images, never for those of a test.

    Args:
        counts: (N, T, 4), see `count_at`.
        thresholds: the T they were counted at.
        score: one of ALL_SCORE_NAMES.

    Returns:
        The best threshold; of equals the one nearest 0.5, of two equally near the lower. Images in which the score is
        undefined have no say.

    Raises:
        ValueError: it is undefined in all of them.
    """
    means = defined_mean(_FUNCTIONS[score](counts), axis=0)
    if score == "pixel_error":
        means = -means
    return best_threshold(dict(zip(thresholds, means.tolist(), strict=True)))


def soft_sums(probability: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The sums that soft Dice and soft IoU divide, of each image, for each class but the background.

    Args:
        probability: float32 (B, K', H, W); K' = 1 is the foreground's, else one for each class.
        truth: class ids (B, H, W), integer.
        valid: bool (B, H, W); False counts nowhere.

    Returns:
        float64 (B, K, 3): sum of p t, sum of p, sum of t, with K the classes besides background. Add over images
        to pool.
    """
    foreground = probability if probability.shape[1] == 1 else probability[:, 1:]
    sums = []
    for class_id, share in enumerate(foreground.unbind(1), start=1):
        share, there = torch.where(valid, share, 0), valid & (truth == class_id)
        parts = (torch.where(there, share, 0), share, there)
        sums.append(torch.stack([part.sum((1, 2), dtype=torch.float64) for part in parts], dim=-1))
    return torch.stack(sums, dim=1)


def soft_dice(sums: Scores) -> Scores:
    """Dice of probabilities without a threshold, 2 sum(p t) / (sum p + sum t): never to be compared with Dice.

    The "Dice" of the notebooks of Depto et al. (2021), their function `dice_coef2`; mean over the classes that are
    there, NaN without any. (..., K, 3), see `soft_sums`, -> (...).
    """
    both, said, true = np.moveaxis(sums, -1, 0)
    return defined_mean(_where(true > 0, _ratio(2 * both, said + true)))


def soft_iou(sums: Scores) -> Scores:
    """IoU of probabilities, sum(p t) / sum(p + t - p t): the "Jaccard" of the same notebooks, `jaccard_index2`."""
    both, said, true = np.moveaxis(sums, -1, 0)
    return defined_mean(_where(true > 0, _ratio(both, said + true - both)))


def dice(counts: Counts) -> Scores:
    """Dice, 2 TP / (2 TP + FP + FN); NaN where the truth lacks the class. (..., 4) -> (...)."""
    tp, fp, fn, _ = np.moveaxis(counts, -1, 0)
    return _where(tp + fn > 0, _ratio(2 * tp, 2 * tp + fp + fn))


def iou(counts: Counts) -> Scores:
    """IoU, TP / (TP + FP + FN), the Jaccard index; NaN where the truth lacks the class."""
    tp, fp, fn, _ = np.moveaxis(counts, -1, 0)
    return _where(tp + fn > 0, _ratio(tp, tp + fp + fn))


def accuracy(counts: Counts) -> Scores:
    """The share of pixels that are right, (TP + TN) / all, the class against the rest; NaN without a pixel."""
    tp, fp, fn, tn = np.moveaxis(counts, -1, 0)
    return _ratio(tp + tn, tp + fp + fn + tn)


def precision(counts: Counts) -> Scores:
    """The share of what was predicted that is right, TP / (TP + FP).

    Nothing predicted: 0. NaN where the truth lacks the class.
    """
    tp, fp, fn, _ = np.moveaxis(counts, -1, 0)
    return _where(tp + fn > 0, np.where(tp + fp > 0, _ratio(tp, tp + fp), 0.0))


def recall(counts: Counts) -> Scores:
    """The share of what is there that was found, TP / (TP + FN); NaN where the truth lacks the class."""
    tp, _, fn, _ = np.moveaxis(counts, -1, 0)
    return _ratio(tp, tp + fn)


def specificity(counts: Counts) -> Scores:
    """The recall of all that is not the class, TN / (TN + FP); NaN where all is the class."""
    return recall(counts[..., ::-1])


def mcc(counts: Counts) -> Scores:
    """Matthews' correlation: (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)), in [-1, 1].

    B. W. Matthews 1975, BBA 405:442. NaN where the truth lacks the class. Where the denominator is 0: 1 if nothing is
    wrong, -1 if nothing is right, else 0 (D. Chicco, G. Jurman 2020, BMC Genomics 21:6). For more than two classes it
    is that of one class against the rest; Gorodkin's R_K, which torchmetrics reports then, is another number.
    """
    tp, fp, fn, tn = (part.astype(np.float64) for part in np.moveaxis(counts, -1, 0))
    # Two roots, for the product of all four overflows; a rounded root can exceed its bound by the last bit.
    scale = np.sqrt((tp + fp) * (tn + fn)) * np.sqrt((tp + fn) * (tn + fp))
    value = np.clip((tp * tn - fp * fn) / np.where(scale > 0, scale, 1), -1, 1)
    return _where(tp + fn > 0, np.where(fp + fn == 0, 1.0, np.where(tp + tn == 0, -1.0, value)))


def pixel_error(counts: Counts) -> Scores:
    """The share of pixels that are wrong, (FP + FN) / all = 1 - accuracy. The one score here of which 0 is the best."""
    return 1 - accuracy(counts)


_FUNCTIONS = {each.__name__: each for each in (dice, iou, accuracy, precision, recall, specificity, mcc, pixel_error)}
ALL_SCORE_NAMES = tuple(_FUNCTIONS)


@dataclass(frozen=True)
class ImageTable:
    """The counts of a set of images: one row an image.

    Attributes:
        ids: N sample ids, each once.
        counts: int64 (N, K, 4).
    """

    ids: Sequence[str]
    counts: Counts

    def __post_init__(self) -> None:
        if len(set(self.ids)) != len(self.ids) or len(self.ids) != len(self.counts):
            raise ValueError("an image table needs each image exactly once")

    @property
    def num_classes(self) -> int:
        return int(self.counts.shape[1])

    def per_image(self, name: str) -> Scores:
        """One score per image (N,), see `of_image`; NaN where it is undefined."""
        return of_image(name, self.counts)

    def pooled(self, name: str) -> float:
        """The score of all pixels of all images taken as one image; NaN where no image has the class."""
        return float(of_image(name, self.counts.sum(axis=0)))

    def macro(self, name: str) -> Scores:
        """One score per image (N,): the mean over all classes that the image has, the background among them.

        This is the "macro" average of most published tables for more than two classes; `per_image` leaves the
        background out.
        """
        return defined_mean(_FUNCTIONS[name](self.counts))

    def of_class(self, name: str, class_id: int) -> Scores:
        """One score per image (N,) for one class against the rest."""
        return of_class(name, self.counts, class_id)


def of_image(name: str, counts: Counts) -> Scores:
    """The score of an image, or of many pooled: of class 1 for two classes, else the mean over classes but background.

    Classes in which it is undefined, as those that are not there, are left out. Accuracy is that of the whole image:
    the share of pixels given their right class; so is pixel error.

    Args:
        name: one of ALL_SCORE_NAMES.
        counts: (..., K, 4) -> (...).
    """
    if name in ("accuracy", "pixel_error"):
        # Every right pixel is the true positive of exactly one class.
        right = _ratio(counts[..., 0].sum(axis=-1), counts[..., 0, :].sum(axis=-1))
        return right if name == "accuracy" else 1 - right
    return defined_mean(_FUNCTIONS[name](counts[..., 1:, :]))


def of_class(name: str, counts: Counts, class_id: int) -> Scores:
    """The score of one class against the rest. (..., K, 4) -> (...)."""
    return _FUNCTIONS[name](counts[..., class_id, :])


def defined_mean(scores: npt.ArrayLike, axis: int = -1) -> Scores:
    """The mean of the scores that are defined; NaN where none is. Where all are, it is numpy's mean to the last bit."""
    scores = np.asarray(scores, np.float64)
    defined = ~np.isnan(scores)
    number, total = defined.sum(axis=axis), np.where(defined, scores, 0.0).sum(axis=axis)
    return _ratio(total, number)


def _ratio(part: Counts | Scores, whole: Counts | Scores | npt.NDArray[np.intp]) -> Scores:
    """part / whole, and NaN for 0 / 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _where(defined: npt.NDArray[np.bool_], scores: Scores) -> Scores:
    return np.where(defined, scores, np.nan)
