"""NIfTI: axes are x, y, z; a page is a section along z. Values are as the file scales them, if it does."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lamella.data.io.formats.volume import Volume
from lamella.data.types import ImageRef
from lamella.errors import DataError

_NANOMETRES = {"meter": 1e9, "mm": 1e6, "micron": 1e3}


@contextmanager
def opened(ref: ImageRef) -> Iterator[Volume]:
    """The volume of a .nii or .nii.gz file; nothing of it is read before it is asked for."""
    import nibabel  # takes half a second, which few runs need

    image = nibabel.load(ref.path)
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti2Image):
        raise ValueError(f"it is {type(image).__name__}")
    pixels = image.dataobj
    if len(pixels.shape) > 4 and set(pixels.shape[4:]) != {1}:
        raise DataError(f"{ref} has the shape {pixels.shape}", "Split it into files of x, y, z and time at most.")
    scaled = (pixels.slope, pixels.inter) != (1, 0)
    head = image.header
    unit = _NANOMETRES.get(head.get_xyzt_units()[0])
    width, height = (float(size) for size in head.get_zooms()[:2])
    yield Volume(
        str(ref.path),
        tuple(pixels.shape),
        np.dtype(np.float64) if scaled else pixels.dtype,
        lambda index: np.asarray(pixels[index]),
        "XYZT"[: len(pixels.shape)] + "1" * (len(pixels.shape) - 4),
        None if unit is None else (height * unit, width * unit),
        whole=ref.path.suffix.lower() == ".gz",
    )
