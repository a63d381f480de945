"""MLflow: the only room that knows it. Runs are written by `runs`, read back by `query`; `store` is where they lie.

`registry` has the models that runs are registered as.
"""

from lamella.tracking.jobs import Attempt, attempts, claim, clear_away, let_go, only, ready
from lamella.tracking.query import (
    FinishedRun,
    Listed,
    Unfinished,
    bring,
    checkpoint,
    finished,
    listed,
    read,
    unfinished,
)
from lamella.tracking.registry import Version, register, registered, require_name
from lamella.tracking.runs import PARAM_LIMIT, Run, refused_request, save_model, start
from lamella.tracking.waiting import AwayError, Delivered, deliver, waiting

__all__ = [
    "PARAM_LIMIT",
    "Attempt",
    "AwayError",
    "Delivered",
    "FinishedRun",
    "Listed",
    "Run",
    "Unfinished",
    "Version",
    "attempts",
    "bring",
    "checkpoint",
    "claim",
    "clear_away",
    "deliver",
    "finished",
    "let_go",
    "listed",
    "only",
    "read",
    "ready",
    "refused_request",
    "register",
    "registered",
    "require_name",
    "save_model",
    "start",
    "unfinished",
    "waiting",
]
