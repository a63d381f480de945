"""Class ids of a picture of any size -> its single objects, numbered."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.metrics import instances

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint32]


class Found(NamedTuple):
    """The objects of one picture.

    Attributes:
        labels: uint32 (H, W), memory-mapped: 0 outside objects, ids 1..n in the order of their first pixels.
        class_ids: uint8 (n,): the class of each.
        uncut: ids of regions too large to be cut at their necks: several objects that touch may be one there.
    """

    labels: Numbers
    class_ids: Bytes
    uncut: tuple[int, ...] = ()


def find(classes: Bytes, kind: str, *, smallest: int, neck: float | None, folder: Path, border: int = 0) -> Found:
    """The objects of a picture, as `lamella.metrics.instances` finds them in one that fits into memory.

    Args:
        classes: (H, W), class ids; memory-mapped where they are large.
        kind: "neurites": the regions of class 0, 4-connected; else those of every other class, 8-connected.
        smallest: objects of fewer pixels are none.
        neck: pixels by which a region must be narrower in between to be cut there
            (`lamella.metrics.instances.split_touching`); None: nothing is cut. Neurites never are.
        folder: where the numbers are kept, in a file of 4 bytes a pixel that is the caller's to delete.
        border: pixels on each side that part touching objects in the class ids (`lamella.metrics.instances.rejoined`).
    """
    valid = np.ones(classes.shape, bool)
    if kind == "neurites":
        neck = None

    def cut(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        if neck is None:
            return instances.components(mask, valid, smallest=smallest)
        return instances.split_touching(mask, valid, depth=neck, smallest=smallest)

    found = instances.of_classes(cut, (classes == 0).astype(np.uint8) if kind == "neurites" else classes)
    found = instances.rejoined(found, valid, border)
    ids, first = np.unique(found, return_index=True)
    ids, first = ids[ids > 0], first[ids > 0]
    ids, first = ids[np.argsort(first)], np.sort(first)
    table = np.zeros(int(found.max(initial=0)) + 1, np.uint32)
    table[ids] = np.arange(1, len(ids) + 1)
    labels: Any = np.lib.format.open_memmap(folder / "objects.npy", "w+", np.uint32, classes.shape)
    labels[:] = table[found]
    return Found(labels, classes.reshape(-1)[first])
