"""Outlines of objects as regions for the ROI Manager of Fiji and ImageJ."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lamella.objects.geojson import Sheet


def write(path: Path, sheets: Iterable[Sheet], colours: Sequence[tuple[int, int, int]]) -> None:
    """Writes a ZIP of regions, one an object, named by its id.

    Args:
        path: NAME_rois.zip; it stands there only when whole.
        sheets: one of a picture, one a page of a stack.
        colours: RGB of the classes, by class id, background included.
    """
    raise NotImplementedError
