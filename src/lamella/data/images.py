"""Files <-> arrays: PNG, JPEG, BMP through Pillow, TIFF through tifffile. Nothing is rescaled silently."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, UnidentifiedImageError

from lamella.data.types import ImageRef
from lamella.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_TIFF = (".tif", ".tiff")

Bytes = npt.NDArray[np.uint8]


def pages(path: Path) -> int:
    """How many pictures a TIFF file holds. Raises DataError where it cannot be read."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.pages)
    except FileNotFoundError:
        raise DataError(f"{path} is missing", "Check the path and `paths.data`.") from None
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise _unreadable(path, error) from error


def read(ref: ImageRef) -> Bytes:
    """Reads one picture as stored: uint8, (H, W) or (H, W, C).

    Raises:
        DataError: the file is missing, truncated, not an image, or not 8 bits a channel.
    """
    try:
        array = _read_tiff(ref) if ref.path.suffix.lower() in _TIFF else _read_picture(ref.path)
    except FileNotFoundError:
        raise DataError(f"{ref.path} is missing", "Check the path and `paths.data`.") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        IndexError,
        UnidentifiedImageError,
        tifffile.TiffFileError,
    ) as error:
        raise _unreadable(ref.path, error) from error
    if array.dtype != np.uint8:
        raise DataError(
            f"{ref} holds {array.dtype} values; only 8 bits a channel are read",
            "Convert it to 8 bits with a scaling you chose yourself: Lamella never rescales silently.",
        )
    return array


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
            "Convert the file, or set `dataset.in_channels` to what all files have.",
        )
    return np.ascontiguousarray(array)


def read_mask(ref: ImageRef, values: dict[int, int]) -> Bytes:
    """Reads a mask as uint8 class ids (H, W).

    Args:
        ref: the file; grey, or RGB with three equal channels.
        values: every value a file may hold -> its class id.

    Raises:
        DataError: unreadable, coloured, or holding a value that `values` lacks.
    """
    array = read(ref)
    if array.ndim == 3:
        if not (array == array[..., :1]).all():
            raise DataError(f"mask {ref} is coloured: its channels differ", "Masks must be grey: one value per class.")
        array = array[..., 0]
    found, counts = np.unique(array, return_counts=True)
    stray = [(int(v), int(n)) for v, n in zip(found, counts, strict=True) if int(v) not in values]
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
    return table[array]


def shrink(image: Bytes, scale: float) -> Bytes:
    """Resizes uint8 (C, H, W) to `scale` times its size by area averaging (no aliasing, no overshoot)."""
    if scale == 1:
        return image
    height, width = scaled_size((image.shape[1], image.shape[2]), scale)
    resized = [np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BOX)) for channel in image]
    return np.stack(resized)


def shrink_mask(mask: Bytes, scale: float) -> Bytes:
    """Resizes class ids (H, W): each new pixel takes the class that covers most of it."""
    if scale == 1:
        return mask
    height, width = scaled_size((mask.shape[0], mask.shape[1]), scale)
    classes = np.unique(mask)
    shares = [
        np.asarray(Image.fromarray((mask == c).astype(np.float32)).resize((width, height), Image.Resampling.BOX))
        for c in classes
    ]
    return classes[np.argmax(np.stack(shares), axis=0)]


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) times `scale`, rounded, at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _read_tiff(ref: ImageRef) -> npt.NDArray[np.generic]:
    with tifffile.TiffFile(ref.path) as tiff:
        if ref.page is None and len(tiff.pages) > 1:
            raise DataError(
                f"{ref.path} holds {len(tiff.pages)} pages where one image was expected",
                "Split the stack into one file an image.",
            )
        array: npt.NDArray[np.generic] = tiff.pages[ref.page or 0].asarray()
    return array


def _read_picture(path: Path) -> npt.NDArray[np.generic]:
    with Image.open(path) as picture:
        if picture.mode == "P":
            picture = picture.convert("RGB")
        elif picture.mode == "1":
            picture = picture.convert("L")
        elif picture.mode == "RGBA":
            if picture.getextrema()[3] != (255, 255):
                raise DataError(f"{path} has transparent pixels", "Save it without an alpha channel.")
            picture = picture.convert("RGB")
        return np.asarray(picture)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as an image: {str(error).strip() or type(error).__name__}",
        "The file is truncated, damaged or no image. Fetch it again, or remove it together with its pair.",
    )
