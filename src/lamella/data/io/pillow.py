"""PNG, JPEG and BMP as stored and upright, through Pillow; PNG of 16 bits, whose colours it halves, by imagecodecs."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from lamella.data.io.pieces.memory import require_memory
from lamella.errors import DataError

Image.MAX_IMAGE_PIXELS = None  # what is too large is told by the memory there is, not by a number

KINDS = ("PNG", "JPEG", "BMP")  # Pillow goes by content, and would read much that a suffix does not promise

_JPEG = ("JPEG", "MPO")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "F")
_CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGBA": 3}  # as read here; other modes: as many as bands
_DEEP = {0: 1, 4: 1, 2: 3, 6: 3}  # a 16-bit PNG's kind of colour -> channels, alpha left out


def read(path: Path, indices: bool = False, lossy: bool = False) -> npt.NDArray[Any]:
    """The pixels of one picture, (H, W) or (H, W, C), upright, an opaque alpha left out.

    uint8, or uint16 from a PNG of 16 bits.

    Args:
        path: the file.
        indices: a mask is meant: of a palette its indices count, not its colours, unless all of these are greys.
        lossy: a mask may be a JPEG, too.

    Raises:
        DataError: some pixels are transparent, it holds several pictures, or is of CMYK; a mask that is a JPEG.
        Exception: whatever Pillow or imagecodecs raise over a damaged file.
    """
    deep = _deep_colour(path)
    with Image.open(path, formats=KINDS) as picture:
        require_memory(path, (*picture.size[::-1], len(picture.getbands())), 1 if deep is None else 2)
        picture.verify()  # the check sums of a PNG; decoding alone lets some damage pass
    with Image.open(path, formats=KINDS) as picture:
        _check_plain(picture, path)
        if indices and not lossy and picture.format in _JPEG:
            raise jpeg_mask(path)
        orientation = _orientation(picture)
        if deep is not None:
            return upright(_without_deep_alpha(imagecodecs.png_decode(path.read_bytes()), path), orientation)
        if (grey := _narrow_bmp(picture, path)) is not None:
            return grey
        if indices and picture.mode == "P":
            array = np.asarray(picture)
            if (levels := greys(_palette(picture))) is not None:
                array = shown_greys(array, levels, path)
            return upright(array, orientation)
        return upright(np.asarray(_without_alpha(picture, path)), orientation)


def header(path: Path) -> tuple[int, int, int, np.dtype[Any]]:
    """Height, width, channels and type of the array that `read` gives, without decoding."""
    deep = _deep_colour(path)
    with Image.open(path, formats=KINDS) as picture:
        _check_plain(picture, path)
        width, height = picture.size
        if _orientation(picture) >= 5:
            width, height = height, width
        if deep is not None:
            return height, width, _DEEP[deep], np.dtype(np.uint16)
        return height, width, _CHANNELS.get(picture.mode, len(picture.getbands())), np.dtype(np.uint8)


def palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """The colours (N, 3) of the palette whose indices are a mask's values; None without one, or where all are grey."""
    with Image.open(path, formats=KINDS) as picture:
        colours = _palette(picture) if picture.mode == "P" else None
        return colours if colours is not None and greys(colours) is None else None


