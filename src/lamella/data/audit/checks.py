"""The checks of an audit: each sample alone, the pairs of image and mask, and the split, one function a check."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt

from lamella.data.audit.registration import Offset
from lamella.data.audit.report import Finding, Looked, error, listed, warning
from lamella.data.audit.similarity import Twins, alike, misfits, polarity, turned, twins
from lamella.data.types import IGNORE, LEFT, PARTS, DatasetCard

_DEPTH = 8  # times as bright as usual, or as dark, at the brightest: a camera of other bits
_OUTLIER = 5.0  # robust standard deviations from the median; of 60 blood smears of many stains none is beyond 3.3
_LEAST_SPREAD = 0.02  # of the range of levels: where light is very even, outliers are nothing to be seen
_SATURATED = 0.05  # share of values at a limit; at most 0.031 in those smears

_LEAST = 3  # samples from which on there is a majority
_CLEAR = 0.5  # of the usual contrast: so much of the opposite sign is no accident
_FEW = 1 / 3  # share of opposite masks up to which they are faults, and not of another kind of image
_BOTH = 0.3  # contrast from which on foreground that is bright here and dark there is said
_OFFSET = 0.25  # pixels; less comes from where one draws an edge

_LEAST_RUN = 3  # sections: in shorter runs every section has a neighbour outside

# --- each sample: is it whole, and is it of the same kind as the others? ----------------------------------


def sizes(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about masks of another size than their image."""
    remedy = "Image and mask must have the same size. One of them was resized or belongs elsewhere."
    found = []
    for one in looked:
        mask, image = (f"{size[1]}x{size[0]}" for size in (one.stats.mask_size, one.stats.image_size))
        if mask != image:
            message = f"{one.sample.mask} is {mask} pixels, its image {one.sample.image} {image}"
            found.append(error("size", message, remedy, [one]))
    return found


