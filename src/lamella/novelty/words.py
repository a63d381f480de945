"""Why an image is unlike those that a network was trained on, in words."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lamella.novelty.criterion import Criterion
from lamella.novelty.numbers import OCTAVES

Numbers = Mapping[str, float]


class Usual(NamedTuple):
    """What one number of the training images is like: its least, usual (median) and greatest value, and its spread."""

    least: float
    usual: float
    greatest: float
    spread: float


class Scale(NamedTuple):
    """How grey levels are turned back into levels as stored: those that stand for 0 and 255."""

    low: float
    high: float

    def stored(self, grey: float) -> str:
        """A grey level as stored, with as many digits as tell levels apart."""
        return f"{self.low + grey * (self.high - self.low) / 255:.{3 if self.high - self.low > 1 else 2}g}"

    def width(self, grey: float) -> str:
        """A difference of grey levels, in levels as stored."""
        return f"{grey * (self.high - self.low) / 255:.3g}"


def reasons(
    found: Mapping[str, Numbers], criteria: Mapping[str, Criterion], far: Collection[str], scale: Scale
) -> list[str]:
    """What is unlike the training images in an image, a phrase each.

    Args:
        found: the image's numbers, by criterion.
        criteria: what those of the training images are like.
        far: the criteria by which it is unlike them.
        scale: of grey levels.
    """
    said = []
    if "levels" in far:
        criterion, here = criteria["levels"], found["levels"]
        plain, turned = (_distance(criterion, each) for each in (here, negative(here)))
        said += of_levels(here, usual(criterion), scale, inverted=turned < plain / 2)
    if "texture" in far:
        said += of_texture(found["texture"], usual(criteria["texture"]), scale)
    if "features" in far:
        said.append("what the network sees in it, its inner features, is unlike what it saw in the training images")
    return said


def usual(criterion: Criterion) -> dict[str, Usual]:
    """What each number of the training images is like."""
    rows = zip(criterion.least, criterion.usual, criterion.greatest, criterion.spread, strict=True)
    return {name: Usual(*map(float, row)) for name, row in zip(criterion.names, rows, strict=True)}


def negative(levels: Numbers) -> dict[str, float]:
    """The numbers of levels that the image's negative would have."""
    turned = {name: -value if name.startswith(("skew", "channel")) else value for name, value in levels.items()}
    return turned | {name: 255 - levels[of] for name, of in (("mean", "mean"), ("dark", "light"), ("light", "dark"))}


def _distance(criterion: Criterion, numbers: Numbers) -> float:
    return float(criterion.distances(np.array([[numbers[name] for name in criterion.names]]))[0])


def of_levels(found: Numbers, usual: Mapping[str, Usual], scale: Scale, *, inverted: bool) -> list[str]:
    """What is unlike in an image's levels and colours, a phrase each; none where every number is as it may be.

    Args:
        found: the image's numbers.
        usual: the same numbers of the training images.
        scale: of their levels.
        inverted: its negative would be like them.
    """
    said = []
    if inverted:
        said.append("inverted: what is dark in the training images is light here")
    mean = _beyond(found["mean"], usual["mean"])
    if mean and not inverted:
        least, greatest = scale.stored(usual["mean"].least), scale.stored(usual["mean"].greatest)
        word = "brighter" if mean > 0 else "darker"
        said.append(
            f"{word} than any training image: mean {scale.stored(found['mean'])}, training {least} to {greatest}"
        )
    contrast = _beyond(found["contrast"], usual["contrast"])
    if contrast:
        least, greatest = (scale.width(2**each) for each in (usual["contrast"].least, usual["contrast"].greatest))
        word = "more" if contrast > 0 else "less"
        value = scale.width(2 ** found["contrast"])
        said.append(
            f"{word} contrast than any training image: standard deviation {value}, training {least} to {greatest}"
        )
    channels = sum(name.startswith("channel_") for name in found)
    names = ("red", "green", "blue") if channels == 3 else [f"channel {number + 1}" for number in range(channels)]
    said += _colours(found, usual, scale, names)
    return said or _rest(found, usual, scale)


def of_texture(found: Numbers, usual: Mapping[str, Usual], scale: Scale) -> list[str]:
    """What is unlike in an image's texture and noise, a phrase each."""
    said = _of_structure(found, usual)
    if noise := _beyond(found["noise"], usual["noise"]):
        value, least, greatest = (
            scale.width(2**each) for each in (found["noise"], usual["noise"].least, usual["noise"].greatest)
        )
        word = "more" if noise > 0 else "less"
        said.append(f"{word} noise than any training image: {value} grey levels, training {least} to {greatest}")
    return said or ["its texture and noise go together as in no training image"]


