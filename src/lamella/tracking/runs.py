"""MLflow: the only file that knows it. A run is RUNNING only while its process works on it."""

import contextlib
import errno
import hashlib
import logging
import os
import signal
import socket
import sqlite3
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow.pyfunc
import pandas as pd
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from lamella.errors import StorageError
from lamella.metrics.catalogue import lookup

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)

# What MLflow takes.
_PARAM_LIMIT = 6000
_TAG_LIMIT = 5000
_METRICS_A_CALL = 1000
_PARAMS_A_CALL = 100
_RUNS_A_CALL = 1000
_PATIENCE_S = 10

_T = TypeVar("_T")


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self._client = client
        self.run_id = run_id
        self.experiment_id = experiment_id

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Writes metrics in as few calls as possible."""
        now = int(time.time() * 1000)
        metrics = (Metric(name, float(value), now, step) for name, value in values.items())
        for some in _batched(metrics, _METRICS_A_CALL):
            self._client.log_batch(self.run_id, metrics=some)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Writes parameters, cut to what MLflow keeps of one."""
        params = (Param(name, str(value)[:_PARAM_LIMIT]) for name, value in values.items())
        for some in _batched(params, _PARAMS_A_CALL):
            self._client.log_batch(self.run_id, params=some)

    def log_folder(self, folder: Path) -> None:
        """Copies all files below `folder` to the run, under the same relative names."""
        self._client.log_artifacts(self.run_id, str(folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Writes tags; an existing one is overwritten."""
        for some in _batched((RunTag(name, value) for name, value in tags.items()), _PARAMS_A_CALL):
            self._client.log_batch(self.run_id, tags=some)

    def fail(self, error: BaseException) -> None:
        """Keeps the traceback of `error`, in whatever of the store still works."""
        text = "".join(traceback.format_exception(error))
        with contextlib.suppress(Exception):
            self.set_tags({"lamella.error": f"{type(error).__name__}: {_first_line(error)}"[:_TAG_LIMIT]})
        try:
            self._client.log_text(self.run_id, text, "error.txt")
        except Exception:  # the artifacts are what failed
            with contextlib.suppress(Exception):
                self.set_tags({"lamella.traceback": text[-_TAG_LIMIT:]})

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Closes the run."""
        self._client.set_terminated(self.run_id, status)


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
        artifacts: folder for the files of a SQLite store (None: beside it); a server decides itself.
        experiment: created where it is missing.
        run_name: shown in the UI.
        params: flat configuration.
        tags: identity of code, configuration and data.

    Raises:
        StorageError: the store cannot be opened or written.
    """
    run = None
    try:
        try:
            client, experiment_id = _open(uri, artifacts, experiment)
            with _undisturbed():
                run = Run(client, client.create_run(experiment_id, run_name=run_name).info.run_id, experiment_id)
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StorageError(
                f"the tracking store {uri} cannot be used: {_first_line(error)}",
                "Set `tracking.uri` (and `tracking.artifacts`) to a store you can write to.",
            ) from error
        run.set_tags(tags)
        run.log_params(params)
        yield run
        with _undisturbed():
            run.end("FINISHED")
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        if run is not None:
            # A dead store must not hide why the run ended.
            with _undisturbed(), contextlib.suppress(Exception):
                if not stopped:
                    run.fail(error)
                run.end("KILLED" if stopped else "FAILED")
        if isinstance(error, (MlflowException, SQLAlchemyError)):
            raise StorageError(
                f"the tracking store {uri} failed: {_first_line(error)}", "Check its disk or server, then run again."
            ) from error
        raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back for a moment: an impatient second Ctrl-C must not leave a run RUNNING."""
    if threading.current_thread() is not threading.main_thread():  # signals only ever reach the main one
        yield
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set from Python
        if held:
            signal.raise_signal(held[0])


def checkpoint(uri: str, run_id: str) -> Path:
    """The best checkpoint of a finished run, brought to this machine where a server keeps it.

    Raises:
        StorageError: the store cannot be read, or holds no such run or no checkpoint of it.
    """
    try:
        _require_store(uri)
        return Path(MlflowClient(uri).download_artifacts(run_id, "checkpoints/best.ckpt"))
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StorageError(
            f"run {run_id} of {uri} has no checkpoints/best.ckpt to be had: {_first_line(error)}",
            "`make ui` lists the runs; `tracking.uri` says where they are kept.",
        ) from error


@dataclass(frozen=True)
class Finished:
    """A finished run, read back."""

    run_id: str
    name: str
    experiment: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    client: MlflowClient
    folder: tempfile.TemporaryDirectory[
        str
    ]  # what a server keeps is brought here; gone with the last run that knows it

    def fetch(self, name: str) -> Path:
        """One of the run's files on this machine. Raises StorageError."""
        place = Path(self.folder.name) / self.run_id
        try:
            place.mkdir(exist_ok=True)
            return Path(self.client.download_artifacts(self.run_id, name, str(place)))
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise StorageError(f"run {self.run_id} has no {name} to be had: {_first_line(error)}") from error

    def scores(self) -> pd.DataFrame:
        """`scores/test.csv`: one row an image, sorted by its id. Raises StorageError."""
        text = {"id": str, "case": str, "group": str}
        return pd.read_csv(self.fetch("scores/test.csv"), dtype=text).sort_values("id", ignore_index=True)

    def curve(self) -> pd.DataFrame:
        """One row an epoch, a column for each metric that has one value an epoch; no row where nothing was trained."""
        names = [name for name in self.metrics if lookup(name).part in ("train", "val")]
        history = {name: self.client.get_metric_history(self.run_id, name) for name in names}
        steps = {name: {each.step: each.value for each in values} for name, values in history.items()}
        epochs = max((len(values) for values in steps.values()), default=0)
        whole = {name: values for name, values in steps.items() if epochs > 1 and len(values) == epochs}
        return pd.DataFrame(whole).sort_index()


def finished(uri: str, *, sweep: str | None = None, experiment: str | None = None, where: str = "") -> list[Finished]:
    """Finished runs in the order in which they began.

    Args:
        uri: where runs are kept.
        sweep: only those of this sweep, of whatever experiment.
        experiment: only those of this experiment.
        where: only those that MLflow's filter language says, such as "params.model.name = 'unet'".

    Raises:
        StorageError: the store cannot be read, the filter cannot be understood, or there is no such experiment.
    """
    parts = ["attributes.status = 'FINISHED'", where, f"tags.`lamella.sweep` = '{sweep}'" if sweep else ""]
    with _reading(uri):
        client = MlflowClient(uri)
        names = {each.experiment_id: each.name for each in client.search_experiments()}
        chosen = [id_ for id_, name in names.items() if experiment in (None, name)]
        if not chosen:
            raise StorageError(
                f"there is no experiment {experiment!r} in {uri}", f"There are: {', '.join(sorted(names.values()))}."
            )
        try:
            found = _all_runs(client, chosen, " and ".join(filter(None, parts)))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise StorageError(
                f"filter={where!r} is not understood: {_first_line(error)}",
                "Such as: filter=\"params.`model.name` = 'unet' and metrics.`test/dice` > 0.9\".",
            ) from error
    folder = tempfile.TemporaryDirectory(prefix="lamella-")
    return [_finished(run, names[run.info.experiment_id], client, folder) for run in found]


def read(uri: str, run_id: str) -> Finished:
    """One finished run.

    Raises:
        StorageError: the store cannot be read, or has no such run, or it did not finish.
    """
    with _reading(uri):
        client = MlflowClient(uri)
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise StorageError(f"there is no run {run_id!r} in {uri}", "`make ui` lists the runs.") from error
        if run.info.status != "FINISHED":
            raise StorageError(f"run {run_id} is {run.info.status}: only a finished run has scores to speak of")
        name = client.get_experiment(run.info.experiment_id).name
    return _finished(run, name, client, tempfile.TemporaryDirectory(prefix="lamella-"))


def _all_runs(client: MlflowClient, experiments: list[str], where: str) -> list[Any]:
    """Every run that matches, in the order in which they began, page by page: a store gives so many at a time."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            experiments, where, order_by=["attributes.start_time ASC"], max_results=_RUNS_A_CALL, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def _finished(run: Any, experiment: str, client: MlflowClient, folder: tempfile.TemporaryDirectory[str]) -> Finished:
    data = run.data
    return Finished(
        run.info.run_id, run.info.run_name, experiment, data.params, data.metrics, data.tags, client, folder
    )


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turns what can go wrong while a store is read into StorageError."""
    try:
        _require_store(uri)
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StorageError(
            f"the tracking store {uri} cannot be read: {_first_line(error)}",
            "`tracking.uri` says where runs are kept; the first run makes the store.",
        ) from error


def save_model(folder: Path, checkpoint: Path) -> None:
    """Writes an MLflow model that segments images with a checkpoint; see `lamella.model.Model`.

    It holds no pickled code: MLflow loads it through `lamella.model`, so lamella must be installed there.
    """
    needed = ("torch", "torchvision", "numpy", "pillow", "hydra-core")
    # Without "+cpu": no index has it.
    versions = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in needed]
    mlflow.pyfunc.save_model(
        path=str(folder), loader_module="lamella.model", data_path=str(checkpoint), pip_requirements=versions
    )


def _open(uri: str, artifacts: str | None, experiment: str) -> tuple[MlflowClient, str]:
    """The client and the experiment's id. One process at a time: creating a SQLite store twice at once breaks it."""
    address = urlsplit(uri)
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///")).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"), _undisturbed():  # half a store is broken for good
            _require_writable(path)
            client = MlflowClient(f"sqlite:///{path}")
            return client, _experiment(client, experiment, Path(artifacts or path.parent / "artifacts").absolute())
    if address.scheme in ("", "file", "sqlite"):  # MLflow no longer writes to folders
        raise StorageError(
            f"tracking.uri={uri} is no tracking store",
            "Write sqlite:///path/to/file.db, or http://HOST:PORT of an MLflow server.",
        )
    _require_store(uri)
    client = MlflowClient(uri)
    return client, _experiment(client, experiment, None)  # a server decides where files go


def _require_store(uri: str) -> None:
    """Raises OSError at once where MLflow would create an empty store, or try to reach a server for minutes."""
    address = urlsplit(uri)
    if address.scheme in ("http", "https"):
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=_PATIENCE_S).close()
    elif address.scheme == "sqlite" and not Path(uri.removeprefix("sqlite:///")).exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", uri.removeprefix("sqlite:///"))


def _require_writable(path: Path) -> None:
    """Raises sqlite3.Error at once where MLflow would try to open the file for an hour."""
    with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """The id of the experiment, created where it is missing; `artifacts` is None where a server keeps the files."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # Names may hold what a folder may not.
        folder = artifacts / hashlib.sha256(name.encode()).hexdigest()[:12] if artifacts else None
        try:
            client.create_experiment(name, artifact_location=folder.as_uri() if folder else None)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                raise
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise StorageError(
            f"the MLflow experiment {name!r} was deleted",
            "Restore it (`mlflow experiments restore`), or choose another with `tracking.experiment=NAME`.",
        )
    place = urlsplit(found.artifact_location)
    if artifacts is not None and place.scheme in ("", "file"):
        folder = Path(url2pathname(place.path))
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # raises OSError where it cannot be written
    return str(found.experiment_id)


def _batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of at most `size` items (itertools.batched needs Python 3.12)."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
