"""What each score of `scores/test.csv` is called, which way is better, and what it means."""

from typing import NamedTuple


class Measure(NamedTuple):
    """A score, in words.

    Attributes:
        heading: above a column.
        lower_is_better: for errors and distances.
        meaning: one line.
    """

    heading: str
    lower_is_better: bool
    meaning: str


MEASURES: dict[str, Measure] = {
    "dice": Measure("Dice", False, "2 TP / (2 TP + FP + FN) of the foreground's pixels"),
    "iou": Measure("IoU", False, "TP / (TP + FP + FN), the Jaccard index"),
    "accuracy": Measure("accuracy", False, "share of pixels that are right"),
    "precision": Measure("precision", False, "TP / (TP + FP)"),
    "recall": Measure("recall", False, "TP / (TP + FN)"),
    "specificity": Measure("specificity", False, "TN / (TN + FP)"),
    "mcc": Measure("MCC", False, "Matthews' correlation of prediction and truth"),
    "pixel_error": Measure("pixel error", True, "share of pixels that are wrong"),
    "interior/dice": Measure("interior Dice", False, "Dice of what is not membrane"),
    "resized/soft_dice": Measure("soft Dice, resized", False, "probabilities against masks, both resized"),
    "resized/soft_iou": Measure("soft IoU, resized", False, "probabilities against masks, both resized"),
    "boundary/hd95": Measure("HD95, px", True, "95th percentile of the distance between outlines, in pixels"),
    "boundary/surface_distance": Measure("surface distance, px", True, "mean distance between outlines, in pixels"),
    "boundary/surface_dice": Measure("surface Dice", False, "share of outlines within a tolerance of each other"),
    "boundary/hd95_nm": Measure("HD95, nm", True, "the same in nanometres"),
    "boundary/surface_distance_nm": Measure("surface distance, nm", True, "the same in nanometres"),
    "boundary/surface_dice_nm": Measure("surface Dice, nm", False, "the same at a tolerance in nanometres"),
    "v_rand": Measure("V_rand", False, "ISBI-2012's foreground-restricted Rand score after thinning"),
    "v_info": Measure("V_info", False, "ISBI-2012's information-theoretic score after thinning"),
    "count/error": Measure("count error", True, "cells found minus cells there; mean size of the error"),
    "cells/f1": Measure("cell F1", False, "cells found at IoU 0.5, connected components"),
    "cells/precision": Measure("cell precision", False, "instances that are a cell, at IoU 0.5"),
    "cells/recall": Measure("cell recall", False, "cells that were found, at IoU 0.5"),
    "cells/ap50": Measure("cell AP50", False, "TP / (TP + FP + FN) at IoU 0.5"),
    "cells/ap": Measure("cell AP", False, "the same, mean over IoU 0.5 to 0.95"),
    "cells/aji": Measure("AJI", False, "aggregated Jaccard index"),
    "cells/pq": Measure("PQ", False, "panoptic quality"),
    "calibration/ece": Measure("ECE", True, "expected calibration error, 15 bins"),
    "calibration/brier": Measure("Brier", True, "mean squared error of the probabilities"),
    "calibration/ece_tempered": Measure("ECE, tempered", True, "the same with the temperature fitted on validation"),
    "calibration/brier_tempered": Measure("Brier, tempered", True, "the same with that temperature"),
}
MEASURES |= {
    f"watershed/{name}": Measure(f"{each.heading}, watershed", each.lower_is_better, f"{each.meaning}; cells cut apart")
    for name, each in list(MEASURES.items())
    if name.startswith(("count/", "cells/"))
}


def measure(name: str) -> Measure:
    """The measure of a column; that of one class, such as `class/nucleus/dice`, is the score's own, for that class."""
    if name.startswith("class/"):
        _, of, score = name.split("/")
        plain = MEASURES[score]
        return Measure(
            f"{plain.heading}, {of}", plain.lower_is_better, f"{plain.meaning.split(' of the')[0]}, for {of}"
        )
    return MEASURES.get(name, Measure(name, False, ""))
