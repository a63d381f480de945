"""TIFF as microscopes write it: stacks, channels, tiles, the base level of a pyramid.

tifffile reads the structure, imagecodecs unpacks the pixels; what both let pass in silence is refused here.
"""

import math
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from lamella.data.io.formats.axes import FOR_MASKS, UNNAMED, check_declared, page_axis
from lamella.data.io.formats.tiff_spacing import tiff_spacing
from lamella.data.io.formats.volume import Spacing
from lamella.data.io.pieces.memory import require_memory
from lamella.data.io.pieces.rows import read_rows, rows_at
from lamella.data.io.pillow import greys, jpeg_mask, shown_greys, transparent, upright
from lamella.data.types import ImageRef
from lamella.errors import DataError

_SLIDES = ("svs", "scn", "ndpi", "bif", "philips", "qpi", "avs")  # their later series are labels and overviews
_JPEG = (6, 7, 33007, 34892)
_APERIO_YCBCR = 33003  # JPEG 2000 that nothing here turns into RGB, whatever the file calls its colours
_GREY_OR_RGB = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)


@dataclass(frozen=True)
class _Stack:
    """The image in a file: an array with one letter of `axes` a dimension, kept in planes of equal shape.

    Axes of length 1 are left out, but for Y and X.
    """

    path: Path
    first: Any  # the tifffile.TiffPage that speaks for all planes
    planes: Sequence[Any]
    axes: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.path} has the axes {self.axes} ({' x '.join(map(str, self.shape))})"


def read(
    ref: ImageRef, indices: bool = False, lossy: bool = False, top: int | None = None
) -> tuple[npt.NDArray[Any], int]:
    """Some rows of one picture, (h, W) or (h, W, C), and its height; of the stored type, upright, without opaque alpha.

    Of large pictures some rows, where the file allows it, else all.

    Args:
        ref: the file, the page, and the axes where the file itself does not name them.
        indices: a mask is meant: a palette's indices are welcome, JPEG compression is not.
        lossy: a mask may be a JPEG all the same.
        top: the first of the rows; None for all in one go.

    Raises:
        DataError: see `lamella.data.io.read.read`.
        Exception: whatever tifffile raises, or logs, over a damaged file.
    """
    with _open(ref.path) as tiff:
        stack = _stack(tiff, ref)
        axis = _page_axis(stack, ref)
        lead = _lead(stack)
        grid, axes = np.arange(len(stack.planes)).reshape(stack.shape[:lead]), stack.axes
        height = stack.shape[axes.index("Y")]
        shape = tuple(size for place, size in enumerate(stack.shape) if place != axis)
        rows = None if top is None or axis not in (None, *range(lead)) else rows_at(top, stack.first, shape, height)
        if rows is None:
            require_memory(ref, shape, stack.first.dtype.itemsize)
        if axis is not None and axis < lead:  # only the planes of this page are decoded
            grid, axes, axis = np.take(grid, ref.page or 0, axis=axis), axes.replace(axes[axis], ""), None
        planes = [_plane(stack, int(number), ref, indices, lossy, rows) for number in grid.flat]
        array = np.stack(planes).reshape(*grid.shape, *planes[0].shape)
        if axis is not None:
            array, axes = array.take(ref.page or 0, axis), axes.replace(axes[axis], "")
        array = array.transpose([axes.index(letter) for letter in "YXCS" if letter in axes])
        return (_without_alpha(array, stack.first, ref) if "S" in axes else array), height


def header(ref: ImageRef) -> tuple[int, int, int, np.dtype[Any]]:
    """Height, width, channels and stored type of what `read` gives, without decoding. Raises as `read` does."""
    with _open(ref.path) as tiff:
        stack = _stack(tiff, ref)
        _page_axis(stack, ref)
        sizes = dict(zip(stack.axes, stack.shape, strict=True))
        channels = sizes.get("C", 1) * (sizes.get("S", 1) - ("S" in sizes and len(_alphas(stack.first))))
        return sizes["Y"], sizes["X"], channels, np.dtype(stack.first.dtype)