def hidden(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about outlined objects that have no pixel: what can be neither learned nor counted."""
    odd = [one for one in looked if one.stats.lost]
    if not odd:
        return []
    count = sum(len(one.stats.lost) for one in odd)
    each = listed([f"{one.stats.lost[0]} ({one.sample.mask})" for one in odd])
    message = f"{count} outlined object(s) of {len(odd)} image(s) have no pixel, such as {each}"
    remedy = "Others cover them, or they are smaller than a pixel. Drawn twice? Remove one of them, or draw it anew."
    return [error("hidden", message, remedy, odd)]


def mixtures(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about images of unlike types or bit depths, whose grey levels cannot mean the same."""
    found = []
    remedy = "Convert them, or stretch each image by its own levels: `dataset.percentiles=[1,99]`."
    (usual, count), *others = Counter(one.stats.dtype for one in looked).most_common()
    for dtype, _ in others:
        odd = [one for one in looked if one.stats.dtype == dtype]
        message = f"{len(odd)} image(s) hold {dtype} values, {count} hold {usual}: {_images(odd)}"
        found.append(error("mixed", message, f"Their levels do not mean the same. {remedy}", odd))
    ours = [one for one in looked if one.stats.dtype == usual]
    typical = float(np.median([one.stats.high for one in ours]))
    if usual != "uint8" and typical > 0:
        odd = [one for one in ours if not typical / _DEPTH < one.stats.high < typical * _DEPTH]
        if odd:
            each = listed([f"{one.sample.image} ({one.stats.high:.6g})" for one in odd])
            message = f"the brightest values of {len(odd)} image(s) are far from the usual {typical:.6g}: {each}"
            found.append(warning("depth", message, f"They may be of other bits. If so: {remedy}", odd))
    return found


def blanks(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about masks without foreground, without a label or of one class alone, and images of one level."""
    unlabelled = [one for one in looked if one.stats.classes.keys() == {IGNORE}]
    empty = [one for one in looked if {0} <= one.stats.classes.keys() <= {0, IGNORE}]
    full = [one for one in looked if len(one.stats.classes) == 1 and not one.stats.classes.keys() & {0, IGNORE}]
    flat = [one for one in looked if one.stats.low == one.stats.high]
    found = []
    if unlabelled:
        message = (
            f"nothing in {len(unlabelled)} image(s) is labelled, every pixel is to be ignored: {_images(unlabelled)}"
        )
        found.append(
            warning("unlabelled", message, "They have no score and teach nothing: leave them out.", unlabelled)
        )
    if empty:
        remedy = "There may be nothing to outline in their images; if there is, draw it."
        found.append(warning("empty", f"{len(empty)} mask(s) are empty: {_masks(empty)}", remedy, empty))
    if full:
        message = f"{len(full)} mask(s) are one class from edge to edge: {_masks(full)}"
        found.append(warning("full", message, "If there is background in their images, draw it.", full))
    if flat:
        message = f"{len(flat)} image(s) are one level from edge to edge: {_images(flat)}"
        found.append(warning("flat", message, "Remove what shows nothing, together with its mask.", flat))
    return found


def absent(looked: Sequence[Looked], card: DatasetCard, parts: Sequence[str]) -> list[Finding]:
    """Findings about parts of which nothing is labelled, and classes that no image of a part has.

    Of two classes the foreground is what all is about: a part without it is an error that nobody may allow. One of
    several may be missing where its owner says so: an image's score is the mean over the classes it has. That a share
    of what would train (`dataset.take`) lacks one is a warning.

    Args:
        looked: all of the samples.
        card: the data set's.
        parts: those that are used; an evaluation neither trains nor chooses.
    """
    found = []
    two = len(card.class_names) == 2
    for part in parts:
        ours = [one for one in looked if one.part == part]
        seen = {id_ for one in ours for id_ in one.stats.classes} - {IGNORE}
        where = f"of the {_PARTS[part]} part"
        if ours and not seen:
            message = f"nothing {where} is labelled: every pixel of its {len(ours)} image(s) is to be ignored"
            remedy = f"{_USE[part]} Move images to it that are labelled. {_RESPLIT}"
            found.append(error("unlabelled", message, remedy, ours))
            continue
        missing = [id_ for id_ in range(len(card.class_names)) if ours and id_ not in seen]
        for id_ in missing:
            name = card.class_names[id_]
            if id_ == 0:
                message = f"no mask {where} holds {name}, the background"
                found.append(warning("class", message, "Check the values of the masks (`dataset.classes`)."))
                continue
            holders = [one for one in looked if id_ in one.stats.classes]
            message = f"no image {where} has the class {name}; {_spread(holders)}"
            remedy = f"{_USE[part]} Move images with it to that part. "
            remedy += _RESPLIT if len(holders) >= len(PARTS) else "No split can: three images at least must have it."
            left = part == "train" and any(one.part == LEFT for one in holders)
            if left:
                remedy = f"{_USE[part]} A larger share may have it (`dataset.take`)."
            if two:
                found.append(error("foreground", message, remedy, holders))
            elif left:
                found.append(warning("class", message, remedy, holders))
            else:
                remedy += " Or take several values for one class: `dataset.classes={NAME: [1, 2], ...}`."
                found.append((warning if part == "test" else error)("class", message, remedy, holders))
    return found


_PARTS = {"train": "training", "val": "validation", "test": "test"}
_USE = {
    "train": "Nothing can be learnt of it.",
    "val": "Neither checkpoint nor threshold can be chosen by it.",
    "test": "It has no score.",
}
_RESPLIT = "Another split may do: `dataset.split.seed=1`, or `dataset/split`."


def _spread(holders: Sequence[Looked]) -> str:
    """In how many images of which parts something is."""
    if not holders:
        return "it is in no image at all"
    parts = Counter(one.part for one in holders)
    numbers = [f"{part} {parts[part]}" for part in PARTS]
    numbers += [f"{name} {parts[part]}" for part, name in ((LEFT, "left out"), ("", "unused")) if parts[part]]
    return f"it is in {len(holders)} image(s): {', '.join(numbers)}, such as {holders[0].sample.mask}"


def untouched(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about masks that are a network's predictions, as it left them."""
    odd = [one for one in looked if one.part in PARTS and one.sample.origin and one.sample.origin.state == "predicted"]
    if not odd:
        return []
    message = f"{len(odd)} mask(s) are predictions that nobody touched since: {_masks(odd)}"
    remedy = (
        "A network that learns from predictions learns their mistakes, and a score on them says how much it agrees."
    )
    remedy += (
        " Correct them, or train on the corrected ones alone, beside masks drawn by hand: `dataset.corrected=DIR`."
    )
    return [warning("predicted", message, remedy, odd)]


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
    remedy = "What is cut off there is lost: expose or scale otherwise."
    for limit, shares in (("darkest", [o.stats.at_low for o in ours]), ("brightest", [o.stats.at_high for o in ours])):
        most = max(_SATURATED, float(np.median(shares)) + _OUTLIER * _deviation(np.array(shares)))
        cut = [(o, share) for o, share in zip(ours, shares, strict=True) if share > most and o.stats.low < o.stats.high]
        if cut:
            each = listed([f"{one.sample.image} ({share:.0%})" for one, share in cut])
            message = f"{len(cut)} image(s) have many values at their {limit} level: {each}"
            found.append(warning("saturated", message, remedy, [one for one, _ in cut]))
    return found


# --- each pair: does the mask belong to the image, and lie where it should? -------------------------------


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


def mirrored(looked: Sequence[Looked]) -> list[Finding]:
    """A finding where all masks fit their images only turned or mirrored."""
    turn = turned([one.stats for one in looked])
    if turn is None:
        return []
    message = (
        f"the masks fit their images {turn.words} ({turn.better_fit:.2f}), and not as they are ({turn.fit:.2f}); such "
        f"as {looked[0].sample.mask} on {looked[0].sample.image}"
    )
    remedy = (
        "Images and masks were written with rows or axes in another order (MRC files have their rows from the bottom "
        "up, NIfTI files x before y): save the masks so that both show the same in a viewer."
    )
    return [error("turned", message, remedy, looked[:6])]


def inverted(looked: Sequence[Looked], card: DatasetCard) -> list[Finding]:
    """Findings about masks with foreground and background exchanged. For two classes.

    Their foreground is bright where that of the other masks is dark, or the other way round.
    """
    if len(card.class_names) != 2 or len(looked) < _LEAST:
        return []
    contrast = polarity([one.stats for one in looked])
    usual = float(np.median(contrast))
    if abs(usual) < 0.1 and np.median(abs(contrast)) >= _BOTH:
        bright, dark = ([looked[n] for n in np.flatnonzero(contrast * sign > 0).tolist()] for sign in (1, -1))
        message = (
            f"foreground is bright in {len(bright)} images, such as {bright[0].sample.image}, and dark in {len(dark)}, "
            f"such as {dark[0].sample.image}"
        )
        remedy = "If images are of one kind, half of the masks are inverted; lay one of each over its image."
        return [warning("inverted", message, remedy, [bright[0], dark[0]])]
    opposite = contrast * np.sign(usual) < -_CLEAR * abs(usual)
    if abs(usual) < 0.1 or not opposite.any():
        return []
    # Images of another kind, say fluorescence among stains, have masks of the opposite sign by right. They are many,
    # or differ in brightness, too.
    few = bool(opposite.mean() <= _FEW)
    mean = np.array([one.stats.mean for one in looked])
    low, high = mean[~opposite].min(), mean[~opposite].max()
    reach = max((high - low) / 2, 1.0)
    here, there = ("dark", "bright") if usual > 0 else ("bright", "dark")
    found = []
    for place in np.flatnonzero(opposite).tolist():
        one = looked[place]
        message = (
            f"the mask {one.sample.mask} looks inverted: its foreground is {here} in {one.sample.image} "
            f"(correlation {contrast[place]:+.2f}), that of other masks is {there} in theirs ({usual:+.2f})"
        )
        sure = few and low - reach < one.stats.mean < high + reach
        found.append((error if sure else warning)("inverted", message, "Exchange its two values.", [one]))
    return found


def repeated(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about one image with several masks, and one mask of several images."""
    found = []
    images, masks = defaultdict(list), defaultdict(list)
    for one in looked:
        images[one.stats.image].append(one)
        if len(one.stats.classes) > 1:
            masks[one.stats.mask].append(one)
    for same in images.values():
        if len({one.stats.mask for one in same}) > 1:
            message = f"the images {_images(same)} are one, their masks are not: {_masks(same)}"
            found.append(error("conflict", message, "Keep the image once, with the right mask.", same))
    for same in masks.values():
        if not all(alike(same[0].stats, one.stats) for one in same):
            message = f"the masks {_masks(same)} are one, their images are not: {_images(same)}"
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


# --- the split: is something of the test part, or something much like it, among what trains? --------------


def duplicates(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about pictures that occur more than once: errors in several parts, warnings in one.

    Sections of one stack that are merely alike are no duplicates.
    """
    found, within = [], []
    for cluster, pairs in _clusters(looked):
        how = "to the pixel" if all(pair.same for pair in pairs) else "very nearly"
        how += ", turned or mirrored" if any(pair.turned for pair in pairs) else ""
        if len({one.part for one in cluster if one.part in PARTS}) < 2:
            within.append((cluster, f"{_images(cluster)} (the same {how})"))
            continue
        named = listed([f"{one.sample.image} ({one.part or 'unused'})" for one in cluster])
        remedy = "What trains must not judge: keep one copy, or give the copies one group and split by group."
        found.append(error("leak", f"one picture is in several parts (the same {how}): {named}", remedy, cluster))
    if within:
        message = f"{len(within)} picture(s) occur more than once: {listed([text for _, text in within], '; ')}"
        members = [one for cluster, _ in within for one in cluster]
        found.append(warning("duplicate", message, "They count more than others do. Keep one copy.", members))
    return found


def neighbours(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about neighbouring sections in two parts: warnings between blocks, errors where they are scattered.

    In blocks, as `lamella.splits.blocks` makes them, validation is one run of a stack's sections, and so is
    test. More runs are fine while each has at least 3 sections. Where a part comes in several runs and a shorter
    one touches another part, its sections were picked from among others: that is the error.
    """
    stacks = defaultdict(list)
    for one in looked:
        if one.part in PARTS and one.sample.stack:
            stacks[one.sample.stack].append(one)
    borders: list[tuple[Looked, Looked]] = []
    scattered: list[tuple[Looked, Looked]] = []
    for stack in stacks.values():
        stack.sort(key=_place)
        runs = [(part, list(run)) for part, run in groupby(stack, key=lambda one: one.part)]
        several = {part for part in ("val", "test") if sum(p == part for p, _ in runs) > 1}
        short = {o.sample.id for part, run in runs if part in several and len(run) < _LEAST_RUN for o in run}
        for pair in pairwise(stack):
            if _place(pair[1]) == _place(pair[0]) + 1 and pair[0].part != pair[1].part:
                (scattered if {one.sample.id for one in pair} & short else borders).append(pair)
    found = []
    if scattered:
        message = f"sections were picked from among neighbours, which look alike: {_borders(scattered)}"
        remedy = f"Split the stack into blocks (`dataset/split=blocks`), or runs of {_LEAST_RUN} sections and more."
        found.append(error("neighbours", message, remedy, [one for pair in scattered for one in pair]))
    if borders:
        message = f"neighbouring sections, which look alike, are in two parts: {_borders(borders)}"
        remedy = "Scores may be a little better than on other tissue. A gap parts them: `dataset.split.gap=1`."
        found.append(warning("border", message, remedy, [one for pair in borders for one in pair]))
    return found


def _clusters(looked: Sequence[Looked]) -> list[tuple[list[Looked], list[Twins]]]:
    """The samples that show one picture, with the pairs that make them a cluster."""
    stack = [one.sample.stack for one in looked]
    pairs = [
        pair
        for pair in twins([one.stats for one in looked])
        if pair.same or not stack[pair.first] or stack[pair.first] != stack[pair.second]
    ]
    leader = list(range(len(looked)))  # the first sample that each is known to be joined to

    def lead(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    for pair in pairs:
        first, second = sorted((lead(pair.first), lead(pair.second)))
        leader[second] = first
    clusters: dict[int, tuple[list[Looked], list[Twins]]] = {}
    for place, one in enumerate(looked):
        clusters.setdefault(lead(place), ([], []))[0].append(one)
    for pair in pairs:
        clusters[lead(pair.first)][1].append(pair)
    return [(members, links) for members, links in clusters.values() if links]


def _place(one: Looked) -> int:
    return one.sample.place or 0


def _borders(pairs: Sequence[tuple[Looked, Looked]]) -> str:
    """All of them, stack by stack; a stack that is one file goes by the file's name."""

    def name(pair: tuple[Looked, Looked]) -> str:
        sample = pair[0].sample
        return f"{sample.stack} sections" if sample.image.page is None else f"{sample.image.path} pages"

    texts = []
    for stack, group in groupby(pairs, key=name):
        each = ", ".join(f"{_place(a)} and {_place(b)} ({a.part} and {b.part})" for a, b in group)
        texts.append(f"{stack} {each}")
    return "; ".join(texts)


def _images(looked: Sequence[Looked]) -> str:
    return listed([one.sample.image for one in looked])


def _masks(looked: Sequence[Looked]) -> str:
    return listed([one.sample.mask for one in looked])


def _deviation(values: npt.NDArray[np.floating]) -> float:
    """What the standard deviation is without outliers, were the values normal."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
