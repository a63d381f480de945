"""HDF5: the data set that is named, or the only one; axes as ilastik notes them, spacing as ImageJ's plugin does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from lamella.data.io.formats.axes import LETTERS
from lamella.data.io.formats.container import chosen
from lamella.data.io.formats.volume import Spacing, Volume
from lamella.data.types import ImageRef


@contextmanager
def opened(ref: ImageRef) -> Iterator[Volume]:
    """One data set of an HDF5 file; nothing of it is read before it is asked for."""
    import h5py  # takes most of a second, which few runs need

    with h5py.File(ref.path, "r") as file:
        found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}

        def look(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.ndim > 1 and item.dtype.kind in "buifc":
                found["/" + name] = item.shape, item.dtype

        named = file.get(ref.inside) if ref.inside is not None else None
        if isinstance(named, h5py.Dataset):  # looking through all may take long
            look(named.name.strip("/"), named)
        if not found:
            file.visititems(look)
        name = chosen(ref, found)
        data = file[name]
        axes = _axes(data)
        yield Volume(
            f"{ref.path}:{name}",
            data.shape,
            data.dtype,
            lambda index: np.asarray(data[index]),
            axes,
            _spacing(data, axes),
        )


def _axes(data: Any) -> str | None:
    """As ilastik and vigra keep them (`axistags`), or as HDF5 itself does (labels of dimensions)."""
    keys: list[str] = []
    with suppress(ValueError, KeyError, TypeError):
        keys = [axis["key"] for axis in json.loads(data.attrs["axistags"])["axes"]]
    keys = keys or [dimension.label for dimension in data.dims]
    letters = "".join(keys).upper()
    plain = len(keys) == len(letters) == data.ndim and {"Y", "X"} <= set(letters) <= set(LETTERS)
    return letters if plain and len(set(letters)) == len(letters) else None


def _spacing(data: Any, axes: str | None) -> Spacing | None:
    """Of `element_size_um`, which has the sizes of (Z,) Y and X in micrometres."""
    sizes = np.ravel(data.attrs.get("element_size_um", ()))
    if len(sizes) not in (2, 3) or (axes is not None and axes.index("Y") > axes.index("X")):
        return None
    return float(sizes[-2]) * 1000, float(sizes[-1]) * 1000
