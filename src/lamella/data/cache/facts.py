"""Facts about files, remembered on disk: each is found out once, and forgotten when its file changes."""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from lamella.data.io.decode import require_content
from lamella.data.types import ImageRef
from lamella.errors import DataError

JSON = Any  # None, bool, int, float, str, and lists and dictionaries of these

_FORMAT = 1  # counts up when the table changes
_YOUNG = 2_000_000_000  # ns; a file changed so lately may change again within one tick of its clock
_WAIT = 30.0  # seconds for another process to finish writing
_TABLE = "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL, seal TEXT NOT NULL)"


class Facts:
    """What was found out about files before, kept in a small database that threads and processes share.

    It is a cache and no more: where it cannot be read or written (a full disk, a folder of somebody else's), facts
    are found out again each time, and are right. A damaged database is made anew, and every row carries a seal, so
    that one changed by a failing disk is not believed.

    Args:
        folder: where the database lives; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / f"facts-{_FORMAT}.sqlite"
        self._open: dict[tuple[int, int], sqlite3.Connection] = {}
        self._known: dict[str, str] = {}  # hashes by key: asked for with every crop

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def sha256(self, path: Path) -> str:
        """The SHA-256 of a file's bytes, remembered while its path, size, times and inode stay the same.

        Of a folder (some formats are one): that of the names and hashes of all that lies in it.

        Raises:
            DataError: the file is missing or may not be read.
        """
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file())
            lines = [f"{each.relative_to(path).as_posix()} {self.sha256(each)}" for each in inside]
            return hashlib.sha256("\n".join(lines).encode()).hexdigest()
        try:
            require_content(path)
            before = _identity(path)
            found = self._known.get(before) or self._get(before)
            if found is None:
                age = time.time_ns() - path.stat().st_mtime_ns
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if age < _YOUNG or _identity(path) != before:
                    return found
                self._put(before, found)
            self._known[before] = found
            return found
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {error.strerror or error}", "Check the file and its rights."
            ) from None

    def knows(self, path: Path) -> bool:
        """Whether a file's SHA-256 is remembered, so that it need not be read for it."""
        with contextlib.suppress(OSError):
            identity = _identity(path)
            found = self._known.get(identity) or self._get(identity)
            if found is not None:
                self._known[identity] = found
                return not path.is_dir()
        return False

    def remembered(self, key: str) -> JSON | None:
        """What `recall` remembers under a key; None for nothing."""
        text = self._get(key)
        return None if text is None else json.loads(text)

    def source(self, ref: ImageRef) -> str:
        """What a picture is read from, by content: part of the key of all that is found out or made of it.

        Raises:
            DataError: a file is missing or may not be read.
        """
        files = " ".join(self.sha256(path) for path in ref.paths)
        return f"{files} {ref.page} {ref.axes} {ref.inside} {ref.labels}"

    def recall(self, key: str, make: Callable[[], JSON]) -> JSON:
        """The answer of `make`, remembered under a key since it was first asked, by whatever process.

        Args:
            key: holds all that the answer depends on: hashes of contents, settings, the version of `make`.
            make: finds it out. What it raises is raised here, and nothing is remembered.
        """
        text = self._get(key)
        if text is None:
            text = json.dumps(make())
            self._put(key, text)
        return json.loads(text)

    def _get(self, key: str) -> str | None:
        row = self._run("SELECT value, seal FROM facts WHERE key = ?", (key,))
        return row[0] if row and row[1] == _seal(key, row[0]) else None

    def _put(self, key: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (key, value, _seal(key, value)))

    def _run(self, command: str, values: tuple[str, ...]) -> Any:
        """The first row of the answer; None where there is none, or no database to be had."""
        for renew in (self._renew, None):
            try:
                with self._connection() as connection:  # commits
                    return connection.execute(command, values).fetchone()
            except (sqlite3.OperationalError, OSError):
                return None  # no place, no right, or busy for too long
            except sqlite3.DatabaseError:
                self._close()
                if renew:
                    renew()
        return None

    def _connection(self) -> sqlite3.Connection:
        """One for each thread and process: SQLite's must not be carried over a fork, nor closed beyond it."""
        me = os.getpid(), threading.get_ident()
        if me not in self._open:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open[me] = _open(self._path)
        return self._open[me]

    def _close(self) -> None:
        connection = self._open.pop((os.getpid(), threading.get_ident()), None)
        if connection:
            connection.close()

    def _renew(self) -> None:
        """Puts away a damaged database, unless another process has done so meanwhile."""
        with contextlib.suppress(OSError), FileLock(self._path.with_suffix(".lock"), timeout=_WAIT):
            try:
                with contextlib.closing(_open(self._path)) as connection:
                    if connection.execute("PRAGMA quick_check").fetchone() == ("ok",):
                        return
            except sqlite3.OperationalError:
                return
            except sqlite3.DatabaseError:
                pass
            # The journal first: left beside a new database, it would be played back into it.
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT, check_same_thread=False)
    try:
        # A journal on disk outlives a killed process; waiting for the disk itself would guard against a power cut
        # alone, and after one the seals tell.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> str:
    """Which file this is, in which state. The time of its last change cannot be set back, as the other time can."""
    stat = path.stat()
    return f"sha256 {str(path.absolute())!a} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _seal(key: str, value: str) -> str:
    return hashlib.blake2b(f"{key}\n{value}".encode(), digest_size=8).hexdigest()
