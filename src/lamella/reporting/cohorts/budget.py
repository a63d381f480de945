"""What each method was given: how many settings were tried, for how long it trained, and who chose its settings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lamella.reporting.cohorts.types import Cohort
from lamella.tracking import FinishedRun


class Budget(NamedTuple):
    """What a method was given.

    Attributes:
        settings: how many settings of this model were tried on this data, as the store knows them, whatever became of
            them.
        runs: how many runs of these there are, and how many of them finished.
        epochs: epochs of a run, mean; NaN without training.
        chosen: who chose what, in words: the recipe of the data set, and what was typed beside it.
    """

    settings: int
    runs: tuple[int, int]
    epochs: float
    chosen: str


def budgets(cohort: Cohort, found: Sequence[FinishedRun]) -> Mapping[str, Budget]:
    """The budget of each method of a cohort, by its label.

    Args:
        cohort: the methods.
        found: all runs of the experiment, whatever became of them.
    """
    return dict.fromkeys([], Budget(0, (0, 0), len(found), cohort.dataset))
