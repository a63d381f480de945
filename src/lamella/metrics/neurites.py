"""V_rand and V_info: how well the neurites of one section are kept apart and kept whole.

These are the two scores of the ISBI-2012 challenge (Arganda-Carreras et al. 2015, Frontiers in
Neuroanatomy 9:142), defined as Fiji's Trainable Segmentation computes them (its classes `RandError`,
`VariationOfInformation` and `WatershedTransform2D`):

- Truth: every 4-connected component of the interior is one neurite. Its border (membrane) pixels count
  nowhere; n is the number of interior pixels.
- Proposal: the interior probability is thresholded (interior is strictly above), and its border is thinned
  to a line one pixel wide by a 4-connected watershed, so a thick membrane costs no more than a thin one.
- Over the n pixels, p_ij is the share in neurite i and segment j, a_i the share of neurite i, b_j that of
  segment j. A pixel under the proposal's thinned border is a segment of its own: k such pixels add
  z = k / n^2 to a sum of squares, and belong to a_i but to no b_j.

      rand_precision = (sum p_ij^2 + z) / (sum b_j^2 + z)    falls when neurites are merged
      rand_recall    = (sum p_ij^2 + z) / sum a_i^2          falls when a neurite is split
      info_precision = I(T; S) / H(T)                        falls when neurites are merged
      info_recall    = I(T; S) / H(S)                        falls when a neurite is split

  V_rand and V_info are the harmonic means of their pair. The paper calls the precisions "merge score" and
  the recalls "split score". H and I are the entropies and the mutual information of neurites and segments.
- A challenge score is the mean over sections at each threshold, then the best threshold, for V_rand and
  V_info apart. Chosen on the test sections themselves it is an oracle; `best_threshold` is for choosing on
  validation sections.

`skimage.metrics.adapted_rand_error` is another number: it takes all border pixels of the proposal as one
segment where each is its own here, leaves out a pixel's pair with itself, and thins nothing. The two must
not stand in one table.

Differences from Fiji, all out of reach of the challenge's own data: a section that is one neurite, proposed
as one segment without border, has V_info 1 here and 0 there; neurites and segments that share no information
have V_info 0 here and may have NaN there; more than 65,535 segments in a section are still told apart here.
"""

from collections.abc import Mapping, Sequence
from math import fsum, isnan, log, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

Labels = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]

THRESHOLDS: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The challenge's thresholds on the interior probability."""

# A border pixel on which the watershed has not decided yet.
_WAITING = -1


class NeuriteScores(NamedTuple):
    """The scores of one section at one threshold. All in [0, 1], 1 is best; NaN where the truth has no interior.

    Attributes:
        v_rand: harmonic mean of the two below.
        rand_precision: of the pixel pairs joined by the proposal, the share that belongs together.
        rand_recall: of the pixel pairs that belong together, the share joined by the proposal.
        v_info: harmonic mean of the two below.
        info_precision: the share of the truth's information that the proposal holds, I / H(T).
        info_recall: the share of the proposal's information that is about the truth, I / H(S).
    """

    v_rand: float
    rand_precision: float
    rand_recall: float
    v_info: float
    info_precision: float
    info_recall: float


_UNDEFINED = NeuriteScores(nan, nan, nan, nan, nan, nan)


class _Overlap(NamedTuple):
    """Pixel counts over the truth's interior.

    Attributes:
        neurites: pixels of each neurite, its pixels under the proposal's border included.
        segments: pixels of each segment.
        shared: pixels of each pair of a neurite and a segment that meet; pairs that do not are left out.
        border: pixels under the proposal's border.
    """

    neurites: Counts
    segments: Counts
    shared: Counts
    border: int


def thin(interior: npt.NDArray[np.bool_]) -> Labels:
    """Grows the 4-connected components of an interior until only lines one pixel wide part them.

    The watershed of Vincent and Soille (1991, IEEE PAMI 13:583) on an image of two levels: border pixels
    settle first come, first served, from the components outwards; a pixel whose settled neighbours agree
    on a component joins it, all others stay border. A border that parts nothing disappears. Columns are
    visited before rows, as in Fiji, so the result equals Fiji's pixel for pixel.

    Args:
        interior: (H, W); False is border.

    Returns:
        (H, W): 0 on the border, component ids from 1 elsewhere. Interior pixels are never altered and no
        two components are 4-adjacent. Lines are 8-connected, and can be thicker where several meet. With
        no interior at all, the whole section is component 1, as in Fiji.

    Raises:
        ValueError: `interior` is not a two-dimensional array of bool.
    """
    _check_mask("interior", interior)
    # Transposed, since Fiji goes column by column; framed, so that every pixel has four neighbours.
    grid, found = _components(np.pad(interior.T, 1))
    if found == 0:
        return np.ones(interior.shape, dtype=np.int32)
    section = grid[1:-1, 1:-1]
    section[section == 0] = _WAITING
    _flood(grid)
    return np.ascontiguousarray(section.T)


