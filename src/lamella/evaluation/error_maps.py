"""What a run keeps of each test image, so that reports need no data: a map of its errors, and a small picture.

outcomes/0007.png   full size, a code a pixel (a palette's index), wrong ones in the colours of `overlays.mistakes`
pictures/0007.jpg   the image as people can look at it, small
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lamella.data.io.read import Bytes, Pixels, shrink
from lamella.data.types import IGNORE
from lamella.errors import StorageError
from lamella.plots import overlays

RIGHT_BACKGROUND, RIGHT_FOREGROUND, FALSE_POSITIVE, FALSE_NEGATIVE = range(4)
WRONG_CLASS = 4  # foreground taken for another class of foreground
NOT_COUNTED = 5

_WHITE, _GREY, _MISSED = (255, 255, 255), (120, 120, 120), overlays.FALSE_NEGATIVE
_PALETTE = [*_WHITE, *_GREY, *overlays.FALSE_POSITIVE, *_MISSED, *_MISSED, *overlays.IGNORED]  # a colour a code
_SIDE = 640  # pixels of a picture's longer side, at most
_QUALITY = 80  # of its JPEG


def error_map_name(case: str) -> str:
    """Where the error map of a case lies among a run's files."""
    return f"outcomes/{case}.png"


def picture_name(case: str) -> str:
    """Where the picture of a case lies among a run's files."""
    return f"pictures/{case}.jpg"


def error_map(truth: Bytes, predicted: Bytes) -> Bytes:
    """Where a prediction is right and where wrong: codes (H, W), see above.

    Both are class ids (H, W); the truth has IGNORE as well.
    """
    there, found, same = truth > 0, predicted > 0, truth == predicted
    codes = there.astype(np.uint8)  # RIGHT_BACKGROUND and RIGHT_FOREGROUND, where it is right
    codes[found & ~there] = FALSE_POSITIVE
    codes[there & ~found] = FALSE_NEGATIVE
    codes[there & found & ~same] = WRONG_CLASS
    codes[truth == IGNORE] = NOT_COUNTED
    return codes


def write(folder: Path, case: str, image: Pixels, truth: Bytes, predicted: Bytes) -> None:
    """Writes the error map and the picture of one test image.

    Args:
        folder: the run's files; folders in it are made.
        case: names the two files.
        image: (C, H', W') of any type and size, as stored.
        truth: class ids (H, W), and IGNORE.
        predicted: class ids (H, W).

    Raises:
        OSError: the folder cannot be written.
    """
    codes = Image.fromarray(error_map(truth, predicted))
    codes.putpalette(_PALETTE)
    _save(codes, folder / error_map_name(case))
    # Made small first: to find the levels of a whole image of 16 bits takes longer than all the rest.
    levels = image if image.dtype == np.uint8 else image.astype(np.float32)
    small = shrink(levels, min(1.0, _SIDE / max(levels.shape[1:])))
    _save(Image.fromarray(overlays.visible(small)), folder / picture_name(case), quality=_QUALITY)


def read_error_map(path: Path) -> Bytes:
    """The error map (H, W) of codes that `write` wrote. Raises StorageError."""
    return _read(path, "PNG", "P")


def read_picture(path: Path) -> Bytes:
    """The picture (H, W, 3) that `write` wrote. Raises StorageError."""
    return _read(path, "JPEG", "RGB")


def _save(picture: Any, path: Path, **how: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **how)


def _read(path: Path, kind: str, mode: str) -> Bytes:
    try:
        with Image.open(path, formats=(kind,)) as picture:
            if picture.mode != mode:
                raise OSError(f"its pixels are of mode {picture.mode}, not {mode}")
            return np.array(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # to Pillow, some damage is a SyntaxError
        raise StorageError(f"{path} is no picture of a scored image: {error}", "Score the run again.") from error
