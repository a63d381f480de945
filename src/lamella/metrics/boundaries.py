"""How far the outline of what was found lies from the outline of what is there, for one class of one image.

The outline (boundary) of a region is its own pixels with a neighbour above, below, left or right that is not of the
region. The picture's frame is no outline, nor is the rim of what is not valid: where a cell is cut off there, nobody
drew a line. (MONAI and medpy let the frame count; a mask padded by one empty pixel on each side gives their outline.)
Pixels that are not valid belong to no region, and distances run straight across them.

From every outline pixel the distance to the nearest pixel of the other outline is measured, both ways:

    hausdorff95        the larger of the two 95th percentiles                 0 is best
    surface_distance   the mean over all outline pixels of both               0 is best
    surface_dice       the share of all of them within a tolerance            1 is best

Where nothing can be measured:
- neither mask has an outline and the masks agree (nothing there and nothing found, or all there and all found):
  distances 0, surface Dice 1;
- one of the two has no outline, or neither has and the masks differ: the distances are the picture's diagonal,
  more than any two pixels of it can have, and surface Dice is 0. Were the distance infinite or left out, the mean
  over images would be infinite, or the better the more images were missed.

Distances are in pixels, or in nanometres where the spacing is given in them.
"""

from collections.abc import Iterable
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
        to_predicted: from each outline pixel of the truth to the nearest one of the prediction.
        far: the picture's diagonal where neither has an outline and yet they differ; else None.

    Where one of the two has no outline, each outline pixel of the other is the picture's diagonal away.
    """

    to_truth: Distances
    to_predicted: Distances
    far: float | None


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
    if found.any() and true.any():
        return Gaps(_distance(true, spacing)[found], _distance(found, spacing)[true], None)
    diagonal = float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
    differ = ((predicted != truth) & valid).any()
    far = diagonal if differ and not found.any() and not true.any() else None
    return Gaps(np.full(found.sum(), diagonal), np.full(true.sum(), diagonal), far)


def pool(measured: Iterable[Gaps]) -> Gaps:
    """The distances of several images taken as those of one: long outlines count for more, and no image is lost.

    Only where two masks differ without an outline (all of a picture against nothing) has an image no pixel to add.
    """
    to_truth, to_predicted, far = zip(*measured, strict=True)
    return Gaps(np.concatenate(to_truth), np.concatenate(to_predicted), max((f for f in far if f), default=None))


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
    medpy takes one percentile of both directions together: another number.
    """
    directions = [float(np.percentile(each, 95)) for each in found[:2] if each.size]
    return max(directions, default=found.far or 0.0)


def surface_distance(found: Gaps) -> float:
    """The average symmetric surface distance: all distances of both directions in one mean.

    T. Heimann et al. 2009, IEEE TMI 28:1251. The mean of the two directed means is another number where the
    outlines differ in length.
    """
    both = np.concatenate(found[:2])
    return float(both.mean()) if both.size else found.far or 0.0


def surface_dice(found: Gaps, tolerance: float) -> float:
    """Normalised surface Dice: the share of both outlines that is at most `tolerance` from the other one.

    S. Nikolov et al. 2021, JMIR 23:e26151. Outline pixels are counted, as in MONAI; the authors' own code weighs
    pieces of contour by their length: another number.

    Args:
        found: see `gaps`.
        tolerance: in the unit of the spacing the gaps were measured with: what two annotators would differ by.
    """
    both = np.concatenate(found[:2])
    if not found.to_truth.size or not found.to_predicted.size:  # whatever the tolerance
        return float(not both.size and found.far is None)
    return float((both <= tolerance).mean())


def _distance(line: Mask, spacing: tuple[float, float]) -> npt.NDArray[Any]:
    return np.asarray(ndimage.distance_transform_edt(~line, sampling=spacing))
