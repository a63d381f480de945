"""Pictures of any size in files, predicted some rows at a time by one trained network or an ensemble."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.pieces.blocks import Block
from lamella.data.io.pieces.inputs import network_blocks, percentiles_of
from lamella.data.io.pieces.memory import require_memory
from lamella.data.io.read import Bytes, Pixels, header, image_blocks, scaled_size
from lamella.data.types import ImageRef
from lamella.errors import ConfigError, DataError
from lamella.hardware import Hardware
from lamella.inference.checkpoint import Trained
from lamella.inference.segmenter import stream
from lamella.inference.whole_images import computing
from lamella.objects.regions import Found, find


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

    Memory does not grow with the picture's height, and with its width only by the rows of a tile. The next rows are
    read while the network is at work. Methods without training need the whole picture.

    Args:
        trained: one network, or several of the same classes, channels and normalisation, whose probabilities are
            averaged; on the hardware's device.
        ref: the picture.
        hardware: device and precision.
        tta: average over the eight flips and quarter turns; None: as the first network's test did.

    Raises:
        ConfigError: the networks do not go together.
        DataError: the picture cannot be read, or has other channels or levels than the networks learned from.
    """
    require_alike(trained)
    first, segmenters = trained[0], [each.segmenter for each in trained]
    head = header(ref)
    require_as_learned(trained, head.channels, head.dtype, ref)
    wanted = head.height, head.width
    if not all(each.gives_probabilities for each in segmenters):
        require_memory(ref, (head.channels, *wanted), 4, 4)  # it is taken as float32, in one piece
    stored: deque[Block] = deque()

    def read() -> Iterator[Block]:
        return image_blocks(ref, first.channels)

    def remembered() -> Iterator[Block]:
        for block in read():
            stored.append(block)
            yield block

    def rows() -> Iterator[torch.Tensor]:
        limits = None if first.percentiles is None else percentiles_of(read, first.percentiles)
        for block in _ahead(network_blocks(remembered(), first.scale, limits)):
            pixels = np.require(block.pixels, requirements=["C", "W"])  # else torch warns of a file that is mapped
            yield torch.from_numpy(pixels).to(hardware.device, non_blocking=True)

    views = first.segmenter.inference.tta if tta is None else tta
    views = views and any(each.gives_probabilities for each in segmenters)
    size = scaled_size(wanted, first.scale)
    outputs, top = 1 if len(first.class_names) == 2 else len(first.class_names), 0
    for band in _computed(stream(segmenters, rows(), size, wanted, tta=views), hardware):
        found = band.cpu().numpy()
        image = _taken(stored, top, top + found.shape[1])
        yield Band(top, wanted[0], image, found[:outputs], found[outputs] if len(found) > outputs else None)
        top += found.shape[1]


def objects_in(classes: Bytes, trained: Trained, folder: Path) -> Found:
    """The single objects of class ids (H, W), numbered as the network's own test numbered them.

    Args:
        classes: what the network, or an ensemble that it stands for, gave; may be mapped.
        trained: the network.
        folder: for what is found, see `lamella.objects.regions.find`, which also says what is raised.
    """
    return find(
        classes,
        trained.objects,
        smallest=trained.smallest,
        neck=trained.neck,
        folder=folder,
        border=trained.border,
    )


def require_alike(trained: Sequence[Trained]) -> None:
    """Raises ConfigError where networks cannot predict together: names what they differ in, and how."""
    said: dict[str, Callable[[Trained], Any]] = {
        "classes": lambda each: each.class_names,
        "channels": lambda each: each.channels,
        "dataset.scale": lambda each: each.scale,
        "dataset.percentiles": lambda each: each.percentiles,
        "type of levels": lambda each: each.dtype if each.percentiles is None else None,
        "data.context": lambda each: each.segmenter.context,
    }
    for name, of in said.items():
        values = [of(each) for each in trained]
        for number, value in enumerate(values[1:], 2):
            if value != values[0]:
                raise ConfigError(
                    f"the networks do not go together: {name} of the first is {values[0]}, of number {number} {value}",
                    "Name runs of one data set with the same dataset.scale, dataset.percentiles and data.context.",
                )


def require_as_learned(trained: Sequence[Trained], channels: int, dtype: np.dtype[Any], shown: object) -> None:
    """Raises DataError where a picture has other channels or levels than the networks learned from.

    Levels of another camera would mean something else; where each image is stretched by itself they do not.
    """
    learned = trained[0]
    if channels != learned.channels:
        raise DataError(
            f"{shown} has {channels} channel(s), and this model was trained on {learned.channels}",
            "Give it the channels that it learned from, in their order; or train a model on such images.",
        )
    if dtype != learned.dtype and learned.percentiles is None:
        raise DataError(
            f"{shown} holds {dtype} levels, and this model was trained on {learned.dtype}",
            "Save it with levels as the training images have them; or train with dataset.percentiles, such as [1,99], "
            "which stretches each image by itself.",
        )


def _computed(bands: Iterator[torch.Tensor], hardware: Hardware) -> Iterator[torch.Tensor]:
    """The bands, each computed as a prediction is; between them torch is as it was."""
    while True:
        with computing(hardware):
            band = next(bands, None)
        if band is None:
            return
        yield band


def _ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks, the next one read by a thread meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _taken(stored: deque[Block], top: int, bottom: int) -> Pixels:
    """Rows of the picture as stored; those above are forgotten."""
    while stored[0].top + stored[0].pixels.shape[-2] <= top:
        stored.popleft()
    parts = []
    for block in list(stored):  # the reader may add to it meanwhile
        if block.top >= bottom:
            break
        parts.append(block.pixels[..., max(0, top - block.top) : bottom - block.top, :])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)