def greys(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """The grey levels of a palette (N, 3) that has no other colours, and more than one; else None.

    What indices of such a palette mean is what a viewer shows: writers put white first as well as last.
    """
    level = colours[:, 0]
    plain = (colours == level[:, None]).all() and len(np.unique(level)) > 1
    return level if plain else None


def shown_greys(indices: npt.NDArray[np.uint8], levels: npt.NDArray[np.uint8], place: object) -> npt.NDArray[np.uint8]:
    """The grey levels that indices (H, W) of a palette stand for.

    Raises:
        DataError: two indices that occur are of one level: no viewer tells them apart, and what they mean is unknown.
    """
    found = np.flatnonzero(np.bincount(indices.ravel()))
    if found[-1] >= len(levels):
        raise ValueError(f"it holds the index {found[-1]} of a palette of {len(levels)} colours")
    shown = levels[found]
    if len(np.unique(shown)) < len(found):
        alike = [int(index) for index in found if (shown == levels[index]).sum() > 1]
        raise DataError(
            f"{place} has a palette in which the indices {', '.join(map(str, alike[:4]))} are of the same grey",
            "What they mean cannot be seen. Save it grey, one value per class, or with a colour for each.",
        )
    return levels[indices]


def jpeg_mask(place: object) -> DataError:
    """The error over a mask that was compressed as JPEG, to be raised."""
    return DataError(
        f"mask {place} is a JPEG, whose compression changes the values of masks",
        "Go back to the mask before it was compressed, and save it as PNG. If there is none: "
        "`dataset.mask_threshold=127` takes what is lighter for foreground.",
    )


def _check_plain(picture: Image.Image, path: Path) -> None:
    """Raises DataError where a file holds several pictures, or colours that are not grey or RGB."""
    count = getattr(picture, "n_frames", 1)
    if count > 1:
        raise DataError(
            f"{path} holds {count} pictures where one image was expected",
            "Save the one that is meant as a PNG of its own: what a viewer shows may be any of them.",
        )
    if picture.mode not in _MODES:
        raise DataError(f"{path} stores its values as {picture.mode}, not as grey or RGB", "Save it as RGB or grey.")


def _narrow_bmp(picture: Image.Image, path: Path) -> npt.NDArray[np.uint8] | None:
    """The grey levels (H, W) of a BMP whose palette of greys Pillow passes over, taking the bits for other ones.

    It does where a palette is black and white, but the indices have 4 or 8 bits, or is 0, 1, 2, ... and they have 4.
    A palette with a trace of blue it leaves alone.
    """
    if picture.format != "BMP" or picture.mode not in ("1", "L"):
        return None
    content = bytearray(path.read_bytes())
    head = int.from_bytes(content[14:18], "little")
    bits = int.from_bytes(content[24:26] if head == 12 else content[28:30], "little")
    if bits == (1 if picture.mode == "1" else 8):
        return None
    content[14 + head] ^= 1
    with Image.open(io.BytesIO(content), formats=["BMP"]) as indexed:
        found = np.asarray(indexed)
    return found * np.uint8(255) if picture.mode == "1" else found


def _palette(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The colours (N, 3) of a palette that the file keeps."""
    return np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)


def upright(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """The picture (H, W, ...) turned and mirrored as it is to be seen. `orientation` is 1 to 8, as in EXIF and TIFF."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _orientation(picture: Image.Image) -> int:
    """1: upright; 2 to 8: mirrored or turned, from 5 on with height and width exchanged."""
    if "exif" not in picture.info:  # asking further would decode the whole of a PNG
        return 1
    found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def _without_alpha(picture: Image.Image, path: Path) -> Image.Image:
    if picture.has_transparency_data and picture.convert("RGBA").getextrema()[3] != (255, 255):
        raise transparent(path)
    mode = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB"}.get(picture.mode)
    return picture.convert(mode) if mode else picture


def _without_deep_alpha(samples: npt.NDArray[np.uint16], path: Path) -> npt.NDArray[np.uint16]:
    """(H, W) or (H, W, samples) -> (H, W) or (H, W, 3); alpha is there if the file has it or a colour stands for it."""
    if samples.ndim == 2 or samples.shape[-1] == 3:
        return samples
    if (samples[..., -1] < 65535).any():
        raise transparent(path)
    return samples[..., 0] if samples.shape[-1] == 2 else samples[..., :3]


def transparent(place: object) -> DataError:
    """The error over a picture with transparent pixels, to be raised."""
    return DataError(f"{place} has transparent pixels", "Save it without an alpha channel.")


def _deep_colour(path: Path) -> int | None:
    """The kind of colour in the header of a PNG of 16 bits a channel; None for all other files."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[25] if head.startswith(b"\x89PNG") and head[24:25] == b"\x10" and len(head) == 26 else None
