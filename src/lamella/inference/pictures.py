"""Pictures of any size in files, predicted some rows at a time by one trained network or an ensemble."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.cache.arrays import network_input
from lamella.data.io.read import Pixels, read_image
from lamella.data.types import ImageRef
from lamella.hardware import Hardware
from lamella.inference.checkpoint import Trained
from lamella.inference.whole_images import predict_image


class Band(NamedTuple):
    """Some rows of a picture and what is predicted of them, from top to bottom without a gap.

    Attributes:
        top: the number of the first of them.
        height: rows of the whole picture.
        image: the levels as stored, (C, h, W).
        probability: float32 (K', h, W), on the CPU: K' = 1, the foreground's, for two classes, else one a class.
        spread: float32 (h, W), from 0: how far the views and networks differ there (the standard deviation of the
            foreground's, or the likeliest class's, probability); None where there is but one view and one network.
    """

    top: int
    height: int
    image: Pixels
    probability: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32] | None


def predict_rows(trained: Sequence[Trained], ref: ImageRef, hardware: Hardware, *, tta: bool | None) -> Iterator[Band]:
    """The rows of one picture with their probabilities, as the first network's own test would have them.

    Args:
        trained: one network, or several of the same classes, channels and normalisation, whose probabilities are
            averaged; on the hardware's device.
        ref: the picture.
        hardware: device and precision.
        tta: average over the eight flips and quarter turns; None: as the test did.

    Raises:
        DataError: the picture cannot be read, or has other channels or levels than the networks learned from.
    """
    first = trained[0]
    image = read_image(ref, first.channels)
    stored = network_input(image, scale=first.scale, percentiles=first.percentiles)
    batch, size = torch.from_numpy(stored)[None].to(hardware.device), (image.shape[1], image.shape[2])
    views = first.segmenter.inference.tta if tta is None else tta
    found = [predict_image(each.segmenter, batch, size, hardware, tta=views) for each in trained]
    mean = torch.stack(found).mean(dim=0)[0].cpu().numpy()
    yield Band(0, size[0], image, mean, None)
