"""How far the outline of what was found lies from the outline of what is there, for one class of one image.

The outline (boundary) of a region is its own pixels with a neighbour above, below, left or right that is not of the
region. The picture's frame is no outline, nor is the rim of what is not valid: where a cell is cut off there, nobody
drew a line. (MONAI and medpy let the frame count; a mask padded by one empty pixel on each side gives their outline.)
Pixels that are not valid belong to no region, and distances run straight across them.

From every outline pixel the distance to the nearest pixel of the other outline is measured, both ways:

    hausdorff95        the larger of the two 95th percentiles                 0 is best
    surface_distance   the mean over all outline pixels of both               0 is best
    surface_dice       the share of all of them within a tolerance            1 is best

Where the truth has no outline (the class is not there, or is all of what is valid) nothing can be measured, and all
three are NaN, whatever was predicted. Where it has one and the prediction has none, surface Dice is 0, and each pixel
of the truth's outline is taken to be the picture's diagonal away, more than any two pixels of it can be. Such distances
are imputed, not measured: were they infinite or left out, a mean over images would be infinite, or the better the more
were missed. They are counted (`Gaps.imputed`), so that no mean hides them.

Distances are in pixels, or in nanometres where the spacing is given in them.
"""

from collections.abc import Iterable
from math import nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]


class Gaps(NamedTuple):
    """The distances between two outlines.

    Attributes:
        to_truth: from each outline pixel of the prediction to the nearest one of the truth.
        to_predicted: from each outline pixel of the truth to the nearest one of the prediction; none where the truth
            has no outline: then nothing is defined, and `to_truth` is empty, too.
        imputed: in how many images the prediction has no outline where the truth has one: `to_predicted` has the
            picture's diagonal for each pixel of such a truth.
    """

    to_truth: Distances
    to_predicted: Distances
    imputed: int


def gaps(predicted: Mask, truth: Mask, valid: Mask, spacing: tuple[float, float] = (1.0, 1.0)) -> Gaps:
    """The distances between the outlines of two masks, from which the three scores below are made.

    Args:
        predicted: (H, W), where the class was found.
        truth: (H, W), where the class is.
        valid: (H, W); False counts nowhere.
        spacing: height and width of a pixel; (1, 1) measures in pixels, a card's `spacing_nm` in nanometres.

    Raises:
        ValueError: shapes or types do not fit.
    """
    for name, mask in (("predicted", predicted), ("truth", truth), ("valid", valid)):
        if mask.ndim != 2 or mask.shape != truth.shape or mask.dtype != np.bool_:
            raise ValueError(f"{name} must be bool {truth.shape}, as the truth, not {mask.dtype} {mask.shape}")
    found, true = outline(predicted, valid), outline(truth, valid)
    if not true.any():
        return Gaps(np.zeros(0), np.zeros(0), 0)
    if found.any():
        return Gaps(_distance(true, spacing)[found], _distance(found, spacing)[true], 0)
    diagonal = float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
    return Gaps(np.zeros(0), np.full(true.sum(), diagonal), 1)


def pool(measured: Iterable[Gaps]) -> Gaps:
    """The distances of several images taken as those of one: long outlines count for more.

    Images whose truth has no outline add nothing.
    """
    to_truth, to_predicted, imputed = zip(*measured, strict=True)
    return Gaps(np.concatenate(to_truth), np.concatenate(to_predicted), sum(imputed))


def outline(mask: Mask, valid: Mask) -> Mask:
    """The valid pixels of a mask with a valid 4-neighbour outside it. (H, W) -> (H, W)."""
    inside, outside = mask & valid, valid & ~mask
    line = np.zeros_like(mask)
    line[1:] |= outside[:-1]
    line[:-1] |= outside[1:]
    line[:, 1:] |= outside[:, :-1]
    line[:, :-1] |= outside[:, 1:]
    return line & inside


def hausdorff95(found: Gaps) -> float:
    """HD95, the 95th percentile of the distances between two outlines, in the worse direction; MONAI's definition.

    D. P. Huttenlocher et al. 1993, IEEE PAMI 15:850, with a percentile for the maximum, which is one pixel's word.
    medpy takes one percentile of both directions together: another number. NaN where the truth has no outline.
    """
    directions = [float(np.percentile(each, 95)) for each in found[:2] if each.size]
    return max(directions, default=nan)


def surface_distance(found: Gaps) -> float:
    """The average symmetric surface distance: all distances of both directions in one mean.

    T. Heimann et al. 2009, IEEE TMI 28:1251. The mean of the two directed means is another number where the
    outlines differ in length. NaN where the truth has no outline.
    """
    both = np.concatenate(found[:2])
    return float(both.mean()) if both.size else nan


def surface_dice(found: Gaps, tolerance: float) -> float:
    """Normalised surface Dice: the share of both outlines that is at most `tolerance` from the other one.

    S. Nikolov et al. 2021, JMIR 23:e26151. Outline pixels are counted, as in MONAI; the authors' own code weighs
    pieces of contour by their length: another number. NaN where the truth has no outline.

    Args:
        found: see `gaps`.
        tolerance: in the unit of the spacing the gaps were measured with: what two annotators would differ by.
    """
    if not found.to_predicted.size:
        return nan
    if not found.to_truth.size:  # whatever the tolerance
        return 0.0
    both = np.concatenate(found[:2])
    return float((both <= tolerance).mean())


def _distance(line: Mask, spacing: tuple[float, float]) -> npt.NDArray[Any]:
    return np.asarray(ndimage.distance_transform_edt(~line, sampling=spacing))
