"""Numbered objects -> their measures, a column each."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.objects.regions import Found

Column = npt.NDArray[Any]


class Block(NamedTuple):
    """Some rows of the picture that objects were found in.

    Attributes:
        top: the number of the first of them.
        image: the levels as stored, (C, h, W).
        probability: float32 (h, W): that of the class which each pixel was given; None: not asked for.
    """

    top: int
    image: npt.NDArray[Any]
    probability: npt.NDArray[np.float32] | None = None


def measure(
    found: Found, blocks: Iterable[Block] = (), spacing_nm: tuple[float, float] | None = None
) -> dict[str, Column]:
    """The columns of `objects.csv`, each (n,), in the order of ids; they are explained in docs/using.md.

    Args:
        found: the objects.
        blocks: the picture they were found in, all rows, in any order and of any height; without it there are no
            levels and no probabilities.
        spacing_nm: height and width of a pixel; None: there is no size in micrometres.
    """
    raise NotImplementedError
