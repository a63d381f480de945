"""Outlines of objects as GeoJSON that QuPath opens.

What QuPath reads (qupath-core 0.6, `QuPathTypeAdapters`): a feature's `id` is a UUID; `properties` have `objectType`,
`name`, `classification` with its colour, and `measurements` as an object of numbers; `geometry.plane` is the section of
a stack. Coordinates are pixels from the upper left corner of the picture.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt

from lamella.objects.outlines import Polygon, polygons
from lamella.objects.regions import Found
from lamella.plaintext import printable

Colour = tuple[int, int, int]
_text = json.JSONEncoder(separators=(",", ":")).encode


class Sheet(NamedTuple):
    """The objects of one picture, for a file of outlines.

    Attributes:
        found: the objects.
        page: of a stack from 0; None: the picture is none of a stack.
        measures: columns (n,) of numbers that the file keeps with the objects.
        axis: along which the pages lie: "Z", or "T" for time.
    """

    found: Found
    page: int | None = None
    measures: Mapping[str, npt.NDArray[Any]] | None = None
    axis: str = "Z"


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
            section, moment = (0, sheet.page or 0) if sheet.axis == "T" else (sheet.page or 0, 0)
            plane = "" if sheet.page is None else f',"plane":{{"c":-1,"z":{section},"t":{moment}}}'
            uuid = str(uuid5(NAMESPACE_URL, printable(f"{picture}#{sheet.page}")))[
                :-12
            ]  # the last digits are the object's
            for id_, parts in polygons(sheet.found.labels):
                file.write(
                    f'{between}{{"type":"Feature","id":"{uuid}{id_:012x}","geometry":{{{_geometry(parts)}{plane}}},'
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
        self._values = np.stack(columns, axis=1) if columns else np.zeros((0, 0))
        self._whole = ",".join(f"{name.replace('%', '%%')}:%.9g" for name in self._names)

    def of(self, id_: int) -> str:
        if not self._names:
            return ""
        row = self._values[id_ - 1].tolist()
        inner = self._whole % tuple(row)
        if not all(map(isfinite, row)):
            known = zip(self._names, row, strict=True)
            inner = ",".join(f"{name}:{value:.9g}" for name, value in known if isfinite(value))
        return f',"measurements":{{{inner}}}'


def _geometry(parts: list[Polygon]) -> str:
    closed = [[(points := ring.tolist()) + points[:1] for ring in part] for part in parts]
    kind, coordinates = ("Polygon", closed[0]) if len(closed) == 1 else ("MultiPolygon", closed)
    return f'"type":"{kind}","coordinates":{_text(coordinates)}'
