"""Regions of ImageJ and Fiji: one (.roi), or those of the ROI Manager (.zip)."""

import zipfile
from pathlib import Path

import roifile

from lamella.data.annotations.outlines import Drawing, Ellipse, Outline, Part, ring

_POLYGONS = (roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED)


def holds_regions(path: Path) -> bool:
    """Whether the file is a region, or an archive of regions alone."""
    if path.suffix.lower() == ".roi":
        with path.open("rb") as file:
            return file.read(4) == b"Iout"
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.lower().endswith(".roi") for name in archive.namelist())


def drawing(path: Path) -> Drawing:
    """The regions in the order of the ROI Manager. Raises ValueError for what encloses nothing."""
    if path.suffix.lower() == ".roi":
        return Drawing([_outline(path.stem, roifile.ImagejRoi.frombytes(path.read_bytes()))])
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".roi")]
        return Drawing([_outline(Path(name).stem, roifile.ImagejRoi.frombytes(archive.read(name))) for name in names])


def names(path: Path) -> list[str]:
    """The groups that occur, sorted; "" is of regions without one."""
    return sorted({outline.name for outline in drawing(path).outlines}, key=lambda name: (len(name), name))


def _outline(name: str, roi: roifile.ImagejRoi) -> Outline:
    title = f"region {name}"
    try:
        part = _part(roi)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"{title}: {error}") from None
    page = max(roi.position, roi.z_position, roi.t_position)  # from 1; 0: on all
    return Outline(title, f"group {roi.group}" if roi.group else "", (part,), page - 1 if page else None)


def _part(roi: roifile.ImagejRoi) -> Part:
    if roi.composite:
        return tuple(ring(each) for each in roi.coordinates(multi=True) if len(each) > 2)
    if roi.roitype in (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL):
        if roi.rounded_rect_arc_size:
            raise ValueError("it is a rectangle with rounded corners; make it a polygon: Edit > Selection > Properties")
        left, top, width, height = roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top
        if roi.subpixelrect:
            left, top, width, height = roi.xd, roi.yd, roi.widthd, roi.heightd
        if roi.roitype == roifile.ROI_TYPE.OVAL:
            return Ellipse(left + width / 2, top + height / 2, width / 2, height / 2)
        return (ring([(left, top), (left + width, top), (left + width, top + height), (left, top + height)]),)
    if roi.roitype in _POLYGONS:
        return (ring(roi.coordinates()),)
    raise ValueError(f"it is of the type {roi.roitype.name.lower()}, which encloses nothing")
