"""Channel statistics over the training images: what normalisation needs."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lamella.data.store import Store
from lamella.data.types import Sample


def channel_statistics(samples: Sequence[Sample], store: Store) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel over all pixels of `samples`, in grey levels (0..255).

    A channel that never varies gets a standard deviation of 1, so that it normalises to zero.
    """
    histograms = np.zeros((store.card.channels, 256), np.int64)
    for sample in samples:
        for channel, plane in enumerate(store.image(sample)):
            histograms[channel] += Image.fromarray(plane).histogram()
    levels = np.arange(256)
    counts = histograms.sum(axis=1)
    mean = histograms @ levels / counts
    variance = histograms @ levels**2 / counts - mean**2
    std = np.sqrt(np.maximum(variance, 0))
    return mean.tolist(), np.where(std > 0, std, 1).tolist()
