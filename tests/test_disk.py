"""What a full disk is called: on real disks of a few kilobytes, with the errors that libraries make of them."""

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lamella import disk
from lamella.disk import Place
from lamella.errors import StorageError


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=300k,nr_inodes=20", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def raised(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def copied(source: Path, target: Path) -> None:
    source.write_bytes(b"\0" * 10**6)
    shutil.copy(source, target)


def saved(target: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, target)


def inserted(target: Path) -> None:
    with sqlite3.connect(target) as database:
        database.execute("CREATE TABLE t (a)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 1000)


def wrapped(target: Path) -> None:
    try:
        target.write_bytes(b"\0" * 10**6)
    except OSError as error:
        raise StorageError("the store failed") from error


def many(target: Path) -> None:
    for number in range(30):
        target.with_name(str(number)).touch()


@pytest.mark.parametrize("fill", [copied, saved, inserted, wrapped, many])
def test_the_place_that_is_full_is_named_with_its_key(small: Path, tmp_path: Path, fill: Callable[..., None]) -> None:
    key = "tracking.uri" if fill is inserted else "paths.output"
    places = [
        Place("paths.cache", tmp_path / "not made"),
        Place(key, small / "deep"),
        Place("tracking.artifacts", tmp_path),
    ]
    target = small / "target"
    error = raised(lambda: fill(tmp_path / "source", target) if fill is copied else fill(target))
    target.unlink(missing_ok=True)  # whoever wrote it has tidied up
    problem, remedy = disk.full(error, places) or ("", "")
    assert problem.startswith(f"the disk of {small}/deep ({key}) ")
    assert ("no room for one more file" if fill is many else "is full") in problem
    assert f"set `{key}=" in remedy
    assert "source" not in problem


def test_other_errors_are_no_full_disk(tmp_path: Path) -> None:
    for error in (OSError(errno.EIO, "Input/output error"), RuntimeError("shapes do not fit"), StorageError("a")):
        assert disk.full(error, [Place("paths.output", tmp_path)]) is None


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.EROFS, "mounted read-only"), (errno.EACCES, "you have no permission")]
)
def test_what_may_not_be_written_is_named_with_the_key(tmp_path: Path, code: int, reason: str) -> None:
    error = OSError(code, "no", str(tmp_path / "out/run/a.ckpt"))
    places = [Place("tracking.uri", tmp_path), Place("paths.output", tmp_path / "out")]
    problem, remedy = disk.unwritable(error, places) or ("", "")
    assert problem == f"{tmp_path}/out/run/a.ckpt cannot be used: " + (
        "its disk is mounted read-only" if code == errno.EROFS else reason
    )
    assert "paths.output=FOLDER" in remedy


def test_what_would_not_fit_is_refused_with_numbers(small: Path, tmp_path: Path) -> None:
    out, store = Place("paths.output", small / "not/made"), Place("tracking.uri", small)
    disk.require_space({out: 100_000, store: 100_000, Place("paths.cache", tmp_path): 1})
    with pytest.raises(StorageError) as caught:
        disk.require_space({out: 250_000, store: 100_000, Place("paths.cache", tmp_path): 1})
    assert "307 kB are free, and this run needs 250 kB in " in caught.value.problem
    assert "(paths.output), 100 kB in" in caught.value.problem
    assert "Free 42.8 kB there, or set `paths.output=FOLDER`" in caught.value.remedy
    assert not (small / "not").exists()
