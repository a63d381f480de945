"""GeoJSON as QuPath exports it: polygons with holes, several of one object, classes, old and new layout."""

from collections import Counter
from typing import Any

from lamella.data.annotations.outlines import Drawing, Outline, Part, area, ring

_OLD = {"PathAnnotationObject": "annotation", "PathDetectionObject": "detection", "PathCellObject": "cell"}
_FOUND = ("detection", "cell")


def features(held: Any) -> list[dict[str, Any]] | None:
    """The objects in a file: of a collection, a list or a single one. None: it is no GeoJSON."""
    if isinstance(held, dict) and held.get("type") == "FeatureCollection":
        return list(held["features"])
    found = [held] if isinstance(held, dict) else held
    plain = isinstance(found, list) and found and all(isinstance(f, dict) and f.get("type") == "Feature" for f in found)
    return found if plain else None


def names(held: Any) -> list[str]:
    """The classes that occur, sorted; "" is of objects without one."""
    return sorted({_name(feature) for feature in features(held) or []})


def drawing(held: Any) -> Drawing:
    """The objects, larger ones below smaller ones, as QuPath draws a region below what lies in it.

    Of a cell the whole, not its nucleus. Raises ValueError for what encloses nothing, and for a file that holds cells
    as well as the regions that they were looked for in.
    """
    found = features(held) or []
    kinds = Counter(_kind(feature) for feature in found)
    cells = sum(kinds[kind] for kind in _FOUND)
    if cells and kinds["annotation"]:
        raise ValueError(
            f"it holds {kinds['annotation']} annotations beside {cells} cells or detections; which of them are the "
            "objects is not plain. In QuPath select the ones that are, then File > Export objects as GeoJSON > "
            "Selected objects"
        )
    outlines = [_outline(number, feature) for number, feature in enumerate(found, 1)]
    return Drawing(sorted(outlines, key=area, reverse=True))


def _outline(number: int, feature: dict[str, Any]) -> Outline:
    name, geometry = _name(feature), feature.get("geometry") or {}
    title = f"object {number}" + (f" ({name})" if name else "")
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{title} is a {kind}, which encloses nothing")
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    try:
        parts: tuple[Part, ...] = tuple(tuple(ring(each) for each in polygon) for polygon in polygons)
    except ValueError as error:
        raise ValueError(f"{title}: {error}") from None
    plane = geometry.get("plane")
    return Outline(title, name, parts, None if plane is None else max(int(plane.get(axis, 0)) for axis in "zt"))


def _kind(feature: dict[str, Any]) -> str:
    properties = feature.get("properties") or {}
    said = properties.get("objectType") or properties.get("object_type") or _OLD.get(str(feature.get("id")), "")
    return str(said)


def _name(feature: dict[str, Any]) -> str:
    kept = (feature.get("properties") or {}).get("classification") or {}
    if isinstance(kept, str):
        return kept
    return str(kept.get("name") or ": ".join(kept.get("names") or ()))
