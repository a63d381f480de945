"""What the checks of an audit are given (samples with their statistics) and what they return (findings)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lamella.data.audit.sample_stats import SampleStats
from lamella.data.types import Sample

SHOWN = 10  # of many things the first are named, the others counted


class Looked(NamedTuple):
    """A sample that could be read, its part ("train", "val", "test" or "" for none) and its statistics."""

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


def error(kind: str, message: str, remedy: str, looked: Sequence[Looked] = ()) -> Finding:
    """A finding that stops a run."""
    return Finding(kind, "error", message, remedy, _ids(looked))


def warning(kind: str, message: str, remedy: str, looked: Sequence[Looked] = ()) -> Finding:
    """A finding that a run goes on with."""
    return Finding(kind, "warning", message, remedy, _ids(looked))


def listed(things: Sequence[object], separator: str = ", ") -> str:
    """The first ten of many things as text, and how many more there are."""
    more = [f"and {len(things) - SHOWN} more"] if len(things) > SHOWN else []
    return separator.join([*map(str, things[:SHOWN]), *more])


def images(looked: Sequence[Looked]) -> str:
    """The files of the images, as text."""
    return listed([one.sample.image for one in looked])


def masks(looked: Sequence[Looked]) -> str:
    """The files of the masks, as text."""
    return listed([one.sample.mask for one in looked])


def _ids(looked: Sequence[Looked]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.sample.id for one in looked))
