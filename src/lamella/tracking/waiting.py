"""Working folders that hold what a store has not got yet: found, and sent by whoever finds them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lamella.errors import StorageError
from lamella.tracking.outbox import ENDS, RECORD, RESUMED_FROM, Hold, Journal, Record, Sender, Sent, discard, enter
from lamella.tracking.store import STORE_ERRORS, first_line, make_store, open_store, reason, reported, require_store

_PATIENCE_S = 60


class AwayError(StorageError):
    """A store that takes nothing now, whatever it is told."""


class Delivered(NamedTuple):
    """What became of a working folder that was to be sent.

    Attributes:
        run_id: in the store; while that does not know of it, the folder's own.
        complete: whether the store has all of it.
        said: what happened, in words that go on with "run ID: ".
    """

    run_id: str
    complete: bool
    said: str


def waiting(output: Path) -> Iterator[tuple[Path, Record]]:
    """All working folders of runs below the folder of working folders, in the order in which their runs began."""
    found = [(path.parent, Record.read(path.parent)) for path in output.glob(f"*/{RECORD}")]
    known = [(folder, record) for folder, record in found if record is not None]
    yield from sorted(known, key=lambda each: each[1].began)


def deliver(folder: Path, uri: str | None = None) -> Delivered | None:
    """Sends what a working folder holds, as its run itself would have done; None where there is nothing to send.

    A run whose process is gone without a word is KILLED, since when it was last heard of.

    Args:
        folder: of one run, not necessarily of a dead one.
        uri: another store than the one it was meant for; only for runs that no store knows yet.

    Raises:
        AwayError: the store cannot be used at all.
        StorageError: the folder is damaged, or the store will not have its experiment.
    """
    record = Record.read(folder)
    assert record is not None
    try:
        hold = Hold(folder)
    except BlockingIOError:
        return Delivered(record.run_id or record.local_id, True, "a process is at work on it, and sends what it has")
    journal: Journal | None = None
    sender: Sender | None = None
    try:
        journal = Journal(folder)
        died = journal.last not in ENDS
        if died:
            when = journal.entries[-1]["time"] if journal.entries else record.began
            journal.append(time=when, status="KILLED")
            if left := [name for name in RESUMED_FROM if (folder / name).exists()]:
                journal.append(files=left)
        if record.run_id is None and uri is not None:
            record.uri, record.artifacts = uri, None
        is_new = record.run_id is None
        sent = Sent.read(folder)
        if not died and sent.complete and sent.entries == len(journal.entries):
            if journal.last == "FINISHED" and not sent.refused:  # killed before it could tidy up
                discard(folder)
            return None
        _require(record.uri)
        with reported(f"the tracking store {record.uri} cannot be used", ""):
            client, experiment_id = open_store(record.uri, record.artifacts, record.experiment)
            if is_new:
                enter(client, experiment_id, record, {"lamella.offline_id": record.local_id})
                record.write(folder)
        run_id = str(record.run_id)
        sender = Sender(client, record, journal, folder)
        sender.start()
        done = sender.drain(_PATIENCE_S)
        sender.stop(5)
        if not done:
            why = f" ({reason(sender.error, record.uri, record.location)})" if sender.error is not None else ""
            return Delivered(run_id, False, f"{sender.left()} could not be sent to {record.uri}{why}")
        if sender.refused:
            return Delivered(run_id, False, f"{record.uri} refused a part: {sender.refused[0]}; {folder} has it")
        if journal.last == "FINISHED":
            discard(folder)
        where = f", as {run_id}" if is_new else ""
        gone = "; its process had gone" if died else ""
        return Delivered(record.local_id, True, f"sent to {record.uri}{where}: {journal.last}{gone}")
    finally:
        if sender is not None:
            sender.stop()
        if journal is not None:
            with contextlib.suppress(OSError):
                journal.close()
        hold.release()


def _require(uri: str) -> None:
    """Raises AwayError where a store cannot be used; a missing SQLite store is made."""
    try:
        make_store(uri)
        require_store(uri)
    except StorageError as error:
        raise AwayError(error.problem, error.remedy) from error
    except STORE_ERRORS as error:
        raise AwayError(f"the tracking store {uri} cannot be used: {first_line(error)}") from error
