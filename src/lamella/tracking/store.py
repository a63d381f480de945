"""Where runs are kept: MLflow's stores, made whole or not at all, and what can be wrong with them."""

import contextlib
import hashlib
import logging
import os
import re
import shlex
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# MLflow alone tries for many minutes; what must not be lost is sent again by `lamella.tracking.outbox`.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

import mlflow.store.db_migrations
import requests
from alembic.script import ScriptDirectory
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import SQLAlchemyError

from lamella import disk
from lamella.config.paths import mlflow_address, refuse_secrets, sqlite_file, store_file
from lamella.errors import StorageError, without_secrets

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)
for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):  # what they tell of is raised, or tried again
    logging.getLogger(name).setLevel(logging.CRITICAL)

STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
"""What MLflow raises where a store cannot be used."""

_PATIENCE_S = 10
_MAKING_S = 120  # as long as others may need to make a store, on a slow disk
_BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite may keep beside a file


def open_store(uri: str, artifacts: str | None, experiment: str) -> tuple[MlflowClient, str]:
    """The client of a store and the id of an experiment in it; both are made where they are missing.

    Args:
        uri: of the store.
        artifacts: folder for the files of a SQLite store; None: where the experiment has them, else beside the store.
        experiment: its name.

    Raises:
        StorageError: the store is broken or away, or its experiment keeps its files elsewhere. And what MLflow raises.
    """
    file = sqlite_file(uri)
    if file is None and urlsplit(uri).scheme.partition("+")[0] in ("", "file", "sqlite"):
        raise StorageError(  # MLflow no longer writes to folders
            f"tracking.uri={uri} is no tracking store",
            "Write sqlite:///path/to/file.db, or http://HOST:PORT of an MLflow server.",
        )
    if file is None:
        client = connect(uri)
        return client, _experiment(client, uri, experiment, None, honoured=False)  # a server decides where files go
    folder = Path(artifacts or file.with_name("artifacts")).absolute()
    # Who names another store and no folder goes on where that store has its files.
    said = artifacts is not None and (folder != store_file().with_name("artifacts") or file == store_file())
    with _alone(file):
        _make(file)
        client = connect(uri)
        require_writable(file)
        return client, _experiment(client, uri, experiment, folder, honoured=said)


def make_store(uri: str) -> None:
    """Makes a SQLite store where there is none; nothing for other stores. Raises what `open_store` does."""
    if file := sqlite_file(uri):
        with _alone(file):
            _make(file)


