"""What every score is called, which way is better, and how it is shown: the one place that reads scores' names.

A name is one of `SCORES`, and around it what a run logs of it:

    [train/ val/ test/ seen/]  [pooled/ macro/]  [class/NAME/]  score  [/low /high /images]

`test/class/nucleus/dice/low` is the lower end of the 95 % interval of the Dice of nuclei on the test images, and
`test/class/nucleus/dice/images` the number of images that its mean stands on, where not all have nuclei.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from typing import Literal

# The rules of what is undefined; part of every run's protocol, so that scores by unlike rules never stand in one table.
# 1 (runs that say nothing): a class that is neither there nor found scores 1, and what cannot be known scores 0.
# 2: no score where the truth lacks what is judged, and means over the images that have one.
RULES = 2

Direction = Literal["higher", "lower", "zero", "none"]
Kind = Literal["score", "count", "signed error", "setting", "time"]
Part = Literal["train", "val", "test", "seen", ""]


@dataclass(frozen=True)
class Score:
    """One score, or another number that a run logs: what must be known to show it and to compare methods by it.

    Attributes:
        name: as it is logged, or as it stands above a column of `scores/test.csv`.
        heading: the same in words.
        meaning: how it is computed, in a line.
        direction: whether "higher" or "lower" values are better, or those near "zero"; "none": neither is.
        unit: "px", "nm", "cells", "s", ...; empty for shares and other pure numbers.
        decimals: how many are shown.
        kind: methods are compared by a "score", and by the size of a "signed error". A "count" (of pixels, of cells)
            is what scores are made of; a "setting" was chosen; a "time" depends on the machine.
        shown: whether the table that ends a run has it.
        order: tables show low ones first, equal ones in the order in which they are found.
        part: of which images it is, as the beginning of its name says; "seen" are those of the training.
        column: the column of `scores/test.csv` that it sums up; None where there is none.
        share_of: the least and the greatest value of a number without a unit.
    """

    name: str
    heading: str
    meaning: str
    direction: Direction = "higher"
    unit: str = ""
    decimals: int = 4
    kind: Kind = "score"
    shown: bool = False
    order: int = 0
    part: Part = ""
    column: str | None = None
    share_of: tuple[float, float] = (0.0, 1.0)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that it can have at all."""
        if self.kind == "signed error":
            return -inf, inf
        return (0.0, inf) if self.unit or self.kind != "score" else self.share_of

    @property
    def lower_is_better(self) -> bool:
        """Whether a method with smaller values is the better one; of signed errors, with smaller sizes."""
        return self.direction in ("lower", "zero")


# These lead every table, in this order; all others follow as they stand below.
_FIRST = (
    *("dice", "iou", "v_rand", "v_info", "pixel_error", "resized/soft_dice", "resized/soft_iou"),
    *("boundary/surface_dice", "boundary/hd95", "count/error", "cells/f1", "cells/pq", "calibration/brier"),
)

_CELLS = (
    Score("count/true", "cells there", "cells of the truth", "none", "cells", 2, "count"),
    Score("count/found", "cells found", "cells of the prediction", "none", "cells", 2, "count"),
    Score("count/error", "count error", "cells found minus cells there; mean size of the error",
          "zero", "cells", 2, "signed error"),
    Score("cells/precision", "cell precision", "instances that are a cell, at IoU 0.5"),
    Score("cells/recall", "cell recall", "cells that were found, at IoU 0.5"),
    Score("cells/f1", "cell F1", "cells found at IoU 0.5, connected components", shown=True),
    Score("cells/ap50", "cell AP50", "TP / (TP + FP + FN) at IoU 0.5"),
    Score("cells/ap", "cell AP", "the same, mean over IoU 0.5 to 0.95"),
    Score("cells/aji", "AJI", "aggregated Jaccard index"),
    Score("cells/pq", "PQ", "panoptic quality", shown=True),
)  # fmt: skip

# What a run's metrics say of count errors, in place of their mean.
_ERRORS = (
    Score("count/mae", "size of the count error", "mean size of the count error", "lower", "cells", 2, shown=True),
    Score("count/bias", "bias of the count", "mean of the count error", "zero", "cells", 2, "signed error", shown=True),
    Score("count/agreement_from", "count error, lower limit", "95 % of the count errors lie between the two limits",
          "zero", "cells", 2, "signed error", shown=True),
    Score("count/agreement_to", "count error, upper limit", "95 % of the count errors lie between the two limits",
          "zero", "cells", 2, "signed error", shown=True),
)  # fmt: skip


def _cut(each: Score) -> Score:
    """The same score of cells that were cut apart where they touch."""
    heading, meaning = f"{each.heading}, watershed", f"{each.meaning}; cells cut apart"
    return replace(each, name=f"watershed/{each.name}", heading=heading, meaning=meaning, shown=False)


