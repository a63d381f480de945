"""Folds: the training sets of one plan overlap, which a test of their mean difference must know."""

from collections.abc import Sequence
from typing import Literal, NamedTuple


class Folds(NamedTuple):
    """How the images and runs of a comparison are folds of one plan.

    Attributes:
        kind: "parted": each fold judges images of its own; "repeated": every fold judges the same images, and the runs
            of all methods are the folds, in one order.
        of: the fold of each image ("parted") or of each run ("repeated").
        ratio: images held out of a fold's training, over those that train: n2 / n1 of C. Nadeau and Y. Bengio (2003,
            Machine Learning 52:239).
    """

    kind: Literal["parted", "repeated"]
    of: Sequence[str]
    ratio: float
