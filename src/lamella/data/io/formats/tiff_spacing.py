"""The size of a pixel as the many dialects of TIFF note it, in nanometres."""

from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

import tifffile

from lamella.data.io.formats.units import NANOMETRES
from lamella.data.io.formats.volume import Spacing

_PRINT = 10_000.0  # nm; a resolution of 2540 dots an inch or fewer is a printer's or a screen's
_TAG_UNITS = {2: NANOMETRES["inch"], 3: NANOMETRES["cm"], 4: NANOMETRES["mm"], 5: NANOMETRES["um"]}


def tiff_spacing(tiff: tifffile.TiffFile, page: Any) -> Spacing | None:
    """(height, width) of a pixel as stored; None where the file does not tell it, or tells nonsense."""
    for noted in (_ome, _lsm, _zeiss_sem, _fei_sem, _aperio, _imagej):
        with suppress(KeyError, ValueError, TypeError, ElementTree.ParseError):
            if (found := noted(tiff, page)) is not None:
                return found
    if tiff.is_imagej and (tiff.imagej_metadata or {}).get("unit"):
        return None  # its own unit stands for that of the tags
    return _tags(page)


def _ome(tiff: tifffile.TiffFile, _: Any) -> Spacing | None:
    if not tiff.is_ome or not tiff.ome_metadata:
        return None
    for element in ElementTree.fromstring(tiff.ome_metadata).iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            sides = [_ome_side(element, letter) for letter in "YX"]
            return None if None in sides else (sides[0] or 0.0, sides[1] or 0.0)
    return None


def _ome_side(pixels: Any, letter: str) -> float | None:
    size, unit = pixels.get(f"PhysicalSize{letter}"), pixels.get(f"PhysicalSize{letter}Unit", "um")
    return None if size is None or unit.lower() not in NANOMETRES else float(size) * NANOMETRES[unit.lower()]


def _lsm(tiff: tifffile.TiffFile, _: Any) -> Spacing | None:
    if not tiff.is_lsm:
        return None
    return tiff.lsm_metadata["VoxelSizeY"] * 1e9, tiff.lsm_metadata["VoxelSizeX"] * 1e9


def _zeiss_sem(_: tifffile.TiffFile, page: Any) -> Spacing | None:
    tag = page.tags.get(34118)
    if tag is None or not isinstance(tag.value, dict):
        return None
    _, size, unit = tag.value.get("ap_image_pixel_size") or tag.value["ap_pixel_size"]
    side = float(size) * NANOMETRES[unit.lower()]
    return side, side


def _fei_sem(_: tifffile.TiffFile, page: Any) -> Spacing | None:
    tag = page.tags.get(34682) or page.tags.get(34680)
    if tag is None or not isinstance(tag.value, dict):
        return None
    scan = tag.value.get("Scan") or tag.value["EScan"]
    return float(scan["PixelHeight"]) * 1e9, float(scan["PixelWidth"]) * 1e9


def _aperio(tiff: tifffile.TiffFile, page: Any) -> Spacing | None:
    if not tiff.is_svs:
        return None
    entries = dict(part.split(" = ", 1) for part in page.description.split("|") if " = " in part)
    side = float(entries["MPP"]) * 1000
    return side, side


def _imagej(tiff: tifffile.TiffFile, page: Any) -> Spacing | None:
    if not tiff.is_imagej:
        return None
    unit = NANOMETRES.get(str((tiff.imagej_metadata or {})["unit"]).strip().lower())
    if unit is None:
        return None
    sides = _sides(page, unit)
    if sides == (unit, unit):  # one pixel a unit is what is written where nobody said
        return None
    return sides if unit <= NANOMETRES["mm"] else _fine(sides)


def _tags(page: Any) -> Spacing | None:
    tag = page.tags.get("ResolutionUnit")
    unit = _TAG_UNITS.get(int(tag.value)) if tag is not None else _TAG_UNITS[2]
    return None if unit is None else _fine(_sides(page, unit))


def _sides(page: Any, unit: float) -> Spacing | None:
    counts = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        if tag is None or not isinstance(tag.value, tuple) or 0 in tag.value:
            return None
        counts.append(tag.value[0] / tag.value[1])
    return unit / counts[0], unit / counts[1]


def _fine(sides: Spacing | None) -> Spacing | None:
    return sides if sides is not None and max(sides) < _PRINT else None
