"""One MLflow run while it is written. It is RUNNING only while its process works on it."""

import contextlib
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from lamella.errors import StorageError
from lamella.tracking.store import first_line, open_store, reported, require_store, undisturbed

import mlflow.pyfunc  # isort: skip - `store` says first how MLflow is to behave
from mlflow import MlflowClient  # isort: skip
from mlflow.entities import Metric, Param, RunTag  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip

_PARAM_LIMIT, _TAG_LIMIT = 6000, 5000  # characters that MLflow takes


class Run:
    """One MLflow run that is being written; without a client, one that only another process writes."""

    def __init__(self, client: MlflowClient | None, run_id: str, experiment_id: str) -> None:
        self._client = client
        self.run_id = run_id
        self.experiment_id = experiment_id

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Writes metrics in as few calls as possible."""
        now = int(time.time() * 1000)
        self._log(metrics=[Metric(name, float(value), now, step) for name, value in values.items()])

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Writes parameters, cut to what MLflow keeps of one."""
        self._log(params=[Param(name, str(value)[:_PARAM_LIMIT]) for name, value in values.items()])

    def log_folder(self, folder: Path) -> None:
        """Copies all files below `folder` to the run, under the same relative names."""
        if self._client:
            self._client.log_artifacts(self.run_id, str(folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Writes tags; an existing one is overwritten."""
        self._log(tags=[RunTag(name, value) for name, value in tags.items()])

    def fail(self, error: BaseException) -> None:
        """Keeps the traceback of `error`, in whatever of the store still works."""
        text = "".join(traceback.format_exception(error))
        with contextlib.suppress(Exception):
            self.set_tags({"lamella.error": f"{type(error).__name__}: {first_line(error)}"[:_TAG_LIMIT]})
        try:
            if self._client:
                self._client.log_text(self.run_id, text, "error.txt")
        except Exception:  # the artifacts are what failed
            with contextlib.suppress(Exception):
                self.set_tags({"lamella.traceback": text[-_TAG_LIMIT:]})

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Closes the run."""
        if self._client:
            self._client.set_terminated(self.run_id, status)

    def _log(self, **entries: list[Any]) -> None:
        if self._client:
            self._client.log_batch(self.run_id, **entries)  # in as many calls as the store needs


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
    """A new run, ended truthfully: FINISHED, FAILED with its traceback, or KILLED when interrupted.

    Of several processes that train together only the first writes; the others are given a run that keeps nothing.

    Args:
        uri: tracking store; a missing SQLite store is created.
        artifacts: folder for the files of a SQLite store (None: beside it); a server decides itself.
        experiment: created where it is missing.
        run_name: shown in the UI.
        params: flat configuration.
        tags: identity of code, configuration and data.

    Raises:
        StorageError: the store cannot be opened or written.
    """
    if number := _process_number():
        yield Run(None, f"process-{number}", "")
        return
    run = None
    try:
        with reported(
            f"the tracking store {uri} cannot be used",
            "Set `tracking.uri` (and `tracking.artifacts`) to a store you can write to.",
        ):
            client, experiment_id = open_store(uri, artifacts, experiment)
            with undisturbed():
                run = Run(client, client.create_run(experiment_id, run_name=run_name).info.run_id, experiment_id)
        run.set_tags(tags)
        run.log_params(params)
        yield run
        with undisturbed():
            run.end("FINISHED")
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        if run is not None:
            # A dead store must not hide why the run ended.
            with undisturbed(), contextlib.suppress(Exception):
                if not stopped:
                    run.fail(error)
                run.end("KILLED" if stopped else "FAILED")
        if isinstance(error, (MlflowException, SQLAlchemyError)):
            raise StorageError(
                f"the tracking store {uri} failed: {first_line(error)}", "Check its disk or server, then run again."
            ) from error
        raise


def kill(uri: str, sweep: str) -> None:
    """Ends as KILLED the runs of a sweep that still say RUNNING, when their processes are gone.

    Args:
        uri: where the runs are kept.
        sweep: the name that they share.

    Raises:
        StorageError: the store is not there, or cannot be written.
    """
    with reported(f"the tracking store {uri} cannot be used", "Check its disk or server."), undisturbed():
        require_store(uri)
        client = MlflowClient(uri)
        experiments = [each.experiment_id for each in client.search_experiments()]
        running = f"attributes.status = 'RUNNING' and tags.`lamella.sweep` = '{sweep}'"
        for run in client.search_runs(experiments, running):
            client.set_terminated(run.info.run_id, "KILLED")


def save_model(folder: Path, checkpoint: Path) -> None:
    """Writes an MLflow model that segments images with a checkpoint; see `lamella.model.Model`.

    It holds no pickled code: MLflow loads it through `lamella.model`, so lamella must be installed there.
    """
    needed = ("torch", "torchvision", "numpy", "pillow", "hydra-core")
    # Without "+cpu": no index has it.
    versions = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in needed]
    mlflow.pyfunc.save_model(
        path=str(folder),
        loader_module="lamella.model",
        data_path=str(checkpoint),
        pip_requirements=versions,
        # What a user may set at loading: MLflow passes on what has a default here.
        model_config={"device": "cpu", "precision": None, "trust": []},
    )


def _process_number() -> int:
    """0 for a process that trains alone, or first; as torch's launchers tell it to those they start."""
    number = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    return int(number) if number.isdecimal() else 0
