"""An array in memory -> the pictures that it holds, channels first: by the axes that are said, or where it is plain."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.io.formats.axes import FEW, by
from lamella.data.io.read import Pixels, plain
from lamella.errors import DataError

_PAGES, _CHANNELS = "ZT", "CS"
_READINGS = {  # of an array that does not say
    "YX": "one image",
    "YXC": "one image of {C} channel(s)",
    "CYX": "one image of {C} channel(s), channels first",
    "ZYX": "a stack of {Z} image(s)",
    "ZYXC": "a stack of {Z} image(s) of {C} channel(s)",
    "ZCYX": "a stack of {Z} image(s) of {C} channel(s), channels first",
}


def pictures(array: object, axes: str | None, channels: int) -> tuple[Pixels, bool]:
    """The pictures of an array, (N, C, H, W) of uint8, uint16 or float32 as files give them, and whether it is a stack.

    Args:
        array: a NumPy array of any layout and byte order; it is not written to. Bool gives 0 and 255, as files do.
        axes: a letter a dimension, such as "YX", "YXC", "CYX", "ZYX", "ZYXC": Z or T counts images, C or S channels.
            None: as its shape makes plain, for images of so many channels.
        channels: that one image has.

    Raises:
        DataError: it is no array of real, finite numbers, its axes are not plain or not as said, or it has other
            channels.
    """
    found = _numbers(array)
    letters = _plain_axes(found.shape, channels) if axes is None else _said(axes, found.shape)
    sizes = dict(zip(letters, found.shape, strict=True))
    pages, planes = ((set(letters) & set(kind)) for kind in (_PAGES, _CHANNELS))
    count = sizes[next(iter(planes))] if planes else 1
    if count != channels:
        raise DataError(
            f"the array has {count} channel(s) by its axes {letters} ({by(found.shape)}), and this model was trained "
            f"on {channels}",
            "Give it the channels it learned from, in their order; or train a model on such images.",
        )
    order = [letters.index(letter) for letter in (*pages, *planes, "Y", "X")]
    laid = found.transpose(order).reshape(sizes[next(iter(pages))] if pages else 1, count, sizes["Y"], sizes["X"])
    return plain(laid, "the array"), bool(pages)


def _numbers(array: object) -> npt.NDArray[Any]:
    """The array in this machine's byte order. Raises DataError where it is no plain NumPy array with a value."""
    if not isinstance(array, np.ndarray):
        kind = f"{type(array).__module__}.{type(array).__qualname__}".removeprefix("builtins.")
        remedy = "Write image.cpu().numpy()." if kind.startswith("torch.") else "Write np.asarray(image)."
        raise DataError(f"the image is a {kind}, and a NumPy array is wanted", remedy)
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(
            "the image is a masked array, whose mask no network knows",
            "Write image.filled(value) with a value you chose yourself.",
        )
    if array.size == 0:
        raise DataError(f"the array has the shape {by(array.shape)}: there is no pixel in it", "Check the image.")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native * np.uint8(255) if native.dtype.kind == "b" else native


def _said(axes: str, shape: tuple[int, ...]) -> str:
    """The letters that were said, in capitals. Raises DataError where they are no axes, or not of that shape."""
    letters = axes.upper()
    kinds = [sum(letter in kind for letter in letters) for kind in (_PAGES, _CHANNELS)]
    if (
        not {"Y", "X"} <= set(letters) <= set("YX" + _PAGES + _CHANNELS)
        or len({*letters}) < len(letters)
        or max(kinds) > 1
    ):
        raise DataError(
            f"axes={axes!r} names no images",
            'Name each axis once: Y and X, Z or T for the images of a stack, C or S for channels, as in axes="ZYX".',
        )
    if len(letters) != len(shape):
        raise DataError(
            f"axes={axes!r} has {len(letters)} letters, and the array {len(shape)} dimensions ({by(shape)})",
            "Write one letter a dimension.",
        )
    return letters


def _plain_axes(shape: tuple[int, ...], channels: int) -> str:
    """The axes by which alone an array holds images of so many channels. Raises DataError where others do, or none.

    What is as short as channels are is taken for no height, width or stack.
    """
    readings = {axes: dict(zip(axes, shape, strict=True)) for axes in _READINGS if len(axes) == len(shape)}
    if not readings:
        raise DataError(
            f"the array has {len(shape)} dimensions ({by(shape)}): images have two to four",
            'Give one image, (H, W) or (H, W, C), or a stack of them with axes="ZYX" or "ZYXC".',
        )
    fitting = [axes for axes, sizes in readings.items() if sizes.get("C", 1) == channels]
    likely = [axes for axes in fitting if len(shape) == 2 or min(readings[axes]["Y"], readings[axes]["X"]) > FEW]
    doubtful = likely == ["ZYX"] and shape[0] <= FEW
    if len(likely) == 1 and not doubtful:
        return likely[0]
    what = f"the array has the shape {by(shape)}"
    if not fitting:
        one = "(H, W)" if channels == 1 else f"(H, W, {channels}) or ({channels}, H, W)"
        raise DataError(
            f"{what}, and this model was trained on images of {channels} channel(s)",
            f"Give it the channels it learned from, in their order: {one}; or train a model on such images.",
        )
    ways = [
        f'axes="{axes}" if it is {_READINGS[axes].format(**sizes)}'
        + ("" if axes in fitting else f" (this model was trained on {channels})")
        for axes, sizes in readings.items()
        if axes in fitting or sizes.get("C", FEW + 1) <= FEW
    ]
    raise DataError(f"{what}, which does not say which axis is which", f"Say it: {', '.join(ways)}.")
