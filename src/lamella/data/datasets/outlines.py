"""Stands in for lamella.data.annotations."""

import json
from pathlib import Path

suffixes = (".json", ".geojson", ".roi", ".zip")


def is_annotation(path: Path) -> bool:
    """Whether a file holds outlines."""
    if path.suffix.lower() in (".json", ".geojson"):
        try:
            held = json.loads(path.read_text())
        except (OSError, ValueError):
            return False
        return isinstance(held, list | dict) and bool({"shapes", "features", "annotations"} & set(held))
    return path.suffix.lower() in suffixes


def pictures(path: Path) -> list[str]:
    """The names of the images in a COCO file."""
    held = json.loads(path.read_text())
    return [each["file_name"] for each in held["images"]] if "images" in held and "annotations" in held else []
