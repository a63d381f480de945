"""Methods without training: Otsu's and the balanced threshold, k-means, watershed. Two classes, any channels.

They stand where a network stands: normalised float32 (B, C, H, W) -> logits (B, 1, H, W). Each image is segmented
by its own histogram, so it must come whole: no tiles, no context around it. Shifting and scaling the grey levels of
a channel, as normalisation does, changes nothing in what a threshold on that channel finds. The logit's sign is the
answer; its size tells how far a pixel is from the other one, and is no calibrated probability.

What such a method cannot know is which channel to look at and whether the foreground is dark or bright. Where the
configuration says `auto`, `Classical.fit_on_validation` tries all and keeps the best on labelled images: those of the
validation split, never of the test split. The choice is a buffer, so a checkpoint carries it.
"""

import warnings
from typing import Annotated

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed as flood
from sklearn.cluster import KMeans as Clustering  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.models.classical.base import Choice, Classical, Floats, Known, choices
from lamella.models.contract import Channels

_Classes = Annotated[int, Key("classes, background included: 2", least=2)]
_Channel = Annotated[str, Key("auto (by validation), grey (mean of all), or a channel's number from 0")]
_Foreground = Annotated[str, Key("what is sought", choices=("auto", "dark", "bright"))]

_BINS = 256  # of a balanced histogram, at most
_STARTS = 4  # of k-means; the best of so many runs
_PIXELS = 50_000  # drawn to find the centres of clusters; all are then given to the nearest


def otsu(*, in_channels: Channels, num_classes: _Classes, channel: _Channel, foreground: _Foreground) -> Classical:
    """Otsu's method: the threshold that separates the grey levels best (N. Otsu 1979, IEEE Trans. SMC 9:62).

    Raises:
        ConfigError: more than two classes, or no such channel.
    """
    return Threshold("otsu", choices("otsu", in_channels, num_classes, channel, foreground))


def bht(*, in_channels: Channels, num_classes: _Classes, channel: _Channel, foreground: _Foreground) -> Classical:
    """The grey level at which the histogram balances, as threshold (A. Anjos, H. Shahbazkia 2008, BIOSIGNALS 2:70).

    It looks at the outermost levels first, so a few very dark or bright pixels can move it to where nothing is told
    apart; that is the method, and on blood smears it often happens.

    Raises:
        ConfigError: more than two classes, or no such channel.
    """
    return Threshold("bht", choices("bht", in_channels, num_classes, channel, foreground))


def kmeans(
    *,
    in_channels: Channels,
    num_classes: _Classes,
    channel: _Channel,
    foreground: _Foreground,
    clusters: Annotated[list[int], Key("numbers of clusters to try by validation; one is taken as it is", least=2)],
    seed: Annotated[int, Key("decides where clustering starts", least=0, most=2**32 - 1)],
) -> Classical:
    """k-means in the space of all (normalised) channels; the n darkest or brightest clusters are the foreground.

    `channel` is where clusters are told dark from bright. Which n from 1 to k - 1 is taken, and with several
    `clusters` which k, validation decides.

    Raises:
        ConfigError: more than two classes, no such channel, or no number of clusters.
    """
    if not clusters:
        raise ConfigError("model.clusters is empty", "For example model.clusters=[2,3,4].")
    parts = [(k, taken) for k in clusters for taken in range(1, k)]
    return KMeans(choices("kmeans", in_channels, num_classes, channel, foreground, parts=parts), seed)


def watershed(
    *,
    in_channels: Channels,
    num_classes: _Classes,
    channel: _Channel,
    foreground: _Foreground,
    fill_holes: Annotated[str, Key("ground inside a cell becomes cell", choices=("auto", "always", "never"))],
    depth: Annotated[float, Key("a neck this many pixels narrower than what it joins is cut", above=0)],
) -> Classical:
    """Otsu's foreground, cut into cells along the watersheds of the distance to its edge.

    Markers are the maxima of the distance transform, those counted as one between which the way nowhere falls by
    `depth` pixels (of the scaled image). Each is flooded within Otsu's mask (L. Vincent, P. Soille 1991, PAMI 13:583).
    The result is the union of all basins without the lines, one pixel wide, where two of them meet: cells that
    touch come apart. Regions without a marker, nowhere more than `depth` pixels from their edge, are gone.

    Raises:
        ConfigError: more than two classes, or no such channel.
    """
    fills = {"auto": [False, True], "always": [True], "never": [False]}[fill_holes]
    return Watershed(choices("watershed", in_channels, num_classes, channel, foreground, fills=fills), depth)


class Threshold(Classical):
    """One threshold for each image. See `otsu` and `bht`."""

    def __init__(self, name: str, candidates: list[Choice]) -> None:
        super().__init__(name, candidates)
        self.find = {"otsu": otsu_threshold, "bht": balanced_threshold}[name]

    def segment(self, image: Floats, choice: Choice, known: Known) -> Floats:
        plane = choice.plane(image)
        if choice.channel not in known:
            known[choice.channel] = self.find(plane)
        return signed_distance(plane, known[choice.channel], bright=bool(choice.bright))


