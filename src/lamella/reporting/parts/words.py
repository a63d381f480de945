"""By which rules a section was made, in words: only those that matter for what it shows."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lamella.metrics.catalogue import lookup
from lamella.reporting.cohorts import OLDER, RULES
from lamella.reporting.summary import DISTANCES, drawn, listed

if TYPE_CHECKING:
    from lamella.reporting.parts.section import Section

_WAYS = {"higher": "; higher is better", "lower": "; lower is better", "zero": "; best at 0", "none": ""}
_MATTERS = {
    "soft scores, resized to pixels": ("resized/",),
    "tolerance of outlines, pixels": ("boundary/surface_dice",),
    "tolerance of outlines, nm": ("boundary/surface_dice_nm",),
    "smallest cell, pixels": ("cells/", "count/", "watershed/"),
    "neck at which cells are cut apart, pixels": ("watershed/",),
}
"""Entries of a protocol -> the scores that they matter for: names, or how names begin. All others always matter."""

_UNDEFINED = ("dice", "iou", "recall", "precision", "mcc")


def protocol(section: "Section") -> Mapping[str, str]:
    """The protocol card: what was compared how, and the conventions of its scores, as far as they matter."""
    names = section.cohort.names
    entries = {key: text for key, text in section.cohort.protocol.items() if _any(names, *_MATTERS.get(key, ("",)))}
    return {**entries, **_conventions(section)}


def definitions(names: Iterable[str]) -> Mapping[str, str]:
    """What scores mean, of those that need it."""
    found = [lookup(name) for name in names]
    return {score.heading: score.meaning + _WAYS[score.direction] for score in found if score.meaning}


def _any(names: Iterable[str], *of: str) -> bool:
    """Whether a name is one of these, or begins so where that ends with a slash; an empty one takes all."""
    return any(name == each or (name.startswith(each) and each[-1:] in ("/", "")) for name in names for each in of)


def _conventions(section: "Section") -> Mapping[str, str]:
    """What a reader must know to compare these figures with those of other tools."""
    cohort, noun = section.cohort, drawn(section.cohort)
    names = cohort.names
    lacking = [lookup(name).heading for name in _UNDEFINED if name in names]
    lacking += ["score of outlines"] if _any(names, "boundary/") else []
    of_classes = ", of several classes their mean is over those that the image has" if _any(names, "class/") else ""
    undefined = (
        f"an image whose truth lacks what is looked for has no {listed(lacking).replace(' and ', ' or ')}, whatever "
        "was predicted, and is in no mean of them; where it is there and nothing was predicted they are 0" + of_classes
    )
    if cohort.protocol.get(RULES) == OLDER:
        undefined = (
            "an older version scored these runs: an image whose truth lacks what is looked for counts as 1 where "
            "nothing was predicted, else mostly as 0"
        )
    found = {"undefined scores": undefined} if lacking else {}
    if cohort.protocol.get(RULES) != OLDER:
        if _any(names, "boundary/"):
            found["outlines"] = "the frame of the picture is no outline"
        if _any(names, "boundary/hd95", "boundary/hd95_nm"):
            found["HD95"] = "the larger of the two directed 95th percentiles, interpolated"
        if _any(names, "boundary/surface_dice", "boundary/surface_dice_nm"):
            found["surface Dice"] = (
                "symmetric: of the outline pixels of both, the share within the tolerance of the other's"
            )
        imputed = {f"{name}_imputed" for name in DISTANCES} & set(section.summary.columns)
        if section.summary[sorted(imputed)].any(axis=None):
            found["imputed distances"] = (
                "where nothing was predicted of what is there, the picture's diagonal; counted beside the mean"
            )
    if len(set(cohort.groups)) > 1:
        found["intervals"] = (
            f"95\u00a0% of the mean over {noun}s: from 6 {noun}s on the BCa bootstrap (Efron 1987), expanded as "
            "Hesterberg 2015 and his R package resample do, with 6 and 7 no shorter than Student's t; below 6 "
            "Student's t; of one none"
            + ("" if noun == "image" else f"; {noun}s of unlike size count as fewer (Kish 1965)")
        )
    if any(len(method.runs) > 1 for method in cohort.methods):
        found["seeds"] = (
            "runs that differ by their seed alone are one method; an image counts once, with its mean over seeds"
        )
    if cohort.folds and cohort.folds.kind == "parted":
        found["folds"] = (
            "each image is judged once, by the network of the fold that held it out of training; what is compared is "
            "a recipe for training, not one network"
        )
    elif cohort.folds:
        found["folds"] = "each fold holds other images out of training, and all judge the same test images"
    return found
