"""The one loop that predicts whole images: for validation's choices, the test, any later evaluation and `Model`."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch

from lamella.data.types import Batch
from lamella.hardware import Hardware, whole_float32
from lamella.inference.segmenter import Segmenter
from lamella.metrics.image_counts import ImageCounts
from lamella.metrics.pixels import ImageTable, count


class Predicted(NamedTuple):
    """One whole image and what the network says of it.

    Attributes:
        there: the batch on the device.
        probability: float32 (1, K', H, W) at the size of its truth, on the device.
        began: when the image was handed to the network, by `time.perf_counter`.
    """

    there: Batch
    probability: torch.Tensor
    began: float


def predict_image(
    segmenter: Segmenter, image: torch.Tensor, size: tuple[int, int], hardware: Hardware, *, tta: bool
) -> torch.Tensor:
    """Class probabilities float32 (1, K', *size) of one image (1, C, h, w) as stored.

    Args:
        segmenter: on the hardware's device.
        image: on the same device.
        size: height and width wanted.
        hardware: device and precision.
        tta: average over the eight flips and quarter turns.
    """
    kind, mixed = hardware.device.type, hardware.precision == "bf16-mixed"
    autocast = torch.autocast(kind, torch.bfloat16) if mixed else nullcontext()
    with torch.inference_mode(), whole_float32(hardware), autocast:
        return segmenter.probability(image, size, tta=tta)


def predict_images(
    segmenter: Segmenter, batches: Iterable[Batch], hardware: Hardware, *, tta: bool
) -> Iterator[Predicted]:
    """Whole images, one a batch, each predicted when it is asked for; the rest is as in `predict_image`."""
    for batch in batches:
        began = time.perf_counter()
        image, mask, valid = (tensor.to(hardware.device) for tensor in (batch.image, batch.mask, batch.valid))
        there = Batch(image, mask, valid, batch.id)
        yield Predicted(there, predict_image(segmenter, image, size_of(batch), hardware, tta=tta), began)


def count_images(
    segmenter: Segmenter,
    batches: Iterable[Batch],
    hardware: Hardware,
    *,
    ids: Sequence[str],
    num_classes: int,
    tta: bool,
) -> ImageTable:
    """The pixel counts of whole images, and nothing else; `ids` are theirs, the rest is as in `predict_images`."""
    counts = ImageCounts(ids)
    for there, probability, _ in predict_images(segmenter, batches, hardware, tta=tta):
        counts.update(there.id, count(segmenter.classes(probability), there.mask, there.valid, num_classes))
    return counts.table()


def size_of(batch: Batch) -> tuple[int, int]:
    """Height and width of a batch's truth, at which its probabilities are wanted."""
    return batch.mask.shape[-2], batch.mask.shape[-1]
