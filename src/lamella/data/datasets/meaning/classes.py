"""What the values of masks mean: as their owner declares it, or found where it is plain to see."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lamella.data.datasets.meaning import doubts
from lamella.data.datasets.meaning.held import Masks, as_colours
from lamella.data.datasets.meaning.words import colour, listed, shown
from lamella.data.types import IGNORE, MaskValue
from lamella.errors import ConfigError, DataError


@dataclass(frozen=True)
class Ignore:
    """What counts in neither loss nor score.

    Attributes:
        values: of masks.
        names: of objects that annotations draw.
        undeclared: whatever has no meaning of its own.
    """

    values: tuple[MaskValue, ...] = ()
    names: tuple[str, ...] = ()
    undeclared: bool = False


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: by class id.
        values: the id (or IGNORE) of each value in mask files.
        objects: the id (or IGNORE) of objects by the name their files give them; of "" where they have none.
        undeclared: all other values are to be ignored.
        notes: what was found rather than said.
    """

    names: tuple[str, ...]
    values: dict[MaskValue, int]
    objects: dict[str, int] = field(default_factory=lambda: {"": 1})
    undeclared: bool = False
    notes: tuple[str, ...] = ()


def mask_value(text: object, key: str) -> MaskValue:
    """The mask value that a configuration spells: a grey level or palette index, or a colour such as "#ff0000".

    Raises ConfigError where it is neither; `key` says where it stands.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if isinstance(text, str):
        if re.fullmatch("#[0-9a-fA-F]{6}", text):
            red, green, blue = bytes.fromhex(text[1:])
            return red, green, blue
        if re.fullmatch("-?[0-9]+", text):
            return int(text)
    raise ConfigError(f'{key} must be a grey level, such as 255, or a colour, "#ff0000"; got {text!r}', doubts.HOW)


def ignored(said: object, named: bool = False) -> Ignore:
    """What `dataset.ignore` says: a value, a list of them, the word undeclared, or None; names where objects have them.

    Raises ConfigError for anything else.
    """
    if said is None:
        return Ignore()
    if said == "undeclared":
        return Ignore(undeclared=True)
    texts = _several(said)
    if named:
        return Ignore(names=tuple(str(text) for text in texts))
    return Ignore(tuple(dict.fromkeys(mask_value(text, "dataset.ignore") for text in texts)))


def declared(classes: Mapping[Any, Any], ignore: Ignore) -> Classes:
    """The classes that `dataset.classes` declares: names in the order of their ids, each with its value or values.

    Raises ConfigError for fewer than two classes or more than 255, a value of two classes, or what is no value.
    """
    _right_number(classes)
    said = [("dataset.ignore", IGNORE, value) for value in ignore.values]
    for id_, (name, values) in enumerate(classes.items()):
        key = f"dataset.classes.{name}"
        said += [(key, id_, mask_value(text, key)) for text in _several(values)]
    return Classes(_names(classes), _once(said), undeclared=ignore.undeclared)


def declared_objects(classes: Mapping[Any, Any], ignore: Ignore, found: Sequence[str] | None) -> Classes:
    """The classes that `dataset.classes` declares where masks tell single objects apart.

    The first is the background, with the values that are none of the objects. A class with values is a region without
    single objects. One with names has the objects that their files call so; one with nothing (`[]`), those of its own
    name, and those without a name.

    Args:
        classes: as it is typed.
        ignore: what to ignore.
        found: the names that the files give their objects; None where they give none.

    Raises ConfigError for fewer than two classes or more than 255, or a value or name of two classes.
    """
    if len(classes) == 1:  # the background's values alone
        classes = {**classes, "object": []}
    _right_number(classes)
    said = [("dataset.ignore", IGNORE, value) for value in ignore.values]
    names: dict[str, int] = dict.fromkeys(ignore.names, IGNORE)
    for id_, (name, values) in enumerate(classes.items()):
        key, texts = f"dataset.classes.{name}", _several([] if values is None else values)
        if found is None:
            said += [(key, id_, mask_value(text, key)) for text in texts]
        for called in [str(text) for text in texts] if found is not None else []:
            if names.setdefault(called, id_) != id_:
                raise ConfigError(f"{called!r} stands in {key} and in another class", "Each name means one thing.")
        if not texts and id_:
            names.setdefault(str(name), id_)
            names.setdefault("", id_)
    if found is None and "" not in names:
        raise ConfigError(
            "dataset.classes names no class for the numbered objects",
            "Name one without values: 'dataset.classes={background: 0, cell: []}'.",
        )
    if ignore.undeclared and found is None:
        raise ConfigError(
            "dataset.ignore=undeclared leaves no object of masks that number their objects",
            "Say which values to ignore: `dataset.ignore=[65535]`.",
        )
    if found is not None and (unknown := [name for name in (*ignore.names,) if name not in found]):
        raise ConfigError(
            f"dataset.ignore names {unknown[0]!r}, which no object is called", f"There are {_named(found)}."
        )
    if found is not None and (left := [name for name in found if name not in names]):
        if not ignore.undeclared:
            more = {str(name): [str(text) for text in _several(values or [])] for name, values in classes.items()}
            raise ConfigError(
                f"objects are called {_named(left)}, which dataset.classes does not name",
                f"Give them a class, {doubts.declaration_of_names(more | {name: [name] for name in left})}; or leave "
                "them out: `dataset.ignore=undeclared`.",
            )
        names |= dict.fromkeys(left, IGNORE)
    return Classes(_names(classes), _once(said), names)


def found_objects(names: Sequence[str], ignore: Ignore) -> Classes:
    """The classes of objects by the names that their files give them, in their order; of nameless ones, one."""
    unknown = [name for name in ignore.names if name not in names]
    if unknown or ignore.undeclared:
        what = f"names {unknown[0]!r}, which no object is called" if unknown else "says undeclared, but no class is"
        raise ConfigError(f"dataset.ignore {what}", f"There are {_named(names)}; `dataset.classes` declares classes.")
    kept = [name for name in names if name not in ignore.names]
    if not kept:
        raise DataError("the annotations hold no object", "Are these the annotations? Compare `dataset.masks`.")
    ids = {name: id_ for id_, name in enumerate(kept, 1)} | dict.fromkeys(ignore.names, IGNORE)
    return Classes(("background", *(name or "object" for name in kept)), {0: 0}, ids)


def found(masks: Masks, ignore: Ignore) -> Classes:
    """The classes that masks show: two where they hold 0 and one other value, k + 1 where they hold all of 0 to k.

    Args:
        masks: what each mask holds.
        ignore: the values that count in neither loss nor score.

    Raises:
        DataError: for anything else, and for values that may number objects, be slips, or strokes on what nobody
            labelled. Its remedy is what to copy.
    """
    pixels = doubts.total(masks)
    aside = ignore.values
    if any(isinstance(value, tuple) for value in (*pixels, *aside)):
        pixels, aside = as_colours(pixels), tuple(colour(value) for value in aside)
    for value in aside:
        pixels.pop(value, None)
    look = doubts.Look(masks, pixels, bool(ignore.values))
    notes: tuple[str, ...] = ()
    if ignore.undeclared:
        rare = [value for value in pixels if value not in look.main]
        if rare:
            many = sum(pixels[value].pixels for value in rare)
            notes = (f"ignored as undeclared: {listed(rare)}, in {many} pixels",)
        look = doubts.Look(masks, {value: pixels[value] for value in look.main}, True)
    meaning: dict[MaskValue, int] = dict.fromkeys(aside, IGNORE)
    levels = sorted(value for value in look.pixels if isinstance(value, int))
    if len(look.pixels) < 2:
        only = f"only {shown(next(iter(look.pixels)))}" if look.pixels else "nothing but the value to ignore"
        raise DataError(
            f"the {len(masks)} masks hold {only}: there is nothing to tell apart",
            "Are these the masks? Compare `dataset.masks`, `dataset.mask_suffix` and `dataset.ignore`.",
        )
    look.raise_doubts()
    if len(levels) == len(look.pixels) == 2 and levels[0] == 0:
        return Classes(
            ("background", "foreground"), meaning | {0: 0, levels[1]: 1}, undeclared=ignore.undeclared, notes=notes
        )
    if levels == list(range(len(look.pixels))) and len(levels) <= doubts.MOST:
        names = ("background", *(f"class {n}" for n in levels[1:]))
        return Classes(names, meaning | {n: n for n in levels}, undeclared=ignore.undeclared, notes=notes)
    raise look.unclear()


def found_numbers(masks: Masks, ignore: Ignore) -> Classes:
    """The classes of masks that number their objects: background and object.

    Raises DataError where their values do not number objects, or something else than 0 is background.
    """
    aside: dict[MaskValue, int] = dict.fromkeys(ignore.values, IGNORE)
    pixels = doubts.total(masks)
    if any(isinstance(value, tuple) for value in (*pixels, *aside)):
        pixels, aside = as_colours(pixels), {colour(value): IGNORE for value in aside}
    doubts.Look(masks, {v: h for v, h in pixels.items() if v not in aside}, bool(aside)).raise_not_numbered()
    zero: MaskValue = (0, 0, 0) if any(isinstance(value, tuple) for value in aside) else 0
    return Classes(("background", "object"), aside | {zero: 0})


def _once(said: Sequence[tuple[str, int, MaskValue]]) -> dict[MaskValue, int]:
    """The class id of each value, of (key, class id, value)."""
    if any(isinstance(value, tuple) for _, _, value in said):  # then all are: black is 0 and "#000000"
        said = [(key, id_, colour(value)) for key, id_, value in said]
    first: dict[MaskValue, str] = {}
    for key, _, value in said:
        if value in first:
            raise ConfigError(f"{shown(value)} stands in {first[value]} and in {key}", "Each value means one thing.")
        first[value] = key
    return {value: id_ for _, id_, value in said}


def _right_number(classes: Mapping[Any, Any]) -> None:
    if not 2 <= len(classes) <= IGNORE:
        raise ConfigError(
            f"dataset.classes names {len(classes)} class(es); 2 to {IGNORE} can be told apart", doubts.HOW
        )


def _names(classes: Mapping[Any, Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in classes)


def _several(said: object) -> list[Any]:
    return list(said) if isinstance(said, Sequence) and not isinstance(said, str) else [said]


def _named(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
