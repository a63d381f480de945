"""Checks of pairs: does each mask belong to its image, and lie where it should?"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lamella.data.audit.findings import Finding, Looked, error, images, listed, masks, warning
from lamella.data.audit.registration import Offset
from lamella.data.audit.similarity import alike, misfits, polarity
from lamella.data.types import DatasetCard

_LEAST = 3  # samples from which on there is a majority
_CLEAR = 0.5  # of the usual contrast: so much of the opposite sign is no accident
_FEW = 1 / 3  # share of opposite masks up to which they are faults, and not of another kind of image
_OFFSET = 0.25  # pixels; less comes from where one draws an edge


def swapped(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about masks that fit another image and not their own."""
    found, alone = [], []
    wrong = {misfit.sample: misfit for misfit in misfits([one.stats for one in looked])}
    for place, misfit in wrong.items():
        one = looked[place]
        if misfit.better is None:
            alone.append((one, f"{one.sample.mask} ({misfit.fit:.2f})"))
            continue
        other, back = looked[misfit.better], wrong.get(misfit.better)
        fits, own = f"{misfit.better_fit:.2f}", f"{misfit.fit:.2f}"
        if back is None or back.better != place:
            message = (
                f"the mask {other.sample.mask} of {other.sample.image} fits the image {one.sample.image} ({fits}), "
                f"whose own mask {one.sample.mask} does not ({own})"
            )
            found.append(error("swapped", message, "Give each image its own mask.", [one, other]))
        elif place < misfit.better:
            message = (
                f"the masks {one.sample.mask} and {other.sample.mask} look swapped: each fits the other's image "
                f"({fits}, {back.better_fit:.2f}), not its own ({own}, {back.fit:.2f}); "
                f"the images are {one.sample.image} and {other.sample.image}"
            )
            found.append(error("swapped", message, "Exchange the two masks.", [one, other]))
    if alone:
        message = f"{len(alone)} mask(s) do not fit their image, nor does any other: {listed([t for _, t in alone])}"
        remedy = "Lay each over its image: unfinished, shifted, or of an image that is not here?"
        found.append(warning("misfit", message, remedy, [one for one, _ in alone]))
    return found


def inverted(looked: Sequence[Looked], card: DatasetCard) -> list[Finding]:
    """Findings about masks with foreground and background exchanged. For two classes.

    Their foreground is bright where that of the other masks is dark, or the other way round.
    """
    if len(card.class_names) != 2 or len(looked) < _LEAST:
        return []
    contrast = polarity([one.stats for one in looked])
    usual = float(np.median(contrast))
    opposite = contrast * np.sign(usual) < -_CLEAR * abs(usual)
    if abs(usual) < 0.1 or not opposite.any():
        return []
    # Images of another kind, say fluorescence among stains, have masks of the opposite sign by right. They are many,
    # or differ in brightness, too.
    few = bool(opposite.mean() <= _FEW)
    mean = np.array([one.stats.mean for one in looked])
    low, high = mean[~opposite].min(), mean[~opposite].max()
    reach = max((high - low) / 2, 1.0)
    found = []
    for one, is_opposite, sign in zip(looked, opposite, contrast, strict=True):
        if not is_opposite:
            continue
        here, there = ("dark", "bright") if usual > 0 else ("bright", "dark")
        message = (
            f"the mask {one.sample.mask} looks inverted: its foreground is {here} in {one.sample.image} "
            f"(correlation {sign:+.2f}), that of other masks is {there} in theirs ({usual:+.2f})"
        )
        sure = few and low - reach < one.stats.mean < high + reach
        found.append((error if sure else warning)("inverted", message, "Exchange its two values.", [one]))
    return found


def repeated(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about one image with several masks, and one mask of several images."""
    found = []
    for same in _groups(looked, "image"):
        if len({one.stats.mask for one in same}) > 1:
            message = f"the images {images(same)} are one, their masks are not: {masks(same)}"
            found.append(error("conflict", message, "Keep the image once, with the right mask.", same))
    for same in _groups([one for one in looked if len(one.stats.classes) > 1], "mask"):
        if not all(alike(same[0].stats, one.stats) for one in same):
            message = f"the masks {masks(same)} are one, their images are not: {images(same)}"
            remedy = "One may have been saved under the other's name: lay it over each image."
            found.append(warning("repeated", message, remedy, same))
    return found


def misplaced(offset: Offset | None, corrected: Sequence[float]) -> list[Finding]:
    """A finding where all labels lie beside what they outline, in one direction.

    Args:
        offset: as measured, beyond what is corrected.
        corrected: the `dataset.offset` with which it was measured.
    """
    if offset is None or not offset.beyond(_OFFSET):
        return []
    message = (
        f"labels lie {abs(offset.down):.2f} px {'below' if offset.down > 0 else 'above'} and "
        f"{abs(offset.right):.2f} px to the {'right' if offset.right > 0 else 'left'} of what they outline, over all "
        f"training images (standard errors {offset.down_error:.2f} and {offset.right_error:.2f})"
    )
    down, right = corrected[0] + offset.down, corrected[1] + offset.right
    return [warning("offset", message, f"`dataset.offset=[{down:.2f},{right:.2f}]` moves the images as much.")]


def _groups(looked: Sequence[Looked], name: str) -> list[list[Looked]]:
    groups = defaultdict(list)
    for one in looked:
        groups[getattr(one.stats, name)].append(one)
    return [group for group in groups.values() if len(group) > 1]
