"""Outlines of objects as GeoJSON that QuPath opens."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from lamella.objects.regions import Found


class Sheet(NamedTuple):
    """The objects of one picture, for a file of outlines.

    Attributes:
        found: the objects.
        page: of a stack from 0; None: the picture is none of a stack.
        measures: columns (n,) that the file keeps with the objects; texts are left out.
    """

    found: Found
    page: int | None = None
    measures: Mapping[str, npt.NDArray[Any]] | None = None


def write(
    path: Path,
    sheets: Iterable[Sheet],
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
    *,
    picture: str,
    detections: bool = False,
) -> None:
    """Writes a FeatureCollection, one feature an object.

    Args:
        path: NAME.geojson; it stands there only when whole.
        sheets: one of a picture, one a page of a stack.
        names: of the classes, by class id, background included.
        colours: RGB of the classes, likewise.
        picture: what ids are made from: the same objects of the same picture have the same.
        detections: for QuPath objects that a program found; else annotations, which can be edited there.
    """
    raise NotImplementedError