def pages(path: Path, axes: str | None = None) -> tuple[int, str]:
    """The number of pictures in the file, and the axis they count along: Z, T, pages without a name ("?"), or "".

    Raises as `read` does.
    """
    with _open(path) as tiff:
        stack = _stack(tiff, ImageRef(path, 0, axes))
        axis = _page_axis(stack, ImageRef(path, 0))
        return (1, "") if axis is None else (stack.shape[axis], stack.axes[axis])


def metadata(ref: ImageRef) -> dict[str, Any]:
    """Axes, packing, resolution and whatever the file says of its image, for JSON. Raises as `read` does."""
    with _open(ref.path) as tiff:
        stack = _stack(tiff, ref)
        tags = {tag.name: tag.value for tag in stack.first.tags if tag.name in ("XResolution", "YResolution")}
        unit = stack.first.tags.get("ResolutionUnit")
        return {
            "axes": stack.axes,
            "shape": list(stack.shape),
            "dtype": np.dtype(stack.first.dtype).name,
            "compression": getattr(stack.first.compression, "name", str(stack.first.compression)),
            "orientation": _orientation(stack.first),
            "resolution": {name: value[0] / value[1] for name, value in tags.items() if value and value[1]},
            "resolution_unit": None if unit is None else getattr(unit.value, "name", str(unit.value)),
            "description": stack.first.description,
            "imagej": {k: v for k, v in (tiff.imagej_metadata or {}).items() if isinstance(v, (bool, int, float, str))},
        }


def spacing_nm(ref: ImageRef) -> Spacing | None:
    """The size of a pixel (height, width) in nanometres, as the microscope's program noted it. Raises as `read` does.

    OME's word counts before that of a microscope's own tags, theirs before ImageJ's, and the resolution that any TIFF
    has comes last; of the last, what is no finer than a printer's is nobody's pixel.
    """
    with _open(ref.path) as tiff:
        page = _stack(tiff, ref).first
        found = tiff_spacing(tiff, page)
        return found[::-1] if found is not None and _orientation(page) >= 5 else found


def palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """The colours (N, 3) of the palette whose indices are a mask's values; None without one, or where all are grey."""
    with _open(path) as tiff:
        page = tiff.pages.first
        plain = page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None
        return None if plain or _greys(page) is not None else (page.colormap.T >> 8).astype(np.uint8)


def _open(path: Path) -> tifffile.TiffFile:
    return tifffile.TiffFile(path, _multifile=False)  # the other files of an OME set are other pictures


def _stack(tiff: tifffile.TiffFile, ref: ImageRef) -> _Stack:
    """The file's image: what the metadata of ImageJ, OME and others say of it, then what `ref.axes` declares."""
    series = [s for s in tiff.series if not s.keyframe.is_reduced] or list(tiff.series)
    if not series:
        raise ValueError("it holds no image")
    if series[0].kind in _SLIDES:
        series = series[:1]
    if len(series) == 1:
        first, (axes, shape) = series[0].keyframe, _squeezed(series[0])
        planes: Sequence[Any] = series[0]
        if series[0].is_truncated:  # one page stands for all, as in ImageJ's files beyond 4 GB
            planes = series[0].asarray(out="memmap").reshape(-1, *first.shape)
    elif any(len(s) > 1 and _squeezed(s)[0][0] not in "IQ" for s in series):
        raise DataError(f"{ref.path} holds {len(series)} images of several planes each", "Save each as its own file.")
    else:
        planes = sorted((page for s in series for page in s), key=lambda page: page.index)
        first = planes[min(ref.page or 0, len(planes) - 1)].aspage()
        axes, shape = "I" + first.axes, (len(planes), *first.shape)
    if _orientation(first) >= 5:
        sizes = dict(zip(axes, shape, strict=True))
        turned = {"Y": sizes["X"], "X": sizes["Y"]}
        shape = tuple(turned.get(letter, size) for letter, size in zip(axes, shape, strict=True))
    stack = _Stack(ref.path, first, planes, axes.replace("I", UNNAMED).replace("Q", UNNAMED), shape)
    return stack if ref.axes is None else _declared(stack, ref.axes)


