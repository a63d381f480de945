"""The report of an audit: what was found, and whether it stops a run."""

import os
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from lamella.data.audit.findings import SHOWN, Finding, Looked
from lamella.data.audit.registration import Offset
from lamella.data.cache.arrays import Store
from lamella.data.manifest import split_ids
from lamella.data.types import Dataset, Split
from lamella.errors import DataError


@dataclass(frozen=True)
class Report:
    """All that an audit found about a data set, with what it found it on.

    Attributes:
        dataset: what was audited.
        split: into which parts.
        store: with which arrays.
        findings: errors first.
        looked: the samples that could be read, with what was measured on them.
        offset: where labels lie beside what they outline, beyond `store.offset`; None where that cannot be told.
    """

    dataset: Dataset
    split: Split
    store: Store
    findings: tuple[Finding, ...]
    looked: tuple[Looked, ...]
    offset: Offset | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a run."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that a run goes on with."""
        return tuple(f for f in self.findings if f.severity == "warning")

    def as_json(self) -> dict[str, Any]:
        """The report as audit.json holds it: counts and findings, without this machine's folders."""
        return {
            "dataset": self.dataset.card.name,
            "samples": len(self.dataset.samples),
            "parts": {part: len(names) for part, names in split_ids(self.split).items()},
            "offset": None if self.offset is None else asdict(self.offset),
            "findings": [
                asdict(f) | {"message": self.brief(f.message), "remedy": self.brief(f.remedy)} for f in self.findings
            ],
        }

    def brief(self, text: str) -> str:
        """The text with files named from the folder that holds them all, as it is the same on every machine."""
        return text.replace(f"{self._folder}{os.sep}", "")

    @cached_property
    def _folder(self) -> str:
        files = [ref.path for s in self.dataset.samples for ref in (s.image, s.mask)]
        return os.path.commonpath([path.parent.absolute() for path in files])


def raise_errors(report: Report) -> None:
    """Stops a run whose data are faulty: raises where the report holds errors.

    Raises:
        DataError: names every error (the first ten, and how many more) and the way out.
    """
    errors = report.errors
    if len(errors) == 1:
        raise DataError(errors[0].message, errors[0].remedy)
    if errors:
        more = [f"and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
        raise DataError(
            f"{len(errors)} faults in {len(report.dataset.samples)} samples",
            "\n  ".join([f"{f.message}. {f.remedy}" for f in errors[:SHOWN]] + more),
        )
