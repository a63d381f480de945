"""How the masks of a folder are read: what its owner says of them, and what they show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lamella.data.annotations import category_names, is_annotation
from lamella.data.cache.facts import Facts
from lamella.data.datasets.meaning import classes as meanings
from lamella.data.datasets.meaning.classes import Classes
from lamella.data.datasets.meaning.doubts import HOW, MOST
from lamella.data.datasets.meaning.held import Masks, hold, threads
from lamella.data.datasets.meaning.words import declaration, shown
from lamella.data.io.decode import pages, palette, stored
from lamella.data.types import IGNORE, ImageRef, Labelling, MaskValue
from lamella.errors import ConfigError, DataError

Border = Literal["background", "ignore", "none"]
Layers = Literal["", "all", "rest"]

_VERSION = 1  # counts up when `layers` means something else, so that remembered answers are not believed


@dataclass(frozen=True)
class Said:
    """What the keys of the data set say of its masks; see `lamella.data.datasets.folder.folder`."""

    classes: Mapping[Any, Any] | None
    ignore: Any
    instances: bool
    border: Border
    threshold: int | None
    layers: bool


def read_as(masks: Sequence[ImageRef], said: Said, facts: Facts) -> tuple[Classes, Labelling]:
    """What the masks mean, and how they are read.

    Raises:
        ConfigError: keys that contradict each other, a faulty declaration.
        DataError: no mask can be read, or their meaning is not plain.
    """
    drawn = {ref.path for ref in masks if is_annotation(ref.path)}
    if drawn and any(ref.path not in drawn for ref in masks):
        other = next(ref for ref in masks if ref.path not in drawn)
        raise DataError(
            f"{other} is a mask, and {min(drawn)} holds outlines",
            "Keep to one of the two, or make two data sets of them.",
        )
    several = any(ref.others or ref.labels for ref in masks)
    _check(said, several or bool(drawn))
    if drawn:
        names = _called(sorted(drawn))
        ignore = meanings.ignored(said.ignore, True)
        meaning = (
            meanings.found_objects(names, ignore)
            if said.classes is None
            else meanings.declared_objects(said.classes, ignore, names)
        )
        return meaning, Labelling("drawn", said.border, meaning.objects)
    if several:
        meaning = _of_files(masks, said)
        return meaning, Labelling("files", said.border, meaning.objects)
    ignore = meanings.ignored(said.ignore)
    plain = Labelling(threshold=said.threshold, layers=_layers(masks, facts, said.instances) if said.layers else "")
    if said.classes is not None and said.instances:
        meaning = meanings.declared_objects(said.classes, ignore, None)
        return meaning, replace(plain, objects="values", border=said.border, names=meaning.objects)
    if said.classes is not None:
        meaning = meanings.declared(said.classes, ignore)
        return meaning, replace(plain, undeclared=meaning.undeclared)
    if said.instances and ignore.undeclared:
        raise ConfigError(
            "dataset.ignore=undeclared, but dataset.instances=true takes every value for an object",
            "Say which values to ignore: `dataset.ignore=[65535]`.",
        )
    try:
        held = hold(masks, facts, plain, regions=said.instances)
    except DataError as fault:
        if (problem := layered(masks[0])) is not None:
            raise problem from fault
        raise
    if said.instances:
        meaning = meanings.found_numbers(held, ignore)
        return meaning, replace(plain, objects="values", border=said.border, names=meaning.objects)
    _require_one_palette(held, facts)
    meaning = meanings.found(held, ignore)
    return meaning, replace(plain, undeclared=meaning.undeclared)


def layered(ref: ImageRef) -> DataError | None:
    """The error that a mask has a layer a class, to be raised; None where it has not, or cannot be read."""
    try:
        kind, count = _one_hot(ref)
    except DataError:
        return None
    if not kind:
        return None
    where = "exactly one" if kind == "all" else "at most one"
    axes = "dataset.mask_axes=CYX " if _taken_for_colours(ref) else ""
    return DataError(
        f"mask {ref} has {count} layers, of which {where} is set in each pixel: a layer a class",
        f"If so: `{axes}dataset.mask_layers=true`. If each layer holds one object: `{axes}dataset.mask_layers=true "
        "dataset.instances=true`.",
    )


def _taken_for_colours(ref: ImageRef) -> bool:
    """Whether a file says that its layers are colours and an alpha, so that as one picture it cannot be read."""
    try:
        stored(ref)
    except DataError:
        return ref.axes is None and pages(ref.path, None, ref.inside) == 1
    return False


def in_layers(ref: ImageRef, pages: int) -> ImageRef:
    """The mask with all of its pages as layers of one picture."""
    return replace(ref, page=None, axes=ref.axes or ("CYX" if pages > 1 else None))


def _check(said: Said, several: bool) -> None:
    taken = [name for name, on in (("mask_threshold", said.threshold is not None), ("mask_layers", said.layers)) if on]
    if len(taken) > 1:
        raise ConfigError(f"dataset.{taken[0]} and dataset.{taken[1]} are both set", "Use one of the two.")
    if several or (said.instances and said.threshold is not None):
        for key in taken:
            raise ConfigError(f"dataset.{key} is set, but masks tell objects apart", f"Leave out dataset.{key}.")


def _require_one_palette(masks: Masks, facts: Facts) -> None:
    """Raises DataError where an index stands for one colour in one mask and for another in the next, or 0 for none.

    Programs that make a palette of the colours they find number these in any order.
    """

    def look(ref: ImageRef) -> list[tuple[int, int, int]]:
        def colours() -> list[list[int]]:
            return [] if (found := palette(ref.path)) is None else found.tolist()

        return [(red, green, blue) for red, green, blue in facts.recall(f"palette {facts.sha256(ref.path)}", colours)]

    if not look(next(iter(masks))):
        return
    first: dict[int, tuple[ImageRef, tuple[int, int, int]]] = {}
    pixels: Counter[MaskValue] = Counter()
    problem = ""
    for (ref, held), colours in zip(masks.items(), threads(look, list(masks)), strict=True):
        if not colours:
            return  # levels and indices are one then
        for value, one in held.items():
            if not isinstance(value, int) or value >= len(colours):
                return
            pixels[colours[value]] += one.pixels
            other, colour = first.setdefault(value, (ref, colours[value]))
            if colour != colours[value] and not problem:
                problem = f"the index {value} is {shown(colour)} in {other}, and {shown(colours[value])} in {ref}"
    black = (0, 0, 0)
    if not problem and black in pixels and 0 in first and first[0][1] != black:
        place = next(value for value, (_, colour) in first.items() if colour == black)
        problem = f"the index 0 is {shown(first[0][1])} in {first[0][0]}, and black is {place}"
    if problem:
        background = black if black in pixels else pixels.most_common(1)[0][0]
        others = sorted(pixels.keys() - {background}, key=str)
        named = {"background": background} | {f"class {n}": colour for n, colour in enumerate(others, 1)}
        raise DataError(
            f"masks have palettes of their own: {problem}",
            f"Say what colours mean, with names of your own: {declaration(named)}"
            if len(named) <= MOST
            else f"Say what colours mean. {HOW}",
        )


def _called(paths: Sequence[Path]) -> list[str]:
    """The names that annotations give their objects, in the order of the files. Raises DataError where none is read."""

    def look(path: Path) -> list[str] | DataError:
        try:
            return category_names(path)
        except DataError as fault:
            return fault

    found = threads(look, paths)
    read = [names for names in found if not isinstance(names, DataError)]
    if not read:
        raise next(fault for fault in found if isinstance(fault, DataError))
    return list(dict.fromkeys(name for names in read for name in names))


def _of_files(masks: Sequence[ImageRef], said: Said) -> Classes:
    """The classes of masks that have one file an object."""
    labels = list(dict.fromkeys(label for ref in masks for label in (ref.labels or ("",) * len(ref.paths))))
    named = any(labels)
    stems = {tuple(sorted(path.stem for path in ref.paths)) for ref in masks}
    if not named and not said.instances and len(masks) > 1 and len(stems) == 1:
        alike = next(iter(stems))
        if len(alike) > 1 and not any(letter.isdigit() for stem in alike for letter in stem):
            raise DataError(
                f"each image has the same {len(alike)} mask files, {', '.join(alike[:4])}: classes rather than objects",
                "If each file is one object: `dataset.instances=true`. If each is a class, name it in a CSV with the "
                "columns image, mask and label: `dataset.pairs=FILE`.",
            )
    ignore = meanings.ignored(said.ignore, named)
    if said.classes is not None:
        meaning = meanings.declared_objects(said.classes, ignore, labels if named else None)
    elif named:
        meaning = meanings.found_objects(labels, ignore)
    else:
        meaning = Classes(("background", "object"), dict.fromkeys(ignore.values, IGNORE))
    zero: dict[MaskValue, int] = {0: 0}
    return replace(meaning, values=zero | meaning.values)


def _layers(masks: Sequence[ImageRef], facts: Facts, instances: bool) -> Layers:
    """How the layers of masks are to be read. Raises DataError where one has no layer a class."""

    def look(ref: ImageRef) -> tuple[str, int] | DataError:
        try:
            kind, count = facts.recall(f"layers {_VERSION} {facts.source(ref)}", lambda: list(_one_hot(ref)))
        except DataError as fault:
            return fault
        return kind, count

    kinds = dict(zip(masks, threads(look, masks), strict=True))
    read = {ref: kind for ref, kind in kinds.items() if not isinstance(kind, DataError)}
    if not read:
        raise next(fault for fault in kinds.values() if isinstance(fault, DataError))
    for ref, (kind, count) in read.items():
        if not kind:
            raise DataError(
                f"mask {ref} has not a layer a class: {count} layer(s), and pixels in several, or values of their own",
                "Leave out `dataset.mask_layers`, or repair the mask.",
            )
    numbers = {count: ref for ref, (_, count) in read.items()}
    if len(numbers) > 1 and not instances:
        each = " and ".join(f"{count} in {ref}" for count, ref in sorted(numbers.items())[:2])
        raise DataError(
            f"masks have unlike numbers of layers: {each}",
            "If each layer holds one object: `dataset.instances=true`. Of classes all masks have as many layers.",
        )
    return "all" if all(kind == "all" for kind, _ in read.values()) else "rest"


def _one_hot(ref: ImageRef) -> tuple[Layers, int]:
    """Whether each pixel of a mask is in "all" cases in exactly one of its layers, or in at most one; how many."""
    try:
        array = stored(ref)
    except DataError:  # pages, perhaps
        array = stored(in_layers(ref, 2))
    if array.ndim != 3 or array.shape[-1] < 2:
        return "", 1
    count = array.shape[-1]
    if any(len(np.unique(array[..., layer])) > 2 for layer in range(count)):
        return "", count
    inside = (array != 0).sum(axis=-1)
    if inside.max() > 1 or not inside.any():
        return "", count
    return ("all" if inside.min() == 1 else "rest"), count
