"""Decode once: every image and mask as an array on disk, memory-mapped, keyed by its content."""

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from uuid import uuid4

import numpy as np

from lamella.data.images import Bytes, read_image, read_mask, shrink, shrink_mask
from lamella.data.types import DatasetCard, ImageRef, Sample
from lamella.errors import DataError, StorageError

_FORMAT = 1  # counts up when the arrays' meaning changes, so that old caches are not read as new ones


class Store:
    """Arrays of the samples, each decoded the first time it is asked for.

    One file an array, named by the hash of the source file and of all that shapes the array, written beside
    and moved into place: several processes may fill one folder at once, and a crash leaves nothing half-written
    under a name that is read. An array that was damaged since is made again.

    Every method raises DataError where a source file is missing or unsound, and StorageError where the folder
    cannot be written or read.

    Args:
        folder: where the arrays live.
        card: what the files hold.
        scale: training and network input at this times the stored size; `truth` keeps full size.
    """

    def __init__(self, folder: Path, card: DatasetCard, scale: float) -> None:
        self.folder = folder
        self.card = card
        self.scale = float(scale)

    def image(self, sample: Sample) -> Bytes:
        """The image at `scale`: uint8 (C, h, w)."""
        key = f"image {self.card.channels} {self.scale}"
        return self._array(sample.image, key, lambda: shrink(read_image(sample.image, self.card.channels), self.scale))

    def mask(self, sample: Sample) -> Bytes:
        """The mask at `scale`: uint8 class ids (h, w)."""
        if self.scale == 1:
            return self.truth(sample)
        key = f"mask {sorted(self.card.mask_values.items())} {self.scale}"
        return self._array(sample.mask, key, lambda: shrink_mask(self.truth(sample), self.scale))

    def truth(self, sample: Sample) -> Bytes:
        """The mask at full size: uint8 class ids (H, W)."""
        key = f"mask {sorted(self.card.mask_values.items())} 1"
        return self._array(sample.mask, key, lambda: read_mask(sample.mask, self.card.mask_values))

    def full_image(self, sample: Sample) -> Bytes:
        """The image at full size, decoded anew (for figures): uint8 (C, H, W)."""
        return read_image(sample.image, self.card.channels)

    def _array(self, ref: ImageRef, key: str, make: Callable[[], Bytes]) -> Bytes:
        name = hashlib.sha256(f"{_FORMAT} {file_sha256(ref.path)} {ref.page} {key}".encode()).hexdigest()[:40]
        path = self.folder / name[:2] / f"{name}.npy"
        try:
            return _load(path)
        except (FileNotFoundError, ValueError):
            pass  # not made yet, or damaged since
        except OSError as error:
            raise _unusable(path.parent, "read", error) from error
        _write(path, make())
        return _load(path)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, remembered while size and time of change stay the same.

    Raises:
        DataError: the file is missing or may not be read.
    """
    try:
        stat = path.stat()
        return _file_sha256(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "Check the file and its rights.") from None


@cache
def _file_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> Bytes:
    array: Bytes = np.lib.format.open_memmap(path, mode="r")
    return array


def _write(path: Path, array: Bytes) -> None:
    part = path.with_name(f"{path.stem}.{uuid4().hex}.part")  # no other process has this name
    whole = io.BytesIO()  # NumPy, writing to a file, would not say that the disk is full
    np.save(whole, array)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(whole.getbuffer())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unusable(path.parent, "written", error) from error


def _unusable(folder: Path, what: str, error: OSError) -> StorageError:
    return StorageError(
        f"decoded images cannot be {what} in {folder}: {error.strerror or error}",
        "Free space there, or set `paths.cache=FOLDER` to a folder you can write to.",
    )
