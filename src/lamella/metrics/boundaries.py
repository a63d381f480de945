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
        far: None; or the picture's diagonal where there is nothing to measure to, and the others are empty.
    """

    to_truth: Distances
    to_predicted: Distances
    far: float | None


def gaps(predicted: Mask, truth: Mask, valid: Mask, spacing: tuple[float, float] = (1.0, 1.0)) -> Gaps:
    """Measures every outline pixel once; the three scores below derive from it.

    Args:
        predicted: (H, W), where the class was found.
        truth: (H, W), where the class is.
        valid: (H, W); False counts nowhere.
        spacing: height and width of a pixel; (1, 1) measures in pixels, a card's `spacing_nm` in nanometres.

    Returns:
        No distances where a mask has no outline; `far` then tells whether the masks agree.

    Raises:
        ValueError: shapes or types do not fit.
    """
    for name, mask in (("predicted", predicted), ("truth", truth), ("valid", valid)):
        if mask.ndim != 2 or mask.shape != truth.shape or mask.dtype != np.bool_:
            raise ValueError(f"{name} must be bool {truth.shape}, as the truth, not {mask.dtype} {mask.shape}")
    found, true = outline(predicted, valid), outline(truth, valid)
    if found.any() and true.any():
        return Gaps(_distance(true, spacing)[found], _distance(found, spacing)[true], None)
    alike = not found.any() and not true.any() and not ((predicted != truth) & valid).any()
    diagonal = float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
    return Gaps(np.zeros(0), np.zeros(0), None if alike else diagonal)


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
    """The larger of the two directed 95th percentiles (interpolated), as MONAI has it.

    D. P. Huttenlocher et al. 1993, IEEE PAMI 15:850, with a percentile for the maximum, which is one pixel's word.
    medpy takes one percentile of both directions together: another number.
    """
    if not found.to_truth.size:
        return found.far or 0.0
    return float(max(np.percentile(found.to_truth, 95), np.percentile(found.to_predicted, 95)))


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
    return float((both <= tolerance).mean()) if both.size else float(found.far is None)


def _distance(line: Mask, spacing: tuple[float, float]) -> npt.NDArray[Any]:
    return np.asarray(ndimage.distance_transform_edt(~line, sampling=spacing))
