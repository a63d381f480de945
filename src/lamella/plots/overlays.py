"""Masks and mistakes as pictures: their colours, and images as people can look at them. Draws nothing else."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np

from lamella.data.audit.pictures import CLASSES
from lamella.data.io.read import Bytes, Pixels
from lamella.data.types import IGNORE

Colour = tuple[int, int, int]

# Both wrong kinds are warm, so that "wrong" is seen at once, and differ in lightness, so that everyone can tell them.
FALSE_POSITIVE = (200, 0, 30)
FALSE_NEGATIVE = (255, 176, 0)
IGNORED = (190, 190, 190)


def visible(image: Pixels) -> Bytes:
    """An image (C, H, W) as people can look at it: uint8 (H, W, 3).

    8-bit levels stay as they are; others are stretched between their 1st and 99th percentile. Three channels
    are red, green and blue; of any other number the first is shown.
    """
    shown = image if len(image) == 3 else image[:1]
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (1, 99))
        shown = (255 * ((shown - low) / (high - low if high > low else 1)).clip(0, 1)).astype(np.uint8)
    return np.broadcast_to(np.moveaxis(shown, 0, -1), (*shown.shape[1:], 3)).astype(np.uint8)


def mistakes(seen: Bytes, truth: Bytes, predicted: Bytes) -> Bytes:
    """The picture (H, W, 3) in pale grey, false positives and false negatives (or confusions) in colour."""
    pale = 128 + seen.mean(axis=-1, keepdims=True) / 2
    out = np.repeat(pale, 3, axis=-1).astype(np.uint8)
    wrong = (truth != predicted) & (truth != IGNORE)
    out[wrong & (truth == 0)] = FALSE_POSITIVE
    out[wrong & (truth != 0)] = FALSE_NEGATIVE
    return out


def paint(mask: Bytes, num_classes: int) -> Bytes:
    """Class ids (H, W) as a picture (H, W, 3): background white; one foreground black, several coloured."""
    out: Bytes = np.array(CLASSES, np.uint8)[(mask.astype(int) - 1) % len(CLASSES)]
    if num_classes == 2:
        out[mask == 1] = 0
    out[mask == 0] = 255
    out[mask == IGNORE] = IGNORED
    return out


def class_colours(class_names: Sequence[str]) -> list[tuple[str, Colour]]:
    """The classes but the background, each with the colour that `paint` gives it among several."""
    return list(zip(class_names[1:], cycle(CLASSES), strict=False))