def _of_structure(found: Numbers, usual: Mapping[str, Usual]) -> list[str]:
    """What is unlike in how coarse an image is, in a phrase; none where nothing is."""
    if not any(_beyond(found[f"octave_{octave}"], usual[f"octave_{octave}"]) for octave in range(OCTAVES)):
        return []
    here = np.array([found[f"octave_{octave}"] for octave in range(OCTAVES)])
    there = np.array([usual[f"octave_{octave}"].usual for octave in range(OCTAVES)])
    weight = 1 / np.maximum([usual[f"octave_{octave}"].spread for octave in range(OCTAVES)], 0.05)
    octaves = np.arange(OCTAVES)
    fine = 2.0 ** (-2 * octaves)  # how much of a blur's or of noise's effect each octave has
    details, sizes = np.arange(-32, 33) / 4, np.arange(-16, 17) / 8
    sizes = sizes[(sizes == 0) | (np.abs(sizes) > 0.4)]  # what is a third larger is not told from what is blurred
    # Objects 2^size times as large: what was in one octave is `size` octaves further up. Rows: sizes; then details.
    places = octaves - sizes[:, None]
    known = (places >= 0) & (places <= OCTAVES - 1)
    expected = np.interp(places, octaves, there)[:, None] + details[:, None] * fine
    off = np.where(known[:, None], ((here - expected) * weight) ** 2, 0).sum(axis=-1) / known.sum(axis=-1)[:, None]
    size, _ = np.unravel_index(off.argmin(), off.shape)
    plain, nothing = off[sizes == 0].min(), off[sizes == 0, details == 0].item()
    if off.min() < plain / 2 and off.min() < nothing / 4:
        word = "coarser" if sizes[size] > 0 else "finer"
        return [f"{word} texture: objects about {_times(float(2 ** sizes[size]))} as large as in the training images"]
    if plain > nothing / 2:
        return _odd_octave(here, usual)
    times = f"{2 ** abs(here[0] - there[0]):.2g}"
    if details[off[sizes == 0].argmin()] < 0:
        return [f"blurred: the finest detail is {times} times weaker than in the training images"]
    return [f"noisier or sharper: the finest detail is {times} times stronger than in the training images"]


def _beyond(value: float, usual: Usual) -> int:
    """1 above and -1 below all that is known, else 0."""
    return int(value > usual.greatest) - int(value < usual.least)


def _colours(found: Numbers, usual: Mapping[str, Usual], scale: Scale, names: Sequence[str]) -> list[str]:
    """What is unlike in the colours: the channel that is furthest out."""
    out = {
        (kind, number): _far(found[f"{kind}_{number}"], usual[f"{kind}_{number}"])
        for kind in ("channel", "stain")
        for number in range(1, len(names) + 1)
    }
    if not out or max(out.values()) == 0:
        return []
    kind, number = max(out, key=lambda each: out[each])
    value, known, name = found[f"{kind}_{number}"], usual[f"{kind}_{number}"], names[number - 1]
    if kind == "channel":
        least, greatest = scale.width(known.least), scale.width(known.greatest)
        return [
            f"coloured otherwise: {name} is {scale.width(value)} levels above the mean of all channels, "
            f"training {least} to {greatest}"
        ]
    return [
        f"stained otherwise: {name} varies {value:.2g} times as much as the mean of all channels, "
        f"training {known.least:.2g} to {known.greatest:.2g}"
    ]


def _rest(found: Numbers, usual: Mapping[str, Usual], scale: Scale) -> list[str]:
    """What is unlike where nothing simpler is."""
    words = {"dark": "darkest parts", "light": "lightest parts"}
    for name, word in words.items():
        if beyond := _beyond(found[name], usual[name]):
            least, greatest = scale.stored(usual[name].least), scale.stored(usual[name].greatest)
            how = "lighter" if beyond > 0 else "darker"
            value = scale.stored(found[name])
            return [f"its {word} are {how} than in any training image: {value}, training {least} to {greatest}"]
    if beyond := _beyond(found["skew"], usual["skew"]):
        what = "light" if beyond > 0 else "dark"
        return [f"it is {'dark' if beyond > 0 else 'light'} with few {what} parts, more so than any training image"]
    return ["brightness, contrast and colours go together as in no training image"]


def _odd_octave(here: np.ndarray, usual: Mapping[str, Usual]) -> list[str]:
    """The texture is neither larger nor smaller, sharper nor more blurred: where it is furthest from the usual."""
    known = [usual[f"octave_{octave}"] for octave in range(OCTAVES)]
    off = [(value - each.usual) / max(each.spread, 0.05) for value, each in zip(here, known, strict=True)]
    octave = int(np.argmax(np.abs(off)))
    word = "more" if off[octave] > 0 else "less"
    return [f"other texture: {word} detail about {2 ** (octave + 1)} pixels wide than in the training images"]


def _far(value: float, usual: Usual) -> float:
    """How far outside all that is known, in spreads; 0 inside."""
    return max(usual.least - value, value - usual.greatest, 0.0) / max(usual.spread, 1e-9)


def _times(ratio: float) -> str:
    for known, word in ((0.25, "a quarter"), (0.5, "half"), (2.0, "twice"), (4.0, "four times")):
        if abs(np.log2(ratio / known)) < 0.3:
            return word
    return f"{ratio:.2g} times"
