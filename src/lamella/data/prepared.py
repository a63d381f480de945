"""What a run is given to work on."""

from dataclasses import dataclass

from lamella.data.audit.report import Report
from lamella.data.cache.arrays import Store
from lamella.data.types import Dataset, Split


@dataclass(frozen=True)
class PreparedData:
    """The data of one run, split and audited; `store` gives the decoded arrays, `report` says what the audit found."""

    dataset: Dataset
    split: Split
    store: Store
    report: Report
