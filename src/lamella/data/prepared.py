"""The data of one run: samples, split, decoded arrays and the audit's findings."""

from dataclasses import dataclass

from lamella.data.audit.report import Report
from lamella.data.cache.arrays import Store
from lamella.data.types import Dataset, Split


@dataclass(frozen=True)
class PreparedData:
    """The data of one run, split and audited.

    Attributes:
        dataset: card and samples.
        split: which sample trains, chooses or tests.
        store: the decoded arrays.
        report: what the audit found.
    """

    dataset: Dataset
    split: Split
    store: Store
    report: Report
