"""Files <-> arrays: PNG, JPEG, BMP through Pillow, TIFF through tifffile. Nothing is rescaled silently."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image, ImageOps

from lamella.data.types import ImageRef
from lamella.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_TIFF = (".tif", ".tiff")
_PICTURES = ("PNG", "JPEG", "BMP")  # Pillow goes by content, and would read much that a suffix does not promise

Bytes = npt.NDArray[np.uint8]


def pages(path: Path) -> int:
    """How many pictures a TIFF file holds.

    Raises:
        DataError: the file is missing, damaged or cut off, or no TIFF.
    """
    with _decoding(path), tifffile.TiffFile(path) as tiff:
        return len(tiff.pages)


def size(ref: ImageRef) -> tuple[int, int]:
    """(H, W) of the picture that `read` gives, from the file's header alone. Raises DataError."""
    with _decoding(ref.path):
        if ref.path.suffix.lower() in _TIFF:
            with tifffile.TiffFile(ref.path) as tiff:
                page = tiff.pages[ref.page or 0]
                return page.imagelength, page.imagewidth
        with Image.open(ref.path, formats=_PICTURES) as picture:
            width, height = picture.size
            return (width, height) if _orientation(picture) >= 5 else (height, width)


def read(ref: ImageRef) -> Bytes:
    """Reads one picture as uint8, (H, W) or (H, W, C): the values as stored, upright.

    A picture that says it was taken turned or mirrored (EXIF orientation) is turned upright, as every viewer
    shows it and as its mask was drawn. 1-bit pictures give 0 and 255, a palette gives its colours.

    Raises:
        DataError: the file is missing, truncated, damaged, not an image, transparent, not 8 bits a channel, or
            holds more than one page where none is named.
    """
    with _decoding(ref.path):
        array = _read_tiff(ref) if ref.path.suffix.lower() in _TIFF else _read_picture(ref.path)
    if array.dtype != np.uint8:
        raise _not_8_bits(ref, str(array.dtype))
    return array.astype(np.uint8, copy=False)


def read_image(ref: ImageRef, channels: int) -> Bytes:
    """Reads an image with `channels` channels as uint8 (C, H, W).

    Raises:
        DataError: unreadable, or another number of channels.
    """
    array = read(ref)
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if array.shape[0] != channels:
        raise DataError(
            f"{ref} has {array.shape[0]} channel(s), the data set has {channels}",
            "All images of a data set have the same channels: convert this one.",
        )
    return np.ascontiguousarray(array)


def read_mask(ref: ImageRef, values: dict[int, int]) -> Bytes:
    """Reads a mask as uint8 class ids (H, W).

    Args:
        ref: the file; grey, or RGB with three equal channels.
        values: every value a file may hold -> its class id.

    Raises:
        DataError: unreadable, a JPEG, coloured, or holding a value that `values` lacks.
    """
    array = read(ref)
    with ref.path.open("rb") as file:
        if file.read(2) == b"\xff\xd8":
            raise DataError(
                f"mask {ref} is a JPEG, whose compression changes the values of masks",
                "Go back to the mask before it was compressed, and save it as PNG.",
            )
    if array.ndim == 3:
        first = array[..., 0]
        if not all(np.array_equal(first, array[..., c]) for c in range(1, array.shape[2])):
            raise DataError(f"mask {ref} is coloured: its channels differ", "Masks must be grey: one value per class.")
        array = np.ascontiguousarray(first)
    found = {value: n for value, n in enumerate(Image.fromarray(array).histogram()) if n}
    stray = [(value, n) for value, n in found.items() if value not in values]
    if stray:
        shown = ", ".join(f"{v} ({n} px)" for v, n in stray[:5]) + (", ..." if len(stray) > 5 else "")
        allowed = ", ".join(str(v) for v in sorted(values))
        hint = " So many values look like JPEG compression or resizing." if len(stray) > 20 else ""
        raise DataError(
            f"mask {ref} holds unexpected values: {shown}",
            f"Allowed are {allowed}.{hint} Repair the mask; Lamella does not guess a threshold.",
        )
    table = np.zeros(256, np.uint8)
    for value, class_id in values.items():
        table[value] = class_id
    return np.asarray(table[array])


def shrink(image: Bytes, scale: float) -> Bytes:
    """Resizes uint8 (C, H, W) to `scale` times its size by area averaging (no aliasing, no overshoot)."""
    if scale == 1:
        return image
    return np.stack([_box(channel, scale) for channel in image])


