"""Masks of predictions that a person corrected -> class ids of the data set that they join.

Fiji, napari and others keep the same values in 8, 16 or 32 bits, with a palette or without: they are read alike.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lamella.data.annotations import rasterise
from lamella.data.io.labels import Labels
from lamella.data.io.masks import Objects, mask_blocks, read_numbered
from lamella.data.io.pieces.blocks import Block
from lamella.data.io.pieces.memory import require_memory
from lamella.data.io.resize import Bytes
from lamella.data.types import IGNORE, ImageRef, MaskValue, Redrawn
from lamella.errors import DataError

_IGNORED = "ignore*"  # the class that QuPath has for it


def redrawn_blocks(ref: ImageRef, how: Redrawn) -> Iterator[Block]:
    """The class ids of the data set, uint8 (h, W), some rows at a time, of corrected class ids ("labels").

    Raises:
        DataError: unreadable, a value that is no class, or 255 where it seems to stand for the foreground.
    """
    seen: Counter[int] = Counter()
    table = np.array([*how.ids, *[IGNORE] * (256 - len(how.ids))], np.uint8)
    values: dict[MaskValue, int] = {id_: id_ for id_ in (*range(len(how.ids)), IGNORE)}
    try:
        for block in mask_blocks(ref, values):
            seen.update(np.flatnonzero(np.bincount(block.pixels.ravel(), minlength=256)).tolist())
            yield block._replace(pixels=table[block.pixels])
    except DataError as fault:
        raise DataError(fault.problem, _as_numbers(how)) from None
    if IGNORE in seen and not seen.keys() - {0, IGNORE}:
        raise DataError(
            f"mask {ref} holds {' and '.join(map(str, sorted(seen)))}, and nowhere {how.names[1]} "
            f"(1): does 255 stand for {how.names[1]}, or is it to be ignored?",
            f"{_as_numbers(how)} In Fiji Process > Math > Divide by 255 makes 1 of 255.",
        )


def read_redrawn(ref: ImageRef, how: Redrawn, size: tuple[int, int]) -> Labels:
    """The class ids of the data set and the objects of a corrected mask that tells objects apart.

    Args:
        ref: numbered objects, or outlines.
        how: it is read.
        size: (H, W) of its picture, which outlines have.

    Raises:
        DataError: unreadable, of another size than its picture, an object of a class that the network lacks, or one
            whose class nothing tells.
    """
    require_memory(ref, size, 4, copies=5)
    ids, named = numbered(ref, how, size)
    classes = classes_of(ids, named, ref, how)
    table = np.array([*how.ids, *[IGNORE] * (256 - len(how.ids))], np.uint8)
    found = table[classes]
    return Labels(found, np.where((classes == how.outer) | (classes == IGNORE), np.int32(0), ids), how.ids[how.outer])


def numbered(ref: ImageRef, how: Redrawn, size: tuple[int, int]) -> tuple[Objects, tuple[str, ...]]:
    """The objects of a corrected mask: int32 ids (H, W) from 1, and by id - 1 the class that the file names, or "".

    Raises DataError, as `read_redrawn`.
    """
    if how.kind == "outlines":
        drawn = rasterise(ref, size)
        return drawn.objects, drawn.names
    ids = read_numbered(ref, {})[0]
    if ids.shape != size:
        there, wanted = (f"{width}x{height}" for height, width in (ids.shape, size))
        raise DataError(
            f"{ref} is {there} pixels, its image {wanted}", "Save it at the size at which it was predicted."
        )
    return ids, ("",) * int(ids.max(initial=0))


def classes_of(ids: Objects, named: tuple[str, ...], ref: ImageRef, how: Redrawn) -> Bytes:
    """The network's class ids, uint8 (H, W), of numbered objects, by the classes that they name.

    Raises DataError, as `read_redrawn`.
    """
    known = {name: id_ for id_, name in enumerate(how.names)}
    known |= {f"group {id_}": id_ for id_ in range(1, len(how.names))} | {"": -1}
    table = np.full(len(named) + 1, how.outer, np.int16)
    for number, name in enumerate(named, 1):
        if name.casefold() == _IGNORED:
            table[number] = IGNORE
        elif name in known:
            table[number] = known[name]
        else:
            raise DataError(
                f"{ref} holds an object of the class {name!r}, which the network does not have",
                f"It has {', '.join(how.names)}; Ignore* is left out of training, and so is nothing else.",
            )
    unnamed = np.flatnonzero(table < 0)
    if len(unnamed):
        table[unnamed] = _mostly(ids, unnamed, ref, how) if how.inner is None else how.inner
    return table.astype(np.uint8)[ids]


def _mostly(ids: Objects, some: npt.NDArray[np.integer], ref: ImageRef, how: Redrawn) -> npt.NDArray[np.integer]:
    """The class that was predicted of most pixels of some objects, the background's left aside."""
    assert how.predicted is not None
    count = len(how.names)
    plain = Redrawn("labels", how.names, tuple(range(count)))
    predicted = np.concatenate([block.pixels for block in redrawn_blocks(how.predicted, plain)])
    here = predicted < count
    votes = np.bincount(
        ids[here].astype(np.int64) * count + predicted[here], minlength=(int(ids.max(initial=0)) + 1) * count
    ).reshape(-1, count)[some]
    votes[:, how.outer] = 0
    if len(lost := some[votes.max(axis=1, initial=0) == 0]):
        where = np.argwhere(ids == lost[0])
        at = f" near x={where[0, 1]}, y={where[0, 0]}" if len(where) else ""
        raise DataError(
            f"{ref} holds {len(lost)} object(s), the first{at}, whose class nothing tells",
            f"They name none, and none was predicted there. Correct the file of class ids, or name their classes: "
            f"{', '.join(how.names[1:])}.",
        )
    return np.asarray(votes.argmax(axis=1))


def _as_numbers(how: Redrawn) -> str:
    each = ", ".join(f"{id_} {name}" for id_, name in enumerate(how.names))
    return f"A corrected mask of classes is grey, or of a palette, with the values {each}; 255 is ignored."