def _alone(file: Path) -> FileLock:
    """The lock of those who make a store or an experiment in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{file}.lock", timeout=_MAKING_S)


def _make(file: Path) -> None:
    """Makes a store where there is none: beside its place, then renamed, so that there is never half of one."""
    if not _is_missing(file):
        return
    address = mlflow_address(_uri(Path(f"{file}.part")))
    parts = [Path(f"{file}.part{ending}") for ending in _BESIDE]
    for part in parts:  # of a process that was killed
        part.unlink(missing_ok=True)
    try:
        parts[0].open("xb").close()  # where it cannot be made MLflow would try for minutes
        SqlAlchemyStore(address, file.with_name("artifacts").as_uri()).engine.dispose()
        with parts[0].open("rb+") as whole:
            os.fsync(whole.fileno())
        parts[0].replace(file)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    disk.keep_names(file.parent)


def connect(uri: str) -> MlflowClient:
    """The client of a store that is there, whole, and answers.

    Raises:
        StorageError: it is not; the message says what to delete or to type. And what MLflow and SQLite raise.
    """
    require_store(uri)
    return MlflowClient(mlflow_address(uri))


def require_store(uri: str) -> None:
    """Raises StorageError at once where MLflow would make a store, break one, or try to reach a server for minutes."""
    refuse_secrets(uri)
    if file := sqlite_file(uri):
        if _is_missing(file):
            raise StorageError(
                f"the tracking store {uri} cannot be read: {file}: there is no such file",
                "`tracking.uri` says where runs are kept; the first run makes the store.",
            )
        _require_whole(file)
    elif urlsplit(uri).scheme in ("http", "https"):
        _require_server(uri)


def _is_missing(file: Path) -> bool:
    """Whether there is no store: no file, or one without a byte."""
    return not file.exists() or (file.is_file() and file.stat().st_size == 0)


class _UnfinishedError(StorageError):
    """Half a store: somebody stopped making it, or is at it."""


def _require_whole(file: Path) -> None:
    """Raises StorageError where a file is no whole store of this version of MLflow, which would change it."""
    while True:
        try:
            return _judge(file)
        except _UnfinishedError:  # perhaps another program makes it, one that knows nothing of our lock
            if time.time() - file.stat().st_mtime > _PATIENCE_S / 2:
                raise
            time.sleep(0.5)


def _judge(file: Path) -> None:
    """Raises what `_require_whole` does, of the file as it is now."""
    problem = f"the tracking store {file} cannot be used"
    there = shlex.join(f"{file}{ending}" for ending in _BESIDE if Path(f"{file}{ending}").exists())
    anew = f"No run is in it. Delete it, and the next run makes it anew:\n  rm {there}"
    back = (
        "Put back a copy of it. If there is none, deleting it loses its runs (not their files, which lie in folders "
        f"of their own), and the next run makes it anew:\n  rm {there}"
    )
    other = "It is left alone. `tracking.uri=sqlite:////FOLDER/FILE.db` names another file."
    file.open("rb").close()  # raises OSError where it cannot be read; SQLite does not say why
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", _PATIENCE_S, uri=True)) as database:
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            pages, size, mode = (
                database.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "page_size", "journal_mode")
            )
            found = database.execute("SELECT * FROM alembic_version").fetchone() if "alembic_version" in names else None
            filled = {each: _has_rows(database, each) for each in ("runs", "experiments") if each in names}
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise StorageError(f"{problem}: it is not a database", other) from error
        if code == sqlite3.SQLITE_CORRUPT:
            raise StorageError(f"{problem}: it is damaged ({error})", back) from error
        raise
    if mode != "wal" and file.stat().st_size < pages * size:
        raise StorageError(f"{problem}: it ends after {file.stat().st_size} of {pages * size} bytes", back)
    if names and not names & {"experiments", "alembic_version"}:
        raise StorageError(f"{problem}: it is another program's database ({', '.join(sorted(names)[:3])})", other)
    latest, known = _revisions()
    version = str(found[0]) if found else ""
    if version and version not in known:
        raise StorageError(
            f"the tracking store {file} is a newer MLflow's than this one ({mlflow.__version__})",
            "Install that one: `pip install --upgrade mlflow`.",
        )
    broken_off = not version or (version != latest and any(name.startswith("_alembic_tmp_") for name in names))
    if broken_off or (version != latest and not filled.get("experiments")):
        if not filled.get("runs"):
            raise _UnfinishedError(
                f"{problem}: it is half made, for whoever made it was stopped, or the disk was full", anew
            )
        raise StorageError(f"{problem}: its change to another version of MLflow was broken off", back)
    if version != latest:
        copy, address = shlex.join(["cp", str(file), f"{file}.before"]), shlex.quote(mlflow_address(_uri(file)))
        raise StorageError(
            f"the tracking store {file} is an older MLflow's than this one ({mlflow.__version__})",
            f"Keep a copy, then change it, which may take a while:\n  {copy}\n  mlflow db upgrade {address}",
        )
    if lacking := sorted({*Base.metadata.tables} - names):
        raise StorageError(f"{problem}: it lacks the table {lacking[0]}", back if filled["runs"] else anew)


def _uri(file: Path) -> str:
    return f"sqlite:///{file}"


def _has_rows(database: sqlite3.Connection, table: str) -> bool:
    return database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None


def _revisions() -> tuple[str, set[str]]:
    """The version of MLflow's tables that this MLflow writes, and all that it knows."""
    scripts = ScriptDirectory(str(Path(mlflow.store.db_migrations.__file__).parent))
    return str(scripts.get_current_head()), {str(each.revision) for each in scripts.walk_revisions()}


def require_writable(path: Path, patience: float = _PATIENCE_S) -> None:
    """Raises sqlite3.Error at once where MLflow would try to open the file for an hour.

    Args:
        path: of a SQLite store.
        patience: seconds that others may hold it, and one more.
    """
    deadline = time.monotonic() + patience
    while True:
        # A second at a time: SQLite hears no signal while it waits.
        with contextlib.closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise


def _require_server(uri: str) -> None:
    """Raises StorageError within ten seconds where a server cannot be used, in words.

    It is asked as MLflow asks: through the environment's proxies, with its user, password and certificates.
    """
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(
                http_request(
                    get_default_host_creds(uri),
                    "/api/2.0/mlflow/experiments/search",
                    "GET",
                    params={"max_results": 1},
                    max_retries=2,
                    timeout=_PATIENCE_S,
                    raise_on_status=False,
                )
            )
        except Exception as error:
            answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)  # names are looked up, and bytes waited for, without an end
    asking.start()
    asking.join(_PATIENCE_S - 1)
    problem = f"the tracking store {uri} cannot be used"
    away = (
        "Start the server, or see to `tracking.uri`. For training, `tracking.offline=true` keeps the run on this disk "
        "until the command `sync` sends it."
    )
    if not answers:
        raise StorageError(f"{problem}: no answer within {_PATIENCE_S - 1} s", away)
    answer = answers[0]
    if isinstance(answer, Exception):
        raise StorageError(*_no_server(problem, away, uri, answer)) from answer
    if answer.status_code in (401, 403):
        who = "who asks is not known" if answer.status_code == 401 else "who asks may not"
        raise StorageError(
            f"{problem}: {who} (status {answer.status_code})",
            "Say who you are in the environment: `export MLFLOW_TRACKING_USERNAME=USER "
            "MLFLOW_TRACKING_PASSWORD=PASSWORD`, or MLFLOW_TRACKING_TOKEN.",
        )
    if answer.status_code == 407:
        raise StorageError(f"{problem}: the proxy wants a user and a password", _past_proxy(uri))
    if answer.status_code >= 500:
        raise StorageError(f"{problem}: it answers with the status {answer.status_code}", away)
    if answer.status_code >= 400:
        raise StorageError(f"{problem}: what answers there (status {answer.status_code}) is no MLflow server", away)


