"""Safe unpacking of ZIP archives that came from elsewhere: nothing outside the folder, no bombs."""

import errno
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from lamella.errors import DataError, StorageError

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all where that is known
Pick = Callable[[Sequence[str]], dict[str, str]]  # names in an archive -> those wanted, each with its new place

_CHUNK = 1 << 18
_NOT_CHECKED = 1 << 20  # bytes: a file as small as this harms nobody, however well it was compressed
_REGULAR = (0, stat.S_IFREG, stat.S_IFDIR)
_FREE = "Free some space there, or name a folder on another disk: paths.data=FOLDER."
_LITTER = ("thumbs.db", "desktop.ini")
_KINDS = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an empty one
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x1f\x8b": "a gzip file",
}


@dataclass(frozen=True)
class ArchiveLimits:
    """How large an archive's contents may be: far above what is expected, far below what would do harm.

    Attributes:
        entries: names in the archive, wanted or not.
        each: bytes of one unpacked file.
        total: bytes of all unpacked files.
        ratio: unpacked over packed bytes of one file above 1 MiB.
    """

    entries: int
    each: int
    total: int
    ratio: float


@dataclass(frozen=True)
class Unpacked:
    """What was taken out of an archive, and what was left in it.

    Attributes:
        files: how many files were unpacked.
        litter: how many names of macOS and Windows (`__MACOSX`, `.DS_Store`, `Thumbs.db`) were passed over.
        others: names of all other files that were left.
    """

    files: int
    litter: int
    others: tuple[str, ...]


def unpack(
    archive: Path, folder: Path, pick: Pick, limits: ArchiveLimits, progress: Progress = lambda *_: None
) -> Unpacked:
    """Unpacks the wanted files of a ZIP archive, and says what was taken and left.

    Every name is judged before the first byte is written.

    Args:
        folder: exists and is empty; what an error leaves in it is for the caller to remove.
        pick: which names are wanted, and where each goes below `folder`.
        limits: how large the contents may be.

    Raises:
        DataError: no ZIP archive, damaged, encrypted, one that would write outside `folder` or hold links, or too
            large for what it should be; and whatever `pick` raises.
        StorageError: the disk is full, or the folder cannot be written.
    """
    _require_zip(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_names(archive, opened.infolist(), limits)
            named = {_slashed(entry): entry for entry in opened.infolist() if not _slashed(entry).endswith("/")}
            sound = [name for name in named if not is_litter(name)]
            wanted = pick(sound)
            _check_sizes(archive, [named[name] for name in wanted], limits)
            done, total = 0, sum(named[name].file_size for name in wanted)
            require_room(folder, total, f"unpacking {archive.name}")
            for name, place in wanted.items():
                for written in _extract(opened, named[name], folder / place):
                    done += written
                    progress(done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{archive} is damaged or cut off: {error}", "Fetch it again.") from error
    except NotImplementedError as error:  # a way of compression that Python lacks
        raise DataError(f"{archive} cannot be unpacked here: {error}", "Unpack it with another program.") from error
    return Unpacked(len(wanted), len(named) - len(sound), tuple(name for name in sound if name not in wanted))


def is_litter(name: str) -> bool:
    """Whether macOS or Windows left this file among others, unasked; hidden files count, as everywhere."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name.lower() in _LITTER


def kind(head: bytes) -> str:
    """What a file is, by its first bytes: "zip", something else in words, or "" where that is not known."""
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return next((name for start, name in _KINDS.items() if head.startswith(start)), "")


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raises StorageError where the disk of `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(f"{what} needs {in_bytes(needed)} in {folder}, and {in_bytes(free)} are free", _FREE)


def not_written(path: Path, error: OSError) -> StorageError:
    """The error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk is full: {path} could not be written", f"{_FREE} Then run the command again.")
    remedy = "Choose a folder you may write to: paths.data=FOLDER."
    return StorageError(f"{path} cannot be written: {error.strerror or error}", remedy)


def in_bytes(count: float) -> str:
    """A number of bytes in words: 1234567 -> "1.2 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.1f} TB"


def _require_zip(archive: Path) -> None:
    """Raises DataError where a file is missing or no ZIP archive."""
    try:
        with archive.open("rb") as file:
            found = kind(file.read(512))
    except IsADirectoryError:
        raise DataError(f"{archive} is a folder, not a ZIP archive", "Name the file that was downloaded.") from None
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror}", "Check the path and its permissions.") from None
    if found != "zip":
        raise DataError(f"{archive} is no ZIP archive{found and f' but {found}'}", "Fetch the archive itself.")


def _check_names(archive: Path, entries: Sequence[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    remedy = "It is not the archive it should be: fetch it from where it was published."
    if len(entries) > limits.entries:
        raise DataError(f"{archive} holds {len(entries):,} entries, more than {limits.entries:,}", remedy)
    seen: set[str] = set()
    for entry in entries:
        name = _slashed(entry)
        if name.startswith("/") or PureWindowsPath(name).drive or ".." in PurePosixPath(name).parts:
            raise DataError(f"{archive} would write outside its folder: {entry.filename!r}", remedy)
        if stat.S_IFMT(entry.external_attr >> 16) not in _REGULAR:
            raise DataError(f"{archive} holds a link or a device: {entry.filename!r}", remedy)
        if name.casefold() in seen and not name.endswith("/"):
            raise DataError(f"{archive} holds two files of one name: {entry.filename!r}", remedy)
        seen.add(name.casefold())


def _slashed(entry: zipfile.ZipInfo) -> str:
    """The name of an entry; some programs under Windows write backslashes."""
    return entry.filename.replace("\\", "/")


def _check_sizes(archive: Path, entries: Sequence[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    remedy = "It is not the archive it should be, and may be made to fill a disk."
    for entry in entries:
        if entry.flag_bits & 1:
            raise DataError(
                f"{archive} is encrypted: {entry.filename!r} needs a password",
                "Unpack it with a program that asks for the password, or fetch it from where it was published.",
            )
        large = entry.file_size > _NOT_CHECKED and entry.file_size > limits.ratio * entry.compress_size
        if entry.file_size > limits.each or large:
            packed = f"{in_bytes(entry.file_size)} out of {in_bytes(entry.compress_size)}"
            raise DataError(f"{archive} would unpack {entry.filename!r} to {packed}", remedy)
    total = sum(entry.file_size for entry in entries)
    if total > limits.total:
        most = in_bytes(limits.total)
        raise DataError(f"{archive} would unpack to {in_bytes(total)}, and at most {most} make sense", remedy)


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Iterator[int]:
    """Unpacks one file; gives the bytes of each piece. The reader ends at the size the archive states."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            for chunk in _chunks(opened, entry):
                yield target.write(chunk)
    except OSError as error:
        raise not_written(path, error) from error


def _chunks(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with opened.open(entry) as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except (OSError, lzma.LZMAError) as error:  # of the archive, not of what is written
        raise zipfile.BadZipFile(f"{entry.filename!r}: {error}") from error
