"""The jobs of a sweep: which experiment each is, and what an earlier sweep has done of it."""

import hashlib
from typing import NamedTuple

from lamella.config.check import as_yaml
from lamella.config.schema import Config
from lamella.data.prepared import PreparedData
from lamella.tracking import Unfinished


class Done(NamedTuple):
    """A job that need not run again.

    Attributes:
        run_id: of its run.
        state: "finished", "failed" or "running" (in another process).
        score: its mean test Dice; NaN where it has none.
        remark: what is to be said of it, such as that its source differs from today's; "" for nothing.
    """

    run_id: str
    state: str
    score: float
    remark: str


def identity(cfg: Config, data: PreparedData) -> str:
    """What tells an experiment from all others: the SHA-256 of its configuration, data and split.

    Paths, tracking and what only says how a sweep goes on are no part of it.
    """
    return hashlib.sha256(as_yaml(cfg, sort_keys=True).encode()).hexdigest()


def begun(cfg: Config, job: str) -> Done | Unfinished | None:
    """What there is of a job in the store: done with, interrupted, or nothing. Raises StorageError."""
    return None
