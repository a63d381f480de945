"""Outlines that annotation programs keep -> the ids of single objects, pixel by pixel."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.types import ImageRef
from lamella.errors import DataError


class Annotated(NamedTuple):
    """The objects of one image.

    Attributes:
        objects: int32 (H, W), 0 for none, ids from 1.
        names: the class of each object, by id - 1; "" where the file names none.
        overlap: pixels that more than one object claims.
    """

    objects: npt.NDArray[np.int32]
    names: tuple[str, ...]
    overlap: int


def rasterise(ref: ImageRef, size: tuple[int, int]) -> Annotated:
    """The objects that an annotation file outlines in an image of `size` (H, W). Raises DataError."""
    raise DataError(f"{ref} holds annotations of a program that is not known here", f"Draw {size} pixels as a mask.")
