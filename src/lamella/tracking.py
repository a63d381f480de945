"""MLflow: the only file that knows it. A run is RUNNING only while its process works on it."""

import hashlib
import logging
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from lamella.errors import StorageError

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)

_PARAM_LIMIT = 6000
_BATCH = 1000


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self._client = client
        self.run_id = run_id
        self.experiment_id = experiment_id

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Writes metrics in as few calls as possible."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + _BATCH])

    def log_folder(self, folder: Path) -> None:
        """Copies all files below `folder` to the run, under the same relative names."""
        self._client.log_artifacts(self.run_id, str(folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Writes tags; an existing one is overwritten."""
        self._client.log_batch(self.run_id, tags=[RunTag(k, v) for k, v in tags.items()])


@contextmanager
def start(
    *,
    uri: str,
    artifacts: str | None,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[Run]:
    """Opens a run and ends it truthfully: FINISHED, FAILED with its traceback, or KILLED when interrupted.

    Args:
        uri: tracking store; a missing SQLite store is created.
        artifacts: folder for the files of a local store; None leaves the place to a server.
        experiment: created where it is missing.
        run_name: shown in the UI.
        params: flat configuration.
        tags: identity of code, configuration and data.

    Raises:
        StorageError: the store cannot be opened or written.
    """
    try:
        client, experiment_id = _open(uri, artifacts, experiment)
        run_id = client.create_run(experiment_id, run_name=run_name).info.run_id
    except (MlflowException, OSError) as error:
        raise StorageError(
            f"the tracking store {uri} cannot be used: {_first_line(error)}",
            "Set `tracking.uri` (and `tracking.artifacts`) to a store you can write to.",
        ) from error
    run = Run(client, run_id, experiment_id)
    try:
        logged = [Param(k, str(v)[:_PARAM_LIMIT]) for k, v in params.items()]
        client.log_batch(run_id, params=logged, tags=[RunTag(k, v) for k, v in tags.items()])
        yield run
        client.set_terminated(run_id, "FINISHED")
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        try:
            if not stopped:
                client.log_text(run_id, traceback.format_exc(), "error.txt")
                client.set_tag(run_id, "lamella.error", _first_line(error)[:_PARAM_LIMIT])
        finally:
            client.set_terminated(run_id, "KILLED" if stopped else "FAILED")
        if isinstance(error, MlflowException):
            raise StorageError(
                f"the tracking store {uri} failed: {_first_line(error)}",
                "Check its disk or server; the run is FAILED.",
            ) from error
        raise


def _open(uri: str, artifacts: str | None, experiment: str) -> tuple[MlflowClient, str]:
    """The client and the experiment's id. One process at a time: creating a SQLite store twice at once breaks it."""
    if not uri.startswith("sqlite:///"):
        client = MlflowClient(uri)
        return client, _experiment(client, experiment, artifacts)
    path = Path(uri.removeprefix("sqlite:///")).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        client = MlflowClient(f"sqlite:///{path}")
        return client, _experiment(client, experiment, artifacts)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise StorageError(
                f"the MLflow experiment {name!r} was deleted",
                "Restore it in the UI, or choose another with `tracking.experiment=NAME`.",
            )
        return str(found.experiment_id)
    place = None
    if artifacts is not None:
        # Names may hold what a folder may not.
        folder = Path(artifacts).absolute() / hashlib.sha256(name.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        place = folder.as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
