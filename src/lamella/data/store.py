"""Decode once: every image and mask as an array on disk, memory-mapped, keyed by its content."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from lamella.data.images import Bytes, read_image, read_mask, shrink, shrink_mask
from lamella.data.types import DatasetCard, ImageRef, Sample
from lamella.errors import StorageError

_FORMAT = 1  # counts up when the arrays' meaning changes, so that old caches are not read as new ones


class Store:
    """Arrays of the samples, each decoded the first time it is asked for.

    One file an array, named by the hash of the source file and of all that shapes the array, written beside
    and moved into place: several processes may fill one folder at once, and a crash leaves nothing half-written.

    Args:
        folder: where the arrays live.
        card: what the files hold.
        scale: training and network input at this times the stored size; `truth` keeps full size.
    """

    def __init__(self, folder: Path, card: DatasetCard, scale: float) -> None:
        self.folder = folder
        self.card = card
        self.scale = scale

    def image(self, sample: Sample) -> Bytes:
        """The image at `scale`: uint8 (C, h, w). Raises DataError."""
        key = f"image {self.card.channels} {self.scale}"
        return self._array(sample.image, key, lambda: shrink(read_image(sample.image, self.card.channels), self.scale))

    def mask(self, sample: Sample) -> Bytes:
        """The mask at `scale`: uint8 class ids (h, w). Raises DataError."""
        if self.scale == 1:
            return self.truth(sample)
        key = f"mask {sorted(self.card.mask_values.items())} {self.scale}"
        return self._array(sample.mask, key, lambda: shrink_mask(self.truth(sample), self.scale))

    def truth(self, sample: Sample) -> Bytes:
        """The mask at full size: uint8 class ids (H, W). Raises DataError."""
        key = f"mask {sorted(self.card.mask_values.items())} 1"
        return self._array(sample.mask, key, lambda: read_mask(sample.mask, self.card.mask_values))

    def full_image(self, sample: Sample) -> Bytes:
        """The image at full size, decoded anew (for figures): uint8 (C, H, W). Raises DataError."""
        return read_image(sample.image, self.card.channels)

    def _array(self, ref: ImageRef, key: str, make: Callable[[], Bytes]) -> Bytes:
        name = hashlib.sha256(f"{_FORMAT} {file_sha256(ref.path)} {ref.page} {key}".encode()).hexdigest()[:40]
        path = self.folder / name[:2] / f"{name}.npy"
        if not path.exists():
            _write(path, make())
        array: Bytes = np.load(path, mmap_mode="r")
        return array


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, remembered while size and time of change stay the same."""
    stat = path.stat()
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, array: Bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                np.save(file, array)
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StorageError(
            f"decoded images cannot be written to {path.parent}: {error.strerror or error}",
            "Free space there, or set `paths.cache=FOLDER` to a folder you can write to.",
        ) from error