class KMeans(Classical):
    """Clusters of colours. See `kmeans`."""

    def __init__(self, candidates: list[Choice], seed: int) -> None:
        super().__init__("kmeans", candidates)
        self.seed = seed

    def segment(self, image: Floats, choice: Choice, known: Known) -> Floats:
        if choice.clusters not in known:
            known[choice.clusters] = distances(image, choice.clusters, self.seed)
        centres, distance = known[choice.clusters]  # (k, C), (k, H, W)
        order = np.argsort(choice.plane(centres.T), kind="stable")
        taken = order[-choice.taken :] if choice.bright else order[: choice.taken]
        is_taken = np.isin(np.arange(choice.clusters), taken)
        nearer: Floats = distance[~is_taken].min(axis=0) - distance[is_taken].min(axis=0)
        return nearer


class Watershed(Classical):
    """Otsu's foreground cut into cells. See `watershed`."""

    def __init__(self, candidates: list[Choice], depth: float) -> None:
        super().__init__("watershed", candidates)
        self.depth = depth

    def segment(self, image: Floats, choice: Choice, known: Known) -> Floats:
        plane = choice.plane(image)
        distance = signed_distance(plane, otsu_threshold(plane), bright=bool(choice.bright))
        mask = distance > 0
        if choice.filled:
            mask = ndimage.binary_fill_holes(mask)
        inside = ndimage.distance_transform_edt(mask)
        domes = reconstruction(inside - self.depth, inside)  # maxima less than `depth` above their pass run together
        markers, _ = ndimage.label(local_maxima(domes) & (domes > 0), np.ones((3, 3)))
        cells = flood(-inside, markers, mask=mask, watershed_line=True) > 0
        # How far from the threshold, on the side that the cells say.
        result: Floats = np.where(cells, np.abs(distance), -np.abs(distance))
        return result


def signed_distance(plane: Floats, threshold: float | None, *, bright: bool) -> Floats:
    """How far each pixel is into the foreground, in units of `plane`; a flat image has none."""
    if threshold is None:
        return np.full_like(plane, -1)
    return plane - threshold if bright else threshold - plane


# --- One threshold for an image's grey levels, halfway between two of them, so that no pixel lies on it -


def otsu_threshold(plane: npt.NDArray[np.floating]) -> float | None:
    """Otsu's threshold of an image (H, W): above scikit-image's, and below the next level that the image holds.

    Every level is a bin of its own, as scikit-image has it for whole numbers; so the pixels above are the same for
    bytes and for normalised bytes. None where the image is flat.
    """
    levels, counts = np.unique(plane, return_counts=True)
    if len(levels) == 1:
        return None
    found = np.searchsorted(levels, threshold_otsu(hist=(counts, levels.astype(np.float64))))
    return (float(levels[found]) + float(levels[found + 1])) / 2


def balanced_threshold(plane: npt.NDArray[np.floating]) -> float | None:
    """The balanced threshold of an image (H, W), see `balance`; None where the image is flat.

    Bins are as wide as the smallest step between levels, as with bytes, unless that gives more than 256.
    """
    levels, counts = np.unique(plane.astype(np.float64), return_counts=True)
    if len(levels) == 1:
        return None
    width = max(np.diff(levels).min(), (levels[-1] - levels[0]) / (_BINS - 1))
    place = np.rint((levels - levels[0]) / width).astype(np.int64)
    found = balance(np.bincount(place, weights=counts).astype(np.int64))
    return float(levels[0] + (found + 0.5) * width)


def balance(histogram: npt.NDArray[np.int64]) -> int:
    """Where a histogram balances when it is weighed: the last bin of its dark side.

    The pivot is the middle of the bins from the first to the last; the middle one weighs on the left. The outermost
    bin of the heavier side (of the left one where they are equal) is taken away and the pivot moved to the new
    middle, until one bin is left.
    """
    below = np.concatenate([[0], np.cumsum(histogram)])  # below[i]: pixels in bins before i
    first, last = 0, len(histogram) - 1
    while first < last:
        middle = (first + last) // 2
        left, right = below[middle + 1] - below[first], below[last + 1] - below[middle + 1]
        first, last = (first + 1, last) if left >= right else (first, last - 1)
    return first


# --- Clusters of an image's colours ---------------------------------------------------------------------


def distances(image: Floats, clusters: int, seed: int) -> tuple[Floats, Floats]:
    """The centres of an image's clusters, and each pixel's distance to them.

    Args:
        image: (C, H, W).
        clusters: k.
        seed: decides which pixels are drawn (of more than 50,000) and where the runs start.

    Returns:
        float32 (k, C) and (k, H, W). Where an image has fewer colours than k, centres coincide.
    """
    pixels = image.reshape(len(image), -1).T  # (H W, C)
    drawn = pixels
    if len(pixels) > _PIXELS:
        drawn = pixels[np.random.default_rng(seed).choice(len(pixels), _PIXELS, replace=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = Clustering(clusters, n_init=_STARTS, random_state=seed).fit(drawn)
    centres: Floats = found.cluster_centers_.astype(np.float32)
    far = np.stack([np.sqrt(((image - centre[:, None, None]) ** 2).sum(axis=0)) for centre in centres])
    return centres, far
