"""The one loop that predicts whole images: for validation's choices, the test, any later evaluation and `Model`."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lamella.data.io.labels import Labels
from lamella.data.io.masks import Objects
from lamella.data.types import Batch
from lamella.hardware import Hardware, whole_float32
from lamella.inference.segmenter import Segmenter
from lamella.metrics.image_counts import ImageCounts
from lamella.metrics.pixels import ImageTable, count


class Predicted(NamedTuple):
    """One whole image and what is said of it, by a network or by a mask that was made elsewhere.

    Attributes:
        there: the batch on the device.
        probability: float32 (1, K', H, W) at the size of its truth, on the device.
        classes: uint8 (1, H, W), class ids, on the device.
        began: when the image was handed to the network, by `time.perf_counter`.
        objects: the ids of single objects (H, W), 0 for none; None where none are told apart.
    """

    there: Batch
    probability: torch.Tensor
    classes: torch.Tensor
    began: float
    objects: Objects | None = None


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
    with computing(hardware):
        return segmenter.probability(image, size, tta=tta)


@contextmanager
def computing(hardware: Hardware) -> Iterator[None]:
    """Makes torch compute as a prediction on this hardware does: without gradients, and in its precision."""
    kind, mixed = hardware.device.type, hardware.precision == "bf16-mixed"
    autocast = torch.autocast(kind, torch.bfloat16) if mixed else nullcontext()
    with torch.inference_mode(), whole_float32(hardware), autocast:
        yield


def predict_images(
    segmenter: Segmenter, batches: Iterable[Batch], hardware: Hardware, *, tta: bool
) -> Iterator[Predicted]:
    """Whole images, one a batch, each predicted when it is asked for; the rest is as in `predict_image`."""
    for batch in batches:
        began = time.perf_counter()
        image, mask, valid = (tensor.to(hardware.device) for tensor in (batch.image, batch.mask, batch.valid))
        there = Batch(image, mask, valid, batch.id)
        probability = predict_image(segmenter, image, size_of(batch), hardware, tta=tta)
        yield Predicted(there, probability, segmenter.classes(probability), began)


def given_images(
    batches: Iterable[Batch], mask_of: Callable[[str], Labels], *, num_classes: int
) -> Iterator[Predicted]:
    """Whole images, one a batch, with masks that were made elsewhere, as `predict_images` gives them.

    Args:
        batches: whole images, one a batch.
        mask_of: the id of an image -> its mask, of the size of its truth, every pixel of a class.
        num_classes: background included.
    """
    for batch in batches:
        began = time.perf_counter()
        mask = mask_of(batch.id[0])
        classes = torch.from_numpy(mask.classes.copy())[None]
        yield Predicted(batch, certain(classes, num_classes), classes, began, mask.objects)


def certain(classes: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Class ids (B, H, W) as probabilities (B, K', H, W) that leave no doubt: 1 for the class of a pixel, else 0."""
    if num_classes == 2:
        return classes[:, None].float()
    return F.one_hot(classes.long(), num_classes).movedim(-1, 1).float()


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
    for each in predict_images(segmenter, batches, hardware, tta=tta):
        there = each.there
        counts.update(there.id, count(each.classes, there.mask, there.valid, num_classes))
    return counts.table()


def size_of(batch: Batch) -> tuple[int, int]:
    """Height and width of a batch's truth, at which its probabilities are wanted."""
    return batch.mask.shape[-2], batch.mask.shape[-1]
