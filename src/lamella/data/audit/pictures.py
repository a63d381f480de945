"""Small pictures of images with their masks drawn over them, as a person looks at them."""

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from lamella.data.audit.sample_stats import Floats
from lamella.data.cache.arrays import Store
from lamella.data.io.pieces.blocks import blocks_of, release, values_at
from lamella.data.io.read import Bytes, Pixels
from lamella.data.types import IGNORE, Sample

Colour = tuple[int, int, int]
Region = tuple[slice, slice]

OUTLINE: Colour = (255, 120, 0)
FOREGROUND: Colour = (0, 210, 255)  # neither tissue nor a stain has it
IGNORED: Colour = (150, 150, 150)
# Okabe & Ito 2008: told apart by everyone.
CLASSES: tuple[Colour, ...] = (
    *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167)),
    *((86, 180, 233), (213, 94, 0), (240, 228, 66)),
)

_SIDE = 256  # pixels of a small picture's longer side
_PAIR = 440  # of a pair's
_WINDOW = 1024  # pixels of a large image that are shown, so that outlines can be judged
_TINT = 0.22  # of what is labelled; its outline is drawn in full
_LEVELS = 512  # rows and columns, evenly spread, by which contrast is stretched


class Pair(NamedTuple):
    """A picture of an image and its mask.

    Attributes:
        jpeg: the file.
        shown: which part of the image it is, in words; "" for all.
    """

    jpeg: bytes
    shown: str


def small_picture(sample: Sample, store: Store) -> bytes:
    """A small JPEG of a whole image, levels as they are where they are of 8 bits, with the outline of its mask."""
    image, truth = store.image(sample), store.truth(sample)
    size = _size((image.shape[1], image.shape[2]), _SIDE)
    limits = np.array([[0], [255]]) if image.dtype == np.uint8 else _limits(image).mean(axis=1, keepdims=True)
    labels = _picked(truth, (slice(0, truth.shape[0]), slice(0, truth.shape[1])), size)
    colours = np.broadcast_to(np.array(OUTLINE, np.float32), (*labels.shape, 3))
    tint = np.where((labels > 0) & (labels != IGNORE), _TINT, 0)
    release(image)
    release(truth)
    weight = np.where(_edges(labels), 1, tint)
    return _painted(_shrunk(image, size), limits, colours, weight, quality=72)