def compare(truth_interior: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer[Any]]) -> NeuriteScores:
    """V_rand and V_info of a section whose neurites have numbers already; nothing is thinned.

    Args:
        truth_interior: (H, W); True inside neurites, False on membranes.
        labels: (H, W) integer; 0 is border, every other id is one segment, whatever its shape.

    Returns:
        The scores, the same for any numbering of the segments. Where the truth is one neurite nothing can
        be merged (info_precision 1), where the proposal is one segment nothing is split (info_recall 1),
        and the other of the two is 0 unless both hold.

    Raises:
        ValueError: shapes or types do not fit, or an id is negative.
    """
    _check_mask("truth_interior", truth_interior)
    if labels.shape != truth_interior.shape or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers of shape {truth_interior.shape}, as the truth, not {labels.dtype} {labels.shape}"
        )
    if not truth_interior.any():
        return _UNDEFINED
    return _scores(_overlap(_components(truth_interior)[0], labels))


def scores_at(
    interior_probability: npt.NDArray[np.float32],
    truth_interior: npt.NDArray[np.bool_],
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[NeuriteScores]:
    """V_rand and V_info of one section at each of several thresholds.

    Interior is what lies strictly above the threshold. Only at threshold 1 a probability of exactly 1 is
    interior, too, as in Fiji, whose ten steps of 0.1 add up to the float just below 1; so a proposal of
    zeros and ones scores the same at every threshold.

    Args:
        interior_probability: (H, W), probability of not being membrane, in [0, 1].
        truth_interior: (H, W); True inside neurites, False on membranes.
        thresholds: in [0, 1].

    Returns:
        One entry for each threshold, in their order.

    Raises:
        ValueError: shapes or types do not fit, a probability or a threshold is outside [0, 1] or NaN, or the
            truth has no interior at all.
    """
    _check_mask("truth_interior", truth_interior)
    if interior_probability.shape != truth_interior.shape:
        raise ValueError(
            f"interior_probability has shape {interior_probability.shape}, the truth {truth_interior.shape}"
        )
    if not (interior_probability.min() >= 0 and interior_probability.max() <= 1):
        raise ValueError("interior_probability must lie in [0, 1], without NaN")
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError(f"thresholds must lie in [0, 1], not {list(thresholds)}")
    if not truth_interior.any():
        return [_UNDEFINED for _ in thresholds]
    neurites, _ = _components(truth_interior)
    return [_scores(_overlap(neurites, thin(_above(interior_probability, each)))) for each in thresholds]


def best_threshold(mean_v_rand: Mapping[float, float]) -> float:
    """The threshold with the highest mean V_rand over sections.

    Args:
        mean_v_rand: threshold -> mean V_rand over the sections to choose on; NaN where it is undefined.

    Returns:
        The best threshold; of equals the one nearest 0.5, of two equally near the lower.

    Raises:
        ValueError: there is no threshold to choose from, or none has a mean.
    """
    known = [mean for mean in mean_v_rand.values() if not isnan(mean)]
    if not known:
        raise ValueError("there is no threshold to choose from" if not mean_v_rand else "no threshold has a mean")
    best = max(known)
    equals = [threshold for threshold, mean in mean_v_rand.items() if mean == best]
    # Rounded: 0.3 and 0.7 are not equally far from 0.5 in floating point.
    return min(equals, key=lambda threshold: (round(abs(threshold - 0.5), 9), threshold))


def _above(probability: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.bool_]:
    # Fiji compares 32-bit pixels with a 64-bit threshold; a Python float would be rounded to 32 bits first.
    limit = np.float64(min(threshold, np.nextafter(1.0, 0.0)))
    return np.asarray(probability.astype(np.float32, copy=False) > limit)


def _components(mask: npt.NDArray[np.bool_]) -> tuple[Labels, int]:
    labels, found = ndimage.label(mask)  # 4-connected by default
    return np.asarray(labels, dtype=np.int32), found


def _flood(grid: Labels) -> None:
    """Settles all _WAITING pixels of a framed grid, in place.

    A queue of single pixels, worked off a layer at a time: a layer is all pixels at the same distance from
    the interior, in the order in which the queue would hold them.
    """
    flat = grid.reshape(-1)
    # To the left, up, right, down of the section: the order in which Fiji queues neighbours.
    steps = np.array([[-grid.shape[1]], [-1], [grid.shape[1]], [1]])
    turn = np.zeros(flat.size, dtype=np.int32)  # when a border pixel settled; 0 for the interior
    queued = np.empty(flat.size, dtype=np.int32)  # where in the queue a pixel of the next layer comes first
    waiting = np.flatnonzero(flat == _WAITING)
    layer = waiting[(flat[waiting + steps] > 0).any(axis=0)]
    first = 1
    while layer.size:
        around = layer + steps  # (4, pixels of the layer)
        turn[layer] = np.arange(first, first + layer.size)
        flat[layer] = _agreed(flat[around])
        _settle_contested(flat, turn, layer, around, first)
        reached = around.T[flat[around.T] == _WAITING]
        # Each pixel once, where it comes first: of several values for one place the last written stays.
        queued[reached[::-1]] = np.arange(reached.size)[::-1]
        layer = reached[queued[reached] == np.arange(reached.size)]
        first += around.shape[1]


def _agreed(labels: Labels) -> Labels:
    """The one component among four neighbours, 0 where several, _WAITING where none. (4, N) -> (N,)."""
    highest = labels.max(axis=0)
    lowest = np.where(labels > 0, labels, highest).min(axis=0)
    return np.where(highest <= 0, _WAITING, np.where(lowest == highest, highest, 0))


def _settle_contested(
    flat: Labels, turn: Labels, layer: npt.NDArray[np.int64], around: npt.NDArray[np.int64], first: int
) -> None:
    """Settles the pixels of a layer that depend on one of the same layer, whose turn comes before theirs."""
    own = flat[layer]
    theirs = flat[around]
    before = (turn[around] >= first) & (turn[around] < turn[layer])
    rival = (before & (theirs != own) & (theirs != 0)).any(axis=0)
    contested = (own == _WAITING) | (rival & (own != 0))
    # Each decision can change the next, so these few go one by one; `data` reads single items fast.
    label, when = flat.data, turn.data
    for pixel, neighbours in zip(layer[contested].tolist(), around.T[contested].tolist(), strict=True):
        only, own_turn = 0, when[pixel]
        for each in neighbours:
            other = label[each]
            if other > 0 and other != only and when[each] < own_turn:
                if only:
                    only = 0
                    break
                only = other
        label[pixel] = only


def _overlap(neurites: Labels, labels: npt.NDArray[np.integer[Any]]) -> _Overlap:
    inside = neurites > 0
    neurite, segment = neurites[inside], labels[inside]
    if segment.min() < 0:
        raise ValueError("labels must not be negative: 0 is border, ids start at 1")
    kept = segment > 0
    neurite_pixels = np.bincount(neurite)  # [0] is no neurite, and empty
    neurite, segment = neurite[kept], segment[kept]
    if segment.max(initial=0) > labels.size:  # ids too high to count in a table
        segment = np.unique(segment, return_inverse=True)[1]
    segment = segment.astype(np.int64, copy=False)  # bincount refuses uint64
    segment_pixels = np.bincount(segment)
    # A sparse table of neurites x segments; its conversion adds up what falls on the same pair.
    ones, shape = np.ones(segment.size, dtype=np.int64), (neurite_pixels.size, segment_pixels.size)
    table = sparse.coo_array((ones, (neurite, segment)), shape=shape).tocsr()
    border = kept.size - segment.size
    return _Overlap(neurite_pixels[1:], segment_pixels[segment_pixels > 0], table.data, border)


def _scores(overlap: _Overlap) -> NeuriteScores:
    rand = _rand(overlap)
    info = _info(overlap)
    return NeuriteScores(_harmonic_mean(*rand), *rand, _harmonic_mean(*info), *info)


def _rand(overlap: _Overlap) -> tuple[float, float]:
    """Precision and recall over pairs of pixels; all sums are times n^2, hence exact integers."""
    neurites, segments, shared = (int((sizes**2).sum()) for sizes in overlap[:3])
    joined = shared + overlap.border
    return joined / (segments + overlap.border), joined / neurites


def _info(overlap: _Overlap) -> tuple[float, float]:
    """I / H(T) and I / H(S). With x = sum of c log c over counts c, an entropy is log n - x / n."""
    one_neurite = overlap.neurites.size == 1
    one_segment = overlap.segments.size + overlap.border == 1
    if one_neurite or one_segment:
        return float(one_neurite), float(one_segment)
    n = int(overlap.neurites.sum())
    # Singletons add 1 log 1 = 0. fsum does not depend on order: identical labellings give exactly 1.
    neurites, segments, shared = (fsum((sizes * np.log(sizes)).tolist()) for sizes in overlap[:3])
    information = max(0.0, log(n) - (neurites + segments - shared) / n)
    return min(1.0, information / (log(n) - neurites / n)), min(1.0, information / (log(n) - segments / n))


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def _check_mask(name: str, mask: npt.NDArray[np.bool_]) -> None:
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"{name} must be a (H, W) array of bool, not {mask.dtype} {mask.shape}")