def _no_server(problem: str, away: str, uri: str, error: Exception) -> tuple[str, str]:
    """What kept a question from its answer, and what to do."""
    behind: list[BaseException] = [error]
    while (cause := behind[-1].__cause__ or behind[-1].__context__) is not None:
        behind.append(cause)
    text = " ".join(map(str, behind))
    reason = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text) or re.search(r"\[SSL[^\]]*\] ([^(\n]+)", text)
    why = reason[1].strip() if reason else without_secrets(first_line(behind[-1]))
    if any(isinstance(each, requests.exceptions.ProxyError) for each in behind):
        return f"{problem}: the proxy cannot be used ({why})", _past_proxy(uri)
    if any(isinstance(each, requests.exceptions.SSLError) for each in behind):
        return f"{problem}: no safe connection ({why})", (
            "If its certificate is your institute's own: `export MLFLOW_TRACKING_SERVER_CERT_PATH=FILE.pem`. "
            "If it speaks no TLS, write http:// in `tracking.uri`."
        )
    if any(isinstance(each, requests.exceptions.Timeout) for each in behind):
        return f"{problem}: no answer within {_PATIENCE_S} s", away
    return f"{problem}: {why}", away


def _past_proxy(uri: str) -> str:
    host = urlsplit(uri).hostname
    return f"HTTP_PROXY and HTTPS_PROXY name the proxy; `export NO_PROXY={host}` goes past it."


def _experiment(client: MlflowClient, uri: str, name: str, artifacts: Path | None, *, honoured: bool) -> str:
    """The id of the experiment, created where it is missing.

    Args:
        client: of the store.
        uri: what it is called.
        name: the experiment's.
        artifacts: holds a folder for its files; None where a server keeps them.
        honoured: whether an experiment that has its files elsewhere is refused.
    """
    found = client.get_experiment_by_name(name)
    # Names may hold what a folder may not.
    folder = artifacts / hashlib.sha256(name.encode()).hexdigest()[:12] if artifacts else None
    is_new = found is None
    if is_new:
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
    has = local(found.artifact_location) if folder else None
    if folder and (has is None or has.resolve() != folder.resolve()):
        place, gone = has or found.artifact_location, has is not None and not (is_new or has.is_dir())
        if gone or honoured:
            raise StorageError(
                f"the experiment {name!r} of {uri} has its files in {place}{', which is gone' if gone else ''}; "
                f"they cannot go to {folder}, too",
                "`tracking.experiment=NAME` begins another one there. "
                + (moved(Path(place), folder) if gone else _AS_IT_IS),
            )
    if has:
        has.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=has).close()  # raises OSError where it cannot be written
    return str(found.experiment_id)


_AS_IT_IS = "`tracking.artifacts=null` goes on where this one has its files."


def moved(old: Path, new: Path | None = None) -> str:
    """What to type where a folder was moved and the store was not told."""
    name = str(new) if new and new.is_dir() else "NEW_PLACE"
    return f"Where {old} was moved, say so:\n  {shlex.join(['ln', '-s', name, str(old)])}"


def local(location: str) -> Path | None:
    """The folder on this machine that MLflow calls so; None where files are elsewhere."""
    place = urlsplit(location)
    if place.scheme == "file":
        return Path(url2pathname(place.path))
    return Path(location) if place.scheme == "" else None


@contextmanager
def reported(problem: str, remedy: str) -> Iterator[None]:
    """Makes one StorageError of whatever MLflow raises meanwhile: the problem, and the first line of what it said."""
    try:
        yield
    except STORE_ERRORS as error:
        raise StorageError(f"{problem}: {first_line(error)}", remedy) from error


def reason(error: BaseException, uri: str, files: str | None) -> str:
    """Why a store did not take something, in one line; of a full disk which place is full, and its key.

    Args:
        error: what was raised.
        uri: of the store.
        files: where MLflow keeps the run's files; None: not known.
    """
    file, folder = sqlite_file(uri), local(files) if files else None
    places = [disk.Place("tracking.artifacts", folder)] if folder else []
    places += [disk.Place("tracking.uri", file.parent)] if file else []
    full = disk.full(error, places)
    return full[0] if full else first_line(error)


def first_line(error: BaseException) -> str:
    """What an error says, in one line; of a file's error its name and the reason."""
    if isinstance(error, OSError) and error.strerror:
        place = error.filename2 or error.filename  # of a copy the target: what cannot be read is rare
        return f"{place}: {error.strerror}" if place else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
