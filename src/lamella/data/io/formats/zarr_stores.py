"""Zarr and OME-Zarr, which are folders: the array that is named, the only one, or the base level of a pyramid."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from lamella.data.io.formats.axes import LETTERS
from lamella.data.io.formats.container import chosen
from lamella.data.io.formats.units import NANOMETRES
from lamella.data.io.formats.volume import Spacing, Volume
from lamella.data.types import ImageRef
from lamella.errors import DataError

MISSING = "python -m pip install 'lamella[zarr]'"


@contextmanager
def opened(ref: ImageRef) -> Iterator[Volume]:
    """One array of a Zarr store; of it only the chunks that are asked for are read."""
    try:
        import zarr
    except ImportError:
        raise DataError(f"{ref} is Zarr, and the package that reads it is not installed", f"`{MISSING}`") from None
    if not ref.path.exists():
        raise FileNotFoundError(ref.path)
    try:
        node: Any = zarr.open(str(ref.path), mode="r")
    except FileNotFoundError:
        raise ValueError("it holds neither an array nor a group of Zarr") from None
    name = "/" + (ref.inside or "").strip("/")
    if name != "/" and name.strip("/") in node:
        node = node[name.strip("/")]
    elif name != "/":
        chosen(ref, _arrays(node, zarr))  # raises, with a list
    if isinstance(node, zarr.Group):
        pyramid = _multiscale(node)
        if pyramid is None and "0" in node and "bioformats2raw.layout" in _attributes(node):
            series = [key for key in node.group_keys() if key.isdecimal()]
            if len(series) == 1:
                node, name = node[series[0]], f"{name.rstrip('/')}/{series[0]}"
                pyramid = _multiscale(node)
        if pyramid is not None:
            path = pyramid["datasets"][0]["path"]
            yield _volume(ref, node[path], f"{name.rstrip('/')}/{path}", *_described(pyramid, node[path].ndim))
            return
        found = {f"{name.rstrip('/')}/{key}": each for key, each in _arrays(node, zarr).items()}
        name = chosen(replace(ref, inside=None), found)
        node = zarr.open(str(ref.path), mode="r")[name.strip("/")]
    yield _volume(ref, node, name, _named(getattr(node.metadata, "dimension_names", None), node), None)


def _volume(ref: ImageRef, array: Any, name: str, axes: str | None, spacing: Spacing | None) -> Volume:
    shown = str(ref.path) if name == "/" else f"{ref.path}:{name}"
    return Volume(shown, array.shape, array.dtype, lambda index: np.asarray(array[index]), axes, spacing)


def _attributes(node: Any) -> Mapping[str, Any]:
    """What is noted of a group; since version 0.5 of OME-Zarr below "ome"."""
    attributes = node.attrs.asdict()
    return {**attributes, **attributes.get("ome", {})}


def _multiscale(group: Any) -> dict[str, Any] | None:
    """The notes on a pyramid, if the group is one."""
    pyramids = _attributes(group).get("multiscales")
    return pyramids[0] if pyramids else None


def _arrays(group: Any, zarr: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """All arrays of pixels below a group."""
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    if not isinstance(group, zarr.Group):
        return found
    for name, node in sorted(group.members(max_depth=None)):
        if isinstance(node, zarr.Array) and node.ndim > 1 and node.dtype.kind in "buifc":
            found[name] = node.shape, node.dtype
    return found


def _named(names: Any, array: Any) -> str | None:
    """The axes of an array by the names it has of its own, as Zarr 3 and xarray keep them."""
    names = names or array.attrs.asdict().get("_ARRAY_DIMENSIONS") or ()
    letters = "".join(str(name)[:1] if len(str(name)) == 1 or name == "channel" else "" for name in names).upper()
    plain = len(letters) == array.ndim and {"Y", "X"} <= set(letters) <= set(LETTERS)
    return letters if plain and len(set(letters)) == len(letters) else None


def _described(pyramid: dict[str, Any], ndim: int) -> tuple[str | None, Spacing | None]:
    """Axes and spacing of the base level, as OME-Zarr has them. Before version 0.4 axes are names alone."""
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in pyramid.get("axes", "tczyx"[-ndim:])]
    letters = "".join(axis["name"] for axis in axes).upper()
    scale = np.ones(len(axes))
    told = False
    transforms = [*pyramid["datasets"][0].get("coordinateTransformations", ())]
    for transform in [*transforms, *pyramid.get("coordinateTransformations", ())]:
        if transform.get("type") == "scale":
            scale, told = scale * np.array(transform["scale"], float), True
    plain = len(letters) == len(axes) == ndim and {"Y", "X"} <= set(letters) <= set(LETTERS)
    if not plain:
        return None, None
    units = [NANOMETRES.get(str(axes[letters.index(letter)].get("unit")).lower()) for letter in "YX"]
    if not told or None in units:
        return letters, None
    height, width = (
        float(scale[letters.index(letter)]) * unit for letter, unit in zip("YX", units, strict=True) if unit
    )
    return letters, (height, width)