# Columns of `scores/test.csv`, in their order.
_COLUMNS = (
    Score("dice", "Dice", "2 TP / (2 TP + FP + FN) of the foreground's pixels", shown=True),
    Score("iou", "IoU", "TP / (TP + FP + FN), the Jaccard index", shown=True),
    Score("accuracy", "accuracy", "share of pixels that are right", shown=True),
    Score("precision", "precision", "TP / (TP + FP)", shown=True),
    Score("recall", "recall", "TP / (TP + FN)", shown=True),
    Score("specificity", "specificity", "TN / (TN + FP)"),
    Score("mcc", "MCC", "Matthews' correlation of prediction and truth", share_of=(-1.0, 1.0)),
    Score("pixel_error", "pixel error", "share of pixels that are wrong", "lower", shown=True),
    Score("interior/dice", "interior Dice", "Dice of what is not membrane"),
    Score("v_rand", "V_rand", "ISBI-2012's foreground-restricted Rand score after thinning", shown=True),
    Score("v_info", "V_info", "ISBI-2012's information-theoretic score after thinning", shown=True),
    Score("resized/soft_dice", "soft Dice, resized", "probabilities against masks, both resized", shown=True),
    Score("resized/soft_iou", "soft IoU, resized", "probabilities against masks, both resized", shown=True),
    Score("boundary/hd95", "HD95, px", "95th percentile of the distance between outlines, in pixels",
          "lower", "px", 2, shown=True),
    Score("boundary/surface_distance", "surface distance, px", "mean distance between outlines, in pixels",
          "lower", "px", 2, shown=True),
    Score("boundary/surface_dice", "surface Dice", "share of outlines within a tolerance of each other", shown=True),
    Score("boundary/imputed", "outlines not found",
          "images in which nothing was found: the picture's diagonal was taken for their distances",
          "none", "", 0, "count", shown=True),
    Score("boundary/hd95_nm", "HD95, nm", "the same in nanometres", "lower", "nm", 2, shown=True),
    Score("boundary/surface_distance_nm", "surface distance, nm", "the same in nanometres",
          "lower", "nm", 2, shown=True),
    Score("boundary/surface_dice_nm", "surface Dice, nm", "the same at a tolerance in nanometres", shown=True),
    *_CELLS,
    *map(_cut, _CELLS),
    Score("calibration/ece", "ECE", "expected calibration error, 15 bins", "lower"),
    Score("calibration/brier", "Brier", "mean squared error of the probabilities", "lower",
          shown=True, share_of=(0.0, 2.0)),
    Score("calibration/ece_tempered", "ECE, tempered", "the same with the temperature fitted on validation", "lower"),
    Score("calibration/brier_tempered", "Brier, tempered", "the same with that temperature", "lower",
          shown=True, share_of=(0.0, 2.0)),
    Score("tp", "true positives", "foreground that was found, pixels", "none", "px", 0, "count"),
    Score("fp", "false positives", "background taken for foreground, pixels", "none", "px", 0, "count"),
    Score("fn", "false negatives", "foreground that was missed, pixels", "none", "px", 0, "count"),
    Score("tn", "true negatives", "background that was left, pixels", "none", "px", 0, "count"),
)  # fmt: skip

# What a run logs beside: no columns.
_OTHERS = (
    Score("loss", "loss", "what training makes smaller; mean over crops or images", "lower", share_of=(-inf, inf)),
    Score("failures", "failures", "share of the images whose Dice is below score.failure", "lower", shown=True),
    Score("absent/images", "images without it", "test images whose truth has none of the foreground",
          "none", "", 0, "count", shown=True),
    Score("absent/empty", "predicted empty, of these",
          "share predicted empty, among images without any of the foreground", shown=True),
    Score("absent/fp", "false positives in these",
          "mean number of pixels wrongly found, in images without any of the foreground",
          "lower", "px", 1, shown=True),
    Score("threshold", "threshold", "probability above which a pixel is foreground",
          "none", "", 2, "setting", shown=True),
    Score("v_rand/threshold", "V_rand's threshold", "interior above it; the best on validation",
          "none", "", 2, "setting", shown=True),
    Score("v_rand/oracle", "V_rand, oracle",
          "at the threshold that is best on the test images themselves, as challenges report it", shown=True),
    Score("v_info/oracle", "V_info, oracle",
          "at the threshold that is best on the test images themselves, as challenges report it", shown=True),
    Score("pixel_error/isbi2012", "pixel error, ISBI-2012",
          "1 - the highest F-score of the interior's pixels over thresholds, all sections pooled", "lower", shown=True),
    Score("calibration/temperature", "temperature", "logits are divided by it; fitted on validation",
          "none", "", 2, "setting", shown=True),
    Score("lr", "learning rate", "of the optimizer, at the end of an epoch", "none", "", 6, "setting"),
    Score("model/parameters", "parameters", "numbers in the network that training sets", "none", "", 0, "count"),
    Score("time/epochs", "epochs", "passes over the training images", "none", "", 0, "count"),
    Score("time/train_s", "training time", "of the training alone", "lower", "s", 1, "time"),
    Score("time/images_per_s", "training crops a second", "mean over the training", "higher", "crops/s", 1, "time"),
    Score("time/test_images_per_s", "test images a second",
          "whole images, one after the other, without the time to score them", "higher", "images/s", 1, "time"),
)  # fmt: skip


