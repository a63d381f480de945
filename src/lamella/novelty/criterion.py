"""How far some numbers of an image are from those of the training images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FOLDS = 5
_USUAL = 0.9  # the share of images left out whose distance is at most 1


class Criterion(NamedTuple):
    """What some numbers of the training images are like: their middle, their spread, and how they go together.

    Attributes:
        names: of the numbers.
        centre: (D,) their means.
        spread: (D,) their standard deviations.
        inverse: (D, D) of their correlations, which are drawn towards none the fewer images there are.
        unit: the distance that stands for 1: nine in ten training images that it was not made from are no further.
        least, usual, greatest: (D,) the least, the median and the greatest number of the training images.
    """

    names: tuple[str, ...]
    centre: Floats
    spread: Floats
    inverse: Floats
    unit: float
    least: Floats
    usual: Floats
    greatest: Floats

    def distances(self, numbers: Floats) -> Floats:
        """How far images are from the training images (Mahalanobis): (N, D) -> (N,), 1 being far for one of these."""
        off = (numbers - self.centre) / self.spread
        squares: Floats = np.einsum("nd,de,ne->n", off, self.inverse, off)
        return np.asarray(np.sqrt(squares / len(self.centre)) / self.unit)

    def plain(self) -> dict[str, Any]:
        """The same as lists and numbers."""
        return {name: each.tolist() if isinstance(each, np.ndarray) else each for name, each in self._asdict().items()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Criterion":
        """What `plain` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        names = tuple(str(name) for name in plain["names"])
        count = len(names)
        vectors = {name: _array(plain[name], (count,)) for name in ("centre", "spread", "least", "usual", "greatest")}
        return cls(names=names, inverse=_array(plain["inverse"], (count, count)), unit=float(plain["unit"]), **vectors)


def fit(names: Sequence[str], numbers: Floats, least_spread: float) -> Criterion:
    """What the numbers (N, D) of N training images, two at least, are like.

    Args:
        names: of the D numbers.
        numbers: of the images.
        least_spread: no number is taken to vary less.
    """
    unit = 1.0
    if len(numbers) > _FOLDS:
        left_out = [
            _fit(names, np.delete(numbers, slice(fold, None, _FOLDS), axis=0), 1, least_spread).distances(
                numbers[fold::_FOLDS]
            )
            for fold in range(_FOLDS)
        ]
        unit = max(float(np.quantile(np.concatenate(left_out), _USUAL)), 1e-6)
    return _fit(names, numbers, unit, least_spread)


def _fit(names: Sequence[str], numbers: Floats, unit: float, least_spread: float) -> Criterion:
    count, size = numbers.shape
    centre, spread = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), least_spread)
    together = ((numbers - centre) / spread).T @ ((numbers - centre) / spread) / count
    share = size / (count + size)  # of no correlation at all
    mixed = (1 - share) * together + share * np.eye(size)
    return Criterion(
        tuple(names),
        centre,
        spread,
        np.linalg.inv(mixed),
        unit,
        numbers.min(axis=0),
        np.median(numbers, axis=0),
        numbers.max(axis=0),
    )


def _array(values: Any, shape: tuple[int, ...]) -> Floats:
    array = np.asarray(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{array.shape} numbers where {shape} belong")
    return array