def _squeezed(series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of a tifffile.TiffPageSeries without axes of length 1, but for Y, X and the last.

    Releases of tifffile differ in whether they leave them out.
    """
    kept = [
        (letter, size) for letter, size in zip(series.axes, series.shape, strict=True) if size > 1 or letter in "YX"
    ]
    axes, shape = zip(*(kept or [(series.axes[-1], series.shape[-1])]), strict=True)
    return "".join(axes), shape


def _declared(stack: _Stack, axes: str) -> _Stack:
    """The stack with the axes that its owner names."""
    letters = check_declared(axes)
    if len(stack.shape) == 2:  # the only page of a stack
        letters = "".join(letter for letter in letters if letter in "YX")
    if len(letters) != len(stack.shape):
        raise DataError(f"{stack}, which are not {axes}", f"Declare one letter for each, as in ZYXS ({FOR_MASKS}).")
    return _Stack(stack.path, stack.first, stack.planes, letters, stack.shape)


def _page_axis(stack: _Stack, ref: ImageRef) -> int | None:
    """Which axis `ref.page` counts along, if any; all that speaks against reading one picture is raised here."""
    return page_axis(stack, stack.axes, stack.shape, ref, tiff=True)


def _lead(stack: _Stack) -> int:
    """How many axes, the first ones, count planes; the others lie within a plane."""
    lead = 0
    while math.prod(stack.shape[:lead]) < len(stack.planes):
        lead += 1
    return lead


def _plane(
    stack: _Stack, number: int, ref: ImageRef, indices: bool, lossy: bool, rows: range | None
) -> npt.NDArray[Any]:
    """One plane, or some of its rows, decoded and upright."""
    page = stack.planes[number]
    if page is None:
        raise ValueError(f"plane {number} is missing")
    shape = list(stack.shape[_lead(stack) :])
    if rows is not None:
        shape[stack.axes.index("Y") - _lead(stack)] = len(rows)
    if isinstance(page, np.ndarray):
        array = _turned(page, stack.first)
        if rows is not None:
            array = np.take(array, rows, axis=stack.first.axes.index("Y"))
        array = array.astype(stack.first.dtype)
    else:
        page = page if page.is_virtual else page.aspage()  # tifffile's frames take the first page's word for all
        array = _decoded(page, ref, indices, lossy, rows)
    if array.shape != tuple(shape) or array.dtype != stack.first.dtype:
        raise DataError(f"the pages of {stack.path} differ in size or type", "Save each as its own file.")
    return array


def _decoded(page: Any, ref: ImageRef, indices: bool, lossy: bool, rows: range | None) -> npt.NDArray[Any]:
    """A tifffile.TiffPage -> its array, upright, of the stored type and with the page's own axes. See `read`."""
    kind = tifffile.PHOTOMETRIC.YCBCR if page.compression == _APERIO_YCBCR else page.photometric
    allowed = (
        kind in _GREY_OR_RGB
        or (kind == tifffile.PHOTOMETRIC.MINISWHITE and _true_is_one(page))
        or (indices and kind == tifffile.PHOTOMETRIC.PALETTE)
        or (kind == tifffile.PHOTOMETRIC.YCBCR and page.compression in _JPEG)  # the decoder makes it RGB
    )
    if not allowed:
        raise _unplain(page, kind, ref)
    if indices and not lossy and page.compression in _JPEG:
        raise jpeg_mask(ref)
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise _unknown_packing(page, ref)
    _check_complete(page)
    try:
        try:
            # one worker: what other threads log would not be heard
            array = page.asarray(maxworkers=1) if rows is None else read_rows(page, rows)
        except RuntimeError:  # of a codec
            if page.is_tiled or page.imagelength % page.rowsperstrip == 0:
                raise
            array = _with_spare_rows(page, ref)
            array = array if rows is None else np.take(array, rows, axis=page.axes.index("Y"))
        if kind == tifffile.PHOTOMETRIC.PALETTE and (greys := _greys(page)) is not None:
            array = shown_greys(array, greys, ref)
        return _turned(array, page)
    except (NotImplementedError, ImportError) as error:  # known, but not for such pixels, or not in this build
        raise _unknown_packing(page, ref) from error
    except ValueError as error:
        if "not supported" not in str(error):
            raise
        raise _unknown_packing(page, ref) from error


def _true_is_one(page: Any) -> bool:
    """Whether 1 bit means what it does in Python: tifffile stores True as 1, and calls the file "white is zero"."""
    software = page.tags.get("Software")
    return page.bitspersample == 1 and software is not None and str(software.value).startswith("tifffile")


def _greys(page: Any) -> npt.NDArray[np.uint8] | None:
    """The grey level of each index of a palette of 8 bits or fewer; None where some are colours."""
    if page.colormap is None or page.bitspersample > 8:
        return None
    return greys((page.colormap.T >> 8).astype(np.uint8))


def _unplain(page: Any, kind: int, ref: ImageRef) -> DataError:
    """The error over values that are neither grey, black being 0, nor RGB, to be raised."""
    problem = f"{ref} stores its values as {tifffile.PHOTOMETRIC(kind).name}, not as grey or RGB"
    if kind == tifffile.PHOTOMETRIC.MINISWHITE and page.bitspersample == 1:
        return DataError(
            f"{problem}: of 1 bit, white is 0, and the file does not say whether 1 was meant as black or as True",
            "If it is a boolean array of Python (tifffile, scikit-image), save it as `mask.astype(numpy.uint8)`. If it "
            "looks right in ImageJ or another viewer: Image > Lookup Tables > Invert LUT there, then Edit > Invert, "
            "and save; or save it as PNG.",
        )
    return DataError(
        problem,
        "Save it as plain grey, black being 0, or as RGB. In ImageJ: Image > Lookup Tables > Invert LUT.",
    )


def _check_complete(page: Any) -> None:
    """Raises ValueError where packed pixels are not in the file: JPEG, JPEG XR and LZW would be made up in silence."""
    if page.compression != tifffile.COMPRESSION.NONE:
        size = page.parent.filehandle.size
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if len(ends) < math.prod(page.chunked) or max(ends) > size:
            raise ValueError("the pixels end early")


def _with_spare_rows(page: Any, ref: ImageRef) -> npt.NDArray[Any]:
    """The page, where the writer filled its last strip up with rows below the picture, which codecs do not expect.

    They do if the picture is said to be as high as its strips. Raises as tifffile does where it is not so.
    """
    tag, height = page.tags["ImageLength"], page.imagelength
    with ref.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as copy:
        number = page.parent.byteorder + {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
        struct.pack_into(number, copy, tag.valueoffset, height + -height % page.rowsperstrip)
        with tifffile.TiffFile(copy) as tiff:
            array = tiff.pages[page.index].asarray(maxworkers=1)
    return np.take(array, range(height), axis=page.axes.index("Y"))


def _unknown_packing(page: Any, ref: ImageRef) -> DataError:
    name = getattr(page.compression, "name", page.compression)
    return DataError(
        f"{ref} is packed in a way that is not read here: compression {name}, {page.bitspersample} bits a sample",
        "Save it uncompressed, or as 8 or 16 bits with deflate, LZW or ZSTD.",
    )


def _turned(array: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    """A page's array as stored -> upright."""
    y = page.axes.index("Y")  # X follows it
    return np.moveaxis(upright(np.moveaxis(array, (y, y + 1), (0, 1)), _orientation(page)), (0, 1), (y, y + 1))


def _orientation(page: Any) -> int:
    """1: upright; 2 to 8: mirrored or turned, from 5 on with height and width exchanged."""
    tag = page.tags.get("Orientation")
    return tag.value if tag is not None and tag.value in range(1, 9) else 1


def _alphas(page: Any) -> list[int]:
    """Which samples of a pixel say how opaque it is."""
    extra = list(page.extrasamples)
    return [page.samplesperpixel - len(extra) + i for i, kind in enumerate(extra) if kind in (1, 2)]


def _without_alpha(array: npt.NDArray[Any], page: Any, ref: ImageRef) -> npt.NDArray[Any]:
    """(H, W, samples) -> (H, W, C), or (H, W) where one channel is left. Raises DataError over transparent pixels."""
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    if (array[..., _alphas(page)] != opaque).any():
        error = transparent(ref)
        raise DataError(error.problem, f"{error.remedy} If it is a channel of its own, declare `dataset.axes=YXC`.")
    array = np.delete(array, _alphas(page), axis=-1)
    return array[..., 0] if array.shape[-1] == 1 else array
