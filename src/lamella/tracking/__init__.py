"""MLflow: the only room that knows it. Runs are written by `runs` and read back by the same names here."""

from lamella.tracking.runs import Finished, Run, checkpoint, finished, read, save_model, start

__all__ = ["Finished", "Run", "checkpoint", "finished", "read", "save_model", "start"]
