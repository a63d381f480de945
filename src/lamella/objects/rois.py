"""Outlines of objects as regions for the ROI Manager of ImageJ and Fiji.

An object of one part without holes is a traced polygon, all others are composite regions, whose rings lie in one
another. Both have the corners of pixels as they are.
"""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from lamella.objects.geojson import Colour, Sheet, whole
from lamella.objects.outlines import Polygon, Ring, polygons

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_FURTHEST = 60_535  # what the 16 bits of a corner can say (ImageJ takes those above it for negative numbers)


def write(path: Path, sheets: Iterable[Sheet], colours: Sequence[Colour]) -> None:
    """Writes a ZIP of regions, one an object, named by its id; with several classes their ids are the regions' groups.

    Args:
        path: NAME_rois.zip; it stands there only when whole.
        sheets: one of a picture, or one a page of a stack: regions then have its number, from 1, as their position,
            and before their names.
        colours: RGB of the classes, by class id, background included.

    Raises:
        OSError: it cannot be written.
        DataError: an outline is too long (`lamella.objects.outlines`).
    """
    with whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for sheet in sheets:
            for id_, parts in polygons(sheet.found.labels):
                class_id = int(sheet.found.class_ids[id_ - 1])
                roi = _region(parts)
                roi.name = str(id_) if sheet.page is None else f"{sheet.page + 1}-{id_}"
                roi.position = 0 if sheet.page is None else sheet.page + 1
                roi.group = class_id if len(colours) > 2 else 0
                roi.stroke_color = bytes((255, *colours[class_id]))
                archive.writestr(f"{roi.name}.roi", roi.tobytes())


def _region(parts: list[Polygon]) -> ImagejRoi:
    rings = [ring for part in parts for ring in part]
    corners = np.concatenate(rings)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    roi = ImagejRoi(left=left, top=top, right=right, bottom=bottom)
    if len(rings) > 1:
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
        roi.shape_roi_size = len(roi.multi_coordinates)
        return roi
    roi.roitype = ROI_TYPE.TRACED
    roi.integer_coordinates = corners - (left, top)
    roi.n_coordinates = len(corners)
    if max(right, bottom) > _FURTHEST:
        roi.options = ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = corners.astype(np.float32)
    return roi


def _path(ring: Ring) -> "np.typing.NDArray[np.float32]":
    """The steps along one ring: to its first corner, from corner to corner, and back."""
    steps = np.empty((len(ring), 3), np.float32)
    steps[0, 0], steps[1:, 0], steps[:, 1:] = _MOVE, _LINE, ring
    return np.append(steps.reshape(-1), np.float32(_CLOSE))