_ROWS = (
    *(replace(each, column=each.name) for each in _COLUMNS),
    *(replace(each, column=f"{each.name.rpartition('/')[0]}/error") for each in (*_ERRORS, *map(_cut, _ERRORS))),
    *_OTHERS,
)
SCORES = {
    each.name: replace(each, order=_FIRST.index(each.name) if each.name in _FIRST else len(_FIRST) + place)
    for place, each in enumerate(_ROWS)
}
"""Every name that stands for itself -> what it is, in the order of the columns of `scores/test.csv`."""

_PARTS: dict[str, tuple[Part, str]] = {
    "train": ("train", "training {}"),
    "val": ("val", "validation {}"),
    "test": ("test", "{}"),
    "seen": ("seen", "{}, images of the training"),
}
_ENDS = {"low": "lower", "high": "upper"}
_OF_TWO = ("absent/images", "absent/empty", "absent/fp")  # a class's scores whose names have two parts


@cache
def lookup(name: str) -> Score:
    """The entry of a score, found by the name of its column in `scores/test.csv` or of a run's metric.

    Of a name that no version of Lamella gives to anything only the name is known: its meaning is empty.
    """
    if name in SCORES:
        return SCORES[name]
    first, _, rest = name.partition("/")
    stem, _, last = name.rpartition("/")
    count, _, number = name.partition("_")
    if last == "images" and not stem.endswith("absent") and (base := lookup(stem)).meaning:
        return replace(
            base, name=name, heading=f"{base.heading}, images", meaning=f"images that have it: {base.meaning}",
            direction="none", unit="", decimals=0, kind="count", shown=False, column=None,
        )  # fmt: skip
    if last in _ENDS and (base := lookup(stem)).meaning:
        end = f"{_ENDS[last]} end of the 95 % interval"
        return replace(base, name=name, heading=f"{base.heading}, {end}", meaning=f"{end}: {base.meaning}", shown=False)
    if first in _PARTS:
        base, (part, words) = lookup(rest), _PARTS[first]
        shown, column = part == "seen" or (part == "test" and base.shown), base.column if part == "test" else None
        return replace(base, name=name, heading=words.format(base.heading), shown=shown, part=part, column=column)
    if first == "pooled" and (base := lookup(rest)).meaning:
        heading, meaning = f"{base.heading}, pooled", f"{base.meaning}; all images taken as one"
        return replace(base, name=name, heading=heading, meaning=meaning, shown=rest in ("dice", "iou"), column=None)
    if first == "macro" and (base := lookup(rest)).meaning:
        heading, meaning = f"{base.heading}, macro", f"{_of_any(base)}; mean over all classes, the background included"
        return replace(base, name=name, heading=heading, meaning=meaning, shown=False, column=None)
    if first == "class":
        last = next((each for each in _OF_TWO if name.endswith(f"/{each}")), last)
        if (base := lookup(last)).meaning:
            of, order = rest.removesuffix(f"/{last}"), SCORES["interior/dice"].order
            heading, meaning = f"{base.heading}, {of}", f"{_of_any(base)}, for {of}"
            column = None if last in _OF_TWO else name
            return replace(base, name=name, heading=heading, meaning=meaning, shown=True, order=order, column=column)
    if count in ("tp", "fp", "fn", "tn") and number.isdigit():
        base, order = lookup(count), SCORES["tp"].order  # a table has them class by class
        heading, meaning = f"{base.heading}, class {number}", f"{base.meaning}, of class {number}"
        return replace(base, name=name, heading=heading, meaning=meaning, order=order, column=name)
    return Score(name, name, "", "none", order=len(_FIRST) + len(SCORES))


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order in which tables show them; unknown ones last."""
    return sorted(names, key=lambda name: lookup(name).order)


def beside(name: str, last: str) -> str:
    """A name with another last part: `count/error` and `mae` give `count/mae`."""
    return f"{name.rpartition('/')[0]}/{last}"


def _of_any(score: Score) -> str:
    """A meaning without whose pixels they are."""
    return score.meaning.split(" of the")[0]