def pair_picture(sample: Sample, store: Store) -> Pair:
    """An image, its contrast stretched, with what its mask says of it in colours. Of a large one the liveliest part.

    Objects have colours of their own; else classes have, if there are more than two.
    """
    image, truth, objects = store.image(sample), store.truth(sample), store.objects(sample)
    height, width = truth.shape
    region = _liveliest(truth)
    tall, wide = (side.stop - side.start for side in region)
    larger = max(1, _PAIR // max(tall, wide))  # so that outlines are thin in small images, too
    size = _size((tall * larger, wide * larger), _PAIR)
    down, right = image.shape[1] / height, image.shape[2] / width  # the network's input may be smaller
    part = tuple(
        slice(int(side.start * by), max(int(side.start * by) + 1, round(side.stop * by)))
        for side, by in zip(region, (down, right), strict=True)
    )
    seen = _shrunk(image[:, *part], size)
    classes = _picked(truth, region, size)
    labels = classes.astype(np.int64)
    if objects is not None:
        ids = _picked(objects, region, size).astype(np.int64)
        labels = np.where(ids > 0, ids + IGNORE, labels)
    colours, tint = _coloured(labels, len(store.card.class_names))
    limits = _limits(image)
    outlines = _outlines(labels)
    strength = np.where(outlines > 0, 1, tint)
    colours = np.where((outlines > 0)[..., None], _coloured(outlines, len(store.card.class_names))[0], colours)
    jpeg = _painted(seen, limits, colours, strength, quality=80)
    for array in (image, truth, *([] if objects is None else [objects])):
        release(array)
    if region == (slice(0, height), slice(0, width)):
        return Pair(jpeg, "")
    y, x = (side.start for side in region)
    return Pair(jpeg, f"{region[1].stop - x} x {region[0].stop - y} of {width} x {height} pixels, from ({x}, {y})")


def class_colours(names: tuple[str, ...]) -> list[tuple[str, Colour]]:
    """The classes but the background, each with its colour."""
    if len(names) == 2:
        return [(names[1], FOREGROUND)]
    return [(name, CLASSES[number % len(CLASSES)]) for number, name in enumerate(names[1:])]


def _size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(h, w) of a picture whose longer side is no longer than so many pixels."""
    by = min(1.0, side / max(size))
    return max(1, round(size[0] * by)), max(1, round(size[1] * by))


def _shrunk(image: Pixels, size: tuple[int, int]) -> Floats:
    """The image (C, H, W) in a size (h, w), by area averaging: (h, w, 3)."""
    height, width = size
    rows = []
    for block in blocks_of(image):
        planes = block.pixels if len(image) in (1, 3) else block.pixels.mean(axis=0, dtype=np.float32)[None]
        pictures = [Image.fromarray(plane.astype(np.float32, copy=False)) for plane in planes]
        rows.append(np.stack([np.asarray(p.resize((width, p.height), Image.Resampling.BOX)) for p in pictures]))
    small = [Image.fromarray(plane).resize((width, height), Image.Resampling.BOX) for plane in np.concatenate(rows, 1)]
    return np.broadcast_to(np.stack([np.asarray(plane) for plane in small], axis=-1), (height, width, 3))


def _limits(image: Pixels) -> npt.NDArray[np.float64]:
    """The levels of each channel between which the contrast is stretched, (2, C), over pixels evenly spread."""
    rows, columns = (np.arange(0, side, -(-side // _LEVELS)) for side in image.shape[1:])
    return np.asarray(np.percentile(values_at(image, rows, columns), [0.5, 99.5], axis=(1, 2)))


def _picked(labels: npt.NDArray[np.integer], region: Region, size: tuple[int, int]) -> npt.NDArray[np.integer]:
    """The labels (H, W) of a region in a size (h, w): each pixel is that of the one nearest to its middle."""
    rows, columns = (
        side.start + ((np.arange(count) + 0.5) * (side.stop - side.start) / count).astype(np.int64)
        for side, count in zip(region, size, strict=True)
    )
    return values_at(labels, rows, columns)


def _liveliest(truth: Bytes) -> Region:
    """All of a mask; of a large one the window, of nine evenly spread, in which labels change most."""
    height, width = truth.shape
    if max(height, width) <= 2 * _WINDOW:
        return slice(0, height), slice(0, width)
    tall, wide = min(height, _WINDOW), min(width, _WINDOW)
    found = []
    for place in (
        (1, 1),
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
    ):  # the middle, if all are alike
        top, left = place[0] * (height - tall) // 2, place[1] * (width - wide) // 2
        window = slice(top, top + tall), slice(left, left + wide)
        found.append((int(np.count_nonzero(_edges(truth[window]))), window))
        release(truth)
    return max(found, key=lambda one: one[0])[1]


def _coloured(labels: npt.NDArray[np.int64], classes: int) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Colours (h, w, 3) and how strong they are, (h, w). Labels beyond IGNORE are objects."""
    table = np.zeros((IGNORE + 1, 3), np.float32)
    for number, (_, colour) in enumerate(class_colours(("", *map(str, range(1, classes)))), 1):
        table[number] = colour
    table[IGNORE] = IGNORED
    colours = table[np.minimum(labels, IGNORE)]
    objects = labels > IGNORE
    colours[objects] = _hues(labels[objects])
    tint = np.where(labels == 0, 0, np.where(labels == IGNORE, 0.5, np.where(objects, 0.4, _TINT)))
    return colours, tint


def _hues(numbers: npt.NDArray[np.int64]) -> Floats:
    """A bright colour for each number, far from those of its neighbours, (N, 3)."""
    hue = (numbers * 0.6180339887) % 1 * 6
    wheel = np.abs((hue[:, None] + np.array([0, 4, 2])) % 6 - 3) - 1
    return np.asarray(255 * wheel.clip(0, 1), np.float32)


def _painted(
    seen: Floats,
    limits: npt.NDArray[np.float64],
    colours: Floats,
    strength: npt.NDArray[np.float64],
    quality: int,
) -> bytes:
    """A JPEG of levels, stretched between their limits, with colours over them that are 0 to 1 strong."""
    low, high = limits if limits.shape[1] in (1, 3) else limits.mean(axis=1, keepdims=True)
    grey = np.clip((seen - low) * (255 / np.maximum(high - low, 1e-6)), 0, 255)
    file = io.BytesIO()
    painted = grey + strength[..., None] * (colours - grey)
    Image.fromarray(painted.astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _outlines(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The labels where they meet others, two pixels wide, of two the greater one; 0 elsewhere."""
    greatest = ndimage.maximum_filter(labels, 3, mode="nearest")
    return np.where(greatest != ndimage.minimum_filter(labels, 3, mode="nearest"), greatest, 0)


def _edges(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label."""
    edges = np.zeros(labels.shape, np.bool_)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges
