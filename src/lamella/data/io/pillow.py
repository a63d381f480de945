"""PNG, JPEG and BMP as stored and upright, through Pillow; PNG of 16 bits, whose colours it halves, by imagecodecs."""

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

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGBA": 3}  # as read here; other modes: as many as bands
_DEEP = {0: 1, 4: 1, 2: 3, 6: 3}  # a 16-bit PNG's kind of colour -> channels, alpha left out


def read(path: Path, indices: bool = False) -> npt.NDArray[Any]:
    """The pixels of one picture, (H, W) or (H, W, C), upright, an opaque alpha left out.

    uint8, or uint16 from a PNG of 16 bits.

    Args:
        path: the file.
        indices: give a palette's indices (what a mask means) instead of its colours.

    Raises:
        DataError: some pixels are transparent.
        Exception: whatever Pillow or imagecodecs raise over a damaged file.
    """
    deep = _deep_colour(path)
    with Image.open(path, formats=KINDS) as picture:
        require_memory(path, (*picture.size[::-1], len(picture.getbands())), 1 if deep is None else 2)
        picture.verify()  # the check sums of a PNG; decoding alone lets some damage pass
    with Image.open(path, formats=KINDS) as picture:
        orientation = _orientation(picture)
        if deep is not None:
            array = _without_deep_alpha(imagecodecs.png_decode(path.read_bytes()), path)
        elif indices and picture.mode == "P":
            array = np.asarray(picture)
        else:
            array = np.asarray(_without_alpha(picture, path))
    return upright(array, orientation)


def header(path: Path) -> tuple[int, int, int, np.dtype[Any]]:
    """Height, width, channels and type of the array that `read` gives, without decoding."""
    deep = _deep_colour(path)
    with Image.open(path, formats=KINDS) as picture:
        width, height = picture.size
        if _orientation(picture) >= 5:
            width, height = height, width
        if deep is not None:
            return height, width, _DEEP[deep], np.dtype(np.uint16)
        return height, width, _CHANNELS.get(picture.mode, len(picture.getbands())), np.dtype(np.uint8)


def has_palette(path: Path) -> bool:
    """Whether a picture's values are the indices of a palette."""
    with Image.open(path, formats=KINDS) as picture:
        return bool(picture.mode == "P")


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
