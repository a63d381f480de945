"""MLflow: the only room that knows it. Runs are written by `runs`, read back by `query`; `store` is where they lie."""

from lamella.tracking.query import FinishedRun, checkpoint, finished, read
from lamella.tracking.runs import Run, kill, save_model, start

__all__ = ["FinishedRun", "Run", "checkpoint", "finished", "kill", "read", "save_model", "start"]
