"""What an audit works on and gives: samples with their statistics, findings, and the report of all of them."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from lamella.data.audit.registration import Offset
from lamella.data.audit.sample_stats import SampleStats
from lamella.data.cache.arrays import Store
from lamella.data.manifest import split_ids
from lamella.data.types import Dataset, Sample, Split
from lamella.errors import DataError

_SHOWN = 10  # of many things the first are named, the others counted


class Looked(NamedTuple):
    """A sample that could be read, its part ("train", "val", "test", "left", or "" for none) and its statistics."""

    sample: Sample
    part: str
    stats: SampleStats


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a data set, or may be.

    Attributes:
        kind: in one word; `lamella.data.audit.audit` lists them.
        severity: an error stops a run, a warning does not.
        message: what is found, naming the files.
        remedy: what to do about it.
        samples: ids of the samples concerned.
    """

    kind: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str
    samples: tuple[str, ...] = ()


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
        return os.path.commonpath(
            [ref.path.parent.absolute() for s in self.dataset.samples for ref in (s.image, s.mask)]
        )


def raise_errors(report: Report) -> None:
    """Stops a run whose data are faulty: raises where the report holds errors.

    Raises:
        DataError: names every error (the first ten, and how many more) and the way out.
    """
    errors = report.errors
    if len(errors) == 1:
        raise DataError(errors[0].message, errors[0].remedy)
    if errors:
        problem = f"{len(errors)} faults in {len(report.dataset.samples)} samples"
        raise DataError(problem, listed([f"{f.message}. {f.remedy}" for f in errors], "\n  "))


def error(kind: str, message: str, remedy: str, looked: Sequence[Looked]) -> Finding:
    """A finding that stops a run."""
    return Finding(kind, "error", message, remedy, _ids(looked))


def warning(kind: str, message: str, remedy: str, looked: Sequence[Looked] = ()) -> Finding:
    """A finding that a run goes on with."""
    return Finding(kind, "warning", message, remedy, _ids(looked))


def listed(things: Sequence[object], separator: str = ", ") -> str:
    """The first ten of many things as text, and how many more there are."""
    more = [f"and {len(things) - _SHOWN} more"] if len(things) > _SHOWN else []
    return separator.join([*map(str, things[:_SHOWN]), *more])


def _ids(looked: Sequence[Looked]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.sample.id for one in looked))
