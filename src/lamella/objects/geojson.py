"""Outlines of objects as GeoJSON that QuPath opens.

What QuPath reads (qupath-core 0.6, `QuPathTypeAdapters`): a feature's `id` is a UUID; `properties` have `objectType`,
`name`, `classification` with its colour, and `measurements` as an object of numbers; `geometry.plane` is the section of
a stack. Coordinates are pixels from the upper left corner of the picture.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt

from lamella.objects.outlines import Polygon, polygons
from lamella.objects.regions import Found

Colour = tuple[int, int, int]


class Sheet(NamedTuple):
    """The objects of one picture, for a file of outlines.

    Attributes:
        found: the objects.
        page: of a stack from 0; None: the picture is none of a stack.
        measures: columns (n,) of numbers that the file keeps with the objects.
    """

    found: Found
    page: int | None = None
    measures: Mapping[str, npt.NDArray[Any]] | None = None


def write(
    path: Path,
    sheets: Iterable[Sheet],
    names: Sequence[str],
    colours: Sequence[Colour],
    *,
    picture: str,
    detections: bool = False,
) -> None:
    """Writes a FeatureCollection, one feature an object, named by its id.

    Args:
        path: NAME.geojson; it stands there only when whole.
        sheets: one of a picture, or one a page of a stack.
        names: of the classes, by class id, background included.
        colours: of the classes, likewise.
        picture: what the features' UUIDs are made from: the same objects of the same picture have the same, so that
            QuPath knows them again.
        detections: for QuPath what a program found, of which it shows any number quickly; else annotations, which can
            be edited there.

    Raises:
        OSError: it cannot be written.
        DataError: an outline is too long (`lamella.objects.outlines`).
    """
    kind = "detection" if detections else "annotation"
    classes = [_text({"name": name, "color": colour}) for name, colour in zip(names, colours, strict=True)]
    with whole(path) as part, part.open("w", encoding="ascii", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        between = "\n"
        for sheet in sheets:
            table = _Table(sheet.measures or {})
            plane = "" if sheet.page is None else f',"plane":{{"c":-1,"z":{sheet.page},"t":0}}'
            for id_, parts in polygons(sheet.found.labels):
                uuid = uuid5(NAMESPACE_URL, f"{picture}#{sheet.page}/{id_}")
                file.write(
                    f'{between}{{"type":"Feature","id":"{uuid}","geometry":{{{_geometry(parts)}{plane}}},'
                    f'"properties":{{"objectType":"{kind}","name":"{id_}",'
                    f'"classification":{classes[sheet.found.class_ids[id_ - 1]]}{table.of(id_)}}}}}'
                )
                between = ",\n"
        file.write("\n]}\n")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside the one that is wanted, which takes its place when it is finished; nothing is left if it is not."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class _Table:
    """Measures by object, as JSON; what is not measured, NaN, is left out."""

    def __init__(self, measures: Mapping[str, npt.NDArray[Any]]) -> None:
        self._names = [_text(name) for name in measures]
        columns = [np.asarray(column, np.float64) for column in measures.values()]
        self._values = np.stack(columns, axis=1) if columns else None

    def of(self, id_: int) -> str:
        if self._values is None:
            return ""
        row = zip(self._names, self._values[id_ - 1].tolist(), strict=True)
        return f',"measurements":{{{",".join(f"{name}:{value:.9g}" for name, value in row if value == value)}}}'


def _geometry(parts: list[Polygon]) -> str:
    closed = [[(points := ring.tolist()) + points[:1] for ring in part] for part in parts]
    kind, coordinates = ("Polygon", closed[0]) if len(closed) == 1 else ("MultiPolygon", closed)
    return f'"type":"{kind}","coordinates":{_text(coordinates)}'


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
