"""Room on disks: whether what is about to be written fits, and which place is full when it did not."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lamella.errors import LamellaError, StorageError

_FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "is full: your quota there is used up"}
_TEXTS = ("No space left on device", "database or disk is full", "Disk quota exceeded")
_TORN = ("iostream error", "unexpected pos", "failed writing file")  # torch.save, where it does not say why


class Place(NamedTuple):
    """A folder that is written to, and the key or variable that says where it is."""

    key: str
    folder: Path

    def shares_disk(self, other: "Place") -> bool:
        """Whether both lie on one disk, as far as this system tells."""
        return _device(self.folder) == _device(other.folder)


def temporary() -> Place:
    """Where programs put what they need for a moment."""
    return Place("TMPDIR", Path(tempfile.gettempdir()))


def free(folder: Path) -> int:
    """The bytes that this user can still write where a folder is, or would be made. Raises OSError."""
    return shutil.disk_usage(_there(folder)).free


def require_space(needs: Mapping[Place, int]) -> None:
    """Refuses to begin what would fill a disk. Places on one disk share what is free there.

    Args:
        needs: bytes that will be written at each place.

    Raises:
        StorageError: names the disk's places, what they need and what is free.
    """
    disks: dict[int, list[Place]] = {}
    for place in needs:
        disks.setdefault(_there(place.folder).stat().st_dev, []).append(place)
    for places in disks.values():
        places.sort(key=lambda place: -needs[place])
        wanted, left = sum(needs[place] for place in places), free(places[0].folder)
        if wanted > left:
            names = ", ".join(f"{in_bytes(needs[each])} in {each.folder} ({each.key})" for each in places)
            raise StorageError(
                f"the disk has too little room: {in_bytes(left)} are free, and this run needs {names}",
                f"Free {in_bytes(wanted - left)} there, or {_elsewhere(places[0])}.",
            )


def full(error: BaseException, places: Sequence[Place]) -> tuple[str, str] | None:
    """A problem and its remedy where a full disk is behind an error; None where it is not.

    Libraries name whatever file they were at, the source of a copy or a temporary one, or none. The file systems
    themselves are asked.

    Args:
        error: what was raised; what it was raised from counts, too.
        places: that were written to.
    """
    errors = list(behind(error))
    found = next((each for each in errors if _is_full(each)), None)
    if not found and not any(isinstance(each, OSError) for each in errors):
        found = next((each for each in errors if any(text in str(each) for text in _TORN)), None)
    if found is None:
        return None
    target = getattr(found, "filename2", None) or getattr(found, "filename", None)
    device = _device(Path(os.fsdecode(target))) if isinstance(target, str | bytes) else None
    known = {place: left for place in (*places, temporary()) if (left := _left(place.folder)) is not None}
    if "database or disk" in str(found):  # SQLite writes to no other
        known = {each: known[each] for each in known if each.key in ("tracking.uri", "TMPDIR")} or known
    here = {each: known[each] for each in known if device is not None and _device(each.folder) == device}
    if not (here or known):
        return None
    place = min(here or known, key=(here or known).__getitem__)
    why = _FULL.get(getattr(found, "errno", None) or errno.ENOSPC, _FULL[errno.ENOSPC])
    left = known[place]
    if not _files_left(place.folder):
        why = "has no room for one more file (its inodes are used up)"
    return (
        f"the disk of {place.folder} ({place.key}) {why}; {in_bytes(left)} are free now",
        f"Free some there, or {_elsewhere(place)}. What was whole before still is.",
    )


def unwritable(error: OSError, places: Sequence[Place]) -> tuple[str, str] | None:
    """A problem and its remedy for a file that the system does not let this user write; None for other errors."""
    reasons = {
        errno.EROFS: "its disk is mounted read-only",
        errno.EACCES: "you have no permission",
        errno.EPERM: "you have no permission",
    }
    target = error.filename2 or error.filename
    if error.errno not in reasons or not isinstance(target, str | bytes):
        return None
    file = Path(os.fsdecode(target)).absolute()
    holders = [place for place in (*places, temporary()) if file.is_relative_to(place.folder.absolute())]
    if not holders:
        return None
    place = max(holders, key=lambda each: len(each.folder.parts))
    return f"{file} cannot be used: {reasons[error.errno]}", f"Type `ls -ld {file.parent}`, or {_elsewhere(place)}."


def behind(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from; of one that was put into words only what it says it came from."""
    at: BaseException | None = error
    while at is not None:
        yield at
        following = at.__cause__
        if following is None and not isinstance(at, LamellaError) and not at.__suppress_context__:
            following = at.__context__
        at = following


def keep_names(folder: Path) -> None:
    """Writes the names of a folder's files onto the disk, so that a new one outlives a power cut, where that is known.

    Raises OSError.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def in_bytes(count: float) -> str:
    """A number of bytes in words: "1.5 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _elsewhere(place: Place) -> str:
    if place.key == "TMPDIR":
        return "name another folder for temporary files: `export TMPDIR=FOLDER`"
    file = "sqlite:////FOLDER/runs.db" if place.key == "tracking.uri" else "FOLDER"
    return f"set `{place.key}={file}` to a place on another disk"


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return not isinstance(error, LamellaError) and any(text in str(error) for text in _TEXTS)


def _there(folder: Path) -> Path:
    """A folder, or the nearest above it that exists."""
    folder = folder.absolute()
    return next((each for each in (folder, *folder.parents) if each.exists()), Path(folder.anchor))


def _left(folder: Path) -> int | None:
    try:
        return free(folder)
    except OSError:
        return None


def _device(path: Path) -> int | None:
    try:
        return _there(path).stat().st_dev
    except OSError:
        return None


def _files_left(folder: Path) -> bool:
    """Whether the file system can take another file; those that do not count them say 0 of 0."""
    if not hasattr(os, "statvfs"):
        return True
    try:
        of = os.statvfs(_there(folder))
    except OSError:
        return True
    return of.f_files == 0 or of.f_favail > 0
