"""Numbered objects -> polygons along the edges of their pixels."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int32]
Polygon = list[Ring]


def polygons(labels: npt.NDArray[np.uint32]) -> Iterator[tuple[int, list[Polygon]]]:
    """The outlines of each object: its id and polygons, each the outer ring and those of its holes."""
    raise NotImplementedError
