"""One page of a TIFF file -> its pixels, upright."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from lamella.data.io.pillow import transparent, upright
from lamella.data.types import ImageRef
from lamella.errors import DataError

_JPEG = (6, 7, 33007, 34892)
_GREY_OR_RGB = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)


def decoded(page: Any, ref: ImageRef, indices: bool) -> npt.NDArray[Any]:
    """A tifffile.TiffPage -> its array, of the stored type and with the page's own axes.

    Args:
        page: what to decode.
        ref: the picture it belongs to, for messages.
        indices: a mask is meant: a palette's indices are welcome, JPEG compression is not.

    Raises:
        DataError: its values are not plain grey or RGB, or it is packed in a way that cannot be read here.
        Exception: whatever tifffile or Pillow raise over a damaged file.
    """
    kind = page.photometric
    allowed = (
        kind in _GREY_OR_RGB
        or (indices and kind == tifffile.PHOTOMETRIC.PALETTE)
        or (kind == tifffile.PHOTOMETRIC.YCBCR and page.compression in _JPEG)  # decoders make it RGB
    )
    if not allowed:
        raise DataError(
            f"{ref} stores its values as {tifffile.PHOTOMETRIC(kind).name}, not as grey or RGB",
            "Save it as plain grey, black being 0, or as RGB. In ImageJ: Image > Lookup Tables > Invert LUT.",
        )
    if indices and page.compression in _JPEG:
        raise jpeg_mask(ref)
    try:
        return turned(page.asarray(maxworkers=1), page)  # what other threads log would not be heard
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" not in str(error) and "not supported" not in str(error):
            raise
    array = _by_libtiff(page, ref)
    if array is None:
        name = getattr(page.compression, "name", page.compression)
        raise DataError(
            f"{ref} is packed in a way that is not read here: compression {name}, {page.bitspersample} bits a sample",
            "`pip install imagecodecs` reads many more ways. Or save it uncompressed, or as 8 or 16 bits with deflate.",
        )
    return array


def turned(array: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    """A page's array as stored -> upright."""
    y = page.axes.index("Y")  # X follows it
    return np.moveaxis(upright(np.moveaxis(array, (y, y + 1), (0, 1)), orientation(page)), (0, 1), (y, y + 1))


def orientation(page: Any) -> int:
    """1: upright; 2 to 8: mirrored or turned, from 5 on with height and width exchanged."""
    tag = page.tags.get("Orientation")
    return tag.value if tag is not None and tag.value in range(1, 9) else 1


def alphas(page: Any) -> list[int]:
    """Which samples of a pixel say how opaque it is."""
    extra = list(page.extrasamples)
    return [page.samplesperpixel - len(extra) + i for i, kind in enumerate(extra) if kind in (1, 2)]


def without_alpha(array: npt.NDArray[Any], page: Any, ref: ImageRef) -> npt.NDArray[Any]:
    """(H, W, samples) -> (H, W, C), or (H, W) where one channel is left. Raises DataError over transparent pixels."""
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    if (array[..., alphas(page)] != opaque).any():
        error = transparent(ref)
        raise DataError(error.problem, f"{error.remedy} If it is a channel of its own, declare `dataset.axes=YXC`.")
    array = np.delete(array, alphas(page), axis=-1)
    return array[..., 0] if array.shape[-1] == 1 else array


def jpeg_mask(ref: ImageRef) -> DataError:
    """What is said over a mask that JPEG has been at."""
    return DataError(
        f"mask {ref} is a JPEG, whose compression changes the values of masks",
        "Go back to the mask before it was compressed, and save it as PNG.",
    )


def _by_libtiff(page: Any, ref: ImageRef) -> npt.NDArray[Any] | None:
    """The page by the library in Pillow, which knows LZW and JPEG, turned upright by it; None where it cannot tell.

    Pillow squeezes some types into smaller ones, and mixes up the bytes of big-endian ones that it has to convert:
    none of these are taken.
    """
    if page.parent.byteorder == ">" and page.dtype.name not in ("uint8", "uint16", "bool"):
        return None
    try:
        with Image.open(ref.path, formats=("TIFF",)) as picture:
            picture.seek(page.index)
            array = np.asarray(picture)
    except (Image.UnidentifiedImageError, KeyError, SyntaxError):  # a kind of pixels it does not know
        return None
    if page.axes == "SYX":
        array = np.moveaxis(array, -1, 0)
    shape = turned(np.empty(page.shape, bool), page).shape
    return array.astype(page.dtype) if array.shape == shape and np.can_cast(page.dtype, array.dtype) else None
