"""Learning curves: a score against labelled images, and what more labels would bring, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lamella.plots.style import Picture
from lamella.reporting.cohorts import Cohort


@dataclass(frozen=True)
class Learning:
    """What a report shows of the methods that were trained on shares of the training images.

    Attributes:
        table: one row a method and share: `method`, `share`, `labelled` (images), `seeds`, the score's mean, `low`,
            `high` and
            `seed_sd`; as a file it is `learning.csv`.
        sentences: what doubling the labels would bring each method, or why it cannot be said; the answer first.
        picture: the score against labelled images, with intervals and the law that extrapolates.
    """

    table: pd.DataFrame
    sentences: Sequence[str]
    picture: Picture


def learning(cohort: Cohort, score: str) -> Learning | None:
    """The learning curves of a cohort by one score; None where no method was trained on several shares."""
    if not cohort.learning:
        return None
    raise NotImplementedError(score)
