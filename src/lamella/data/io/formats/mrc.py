"""MRC, as electron microscopes and tomography keep volumes. Their rows are stored from the bottom up."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mrcfile
import numpy as np

from lamella.data.io.formats.volume import Volume
from lamella.data.types import ImageRef

_STAMP = 1146047817  # "IMOD", in whose files another word says whether bytes have a sign
_NAMED = 20140  # the version from which on they have one, by the standard


@contextmanager
def opened(ref: ImageRef) -> Iterator[Volume]:
    """The volume or picture of an MRC file, upright as IMOD and ImageJ show it; read when it is asked for."""
    with mrcfile.mmap(ref.path, mode="r") as file:
        data = file.data
        if data.dtype == np.int8 and _without_sign(file.header):
            data = data.view(np.uint8)
        data = data[..., ::-1, :]
        height, width = float(file.voxel_size.y) / 10, float(file.voxel_size.x) / 10
        known = (height, width) != (0.1, 0.1)  # what is written where nobody said
        yield Volume(
            str(ref.path),
            data.shape,
            data.dtype,
            lambda index: np.array(data[index]),
            "TZYX"[-data.ndim :],
            (height, width) if known else None,
        )


def _without_sign(header: Any) -> bool:
    """Whether values of 8 bits are 0 to 255: by IMOD's own word, else by the standard or, before it, by the maximum."""
    stamp, flags = np.frombuffer(header.extra2.tobytes()[40:48], header.mode.dtype)
    if stamp == _STAMP:
        return not flags & 1
    return bool(int(header.nversion) < _NAMED and header.dmin >= 0 and header.dmax > 127)
