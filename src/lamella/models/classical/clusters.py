"""Clusters of an image's colours, found by scikit-learn's k-means."""

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

Floats = npt.NDArray[np.float32]

_STARTS = 4  # the best of so many runs
_PIXELS = 50_000  # drawn to find the centres; all are then given to the nearest


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
        found = KMeans(clusters, n_init=_STARTS, random_state=seed).fit(drawn)
    centres: Floats = found.cluster_centers_.astype(np.float32)
    far = np.stack([np.sqrt(((image - centre[:, None, None]) ** 2).sum(axis=0)) for centre in centres])
    return centres, far
