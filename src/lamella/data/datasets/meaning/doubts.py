"""What masks may mean other than they seem to: numbered objects, slips, compressed levels, strokes, colours.

Each doubt ends in an error that names what was seen, and every reading there is, ready to copy.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from lamella.data.datasets.meaning.held import Held, Masks, as_colours, joined
from lamella.data.datasets.meaning.words import colour, declaration, ignoring, listed, shown
from lamella.data.types import ImageRef, MaskValue
from lamella.errors import DataError

MOST = 20  # so many classes are taken from values alone; more number objects, or are damage

_RARE = 0.005  # of all pixels: less may be slips of a brush, ...
_SPECK = 6  # ... where it lies about in regions of so few pixels on average
_ONE = 0.9  # of its pixels in one region: one object, whatever specks lie about
_MOSTLY = 0.8  # of the values of masks are one region each: they number objects
_OFTEN = 0.4  # the same where values are so many that classes are out of the question
_UNLIKE = 4  # so many different greatest numbers make a count of objects of what may be classes
_PIECES = 3.0  # regions a value on average, from which on the values of few number no objects
_SOME = 0.05  # of the numbers from 1 to 255 stand for several regions: counted beyond what 8 bits hold
_LAST = (255, 65535, 2**31 - 1, 2**32 - 1)  # the greatest numbers of their types
_ENDS = 0.9  # of all pixels near the least or the greatest level: two levels, compressed or resized
_SEVERAL = 8  # levels from which on they may be that
_UNLABELLED = 0.75  # of all pixels are 0: ...
_STROKE = 5.0  # ... and all else is this much longer than wide: strokes on what nobody labelled

HOW = (
    "Write, name first: 'dataset.classes={background: 0, nucleus: 128, cell: [254, 255]}', "
    'or with colours: \'dataset.classes={background: "#000000", nucleus: "#ff0000"}\'.'
)


def total(masks: Masks) -> dict[MaskValue, Held]:
    """What all masks together hold of each value."""
    found: dict[MaskValue, list[Held]] = defaultdict(list)
    for held in masks.values():
        for value, one in held.items():
            found[value].append(one)
    return {value: joined(several) for value, several in found.items()}


class Look:
    """A look at the values of masks that nobody has declared.

    Args:
        masks: what each holds.
        pixels: what all hold together, of the values that are in question; all of them colours where one is.
        told: something is said to be ignored, so that nothing needs to be guessed of it.
    """

    def __init__(self, masks: Masks, pixels: Mapping[MaskValue, Held], told: bool) -> None:
        coloured = any(isinstance(value, tuple) for value in pixels)
        self.masks = {ref: as_colours(held) if coloured else dict(held) for ref, held in masks.items()}
        self.pixels = pixels
        self.told = told

    @cached_property
    def everything(self) -> int:
        return sum(one.pixels for one in self.pixels.values())

    @cached_property
    def main(self) -> list[MaskValue]:
        """The values that are no slips: all where fewer than two would be left."""
        main = [value for value, one in self.pixels.items() if not self._is_slip(one)]
        return self._sorted(main if len(main) > 1 else list(self.pixels))

    @cached_property
    def background(self) -> MaskValue:
        """0 or black where there is any, else what there is most of."""
        zero: list[MaskValue] = [value for value in self.pixels if set(colour(value)) == {0}]
        return zero[0] if zero else max(self.pixels, key=lambda value: self.pixels[value].pixels)

    @property
    def objects(self) -> list[MaskValue]:
        """The values that might number objects: all but background and slips."""
        return [value for value in self.main if value != self.background]

    def raise_doubts(self) -> None:
        """Raises DataError where the values may mean something else than classes."""
        scribbled = self._scribbled()
        numbered = len(self.objects) > 1 and self._single(self.objects) >= (
            _MOSTLY if len(self.objects) < MOST else _OFTEN
        )
        if scribbled:
            raise self._strokes(numbered)
        if numbered:
            raise self._numbers("each value is one region")
        if self._counted_up():
            raise self._numbers("each mask has all of 1, 2, ... to a last one of its own")
        if (top := self._two_ends()) is not None:
            raise self._compressed(top)
        if len(self.main) < len(self.pixels) and len(self.main) <= MOST:
            raise self._slips()

    def raise_not_numbered(self) -> None:
        """Raises DataError where values are said to number objects, and do not look it."""
        if len(self.pixels) < 2:
            only = shown(next(iter(self.pixels))) if self.pixels else "what is to be ignored"
            raise DataError(
                f"the {len(self.masks)} masks hold only {only}: there is no object",
                "Are these the masks? Compare `dataset.masks` and `dataset.mask_suffix`.",
            )
        filling = self._filling()
        if filling is not None:
            kept = declaration({"background": self._around(filling), "object": None})
            every = declaration({"background": self.background if set(colour(self.background)) == {0} else 0,
                                 "object": None})  # fmt: skip
            raise DataError(
                f"{shown(filling)} fills {self._share(filling)} of the masks and is in every one: it looks like "
                "background, not like an object",
                f"If it is: {kept}. If it is an object: {every}",
            )
        if (void := self._void()) is not None:
            number, next_ = void
            raise DataError(
                f"{number} is in nearly all of the {len(self.masks)} masks, and the other numbers end at {next_}: it "
                "may mark pixels that nobody labelled, or borders",
                f"If it does: `{ignoring([number])}`. If it is an object: "
                f"{declaration({'background': self.background, 'object': None})}",
            )
        if (full := self._overflown()) is not None:
            raise DataError(
                f"mask {full} has all numbers from 1 to 255, and many stand for several regions: it has more objects "
                "than 8 bits can count",
                "Save it again from the program that made it, with 16 bits or more. If all regions of a number are one "
                f"object: {declaration({'background': self.background, 'object': None})}",
            )
        rest = [value for value in self.pixels if value != self.background]
        combos = [held[v] for held in self.masks.values() for v in rest if v in held and held[v].regions]
        if len(rest) < MOST and combos and sum(one.regions for one in combos) > _PIECES * len(combos):
            ref, value = max(
                ((r, v) for r, held in self.masks.items() for v in rest if v in held),
                key=lambda at: self.masks[at[0]][at[1]].regions,
            )
            pieces = self.masks[ref][value].regions
            raise DataError(
                f"dataset.instances=true, but {shown(value)} is in {pieces} pieces in {ref}: it numbers no object",
                "If each piece is an object, leave `dataset.instances` out and set `dataset.objects=cells`. If all "
                f"pieces of a value are one object: {declaration({'background': self.background, 'object': None})}",
            )

    def unclear(self) -> DataError:
        """The error over values that might mean several things: which they are, where, and a declaration to copy."""
        if len(self.pixels) > MOST:
            worst = max(self.masks, key=lambda ref: len(self.masks[ref]))
            return DataError(
                f"the {len(self.masks)} masks hold {len(self.pixels)} different values, {worst} alone "
                f"{len(self.masks[worst])}",
                "So many are the work of JPEG compression or resizing (`dataset.mask_threshold=127` takes what is "
                "above for foreground), or number objects (`dataset.instances=true`), or are images, not masks. Or say "
                f"which mean what. {HOW}",
            )
        rarest = min(self.pixels, key=lambda value: self.pixels[value].pixels)
        holders = [ref for ref, held in self.masks.items() if rarest in held]
        where = f"; {shown(rarest)} in {holders[0]}" + (f" and {len(holders) - 1} more" if len(holders) > 1 else "")
        numbers = f"the {len(self.masks)} masks hold {self._counted()}{where}"
        plain = self._plainly(self._sorted(list(self.pixels)))
        ints = sorted(value for value in self.pixels if isinstance(value, int))
        hint = ""
        if not self.told and len(ints) == len(self.pixels):
            low, top = ints[0], ints[-1]
            if ints[:-1] == [0, 1] and not any(1 in held and top in held for held in self.masks.values()):
                hint += (
                    f"If {top} and 1 both mean foreground: {declaration({'background': 0, 'foreground': [1, top]})}. "
                )
            if top == 255 and ints[:-1] == list(range(len(ints) - 1)):
                hint += "If 255 marks pixels that nobody labelled: dataset.ignore=255. "
            if low < 0 and self._plain(ints[1:]):
                hint += f"If {low} marks pixels that nobody labelled: dataset.ignore={low}. "
        say = "Otherwise say" if hint else "Say"
        pure = {channel for value in self.pixels for channel in (0, 1, 2) if colour(value)[channel]}
        single = all(sum(map(bool, colour(value))) < 2 for value in self.pixels)
        layers = ". Or, if each channel is a class: `dataset.mask_layers=true`" if single and len(pure) > 1 else ""
        return DataError(numbers, f"{hint}{say} what they mean, with names of your own: {plain}{layers}")

    def _is_slip(self, one: Held) -> bool:
        return one.regions > 0 and one.pixels <= min(_RARE * self.everything, _SPECK * one.regions)

    def _single(self, values: Sequence[MaskValue]) -> float:
        """In what share of cases a value that a mask holds is one region."""
        held = [mask[value] for mask in self.masks.values() for value in values if value in mask]
        held = [one for one in held if one.regions]
        return float(np.mean([one.regions == 1 or one.largest >= _ONE * one.pixels for one in held])) if held else 0.0

    def _scribbled(self) -> bool:
        """Whether 0 is by far the most, and all else strokes of a few values that nearly every mask holds."""
        zero = self.pixels.get(self.background)
        if not 2 <= len(self.objects) <= _SEVERAL or set(colour(self.background)) != {0} or zero is None:
            return False
        everywhere = [sum(v in held for held in self.masks.values()) for v in self.objects]
        strokes = all(self.pixels[v].reach >= _STROKE * self.pixels[v].pixels for v in self.objects)
        sparse = zero.pixels >= _UNLABELLED * self.everything
        return strokes and sparse and sorted(everywhere)[-2] >= _MOSTLY * len(self.masks)

    def _two_ends(self) -> int | None:
        """The greatest level, where all but few pixels are near it or near 0 and many levels lie between."""
        levels = [value for value in self.pixels if isinstance(value, int)]
        if len(levels) < max(_SEVERAL, len(self.pixels)) or min(levels) < 0:
            return None
        top = max(levels)
        low = sum(self.pixels[v].pixels for v in levels if v <= top / 8)
        high = sum(self.pixels[v].pixels for v in levels if v >= top * 7 / 8)
        return top if low + high >= _ENDS * self.everything and min(low, high) > 0.001 * self.everything else None

    def _filling(self) -> MaskValue | None:
        """A value but 0 that every mask holds and that fills half of all."""
        if len(self.masks) < 2:
            return None
        for value, one in self.pixels.items():
            if set(colour(value)) != {0} and one.pixels >= self.everything / 2:
                return value if all(value in held for held in self.masks.values()) else None
        return None

    def _void(self) -> tuple[int, int] | None:
        """The greatest number of a type, in nearly all masks, where the others end far below; and the last of these."""
        levels = sorted(value for value in self.pixels if isinstance(value, int))
        if self.told or len(levels) < len(self.pixels) or len(levels) < 3 or len(self.masks) < 3:
            return None
        *_, next_, top = levels
        often = sum(top in held for held in self.masks.values()) >= _MOSTLY * len(self.masks)
        return (top, next_) if top in _LAST and next_ < top / 2 and often else None

    def _overflown(self) -> ImageRef | None:
        """A mask whose numbers go up to 255 and seem to begin anew then."""
        for ref, held in self.masks.items():
            numbers = [one for value, one in held.items() if value != 0]
            if {*held} >= set(range(1, 256)) and len(numbers) == 255:
                several = sum(one.regions > 1 and one.largest < _ONE * one.pixels for one in numbers)
                if several >= _SOME * len(numbers):
                    return ref
        return None

    def _around(self, filling: MaskValue) -> MaskValue | list[MaskValue]:
        """A background's values, where something else than 0 fills the masks."""
        zero = [value for value in self.pixels if set(colour(value)) == {0}]
        return [*zero, filling] if zero else filling

    def _counted_up(self) -> bool:
        """Whether masks hold 1 to n each, n being now this and now that, in few regions a value."""
        held = [{v: one for v, one in mask.items() if v in self.objects} for mask in self.masks.values()]
        numbers = [sorted(v for v in mask if isinstance(v, int)) for mask in held]
        regions = [one.regions for mask in held for one in mask.values()]
        unlike = {len(each) for each in numbers if each}
        plain = all(each == list(range(1, len(each) + 1)) for each in numbers)
        return plain and len(unlike) >= _UNLIKE and sum(regions) <= _PIECES * len(regions)

    def _numbers(self, seen: str) -> DataError:
        values = [value for value in self.pixels if value != self.background]  # those of a few pixels, too
        each = [sum(v in held for v in values) for held in self.masks.values()]
        many = f"{min(each)} to {max(each)}" if min(each) < max(each) else str(max(each))
        filling = self._filling()
        ways = "`dataset.instances=true`"
        if filling is not None:
            ways = f"`dataset.instances=true` {declaration({'background': self._around(filling), 'object': None})}"
        if len(self.pixels) <= MOST:
            classes = f"If values are classes, with names of your own: {self._plainly([self.background, *values])}"
        else:
            classes = "If values are classes, say which mean what: 'dataset.classes={background: 0, NAME: VALUE, ...}'"
        return DataError(
            f"the {len(self.masks)} masks look like numbered objects: {seen}, {many} a mask, "
            f"{len(values)} different ones in all",
            f"If each value is an object: {ways}. {classes}",
        )

    def _strokes(self, numbered: bool) -> DataError:
        others = [value for value in self._sorted(list(self.pixels)) if value != self.background]
        first, *rest = others
        strokes = declaration({"background": first, **{f"class {n}": v for n, v in enumerate(rest, 1)}})
        ways = f"If nobody labelled what is {shown(self.background)}: {ignoring([self.background])} {strokes}. "
        if numbered:
            ways += "If each value is an object: `dataset.instances=true`. "
        return DataError(
            f"{shown(self.background)} fills {self._share(self.background)} of the {len(self.masks)} masks, and "
            f"{listed(others)} are thin strokes",
            f"{ways}If {shown(self.background)} is a class, too: {self._plainly([self.background, *others])}",
        )

    def _compressed(self, top: int) -> DataError:
        plain = declaration({"background": 0, "foreground": top})
        return DataError(
            f"the {len(self.masks)} masks hold {len(self.pixels)} levels, nearly all pixels near 0 or near {top}: two "
            "values, changed by compression or resizing",
            f"Take what is above the middle for foreground: `dataset.mask_threshold={top // 2}`. Or leave out what is "
            f"neither: `dataset.ignore=undeclared` {plain}",
        )

    def _slips(self) -> DataError:
        rare = self._sorted([value for value in self.pixels if value not in self.main])
        holders = [ref for ref, held in self.masks.items() if any(value in held for value in rare)]
        many = sum(self.pixels[value].pixels for value in rare)
        ways = f"`{ignoring(rare)}`" if len(rare) <= _SEVERAL else "`dataset.ignore=undeclared`"
        if not self._plain(self.main):
            ways = f"{ways} {self._plainly(self.main)}"
        elif len(rare) <= _SEVERAL:
            ways += " (or `dataset.ignore=undeclared`)"
        classes = f" If they are classes: {self._plainly(self._sorted(list(self.pixels)))}"
        return DataError(
            f"{listed(rare)} {'are' if len(rare) > 1 else 'is'} in {many} pixels of {len(holders)} masks, the first "
            f"{holders[0]}; all else is {listed(self.main)}",
            f"If they are slips, leave them out: {ways}.{classes if len(self.pixels) <= MOST else ''}",
        )

    def _plain(self, values: Sequence[MaskValue]) -> bool:
        """Whether values are taken for classes without a declaration."""
        levels = sorted(value for value in values if isinstance(value, int))
        if len(levels) < len(values) or levels[0] != 0:
            return False
        return len(levels) == 2 or levels == list(range(len(levels)))

    def _plainly(self, values: Sequence[MaskValue]) -> str:
        """A declaration of each value as a class of its own."""
        background = self.background if self.background in values else values[0]
        others = [value for value in values if value != background]
        return declaration({"background": background, **{f"class {n}": v for n, v in enumerate(others, 1)}})

    def _sorted(self, values: Sequence[MaskValue]) -> list[MaskValue]:
        if all(isinstance(value, int) for value in values):
            return sorted(values)
        return sorted(values, key=str)

    def _counted(self) -> str:
        rest = [value for value in self._sorted(list(self.pixels)) if value != self.background]
        return ", ".join(f"{shown(v)} ({self.pixels[v].pixels} px)" for v in [self.background, *rest])

    def _share(self, value: MaskValue) -> str:
        return f"{self.pixels[value].pixels / self.everything:.0%}"


def declaration_of_names(classes: Mapping[str, Sequence[str]]) -> str:
    """`dataset.classes` by the names of objects, as it is typed."""
    inside = ", ".join(f"{name}: [{', '.join(called)}]" for name, called in classes.items())
    return f"'dataset.classes={{{inside}}}'"
