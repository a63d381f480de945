"""Which array of a file that holds several: the one that is named, or the only one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamella.data.io.formats.axes import by
from lamella.data.types import ImageRef
from lamella.errors import DataError

_SHOWN = 8


def chosen(ref: ImageRef, found: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    """The name of the array that is meant, of those that a file holds (name -> shape and type).

    Raises:
        DataError: there is none of the name, none at all, or several and no name; it lists them, ready to copy.
    """
    names = {name.strip("/"): name for name in found}
    if ref.inside is not None:
        if (wanted := ref.inside.strip("/")) in names:
            return names[wanted]
        raise DataError(f"{ref.path} holds no array {ref.inside!r}", _listed(ref, found))
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise DataError(f"{ref.path} holds no array of pixels", "It needs one of two axes or more, of numbers.")
    raise DataError(f"{ref.path} holds {len(found)} arrays; which is meant is not said", _listed(ref, found))


def _listed(ref: ImageRef, found: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    lines = [f"{ref.path}:{name}  ({by(shape)}, {dtype})" for name, (shape, dtype) in list(found.items())[:_SHOWN]]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    if not lines:
        return "It holds no array of pixels at all."
    return (
        "Name one, as in `dataset.images=FILE:NAME` (`FOLDER:NAME`: of each file; masks alike):\n    "
        + "\n    ".join(lines + more)
    )
