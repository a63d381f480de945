"""COCO: one JSON for many images, with polygons, run lengths, classes, and crowds."""

from pathlib import Path
from typing import Any

import numpy as np

from lamella.data.annotations.outlines import Bitmap, Bools, Drawing, Outline, Part, ring
from lamella.errors import DataError


def images(held: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The name of every image the file speaks of, with its size (H, W)."""
    return {image["file_name"]: (int(image["height"]), int(image["width"])) for image in held["images"]}


def names(held: dict[str, Any]) -> list[str]:
    """The classes that occur, by the number of their category."""
    used = {each["category_id"] for each in held["annotations"]}
    names = (c["name"] for c in sorted(held["categories"], key=lambda c: c["id"]) if c["id"] in used)
    return list(dict.fromkeys(map(str, names)))


def by_image(held: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The objects of each image, by its number, which some programs write as text."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in held["annotations"]:
        found.setdefault(str(each["image_id"]), []).append(each)
    return found


def drawing(held: dict[str, Any], objects: dict[str, list[dict[str, Any]]], path: Path, inside: str | None) -> Drawing:
    """The objects of one image, in the order of the file.

    Raises:
        DataError: there is no such image, or none is named and there are several; a category that is not there.
        ValueError: an object is no outline.
    """
    entries = [image for image in held["images"] if inside in (None, image["file_name"])]
    if len(entries) != 1:
        problem = f"{path} speaks of {len(held['images'])} images"
        problem += "" if inside is None else f", {len(entries)} of them named {inside}"
        raise DataError(problem, "Each image has one entry in `images`, whose `file_name` is the file's name.")
    entry = entries[0]
    size = int(entry["height"]), int(entry["width"])
    categories = {category["id"]: category["name"] for category in held["categories"]}
    outlines = []
    for each in objects.get(str(entry["id"]), []):
        title = f"object {each.get('id')} of {entry['file_name']}"
        if each["category_id"] not in categories:
            raise DataError(f"{path}: {title} is of the category {each['category_id']}, which is not in `categories`")
        parts = _parts(each.get("segmentation"), title, size)
        outlines.append(Outline(title, str(categories[each["category_id"]]), parts, crowd=bool(each.get("iscrowd"))))
    return Drawing(outlines, size)


def _parts(segmentation: Any, title: str, size: tuple[int, int]) -> tuple[Part, ...]:
    if not segmentation:
        raise ValueError(f"{title} has a box or points, and no outline")
    if isinstance(segmentation, dict):
        return (Bitmap(_unpacked(segmentation, title, size)),)
    try:
        return tuple((ring(np.reshape(polygon, (-1, 2))),) for polygon in segmentation)
    except ValueError as error:
        raise ValueError(f"{title}: {error}") from None


def _unpacked(runs: dict[str, Any], title: str, size: tuple[int, int]) -> Bools:
    """Run lengths -> pixels (H, W). Runs go down the columns and begin with one of background."""
    counts = runs["counts"]
    if tuple(runs["size"]) != size:
        raise ValueError(f"{title} is drawn on {runs['size']} pixels, and its image has {list(size)}")
    lengths = np.asarray(_numbers(counts) if isinstance(counts, str) else counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"{title} has runs of {lengths.sum()} pixels, and its image {size[0] * size[1]}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size, order="F")


def _numbers(text: str) -> list[int]:
    """The run lengths in a text: five bits a letter, the lowest first, the sixth says that more follow.

    From the third number on it is the difference to the last but one that is kept.
    """
    found: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    return found
