"""A section of a report: all that is known of one cohort, to be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lamella.plots.style import Picture
from lamella.reporting.cohorts import Cohort
from lamella.reporting.cohorts.budget import Budget
from lamella.reporting.failures import FAILED
from lamella.reporting.gallery import Gallery
from lamella.reporting.learning import Learning
from lamella.reporting.tables import pairs_frame
from lamella.reporting.verdict import Verdict, verdict_on
from lamella.statistics.comparison import Comparison


@dataclass(frozen=True)
class Section:
    """All that a report shows of one cohort.

    Attributes:
        cohort: the methods.
        score: the one that decides.
        summary: one row a method, best first.
        comparisons: every pair of methods by that score; none for one method.
        verdict: in sentences.
        margin: within which equality was tested, if it was.
        failure: the Dice below which an image failed.
        leader: only the best mean was compared with the others.
        notes: about the main table.
        pictures: in their order; the first one stands beside the verdict.
        gallery: test images with what each method made of them; None without any.
        learning: its learning curves; None where there are none.
        budgets: what each method was given, by its label; empty where that is not known.
        more: pictures for those who look further, folded.
    """

    cohort: Cohort
    score: str
    summary: pd.DataFrame
    comparisons: Sequence[Comparison]
    verdict: Verdict
    notes: Sequence[str]
    pictures: Sequence[Picture]
    gallery: Gallery | None
    margin: float | None = None
    failure: float = FAILED
    leader: bool = False
    learning: Learning | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    more: Sequence[Picture] = ()

    def on(self, pair: Comparison) -> str:
        """The verdict on one of the pairs, in words."""
        return verdict_on(pair, self.cohort, self.comparisons, self.score, margin=self.margin, leader=self.leader)

    @property
    def pairs(self) -> pd.DataFrame:
        """A table of all pairs: the fields of `Comparison`, and the `verdict` in words."""
        return pairs_frame(self.comparisons).assign(verdict=[self.on(pair) for pair in self.comparisons])
