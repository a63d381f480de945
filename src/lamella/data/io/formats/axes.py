"""Which axis of an array is which: as its file says, as its owner declares, or as its shape makes plain."""

from collections.abc import Sequence

from lamella.config.paths import typed
from lamella.data.types import ImageRef
from lamella.errors import DataError

UNNAMED = "?"  # an axis of pages that the file has no name for
PAGES = "ZT" + UNNAMED
LETTERS = "ZTCSYX"
FOR_MASKS = "masks: `dataset.mask_axes`"
COLOURS = 3  # a last axis as long as this, or shorter, is no width
FEW = 4  # a first axis as long as this, or shorter, may be channels as well as pages


def check_declared(axes: str) -> str:
    """The letters that an owner declares, in capitals. Raises DataError where they are no axes."""
    letters = axes.upper()
    if not ({"Y", "X"} <= set(letters) <= set(LETTERS)) or len(set(letters)) < len(letters):
        raise DataError(
            f"{axes!r} are no axes",
            "Name each axis once: Y and X, Z or T for the pages, C or S for channels, as in `dataset.axes=ZYX`.",
        )
    return letters


def page_axis(shown: object, axes: str, shape: Sequence[int], ref: ImageRef, tiff: bool = False) -> int | None:
    """Which axis `ref.page` counts along, if any.

    Args:
        shown: the array in words, with its axes and its shape.
        axes, shape: one letter and one length a dimension.
        ref: which picture is wanted.
        tiff: the file is one that `tiff_to_png` can split.

    Raises:
        DataError: whatever speaks against reading one picture.
    """
    found = [letter for letter in axes if letter in PAGES]
    if set(axes) - set(LETTERS + UNNAMED) or len(found) > 1 or {"C", "S"} <= set(axes):
        raise DataError(
            f"{shown}; it takes height, width, channels and one axis of pages at most",
            f"Split it into files of fewer axes. If these are wrong, declare the right ones: `dataset.axes=ZYX` "
            f"({FOR_MASKS}).",
        )
    axis = axes.index(found[0]) if found else None
    count = 1 if axis is None else shape[axis]
    tool = f": `{typed('tiff_to_png')}`" if tiff else ""
    if ref.page is None and count > 1:
        raise DataError(
            f"{ref} holds {count} pages where one image was expected",
            f"If they are the channels of one image, declare `dataset.axes=CYX`; if they are images, "
            f"`dataset.axes=ZYX` ({FOR_MASKS}), or split the stack{tool}."
            if found == [UNNAMED]
            else f"Split the stack into one file an image{tool}.",
        )
    if not 0 <= (ref.page or 0) < count:
        hint = " Its channels are no pages; if they should be, declare `dataset.axes=ZYX`." if "C" in axes else ""
        raise DataError(f"{ref} cannot be read: the file holds {count} page(s), from 0 on", f"Check the page.{hint}")
    return axis


def by_shape(shown: object, shape: Sequence[int]) -> str:
    """The axes of an array whose file does not name them, as far as its shape makes them plain.

    (Y, X); (Y, X, 3), colours; (pages, Y, X) of pictures that are no narrow strips; (pages, Y, X, 3).

    Raises:
        DataError: the shape can be understood in more than one way.
    """
    *rest, last = shape
    if len(shape) == 2:
        return "YX"
    if len(shape) in (3, 4) and last <= COLOURS and min(rest[-2:]) > 2 * FEW:
        return UNNAMED * (len(shape) - 3) + "YXS"
    if len(shape) == 3:
        first, height, width = shape
        narrow = max(height, width) > 4 * min(height, width) or first == height != width
        if not narrow and width > FEW:
            return UNNAMED + "YX"
        raise unclear(shown, ("YXC", "one image of {2} channels"), ("ZYX", "{0} images"), shape=shape)
    if len(shape) == 4:
        raise unclear(shown, ("ZYXC", "{0} images, channels last"), ("ZCYX", "{0} images, channels first"), shape=shape)
    raise DataError(
        f"{shown} has {len(shape)} axes", "Split it into files of height, width, channels and one axis of pages."
    )


def unclear(shown: object, *ways: tuple[str, str], shape: Sequence[int]) -> DataError:
    """The error over axes that may mean several things, to be raised; each way with what it would make of them."""
    said = ", ".join(f"`dataset.axes={axes}` if it is {words.format(*shape)}" for axes, words in ways)
    return DataError(
        f"{shown} has the shape {by(shape)} and does not say which axis is which", f"Declare it: {said} ({FOR_MASKS})."
    )


def by(shape: Sequence[int]) -> str:
    """A shape in words: 3 x 512 x 512."""
    return " x ".join(map(str, shape))
