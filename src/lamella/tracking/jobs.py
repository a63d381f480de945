"""The runs of a job of a sweep, whatever became of them: what an earlier launch of the same sweep left."""

import contextlib
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from lamella.config.paths import sqlite_file
from lamella.tracking.alive import is_gone
from lamella.tracking.outbox import RECORD, Hold, Record, Sent, discard, entries_of, last_status
from lamella.tracking.store import connect, open_store, reported

_held: list[FileLock] = []  # by this process


class Attempt(NamedTuple):
    """A run of a job.

    Attributes:
        run_id: in the store.
        status: as the store has it.
        gone: whether it says RUNNING, and its process does not run any more.
        score: its mean test Dice; NaN where it has none.
        tags: of the run.
        began: milliseconds since 1970.
        stored: whether the store has it; else only its working folder does.
    """

    run_id: str
    status: str
    gone: bool
    score: float
    tags: Mapping[str, str]
    began: int
    stored: bool


def attempts(uri: str, experiment: str, job: str, output: Path, *, offline: bool = False) -> list[Attempt]:
    """The runs of a job in an experiment, the newest first; deleted ones do not count.

    Args:
        uri: where runs are kept.
        experiment: by its name.
        job: the tag `lamella.job` that they have.
        output: the folder of working folders, among which are runs that no store knows yet.
        offline: these are all that is asked for.

    Raises:
        StorageError: the store cannot be read.
    """
    found = [
        attempt
        for folder in (path.parent for path in output.glob(f"*/{RECORD}"))
        if (attempt := _kept(folder, job, uri, experiment, offline))
    ]
    if not offline and _is_there(uri):
        with reported(f"the tracking store {uri} cannot be read", "`tracking.uri` says where runs are kept."):
            client = connect(uri)
            there = client.get_experiment_by_name(experiment)
            ours = f"tags.`lamella.job` = '{job}'"
            found += [_stored(run) for run in (client.search_runs([there.experiment_id], ours) if there else [])]
    return sorted(found, key=lambda attempt: attempt.began, reverse=True)


def _is_there(uri: str) -> bool:
    """Whether a store may hold anything; of one that is missing, or is none, who opens a run in it tells."""
    file = sqlite_file(uri)
    return file.exists() if file is not None else "://" in uri and not uri.startswith("file:")


def _stored(run: Any) -> Attempt:
    info, data = run.info, run.data
    gone = info.status == "RUNNING" and is_gone(data.tags, begun=info.start_time / 1000)
    return Attempt(info.run_id, info.status, gone, data.metrics.get("test/dice", nan), data.tags, info.start_time, True)


def _kept(folder: Path, job: str, uri: str, experiment: str, offline: bool) -> Attempt | None:
    """What a working folder has of a job; None if that is another's, or the store knows of it and can be asked."""
    record = Record.read(folder)
    if record is None or (record.uri, record.experiment) != (uri, experiment) or (record.run_id and not offline):
        return None
    entries = entries_of(folder)
    tags = {name: text for entry in entries for name, text in entry.get("tags", {}).items()}
    if tags.get("lamella.job") != job:
        return None
    scores = [entry["metrics"]["test/dice"] for entry in entries if "test/dice" in entry.get("metrics", {})]
    try:
        Hold(folder).release()
        gone = True
    except BlockingIOError:
        gone = False
    run_id, score = record.run_id or record.local_id, scores[-1] if scores else nan
    return Attempt(run_id, last_status(entries), gone, score, tags, record.began, False)


def clear_away(run_id: str, output: Path) -> None:
    """Removes the working folder of a run that the store has whole: its process was killed while it did that.

    Args:
        run_id: of a run that is FINISHED in its store.
        output: the folder of working folders.

    Raises:
        StorageError: its journal is damaged.
    """
    folder = output / run_id
    if not folder.is_dir():
        return
    going = Record.read(folder) is None  # it is the first to go
    if going or (last_status(entries_of(folder)) == "FINISHED" and not Sent.read(folder).refused):
        with contextlib.suppress(BlockingIOError):  # its process is about to do it
            Hold(folder).release()
            discard(folder)


def ready(uri: str, artifacts: str | None, experiment: str) -> None:
    """Makes a store where it is missing, with an experiment in it, before anything counts on it. Raises StorageError.

    Args:
        uri: tracking store.
        artifacts: folder for the files of a SQLite store (None: beside it).
        experiment: by its name.
    """
    remedy = "Set `tracking.uri` (and `tracking.artifacts`) to a store you can write to."
    with reported(f"the tracking store {uri} cannot be used", remedy):
        open_store(uri, artifacts, experiment)


def only(run_ids: Sequence[str]) -> str:
    """What MLflow's filter language says for these runs and no others."""
    return f"attributes.run_id IN ({', '.join(repr(each) for each in run_ids)})"


def claim(uri: str, output: Path, job: str) -> None:
    """Waits until no other process of this machine is about to open a run of a job, and keeps them out meanwhile.

    Until `let_go`, the next claim, or the end of this process, however it comes.

    Args:
        uri: where its runs are kept; the claim is a file beside a local store.
        output: the folder of working folders, where the file lies of a server's.
        job: the tag `lamella.job` that they have.
    """
    let_go()
    store = uri.removeprefix("sqlite:///")
    folder = (Path(store).parent if store != uri else output) / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{job[:16]}.lock")
    lock.acquire()
    _held.append(lock)


def let_go() -> None:
    """Lets other processes ask about the job that this one claimed."""
    while _held:
        _held.pop().release()
