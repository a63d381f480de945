"""Tracking stores without a run. MLflow takes seconds to make one; the tests of that are in tests/tracking."""

import functools
import tempfile
from pathlib import Path

from mlflow import MlflowClient


def empty_store(path: Path) -> str:
    """The address of a store that is now at `path`, a copy of one that MLflow made."""
    path.write_bytes(_made())
    return f"sqlite:///{path}"


@functools.cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/runs.db").search_experiments()
        return Path(folder, "runs.db").read_bytes()
