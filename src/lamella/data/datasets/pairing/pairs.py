"""What pairing gives, and what it goes by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lamella.data.datasets.pairing.listing import File
from lamella.data.types import ImageRef, Role

CSV = "Or name each image and its mask in a CSV, `dataset.pairs=FILE`; of several masks an image each in a row."
_PARTS: dict[str, Role] = {
    **{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}


@dataclass(frozen=True)
class Pair:
    """An image and its mask, with what their place or a CSV says about them.

    Attributes:
        id: unique, but for rows of a CSV that name pages.
        image: one file; its page as a CSV has it, else None: the only one, or all of a stack.
        mask: the same, or several files, each with objects of its own, and their classes; or annotations.
        part: where it was published.
        group: as a CSV has it.
    """

    id: str
    image: ImageRef
    mask: ImageRef
    part: Role = ""
    group: str | None = None


class Found(NamedTuple):
    """The pairs, and what a person should be told of how they were found.

    Attributes:
        pairs: in the order of their names; of a CSV in its own.
        passed_over: files that are neither image nor mask, counted by the end of their names: {"*_seg.npy": 40}.
        notes: one sentence each on what was not as plain as it could be, such as names that differ in case.
    """

    pairs: list[Pair]
    passed_over: Counter[str]
    notes: list[str]


class Files(NamedTuple):
    """What is to be paired.

    Attributes:
        images: the files of images; or of both, where `masks` is None.
        masks: pictures, or annotations.
        coco: files that outline the objects of many images each, with the names of these; if any, they pair.
        passed_over, notes: see `Found`.
    """

    images: list[File]
    masks: list[File] | None
    coco: dict[File, list[str]]
    passed_over: Counter[str]
    notes: list[str]


def part_of(file: File) -> Role:
    """The published part that a file lies in; "" for none."""
    return _PARTS.get(file.folder.split("/")[0].casefold(), "")


def counted(passed_over: Counter[str]) -> str:
    """How many files were passed over, in words: "43 files: 40 *_seg.npy, 3 *.txt"."""
    total = passed_over.total()
    kinds = ", ".join(f"{count} {name}" for name, count in passed_over.most_common(6))
    return f"{total} file{'s' * (total > 1)}: {kinds}" + (" ..." if len(passed_over) > 6 else "")


def some(files: Sequence[File]) -> str:
    """The first three of some files, and how many more there are."""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(str(file.path) for file in files[:3]) + more
