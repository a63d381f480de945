"""NumPy's own files: an array (.npy), or several by name (.npz)."""

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.io.formats.container import chosen
from lamella.data.io.formats.volume import Volume
from lamella.data.types import ImageRef
from lamella.errors import DataError

# Python's own parser reads an array's header, and in 3.11 fails now and then in two threads at once ("AST constructor
# recursion depth mismatch").
ONE_AT_A_TIME = threading.Lock()


@contextmanager
def npy(ref: ImageRef) -> Iterator[Volume]:
    """The array of a .npy file; nothing is read before it is asked for."""
    with ONE_AT_A_TIME:
        with ref.path.open("rb") as file:
            _, _, dtype = _head(file)
        if dtype.hasobject:
            raise _objects(ref)
        array = np.load(ref.path, mmap_mode="r", allow_pickle=False)
    yield Volume(str(ref.path), array.shape, array.dtype, lambda index: np.array(array[index]))


@contextmanager
def npz(ref: ImageRef) -> Iterator[Volume]:
    """One array of a .npz file: the one that `ref.inside` names, or the only one with pixels in it."""
    with zipfile.ZipFile(ref.path) as archive:
        found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        for name in archive.namelist():
            if name.endswith(".npy"):
                with ONE_AT_A_TIME, archive.open(name) as file:
                    shape, _, dtype = _head(file)
                found[name.removesuffix(".npy")] = shape, dtype
        name = chosen(ref, {name: each for name, each in found.items() if len(each[0]) > 1 and not each[1].hasobject})
    shape, dtype = found[name]
    if dtype.hasobject:
        raise _objects(ref)
    stat = ref.path.stat()
    yield Volume(
        f"{ref.path}:{name}",
        shape,
        dtype,
        lambda index: _unpacked(ref.path, name, stat.st_mtime_ns, stat.st_size)[index],
        whole=True,
    )


@lru_cache(maxsize=1)
def _unpacked(path: Path, name: str, _changed: int, _bytes: int) -> npt.NDArray[Any]:
    """A whole array of a .npz file, kept for the next page of it: it cannot be unpacked page by page."""
    with ONE_AT_A_TIME, np.load(path, allow_pickle=False) as arrays:
        array: npt.NDArray[Any] = arrays[name]
        array.flags.writeable = False
        return array


def _head(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array, from the first bytes of its file."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file)


def _objects(ref: ImageRef) -> DataError:
    cellpose = ref.path.stem.endswith("_seg")
    return DataError(
        f"{ref} holds Python objects, not an array of pixels",
        "It is what Cellpose keeps for itself. In Cellpose: File > Save masks as PNG/tif gives `_cp_masks` files."
        if cellpose
        else "Save the array alone: `numpy.save(path, array)` with an array of numbers.",
    )