def shrink_mask(mask: Bytes, scale: float) -> Bytes:
    """Resizes class ids (H, W): each new pixel takes the class that covers most of it, the lower id in a tie.

    Shares are compared in steps of 1/255.
    """
    if scale == 1:
        return mask
    classes = np.flatnonzero(Image.fromarray(mask).histogram()).astype(np.uint8)
    shares = np.stack([_box(np.where(mask == c, np.uint8(255), np.uint8(0)), scale) for c in classes])
    winner: Bytes = classes[np.argmax(shares, axis=0)]
    return winner


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) times `scale`, rounded, at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _box(plane: Bytes, scale: float) -> Bytes:
    height, width = scaled_size((plane.shape[0], plane.shape[1]), scale)
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX), np.uint8)


def _read_tiff(ref: ImageRef) -> npt.NDArray[np.generic]:
    with tifffile.TiffFile(ref.path) as tiff:
        if ref.page is None and len(tiff.pages) > 1:
            raise DataError(
                f"{ref.path} holds {len(tiff.pages)} pages where one image was expected",
                "Split the stack into one file an image.",
            )
        page = tiff.pages[ref.page or 0]
        if page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            raise DataError(
                f"{ref} stores its values as {tifffile.PHOTOMETRIC(page.photometric).name}, not as grey or RGB",
                "Save it as plain grey, black being 0, or as RGB. In ImageJ: Image > Lookup Tables > Invert LUT.",
            )
        array: npt.NDArray[np.generic] = page.asarray()
        if page.axes == "SYX":  # one plane a channel
            array = np.moveaxis(array, 0, -1)
        elif page.axes not in ("YX", "YXS"):
            raise DataError(f"{ref} has the axes {page.axes}, not those of one picture", "Split it into pictures.")
    return array


def _read_picture(path: Path) -> npt.NDArray[np.generic]:
    with path.open("rb") as file:
        head = file.read(25)
    if head.startswith(b"\x89PNG") and head[24:] == b"\x10":
        # Pillow would cut colours of 16 bits down to 8 without a word.
        raise _not_8_bits(ImageRef(path), "16-bit")
    with Image.open(path, formats=_PICTURES) as picture:
        picture.verify()  # the check sums of a PNG; decoding alone lets some damage pass
    with Image.open(path, formats=_PICTURES) as picture:
        turned = _orientation(picture) > 1
        plain = _without_alpha(picture, path)
        return np.asarray(ImageOps.exif_transpose(plain) if turned else plain)


def _without_alpha(picture: Image.Image, path: Path) -> Image.Image:
    if picture.has_transparency_data and picture.convert("RGBA").getextrema()[3] != (255, 255):
        raise DataError(f"{path} has transparent pixels", "Save it without an alpha channel.")
    mode = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB"}.get(picture.mode)
    return picture.convert(mode) if mode else picture


def _orientation(picture: Image.Image) -> int:
    """1: upright; 2 to 8: mirrored or turned, from 5 on with height and width exchanged."""
    if "exif" not in picture.info:  # asking further would decode the whole of a PNG
        return 1
    found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


_complaints: ContextVar[list[str] | None] = ContextVar("complaints", default=None)


def _listen(record: logging.LogRecord) -> bool:
    """Keeps what tifffile logs about a file that is being decoded here; the rest passes."""
    heard = _complaints.get()
    if heard is None:
        return True
    heard.append(record.getMessage())
    return False


# tifffile reads on when a file is cut off, with fewer pages or with wrong ones, and only logs that it did.
logging.getLogger("tifffile").addFilter(_listen)


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises, or logs, over a file into a DataError that names the file."""
    heard: list[str] = []
    token = _complaints.set(heard)
    try:
        yield
        if heard:
            raise ValueError(heard[0])
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} is missing", "Check the path and `paths.data`.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read", "Allow yourself to read it, or copy it.") from None
    except Exception as error:  # decoders raise anything over damaged files
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} cannot be read as an image: {said}",
            "The file is truncated, damaged or no image. Fetch it again, or remove it together with its pair.",
        ) from error
    finally:
        _complaints.reset(token)


def _not_8_bits(ref: ImageRef, what: str) -> DataError:
    return DataError(
        f"{ref} holds {what} values; only 8 bits a channel are read",
        "Convert it to 8 bits with a scaling you chose yourself: Lamella never rescales silently.",
    )
