"""Where runs are kept: MLflow's stores, opened by one process at a time, and what can be wrong with them."""

import contextlib
import errno
import hashlib
import logging
import os
import re
import signal
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from lamella.errors import StorageError

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)

STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
"""What MLflow raises where a store cannot be used."""

_PATIENCE_S = 10


def open_store(uri: str, artifacts: str | None, experiment: str) -> tuple[MlflowClient, str]:
    """The client of a store and the id of an experiment in it; both are made where they are missing.

    One process at a time: creating a SQLite store twice at once breaks it. Raises StorageError and what MLflow does.
    """
    address = urlsplit(uri)
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///")).absolute()
        if re.search(r"\?|%[0-9a-fA-F]{2}", str(path)):  # an address has other uses for them: another file is opened
            raise StorageError(
                f"no store can lie at {path}: SQLite's addresses take no ?, and no % before two digits",
                "Choose another folder: `tracking.uri` names the file, LAMELLA_HOME the folder of everything.",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"), undisturbed():  # half a store is broken for good
            _require_writable(path)
            client = MlflowClient(f"sqlite:///{path}")
            return client, _experiment(client, experiment, Path(artifacts or path.parent / "artifacts").absolute())
    if address.scheme in ("", "file", "sqlite"):  # MLflow no longer writes to folders
        raise StorageError(
            f"tracking.uri={uri} is no tracking store",
            "Write sqlite:///path/to/file.db, or http://HOST:PORT of an MLflow server.",
        )
    require_store(uri)
    client = MlflowClient(uri)
    return client, _experiment(client, experiment, None)  # a server decides where files go


def require_store(uri: str) -> None:
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


@contextmanager
def undisturbed() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back until its end, or until `lamella.cli.signals` ends the process, which it does."""
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
        handler = before[signal.Signals(held[0])] if held else None
        if callable(handler):
            handler(held[0], None)
        elif held:
            signal.raise_signal(held[0])


@contextmanager
def reported(problem: str, remedy: str) -> Iterator[None]:
    """Makes one StorageError of whatever MLflow raises meanwhile: the problem, and the first line of what it said."""
    try:
        yield
    except STORE_ERRORS as error:
        raise StorageError(f"{problem}: {first_line(error)}", remedy) from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line; of a file's error its name and the reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
