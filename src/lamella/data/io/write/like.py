"""What a file says of its axes and of the size of a pixel, so that what is made of it can say the same."""

from contextlib import suppress
from typing import Any, NamedTuple
from xml.etree import ElementTree

from lamella.data.io import decode
from lamella.data.io.formats.units import NANOMETRES
from lamella.data.io.formats.volume import Spacing
from lamella.data.types import ImageRef

_SIZES = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
_IMAGEJ = ("unit", "spacing", "finterval", "fps", "tunit", "zunit", "xorigin", "yorigin", "zorigin")
_TAG_UNITS = {"NONE": 1, "INCH": 2, "CENTIMETER": 3, "MILLIMETER": 4, "MICROMETER": 5}


class Like(NamedTuple):
    """The words of a file for what is made of it.

    Attributes:
        ome: it is an OME-TIFF; all others are answered in ImageJ's dialect.
        pictures: how many it holds.
        pages: the letter of the axis they count along, Z or T; "" where it holds one picture.
        notes: what tifffile writes as metadata of the dialect.
        resolution: pixels a unit (x, y), and the number of the unit in TIFF; None where nothing is said.
        spacing_nm: pixel size (height, width) in nanometres where the file tells it.
    """

    ome: bool
    pictures: int
    pages: str
    notes: dict[str, Any]
    resolution: tuple[tuple[float, float], int] | None
    spacing_nm: Spacing | None


def like(ref: ImageRef) -> Like:
    """What the file of a picture says of itself. Its page does not matter. Raises DataError where it cannot be read."""
    count, letter = decode.row_of_pages(ref.path, ref.axes, ref.inside)
    first = ImageRef(ref.path, None if count == 1 else 0, ref.axes, ref.inside)
    spacing = decode.spacing_nm(first)
    letter = "" if count == 1 else letter.replace("?", "Z")  # in ImageJ pages without a name are slices
    if decode.suffix(ref.path) in decode.TIFF:
        told = decode.metadata(first)
        if (ome := _ome(told["description"])) is not None:
            return Like(True, count, letter, _turned(ome, told), None, spacing)
        notes = {name: told["imagej"][name] for name in _IMAGEJ if name in told["imagej"]}
        notes = {name: _ascii(value) if isinstance(value, str) else value for name, value in notes.items()}
        if (plain := _resolution(told)) and (notes or spacing is None):
            return Like(False, count, letter, notes, plain, spacing)
    if spacing is None:
        return Like(False, count, letter, {}, None, None)
    return sized(Like(False, count, letter, {}, None, None), spacing)


def sized(found: Like, spacing_nm: Spacing) -> Like:
    """The same with another pixel size (height, width): what the owner of a file says counts before the file."""
    height, width = (side / 1000 for side in spacing_nm)
    if found.ome:
        sizes = {"PhysicalSizeX": width, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": height, "PhysicalSizeYUnit": "µm"}
        return found._replace(notes=found.notes | sizes, spacing_nm=spacing_nm)
    kept = {name: value for name, value in found.notes.items() if name in ("finterval", "fps")}
    resolution = (1 / width, 1 / height), 1
    return found._replace(notes={**kept, "unit": "um"}, resolution=resolution, spacing_nm=spacing_nm)


def as_ome(found: Like) -> Like:
    """The same in OME's dialect, for what the other one has no room for."""
    if found.ome:
        return found
    sizes = {} if found.spacing_nm is None else dict(zip("YX", found.spacing_nm, strict=True))
    said, notes = found.notes, dict[str, Any]()
    if "spacing" in said and (unit := NANOMETRES.get(str(said.get("unit")).lower())):
        sizes["Z"] = said["spacing"] * unit
    for letter, side in sizes.items():
        notes |= {f"PhysicalSize{letter}": side / 1000, f"PhysicalSize{letter}Unit": "µm"}
    if said.get("finterval"):
        notes |= {"TimeIncrement": said["finterval"], "TimeIncrementUnit": "s"}
    return found._replace(ome=True, notes=notes, resolution=None)


def _ome(description: str) -> dict[str, Any] | None:
    """Sizes and units of the first image of OME's XML, as they stand there; None where it is none."""
    if not description.rstrip().endswith("OME>"):
        return None
    with suppress(ElementTree.ParseError):
        for element in ElementTree.fromstring(description).iter():
            if element.tag.rpartition("}")[2] == "Pixels":
                return {
                    name: value
                    for size in _SIZES
                    for name in (size, f"{size}Unit")
                    if (value := element.get(name)) is not None
                }
    return None


def _ascii(text: str) -> str:
    """ImageJ's descriptions have no other letters; of a unit's there is one, which it spells so itself."""
    return text.replace("µ", "u").replace("μ", "u").encode("ascii", "replace").decode()


def _resolution(told: dict[str, Any]) -> tuple[tuple[float, float], int] | None:
    sides = [told["resolution"].get(name) for name in ("XResolution", "YResolution")]
    if not all(side and 0 < side < 2**32 for side in sides):
        return None
    x, y = sides[::-1] if told["orientation"] >= 5 else sides
    return (x, y), _TAG_UNITS.get(str(told["resolution_unit"]), 1 if told["imagej"] else 2)


def _turned(ome: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    if told["orientation"] < 5:
        return ome
    exchanged = {"PhysicalSizeX": "PhysicalSizeY", "PhysicalSizeY": "PhysicalSizeX"}
    return {exchanged.get(name[:13], name[:13]) + name[13:]: value for name, value in ome.items()}
