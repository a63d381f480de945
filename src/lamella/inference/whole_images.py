"""The one loop that predicts whole images: for validation's choices, the test, any later evaluation and `Model`."""

import time
from collections.abc import Iterable, Iterator

import torch

from lamella.data.types import Batch
from lamella.hardware import Hardware
from lamella.inference.segmenter import Segmenter
from lamella.metrics.pixels import ImageTable, count


def predict_image(segmenter: Segmenter, image: torch.Tensor, size: tuple[int, int], hardware: Hardware) -> torch.Tensor:
    """Class probabilities float32 (1, K', *size) of one image (1, C, h, w) as stored, in the hardware's precision.

    Segmenter and image are on the hardware's device. Views are averaged where the segmenter's settings say so.
    """
    mixed = hardware.precision == "bf16-mixed"
    with torch.inference_mode(), torch.autocast(hardware.device.type, torch.bfloat16, enabled=mixed):
        return segmenter.probability(image, size, tta=segmenter.inference.tta)


def predict_images(
    segmenter: Segmenter, batches: Iterable[Batch], hardware: Hardware
) -> Iterator[tuple[Batch, torch.Tensor, float]]:
    """Predicts whole images, one after the other, as they are asked for.

    Args:
        segmenter: on the hardware's device.
        batches: whole images, one a batch.

    Yields:
        The batch on the device; the probabilities float32 (1, K', H, W) at the size of its truth, there as well;
        and when it was handed to the network, by `time.perf_counter`.
    """
    for batch in batches:
        began = time.perf_counter()
        image, mask, valid = (tensor.to(hardware.device) for tensor in (batch.image, batch.mask, batch.valid))
        yield Batch(image, mask, valid, batch.id), predict_image(segmenter, image, size_of(batch), hardware), began


def count_images(segmenter: Segmenter, batches: Iterable[Batch], hardware: Hardware, num_classes: int) -> ImageTable:
    """The pixel counts of every image, and nothing else; the background is one of the classes."""
    ids, counts = [], []
    for there, probability, _ in predict_images(segmenter, batches, hardware):
        ids += there.id
        counts.append(count(segmenter.classes(probability), there.mask, there.valid, num_classes))
    return ImageTable(ids, torch.cat(counts).cpu().numpy())


def size_of(batch: Batch) -> tuple[int, int]:
    """Height and width of a batch's truth, at which its probabilities are wanted."""
    return batch.mask.shape[-2], batch.mask.shape[-1]
