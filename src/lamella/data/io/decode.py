"""One image file -> one array as stored, or an error that names the file. All reading of pixels goes through here."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.io import pillow as pictures
from lamella.data.io import tiff
from lamella.data.io.formats import arrays, hdf5, mrc, nifti, volume, zarr_stores
from lamella.data.io.formats.foreign import foreign, misnamed
from lamella.data.io.formats.volume import Spacing, Volume
from lamella.data.io.pieces.blocks import Block
from lamella.data.types import ImageRef
from lamella.errors import DataError

TIFF = (".tif", ".tiff", ".btf", ".lsm", ".svs", ".ndpi", ".scn", ".stk")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
_VOLUMES: dict[str, Callable[[ImageRef], AbstractContextManager[Volume]]] = {
    ".npy": arrays.npy,
    ".npz": arrays.npz,
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), hdf5.opened),
    ".zarr": zarr_stores.opened,
    **dict.fromkeys((".nii", ".nii.gz"), nifti.opened),
    **dict.fromkeys((".mrc", ".mrcs", ".rec", ".map"), mrc.opened),
}
SUFFIXES = (*PICTURES, *TIFF, *_VOLUMES)
_CONTAINERS = (".npz", ".h5", ".hdf5", ".hdf", ".zarr")  # hold arrays by name


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


def suffix(path: Path) -> str:
    """What a file's name says of its format, in small letters; both of the last two suffixes of `a.nii.gz`."""
    return next((each for each in SUFFIXES if each.count(".") > 1 and path.name.lower().endswith(each)), "") or (
        path.suffix.lower()
    )


def located(text: str) -> tuple[Path, str | None]:
    """The file that a user names, and what inside it: `file.h5:/volume/raw`, `file.npz:raw`, `FOLDER:/raw`."""
    place, colon, inside = text.rpartition(":")
    if colon and inside and not Path(text).exists():
        path = Path(place)
        if suffix(path) in _CONTAINERS or path.is_dir():
            return path, inside
    return Path(text), None


def stored(ref: ImageRef, indices: bool = False, lossy: bool = False) -> npt.NDArray[Any]:
    """The pixels of one picture, (H, W) or (H, W, C), in the type they are stored in; 1 bit gives 0 and 255.

    Args:
        ref: the picture.
        indices: it is a mask: a palette's indices count, not its colours, unless all of these are greys.
        lossy: a mask may be a JPEG, whose compression changed its values.

    Raises:
        DataError: see `lamella.data.io.read.read`.
    """
    return _rows(ref, indices, lossy, None).pixels


def blocks(ref: ImageRef, indices: bool = False, lossy: bool = False) -> Iterator[Block]:
    """The rows of one picture from top to bottom, some at a time, together what `stored` gives.

    Small pictures, and those that their file keeps in one piece (all but TIFFs in strips or tiles, and volumes), come
    as one block.

    Args:
        ref: the picture.
        indices: see `stored`.
        lossy: see `stored`.

    Raises:
        DataError: see `lamella.data.io.read.read`.
    """
    top, height = 0, 1
    while top < height:
        block = _rows(ref, indices, lossy, top)
        yield block
        top, height = top + len(block.pixels), block.height


def _rows(ref: ImageRef, indices: bool, lossy: bool, top: int | None) -> Block:
    """Some rows of a picture from row `top` on; all of them where it is None, or where nothing less can be had."""
    with _decoding(ref.path):
        if opened := _volume(ref.path):
            with opened(ref) as found:
                array, height = volume.read(found, ref, top)
        elif _is_tiff(ref.path):
            array, height = tiff.read(ref, indices, lossy, top)
        else:
            array = pictures.read(ref.path, indices, lossy)
            height = len(array)
    if array.dtype.kind == "b":
        array = array * np.uint8(255)
    return Block(np.asarray(array, array.dtype.newbyteorder("="), order="C"), top or 0, height)


def header(ref: ImageRef) -> Header:
    """Size, channels and stored type of a picture, without decoding it. Raises DataError."""
    with _decoding(ref.path):
        if opened := _volume(ref.path):
            with opened(ref) as found:
                return Header(*volume.header(found, ref))
        return Header(*(tiff.header(ref) if _is_tiff(ref.path) else pictures.header(ref.path)))


def pages(path: Path, axes: str | None = None, inside: str | None = None) -> int:
    """The number of pictures in a file: along Z or T, or its pages where it names no axes; else 1.

    Args:
        path: the file.
        axes: what its axes are, where it does not say so itself. See `ImageRef`.
        inside: which of its arrays, where it holds several.

    Raises:
        DataError: the file is missing, damaged or cut off, or has more axes than pictures in a row have.
    """
    return row_of_pages(path, axes, inside)[0]


def row_of_pages(path: Path, axes: str | None = None, inside: str | None = None) -> tuple[int, str]:
    """The number of pictures in a file, and the axis they count along: Z, T, "?" where it has no name, "" for none.

    The rest is as in `pages`.
    """
    with _decoding(path):
        if opened := _volume(path):
            ref = ImageRef(path, 0, axes, inside)
            with opened(ref) as found:
                return volume.pages(found, ref)
        if _is_tiff(path):
            return tiff.pages(path, axes)
        pictures.header(path)
        return 1, ""


def spacing_nm(ref: ImageRef) -> Spacing | None:
    """The size of a pixel (height, width) in nanometres, where the file tells it; None where it does not.

    A resolution for printing (72 dots an inch) tells nothing. PNG, JPEG and BMP know no other. Raises DataError.
    """
    with _decoding(ref.path):
        if opened := _volume(ref.path):
            with opened(ref) as found:
                spacing = found.spacing_nm
        else:
            spacing = tiff.spacing_nm(ref) if _is_tiff(ref.path) else None
    return spacing if spacing is not None and all(0 < side < float("inf") for side in spacing) else None


def metadata(ref: ImageRef) -> dict[str, Any]:
    """What a TIFF file says of its image beside the pixels, in values that JSON knows. Raises DataError."""
    with _decoding(ref.path):
        return tiff.metadata(ref)


def palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """The colours (N, 3) of the palette whose indices are a mask's values; None without one. Raises DataError."""
    with _decoding(path):
        if _volume(path):
            return None
        return tiff.palette(path) if _is_tiff(path) else pictures.palette(path)


def require_content(path: Path) -> None:
    """Raises DataError for what has a name and no content: a pipe, for which one would wait without end, a device."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path} is no file: a pipe, a socket or a device", "Take it away from there.")


def _is_tiff(path: Path) -> bool:
    return suffix(path) in TIFF


def _volume(path: Path) -> Callable[[ImageRef], AbstractContextManager[Volume]] | None:
    """What opens a file of arrays. Raises DataError for a format that is known, and not read."""
    if suffix(path) not in SUFFIXES and (error := foreign(path)):
        raise error
    return _VOLUMES.get(suffix(path))


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
            require_content(path)
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
        raise misnamed(path, SUFFIXES) or DataError(
            f"{path} cannot be read as an image: {said}",
            "The file is truncated, damaged or of another kind than its name says: open it in another program, and "
            "fetch or save it again.",
        ) from error
    finally:
        _complaints.reset(token)
