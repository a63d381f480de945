"""Files of pictures for tests: arrays, Pillow's images or plain bytes, written to a path."""

import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

from lamella.data.types import ImageRef
from lamella.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
DEEP_RGB = RNG.integers(0, 65536, (20, 24, 3), dtype=np.uint16)
MASK = (GREY > 127).astype(np.uint8) * 255


def put(folder, content, name="picture.png", **options):
    """Writes an array, a Pillow image or bytes to a file, and gives the reference to it."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".tif" and not isinstance(content, Image.Image):
        tifffile.imwrite(path, content, **options)
    else:
        picture = content if isinstance(content, Image.Image) else Image.fromarray(content)
        picture.save(path, **options)
    return ImageRef(path)


def png(width, height, depth, colour, rows, more=(), interlaced=0):
    """A PNG file from rows that are filtered already, of a kind that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def cuts(whole):
    """Lengths to cut a file to: all near both ends, some between."""
    return sorted({*range(0, whole, 23), *range(0, min(250, whole), 3), *range(max(0, whole - 30), whole)})


def attempt(function):
    """What it returns, or its DataError; anything else that it raises is a bug."""
    try:
        return function()
    except DataError as error:
        return error
