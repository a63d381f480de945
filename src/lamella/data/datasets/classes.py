"""What the values of masks mean: as their owner declares it, or found where it is plain to see."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lamella.data.cache.facts import Facts
from lamella.data.io.read import mask_values
from lamella.data.types import IGNORE, ImageRef, MaskValue
from lamella.errors import ConfigError, DataError

_VERSION = 1  # counts up when mask_values means something else, so that remembered answers are not believed
_MOST = 20  # so many classes are taken from values alone; more look like numbered objects, or damage


@dataclass(frozen=True)
class Classes:
    """The classes of a data set: their names by class id, and the id (or IGNORE) of each value in mask files."""

    names: tuple[str, ...]
    values: dict[MaskValue, int]


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
    raise ConfigError(f'{key} must be a grey level, such as 255, or a colour, "#ff0000"; got {text!r}', _HOW)


def declared(classes: Mapping[Any, Any], ignore: MaskValue | None) -> Classes:
    """The classes that `dataset.classes` declares: names in the order of their ids, each with its value or values.

    Raises ConfigError for fewer than two classes or more than 255, a value of two classes, or what is no value.
    """
    if not 2 <= len(classes) <= IGNORE:
        raise ConfigError(f"dataset.classes names {len(classes)} class(es); 2 to {IGNORE} can be told apart", _HOW)
    said = [("dataset.ignore", IGNORE, ignore)] if ignore is not None else []
    for id_, (name, listed) in enumerate(classes.items()):
        key = f"dataset.classes.{name}"
        texts = listed if isinstance(listed, Sequence) and not isinstance(listed, str) else [listed]
        said += [(key, id_, mask_value(text, key)) for text in texts]
    if any(isinstance(value, tuple) for _, _, value in said):  # then all are: black is 0 and "#000000"
        said = [(key, id_, _colour(value)) for key, id_, value in said]
    first: dict[MaskValue, str] = {}
    for key, _, value in said:
        if value in first:
            raise ConfigError(f"{_shown(value)} stands in {first[value]} and in {key}", "Each value means one thing.")
        first[value] = key
    return Classes(tuple(str(name) for name in classes), {value: id_ for _, id_, value in said})


def found(counts: Mapping[ImageRef, Mapping[MaskValue, int]], ignore: MaskValue | None) -> Classes:
    """The classes that masks show: two where they hold 0 and one other value, k + 1 where they hold all of 0 to k.

    Args:
        counts: what each mask holds: value -> pixels.
        ignore: the value that counts in neither loss nor score.

    Raises DataError for anything else; its remedy is a declaration to copy.
    """
    pixels: Counter[MaskValue] = Counter()
    for held in counts.values():
        pixels.update(held)
    if any(isinstance(value, tuple) for value in (*pixels, ignore)):
        pixels = _as_colours(pixels)
        ignore = None if ignore is None else _colour(ignore)
    aside: dict[MaskValue, int] = {} if ignore is None else {ignore: IGNORE}
    for value in aside:
        del pixels[value]
    levels = sorted(value for value in pixels if isinstance(value, int))
    if len(pixels) < 2:
        only = f"only {_shown(next(iter(pixels)))}" if pixels else "nothing but the value to ignore"
        raise DataError(
            f"the {len(counts)} masks hold {only}: there is nothing to tell apart",
            "Are these the masks? Compare `dataset.masks`, `dataset.mask_suffix` and `dataset.ignore`.",
        )
    if len(levels) == len(pixels) == 2 and levels[0] == 0:
        return Classes(("background", "foreground"), aside | {0: 0, levels[1]: 1})
    if levels == list(range(len(pixels))) and len(levels) <= _MOST:
        names = ("background", *(f"class {n}" for n in levels[1:]))
        return Classes(names, aside | {n: n for n in levels})
    raise _unclear(pixels, counts, ignore)


def count_values(masks: Sequence[ImageRef], facts: Facts) -> dict[ImageRef, dict[MaskValue, int]]:
    """How many pixels of each value each mask holds; masks that cannot be read are left to the audit.

    Raises DataError where not one can be read.
    """

    def count(ref: ImageRef) -> dict[MaskValue, int] | DataError:
        try:
            key = f"mask values {_VERSION} {facts.sha256(ref.path)} {ref.page} {ref.axes}"
            pairs = facts.recall(key, lambda: list(mask_values(ref).items()))
            return {tuple(value) if isinstance(value, list) else value: number for value, number in pairs}
        except DataError as fault:
            return fault

    # Threads, because decoders work without Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(masks, pool.map(count, masks), strict=True))
    read = {ref: held for ref, held in results.items() if not isinstance(held, DataError)}
    if not read:
        raise next(fault for fault in results.values() if isinstance(fault, DataError))
    return read


def _unclear(
    pixels: Mapping[MaskValue, int], counts: Mapping[ImageRef, Mapping[MaskValue, int]], ignore: MaskValue | None
) -> DataError:
    """Values that might mean several things: which they are, where, and a declaration to copy."""
    if len(pixels) > _MOST:
        worst = max(counts, key=lambda ref: len(counts[ref]))
        return DataError(
            f"the {len(counts)} masks hold {len(pixels)} different values, {worst} alone {len(counts[worst])}",
            "So many are the work of JPEG compression or resizing, or number objects one by one. Repair the masks, or "
            f"say which values mean what. {_HOW}",
        )
    rarest = min(pixels, key=lambda value: pixels[value])
    holders = [ref for ref, held in counts.items() if rarest in held or rarest in _as_colours(held)]
    where = f"; {_shown(rarest)} in {holders[0]}" + (f" and {len(holders) - 1} more" if len(holders) > 1 else "")
    background = 0 if 0 in pixels else max(pixels, key=lambda value: pixels[value])
    others = sorted((v for v in pixels if v != background), key=str)
    if all(isinstance(v, int) for v in others):
        others.sort()
    names = [f"background: {said(background)}", *(f"class {n}: {said(v)}" for n, v in enumerate(others, 1))]
    hint = "Say"
    if ignore is None and others[-1] == 255 and [background, *others[:-1]] == list(range(len(others))):
        hint = "If 255 marks pixels that nobody labelled: dataset.ignore=255. Otherwise say"
    held = ", ".join(f"{_shown(v)} ({pixels[v]} px)" for v in [background, *others])
    return DataError(
        f"the {len(counts)} masks hold {held}{where}",
        f"{hint} what they mean, with names of your own: 'dataset.classes={{{', '.join(names)}}}'",
    )


def _as_colours(pixels: Mapping[MaskValue, int]) -> Counter[MaskValue]:
    """Grey levels as the colours that they are, for masks of which only some hold more than grey."""
    result: Counter[MaskValue] = Counter()
    for value, number in pixels.items():
        result[_colour(value)] += number
    return result


def _colour(value: MaskValue) -> tuple[int, int, int]:
    return value if isinstance(value, tuple) else (value, value, value)


def _shown(value: MaskValue) -> str:
    return str(value) if isinstance(value, int) else "#" + "".join(f"{channel:02x}" for channel in value)


def said(value: MaskValue) -> str:
    """A mask value as it is written on the command line: 255, or "#ff0000" with its quotes."""
    return str(value) if isinstance(value, int) else f'"{_shown(value)}"'


_HOW = (
    "Write, name first: 'dataset.classes={background: 0, nucleus: 128, cell: [254, 255]}', "
    'or with colours: \'dataset.classes={background: "#000000", nucleus: "#ff0000"}\'.'
)
