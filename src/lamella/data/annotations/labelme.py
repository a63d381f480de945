"""LabelMe: one JSON an image, with polygons, rectangles, circles and pictures of masks."""

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from lamella.data.annotations.outlines import Bitmap, Drawing, Ellipse, Outline, Part, ring


def names(held: dict[str, Any]) -> list[str]:
    """The classes that occur, sorted."""
    return sorted({str(shape["label"]) for shape in held["shapes"]})


def drawing(held: dict[str, Any]) -> Drawing:
    """The objects of the image; shapes of one label and one `group_id` are one object. Raises ValueError."""
    found: dict[Any, Outline] = {}
    for number, shape in enumerate(held["shapes"], 1):
        title, name = f"shape {number} ({shape['label']})", str(shape["label"])
        try:
            part = _part(shape)
        except ValueError as error:
            raise ValueError(f"{title}: {error}") from None
        group = shape.get("group_id")
        key = number if group is None else (name, group)
        earlier = found.get(key)
        found[key] = Outline(title, name, (part,)) if earlier is None else _joined(earlier, part)
    height, width = held.get("imageHeight"), held.get("imageWidth")
    return Drawing(list(found.values()), (int(height), int(width)) if height and width else None)


def _joined(outline: Outline, part: Part) -> Outline:
    return Outline(outline.title, outline.name, (*outline.parts, part))


def _part(shape: dict[str, Any]) -> Part:
    kind, points = shape.get("shape_type") or "polygon", np.asarray(shape["points"], np.float64)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return (ring([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]),)
    if kind in ("polygon", "rectangle", "rotation"):
        return (ring(points),)
    if kind == "circle" and len(points) == 2:
        (x, y), (x1, y1) = points.tolist()
        radius = math.hypot(x1 - x, y1 - y)
        return Ellipse(x, y, radius, radius)
    if kind == "mask" and len(points) == 2:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=["PNG"]) as picture:
            pixels = np.asarray(picture.convert("L")) > 0
        left, top = points[0].round().astype(int).tolist()
        return Bitmap(pixels, top, left)
    raise ValueError(f"it is a {kind}, which encloses nothing")
