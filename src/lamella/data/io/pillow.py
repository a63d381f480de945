"""PNG, JPEG and BMP as stored and upright, through Pillow; PNG of 16-bit colours, which Pillow halves, by hand."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from lamella.errors import DataError

KINDS = ("PNG", "JPEG", "BMP")  # Pillow goes by content, and would read much that a suffix does not promise

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGBA": 3}  # as read here; other modes: as many as bands
_DEEP = {0: 1, 4: 1, 2: 3, 6: 3}  # a 16-bit PNG's kind of colour -> channels, alpha left out
_SAMPLES = {0: 1, 4: 2, 2: 3, 6: 4}  # the same, alpha counted


def read(path: Path, indices: bool = False) -> npt.NDArray[Any]:
    """One picture, (H, W) or (H, W, C): uint8, or uint16 from a PNG of 16 bits; upright, an opaque alpha left out.

    Args:
        path: the file.
        indices: give a palette's indices (what a mask means) instead of its colours.

    Raises:
        DataError: some pixels are transparent.
        Exception: whatever Pillow raises over a damaged file.
    """
    deep = _deep_colour(path)
    with Image.open(path, formats=KINDS) as picture:
        picture.verify()  # the check sums of a PNG; decoding alone lets some damage pass
    with Image.open(path, formats=KINDS) as picture:
        orientation = _orientation(picture)
        if indices and picture.mode == "P":
            array = np.asarray(picture)
        elif deep is None or (deep == 0 and not picture.has_transparency_data):
            array = np.asarray(_without_alpha(picture, path))
        else:
            array = _without_deep_alpha(_deep_png(path), picture.info.get("transparency"), path)
    array = upright(array, orientation)
    return array if deep is None else array.astype(np.uint16, copy=False)


def header(path: Path) -> tuple[int, int, int, np.dtype[Any]]:
    """Height, width, channels and type that `read` will give, without decoding."""
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
    """(H, W, ...) as stored -> as it is to be seen. `orientation` is 1 to 8, as EXIF and TIFF count."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def deep_png(array: npt.NDArray[np.uint16]) -> bytes:
    """(H, W, 3) as a PNG of 16 bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = array.shape
    rows = array.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    lines = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])  # filter 2: differences from the row above
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    pixels = zlib.compress(lines.tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


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


def _without_deep_alpha(samples: npt.NDArray[np.uint16], key: Any, path: Path) -> npt.NDArray[np.uint16]:
    """(H, W, samples) -> (H, W) or (H, W, 3). `key` is the colour that stands for transparency, or None."""
    if key is not None and (samples == np.asarray(key)).all(axis=-1).any():
        raise transparent(path)
    if samples.shape[-1] in (2, 4):
        if (samples[..., -1] < 65535).any():
            raise transparent(path)
        samples = samples[..., :-1]
    return samples[..., 0] if samples.shape[-1] == 1 else samples


def transparent(place: object) -> DataError:
    """What is said over pixels that a viewer does not show."""
    return DataError(f"{place} has transparent pixels", "Save it without an alpha channel.")


def _deep_colour(path: Path) -> int | None:
    """The kind of colour in the header of a PNG of 16 bits a channel; None for all other files."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[25] if head.startswith(b"\x89PNG") and head[24:25] == b"\x10" and len(head) == 26 else None


def _deep_png(path: Path) -> npt.NDArray[np.uint16]:
    """(H, W, samples) of a PNG of 16 bits a sample; its check sums are those of a file that Pillow has verified."""
    data, place = path.read_bytes(), 8
    chunks: dict[bytes, list[bytes]] = {}
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunks.setdefault(kind, []).append(data[place + 8 : place + 8 + length])
        place += 12 + length
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"][0])
    if interlaced:
        raise DataError(f"{path} is an interlaced PNG of 16-bit colours, which is not read", "Save it not interlaced.")
    step = 2 * _SAMPLES[colour]
    size = height * (1 + width * step)
    lines = zlib.decompressobj().decompress(b"".join(chunks[b"IDAT"]), size)
    if len(lines) < size:
        raise ValueError("the pixels end early")
    rows = np.frombuffer(lines, np.uint8).reshape(height, 1 + width * step)
    pixels = _unfiltered(rows[:, 0], rows[:, 1:].reshape(height, width, step))
    return np.ascontiguousarray(pixels).view(">u2").astype(np.uint16)


def _unfiltered(kinds: npt.NDArray[np.uint8], filtered: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undoes the filters of PNG (ISO/IEC 15948, clause 9): kinds (H,), bytes (H, W, bytes a pixel).

    A pixel needs its left, upper and upper left neighbours: all pixels of one diagonal can be restored at once.
    """
    if kinds.max() > 4:
        raise ValueError("an unknown filter")
    height, width, step = filtered.shape
    out = np.zeros((height + 1, width + 1, step), np.uint8)  # a frame of zeros above and on the left
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = (out[rows, columns].astype(np.int16) for rows, columns in ((y + 1, x), (y, x + 1), (y, x)))
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        nearest = np.where(to_up <= to_corner, up, corner)
        paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
        kind = kinds[y][:, None]
        guess = np.select([kind == 1, kind == 2, kind == 3, kind == 4], [left, up, (left + up) // 2, paeth], 0)
        out[y + 1, x + 1] = filtered[y, x] + guess.astype(np.uint8)
    return out[1:, 1:]
