"""Checks of each sample: is it whole, and is it of the same kind as the others?"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lamella.data.audit.findings import Finding, Looked, error, images, listed, masks, warning
from lamella.data.types import IGNORE, DatasetCard

_DEPTH = 8  # times as bright as usual, or as dark, at the brightest: a camera of other bits
_OUTLIER = 5.0  # robust standard deviations from the median; of 60 blood smears of many stains none is beyond 3.3
_LEAST_SPREAD = 0.02  # of the range of levels: where light is very even, outliers are nothing to be seen
_SATURATED = 0.05  # share of values at a limit; at most 0.031 in those smears


def sizes(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about masks of another size than their image."""
    return [
        error(
            "size",
            f"{one.sample.mask} is {_size(one.stats.mask_size)} pixels, its image {one.sample.image} "
            f"{_size(one.stats.image_size)}",
            "Image and mask must have the same size. One of them was resized or belongs elsewhere.",
            [one],
        )
        for one in looked
        if one.stats.mask_size != one.stats.image_size
    ]


def mixtures(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about images of unlike types or bit depths, whose grey levels cannot mean the same."""
    found = []
    remedy = "Convert them, or stretch each image by its own levels: `dataset.percentiles=[1,99]`."
    (usual, count), *others = Counter(one.stats.dtype for one in looked).most_common()
    for dtype, _ in others:
        odd = [one for one in looked if one.stats.dtype == dtype]
        message = f"{len(odd)} image(s) hold {dtype} values, {count} hold {usual}: {images(odd)}"
        found.append(error("mixed", message, f"Their levels do not mean the same. {remedy}", odd))
    if usual != "uint8":
        ours = [one for one in looked if one.stats.dtype == usual]
        typical = float(np.median([one.stats.high for one in ours]))
        odd = [o for o in ours if not typical / _DEPTH < o.stats.high < typical * _DEPTH] if typical > 0 else []
        if odd:
            message = (
                f"the brightest values of {len(odd)} image(s) are far from the usual {typical:.6g}: "
                f"{listed([f'{one.sample.image} ({one.stats.high:.6g})' for one in odd])}"
            )
            found.append(warning("depth", message, f"They may be of other bits. If so: {remedy}", odd))
    return found


def blanks(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about masks without foreground or of one class alone, and images of one level."""
    found = []
    empty = [one for one in looked if one.stats.classes.keys() <= {0, IGNORE}]
    full = [one for one in looked if len(one.stats.classes) == 1 and not one.stats.classes.keys() & {0, IGNORE}]
    flat = [one for one in looked if one.stats.low == one.stats.high]
    if empty:
        remedy = "There may be nothing to outline in their images; if there is, draw it."
        found.append(warning("empty", f"{len(empty)} mask(s) are empty: {masks(empty)}", remedy, empty))
    if full:
        message = f"{len(full)} mask(s) are one class from edge to edge: {masks(full)}"
        found.append(warning("full", message, "If there is background in their images, draw it.", full))
    if flat:
        message = f"{len(flat)} image(s) are one level from edge to edge: {images(flat)}"
        found.append(warning("flat", message, "Remove what shows nothing, together with its mask.", flat))
    return found


def absent(looked: Sequence[Looked], card: DatasetCard) -> list[Finding]:
    """Findings about classes that no mask of the training or the test part holds."""
    found = []
    for part, verb in (("train", "learnt"), ("test", "judged")):
        ours = [one for one in looked if one.part == part]
        seen = {id_ for one in ours for id_ in one.stats.classes}
        missing = [name for id_, name in enumerate(card.class_names) if id_ not in seen]
        if ours and missing:
            remedy = (
                f"What is not there cannot be {verb}. Split otherwise (`dataset/split`), or check the masks' values."
            )
            found.append(warning("class", f"no mask of the {part} part holds: {', '.join(missing)}", remedy))
    return found


def light(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about images much brighter or darker than the others, or saturated."""
    found = []
    usual = Counter(one.stats.dtype for one in looked).most_common(1)[0][0]
    ours = [one for one in looked if one.stats.dtype == usual]
    mean = np.array([one.stats.mean for one in ours])
    middle = float(np.median(mean))
    span = max(one.stats.high for one in ours) - min(one.stats.low for one in ours)
    reach = _OUTLIER * max(_deviation(mean), _LEAST_SPREAD * span)
    odd = [one for one in ours if abs(one.stats.mean - middle) > reach]
    if odd:
        each = listed([f"{one.sample.image} ({one.stats.mean:.4g})" for one in odd])
        message = f"{len(odd)} image(s) are much brighter or darker than the usual mean level {middle:.4g}: {each}"
        found.append(warning("light", message, "Look at them: exposed otherwise, or of another set?", odd))
    for limit, share in (
        ("darkest", {one.sample.id: one.stats.at_low for one in ours}),
        ("brightest", {one.sample.id: one.stats.at_high for one in ours}),
    ):
        values = np.array(list(share.values()))
        most = max(_SATURATED, float(np.median(values)) + _OUTLIER * _deviation(values))
        odd = [o for o in ours if share[o.sample.id] > most and o.stats.low < o.stats.high]
        if odd:
            each = listed([f"{one.sample.image} ({share[one.sample.id]:.0%})" for one in odd])
            message = f"{len(odd)} image(s) have many values at their {limit} level: {each}"
            found.append(
                warning("saturated", message, "What is cut off there is lost: expose or scale otherwise.", odd)
            )
    return found


def _deviation(values: npt.NDArray[np.floating]) -> float:
    """What the standard deviation is without outliers, were the values normal."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]}x{shape[0]}"
