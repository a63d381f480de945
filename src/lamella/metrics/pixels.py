"""Pixel scores: count first, divide last.

For every image and class the pixels are counted once: true and false positives, false and true negatives.
All scores, per image or pooled, derive from that table, so batch size and order can never change one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

SCORE_NAMES = ("dice", "iou", "accuracy", "precision", "recall")


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


def dice(counts: Counts) -> Scores:
    """2 TP / (2 TP + FP + FN); 1 where the class is neither there nor predicted. (..., 4) -> (...)."""
    tp, fp, fn, _ = _split(counts)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def iou(counts: Counts) -> Scores:
    """TP / (TP + FP + FN), the Jaccard index; 1 where the class is neither there nor predicted."""
    tp, fp, fn, _ = _split(counts)
    return _ratio(tp, tp + fp + fn)


def accuracy(counts: Counts) -> Scores:
    """(TP + TN) / all: the share of pixels that are right, the class against the rest."""
    tp, fp, fn, tn = _split(counts)
    return _ratio(tp + tn, tp + fp + fn + tn)


def precision(counts: Counts) -> Scores:
    """TP / (TP + FP). Nothing predicted: 1 where nothing was to be found, else 0."""
    tp, fp, fn, _ = _split(counts)
    return np.where(tp + fp > 0, _ratio(tp, tp + fp), (fn == 0).astype(np.float64))


def recall(counts: Counts) -> Scores:
    """TP / (TP + FN). Nothing to be found: 1 where nothing was predicted, else 0."""
    tp, fp, fn, _ = _split(counts)
    return np.where(tp + fn > 0, _ratio(tp, tp + fn), (fp == 0).astype(np.float64))


_FUNCTIONS = dict(zip(SCORE_NAMES, (dice, iou, accuracy, precision, recall), strict=True))


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
        """One score per image (N,): of class 1 for two classes, else the mean over classes 1..K-1.

        Accuracy is that of the whole image: the share of pixels given their right class.
        """
        return self._score(name, self.counts)

    def pooled(self, name: str) -> float:
        """The score of all pixels of all images taken as one image."""
        return float(self._score(name, self.counts.sum(axis=0)))

    def of_class(self, name: str, class_id: int) -> Scores:
        """One score per image (N,) for one class against the rest."""
        return _FUNCTIONS[name](self.counts[:, class_id])

    def _score(self, name: str, counts: Counts) -> Scores:
        if name == "accuracy":
            # Every right pixel is the true positive of exactly one class.
            return _ratio(counts[..., 0].sum(axis=-1), counts[..., 0, :].sum(axis=-1))
        return np.asarray(_FUNCTIONS[name](counts[..., 1:, :]).mean(axis=-1))


def _split(counts: Counts) -> tuple[Counts, Counts, Counts, Counts]:
    return counts[..., 0], counts[..., 1], counts[..., 2], counts[..., 3]


def _ratio(part: Counts, whole: Counts) -> Scores:
    """part / whole, and 1 for 0 / 0: nothing was there and nothing was said."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
