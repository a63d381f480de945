"""What every score is called, which way is better, and how it is shown: the one place that reads scores' names.

A name is one of `SCORES`, and around it what a run logs of it:

    [train/ val/ test/ seen/]  [pooled/ macro/]  [class/NAME/]  score  [/low /high]

`test/class/nucleus/dice/low` is the lower end of the 95 % interval of the Dice of nuclei on the test images.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

Direction = Literal["higher", "lower", "zero", "none"]
Kind = Literal["score", "count", "signed error", "setting", "time"]
Part = Literal["train", "val", "test", "seen", ""]


@dataclass(frozen=True)
class Score:
    """One score, or another number that a run logs: what must be known to show it and to compare methods by it.

    Attributes:
        name: as it is logged, or as it stands above a column of `scores/test.csv`.
        heading: the same in words.
        direction: whether "higher" or "lower" values are better, or those near "zero"; "none": neither is.
        unit: "px", "nm", "cells", "s", ...; empty for shares and other pure numbers.
        decimals: how many are shown.
        kind: methods are compared by a "score", and by the size of a "signed error". A "count" (of pixels, of cells)
            is what scores are made of; a "setting" was chosen; a "time" depends on the machine.
        meaning: how it is computed, in a line.
        shown: whether the table that ends a run has it.
        order: tables show low ones first, equal ones in the order in which they are found.
        part: of which images it is, as the beginning of its name says; "seen" are those of the training.
        column: the column of `scores/test.csv` that it sums up; None where there is none.
    """

    name: str
    heading: str
    direction: Direction
    unit: str
    decimals: int
    kind: Kind
    meaning: str
    shown: bool = False
    order: int = 0
    part: Part = ""
    column: str | None = None

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
    Score("count/true", "cells there", "none", "cells", 2, "count", "cells of the truth"),
    Score("count/found", "cells found", "none", "cells", 2, "count", "cells of the prediction"),
    Score("count/error", "count error", "zero", "cells", 2, "signed error",
          "cells found minus cells there; mean size of the error"),
    Score("cells/precision", "cell precision", "higher", "", 4, "score", "instances that are a cell, at IoU 0.5"),
    Score("cells/recall", "cell recall", "higher", "", 4, "score", "cells that were found, at IoU 0.5"),
    Score("cells/f1", "cell F1", "higher", "", 4, "score", "cells found at IoU 0.5, connected components", True),
    Score("cells/ap50", "cell AP50", "higher", "", 4, "score", "TP / (TP + FP + FN) at IoU 0.5"),
    Score("cells/ap", "cell AP", "higher", "", 4, "score", "the same, mean over IoU 0.5 to 0.95"),
    Score("cells/aji", "AJI", "higher", "", 4, "score", "aggregated Jaccard index"),
    Score("cells/pq", "PQ", "higher", "", 4, "score", "panoptic quality", True),
)  # fmt: skip

# What a run's metrics say of count errors, in place of their mean.
_ERRORS = (
    Score("count/mae", "size of the count error", "lower", "cells", 2, "score", "mean size of the count error", True,
          column="count/error"),
    Score("count/bias", "bias of the count", "zero", "cells", 2, "signed error", "mean of the count error", True,
          column="count/error"),
    Score("count/agreement_from", "count error, lower limit", "zero", "cells", 2, "signed error",
          "95 % of the count errors lie between the two limits", True, column="count/error"),
    Score("count/agreement_to", "count error, upper limit", "zero", "cells", 2, "signed error",
          "95 % of the count errors lie between the two limits", True, column="count/error"),
)  # fmt: skip


def _cut(some: Iterable[Score]) -> tuple[Score, ...]:
    """The same scores of cells that were cut apart where they touch."""
    return tuple(
        replace(
            each,
            name=f"watershed/{each.name}",
            heading=f"{each.heading}, watershed",
            meaning=f"{each.meaning}; cells cut apart",
            shown=False,
            column=each.column and f"watershed/{each.column}",
        )
        for each in some
    )


# Columns of `scores/test.csv`, in their order.
_COLUMNS = (
    Score("dice", "Dice", "higher", "", 4, "score", "2 TP / (2 TP + FP + FN) of the foreground's pixels", True),
    Score("iou", "IoU", "higher", "", 4, "score", "TP / (TP + FP + FN), the Jaccard index", True),
    Score("accuracy", "accuracy", "higher", "", 4, "score", "share of pixels that are right", True),
    Score("precision", "precision", "higher", "", 4, "score", "TP / (TP + FP)", True),
    Score("recall", "recall", "higher", "", 4, "score", "TP / (TP + FN)", True),
    Score("specificity", "specificity", "higher", "", 4, "score", "TN / (TN + FP)"),
    Score("mcc", "MCC", "higher", "", 4, "score", "Matthews' correlation of prediction and truth"),
    Score("pixel_error", "pixel error", "lower", "", 4, "score", "share of pixels that are wrong", True),
    Score("interior/dice", "interior Dice", "higher", "", 4, "score", "Dice of what is not membrane"),
    Score("v_rand", "V_rand", "higher", "", 4, "score",
          "ISBI-2012's foreground-restricted Rand score after thinning", True),
    Score("v_info", "V_info", "higher", "", 4, "score",
          "ISBI-2012's information-theoretic score after thinning", True),
    Score("resized/soft_dice", "soft Dice, resized", "higher", "", 4, "score",
          "probabilities against masks, both resized", True),
    Score("resized/soft_iou", "soft IoU, resized", "higher", "", 4, "score",
          "probabilities against masks, both resized", True),
    Score("boundary/hd95", "HD95, px", "lower", "px", 2, "score",
          "95th percentile of the distance between outlines, in pixels", True),
    Score("boundary/surface_distance", "surface distance, px", "lower", "px", 2, "score",
          "mean distance between outlines, in pixels", True),
    Score("boundary/surface_dice", "surface Dice", "higher", "", 4, "score",
          "share of outlines within a tolerance of each other", True),
    Score("boundary/hd95_nm", "HD95, nm", "lower", "nm", 2, "score", "the same in nanometres", True),
    Score("boundary/surface_distance_nm", "surface distance, nm", "lower", "nm", 2, "score",
          "the same in nanometres", True),
    Score("boundary/surface_dice_nm", "surface Dice, nm", "higher", "", 4, "score",
          "the same at a tolerance in nanometres", True),
    *_CELLS,
    *_cut(_CELLS),
    Score("calibration/ece", "ECE", "lower", "", 4, "score", "expected calibration error, 15 bins"),
    Score("calibration/brier", "Brier", "lower", "", 4, "score", "mean squared error of the probabilities", True),
    Score("calibration/ece_tempered", "ECE, tempered", "lower", "", 4, "score",
          "the same with the temperature fitted on validation"),
    Score("calibration/brier_tempered", "Brier, tempered", "lower", "", 4, "score",
          "the same with that temperature", True),
    Score("tp", "true positives", "none", "px", 0, "count", "foreground that was found, pixels"),
    Score("fp", "false positives", "none", "px", 0, "count", "background taken for foreground, pixels"),
    Score("fn", "false negatives", "none", "px", 0, "count", "foreground that was missed, pixels"),
    Score("tn", "true negatives", "none", "px", 0, "count", "background that was left, pixels"),
)  # fmt: skip

# What a run logs beside: no columns.
_OTHERS = (
    *_ERRORS,
    *_cut(_ERRORS),
    Score("loss", "loss", "lower", "", 4, "score", "what training makes smaller; mean over crops or images"),
    Score("threshold", "threshold", "none", "", 2, "setting", "probability above which a pixel is foreground", True),
    Score("v_rand/threshold", "V_rand's threshold", "none", "", 2, "setting",
          "interior above it; the best on validation", True),
    Score("v_rand/oracle", "V_rand, oracle", "higher", "", 4, "score",
          "at the threshold that is best on the test images themselves, as challenges report it", True),
    Score("v_info/oracle", "V_info, oracle", "higher", "", 4, "score",
          "at the threshold that is best on the test images themselves, as challenges report it", True),
    Score("pixel_error/isbi2012", "pixel error, ISBI-2012", "lower", "", 4, "score",
          "1 - the highest F-score of the interior's pixels over thresholds, all sections pooled", True),
    Score("calibration/temperature", "temperature", "none", "", 2, "setting",
          "logits are divided by it; fitted on validation", True),
    Score("lr", "learning rate", "none", "", 6, "setting", "of the optimizer, at the end of an epoch"),
    Score("model/parameters", "parameters", "none", "", 0, "count", "numbers in the network that training sets"),
    Score("time/epochs", "epochs", "none", "", 0, "count", "passes over the training images"),
    Score("time/train_s", "training time", "lower", "s", 1, "time", "of the training alone"),
    Score("time/images_per_s", "training crops a second", "higher", "crops/s", 1, "time", "mean over the training"),
    Score("time/test_images_per_s", "test images a second", "higher", "images/s", 1, "time",
          "whole images, one after the other, without the time to score them"),
)  # fmt: skip


def _placed() -> dict[str, Score]:
    rows = [*(replace(each, column=each.name) for each in _COLUMNS), *_OTHERS]
    return {
        each.name: replace(each, order=_FIRST.index(each.name) if each.name in _FIRST else len(_FIRST) + place)
        for place, each in enumerate(rows)
    }


SCORES = _placed()
"""Every name that stands for itself -> what it is, in the order of the columns of `scores/test.csv`."""

_PARTS: dict[str, tuple[Part, str]] = {
    "train": ("train", "training {}"),
    "val": ("val", "validation {}"),
    "test": ("test", "{}"),
    "seen": ("seen", "{}, images of the training"),
}
_ENDS = {"low": "lower", "high": "upper"}
_POOLED_SHOWN = ("dice", "iou")
_COUNTS = ("tp", "fp", "fn", "tn")
_OF_CLASSES = SCORES["interior/dice"].order  # where a table has the scores of single classes


@cache
def lookup(name: str) -> Score:
    """The entry of a score, found by the name of its column in `scores/test.csv` or of a run's metric.

    Of a name that no version of Lamella gives to anything only the name is known: its meaning is empty.
    """
    if name in SCORES:
        return SCORES[name]
    first, _, rest = name.partition("/")
    stem, _, last = name.rpartition("/")
    if last in _ENDS and lookup(stem).meaning:
        base, end = lookup(stem), f"{_ENDS[last]} end of the 95 % interval"
        return replace(base, name=name, heading=f"{base.heading}, {end}", meaning=f"{end}: {base.meaning}", shown=False)
    if first in _PARTS:
        base, (part, words) = lookup(rest), _PARTS[first]
        shown, column = part == "seen" or (part == "test" and base.shown), base.column if part == "test" else None
        return replace(base, name=name, heading=words.format(base.heading), shown=shown, part=part, column=column)
    if first == "pooled" and lookup(rest).meaning:
        base = lookup(rest)
        meaning = f"{base.meaning}; all images taken as one"
        return replace(
            base,
            name=name,
            heading=f"{base.heading}, pooled",
            meaning=meaning,
            shown=rest in _POOLED_SHOWN,
            column=None,
        )
    if first == "macro" and lookup(rest).meaning:
        base = lookup(rest)
        meaning = f"{_of_any(base)}; mean over all classes, the background included"
        return replace(base, name=name, heading=f"{base.heading}, macro", meaning=meaning, shown=False, column=None)
    if first == "class" and lookup(last).meaning:
        base, of = lookup(last), rest.removesuffix(f"/{last}")
        heading, meaning = f"{base.heading}, {of}", f"{_of_any(base)}, for {of}"
        return replace(base, name=name, heading=heading, meaning=meaning, shown=True, order=_OF_CLASSES, column=name)
    kind, _, number = name.partition("_")
    if kind in _COUNTS and number.isdigit():
        base = lookup(kind)
        return replace(
            base,
            name=name,
            heading=f"{base.heading}, class {number}",
            meaning=f"{base.meaning}, of class {number}",
            order=SCORES[_COUNTS[0]].order,  # a table has them class by class
            column=name,
        )
    return Score(name, name, "none", "", 4, "score", "", order=len(_FIRST) + len(SCORES))


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order in which tables show them; unknown ones last."""
    return sorted(names, key=lambda name: lookup(name).order)


def beside(name: str, last: str) -> str:
    """A name with another last part: `count/error` and `mae` give `count/mae`."""
    return f"{name.rpartition('/')[0]}/{last}"


def _of_any(score: Score) -> str:
    """A meaning without whose pixels they are."""
    return score.meaning.split(" of the")[0]
