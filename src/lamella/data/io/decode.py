"""One image file -> one array as stored, or an error that names the file. All reading of pixels goes through here."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.io import pillow as pictures
from lamella.data.io import tiff
from lamella.data.io.pieces.blocks import Block
from lamella.data.types import ImageRef
from lamella.errors import DataError

TIFF = (".tif", ".tiff")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *TIFF)


class Header(NamedTuple):
    """Size, channels and type of a picture, as its file tells them without decoding pixels.

    Attributes:
        height: rows, the picture upright.
        width: columns.
        channels: without alpha.
        dtype: the type of the array that comes of it.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]


def stored(ref: ImageRef, indices: bool = False) -> npt.NDArray[Any]:
    """The pixels of one picture, (H, W) or (H, W, C), in the type they are stored in; 1 bit gives 0 and 255.

    Args:
        ref: the picture.
        indices: it is a mask: a palette's indices count, not its colours.

    Raises:
        DataError: see `lamella.data.io.read.read`.
    """
    with _decoding(ref.path):
        array = tiff.read(ref, indices) if _is_tiff(ref.path) else pictures.read(ref.path, indices)
    return _native(array)


def blocks(ref: ImageRef, indices: bool = False) -> Iterator[Block]:
    """The rows of one picture from top to bottom, some at a time, together what `stored` gives.

    Small pictures, and those whose file is no TIFF in strips or tiles, come as one block.

    Args:
        ref: the picture.
        indices: see `stored`.

    Raises:
        DataError: see `lamella.data.io.read.read`.
    """
    top, height = 0, 1
    while top < height:
        if _is_tiff(ref.path):
            with _decoding(ref.path):
                found, height = tiff.read_from(ref, indices, top)
            array = _native(found)
        else:
            array = stored(ref, indices)
            height = len(array)
        yield Block(array, top, height)
        top += len(array)


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind == "b":
        array = array * np.uint8(255)
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def header(ref: ImageRef) -> Header:
    """Size, channels and stored type of a picture, without decoding it. Raises DataError."""
    with _decoding(ref.path):
        return Header(*(tiff.header(ref) if _is_tiff(ref.path) else pictures.header(ref.path)))


def pages(path: Path, axes: str | None = None) -> int:
    """The number of pictures in a file: along Z or T of a TIFF, or its pages where it names no axes; else 1.

    Args:
        path: the file.
        axes: what its axes are, where it does not say so itself. See `ImageRef`.

    Raises:
        DataError: the file is missing, damaged or cut off, or has more axes than pictures in a row have.
    """
    with _decoding(path):
        if _is_tiff(path):
            return tiff.pages(path, axes)
        pictures.header(path)
        return 1


def metadata(ref: ImageRef) -> dict[str, Any]:
    """What a TIFF file says of its image beside the pixels, in values that JSON knows. Raises DataError."""
    with _decoding(ref.path):
        return tiff.metadata(ref)


def has_palette(path: Path) -> bool:
    """Whether a file stores indices of a palette in place of grey levels or colours. Raises DataError."""
    with _decoding(path):
        return tiff.has_palette(path) if _is_tiff(path) else pictures.has_palette(path)


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF


# Maker, model, an orientation there is none of, resolution, page name, place, unit, software, date, artist, computer.
_GOSSIP = (269, 271, 272, 274, 282, 283, 285, 286, 287, 296, 305, 306, 315, 316)

_complaints: ContextVar[list[str] | None] = ContextVar("complaints", default=None)


def _listen(record: logging.LogRecord) -> bool:
    """Keeps what tifffile logs about a file that is being decoded here; the rest passes."""
    heard = _complaints.get()
    if heard is None:
        return True
    message = record.getMessage()
    if record.levelno >= logging.WARNING and not _is_gossip(message):
        heard.append(message)
    return False


def _is_gossip(message: str) -> bool:
    """Whether it is about a tag that pixels do not depend on, as microscopes' own are, or about odd letters."""
    tag = re.match(r"<tifffile\.TiffTag (\d+)", message)
    return tag is not None and (int(tag[1]) in _GOSSIP or int(tag[1]) >= 2**15 or "invalid ASCII" in message)


# tifffile reads on when a file is cut off, with fewer pages or with wrong ones, and only logs that it did.
logging.getLogger("tifffile").addFilter(_listen)


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises, or logs, over a file into a DataError that names the file."""
    heard: list[str] = []
    token = _complaints.set(heard)
    try:
        try:
            yield
        except DataError:
            if not heard:  # else it may be no more than what the damage made of the file
                raise
        if heard:
            raise ValueError(heard[0])
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} is missing", "Check the path and `paths.data`.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read", "Allow yourself to read it, or copy it.") from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory", "Cut it and its mask into smaller images.") from None
    except Exception as error:  # decoders raise anything over damaged files
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} cannot be read as an image: {said}",
            "The file is truncated, damaged or no image. Fetch it again, or remove it together with its pair.",
        ) from error
    finally:
        _complaints.reset(token)
