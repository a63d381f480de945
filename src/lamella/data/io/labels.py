"""Mask files -> class ids and, where they tell objects apart, the ids of single objects."""

from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from lamella.data.annotations import rasterise
from lamella.data.io.decode import header
from lamella.data.io.masks import PLAIN, Objects, read_mask, read_numbered
from lamella.data.io.pieces.memory import require_memory
from lamella.data.io.resize import Bytes, scaled_size
from lamella.data.types import IGNORE, DatasetCard, ImageRef, Sample
from lamella.errors import DataError


class Labels(NamedTuple):
    """What a mask says of every pixel.

    Attributes:
        classes: uint8 (H, W), class ids, and IGNORE; objects that touch are not parted here.
        objects: int32 (H, W), 0 for none, ids from 1; None where the mask tells no objects apart. What is background
            or to be ignored is no object.
        between: the class id of what parts objects that touch: of what lies around them.
    """

    classes: Bytes
    objects: Objects | None
    between: int = 0


def read_labels(ref: ImageRef, card: DatasetCard, image: ImageRef) -> Labels:
    """What a mask says of every pixel, as the data set's card has it.

    Args:
        ref: the mask.
        card: what values mean, and how objects are told apart.
        image: what it is the mask of: annotations have its size.

    Raises:
        DataError: see `lamella.data.io.masks.read_mask`; an object of a class that the card lacks; files of one mask
            of unlike sizes.
    """
    kind = card.labelling.objects
    if kind == "":
        return Labels(read_mask(ref, card.mask_values, card.labelling), None)
    if kind == "drawn":
        return _drawn(ref, card, header(image)[:2])
    return _numbered(ref, card)


def parted(labels: Labels, border: str) -> Bytes:
    """The class ids, uint8 (H, W), in which a border parts objects that touch.

    A pixel of an object is border where one of its eight neighbours is of another object: both sides give one pixel
    each. `border` is as in `lamella.data.types.Labelling`.
    """
    if labels.objects is None or border == "none":
        return labels.classes
    ids = labels.objects
    highest = ndimage.maximum_filter(ids, 3)
    lowest = ndimage.minimum_filter(np.where(ids > 0, ids, np.iinfo(np.int32).max), 3)
    touching = (ids > 0) & ((highest != ids) | (lowest != ids))
    between = np.uint8(IGNORE if border == "ignore" else labels.between)
    return np.where(touching & (labels.classes != IGNORE), between, labels.classes)


def shrink_objects(objects: Objects, scale: float) -> Objects:
    """The ids (H, W) at `scale` times their size: each new pixel takes that of the pixel nearest to its middle."""
    if scale == 1:
        return objects
    height, width = scaled_size((objects.shape[0], objects.shape[1]), scale)
    picture = Image.fromarray(objects, mode="I").resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(picture, np.int32)


def meaning(card: DatasetCard) -> list[Any]:
    """What the values of masks mean, as JSON: the same for two cards that read masks alike."""
    values: list[Any] = sorted((str(value), id_) for value, id_ in card.mask_values.items())
    if card.labelling != PLAIN:
        values.append(sorted((key, str(value)) for key, value in asdict(card.labelling).items()))
    return values


def read_as(sample: Sample, card: DatasetCard) -> list[Any]:
    """What the mask of a sample means, as JSON: where it was redrawn, that, else what the card says."""
    how = sample.redrawn
    if how is None:
        return meaning(card)
    return ["redrawn", how.kind, how.names, how.ids, how.inner, how.outer, how.predicted_sha256, card.labelling.border]


def _numbered(ref: ImageRef, card: DatasetCard) -> Labels:
    """Every value without a meaning of its own is one object, in the order of files and of values."""
    require_memory(ref, header(replace(ref, others=(), labels=()))[:2], 4, copies=5)
    classes: Bytes = np.zeros(0, np.uint8)
    objects: Objects = np.zeros(0, np.int32)
    for place, path in enumerate(ref.paths):
        single = replace(ref, path=path, others=(), labels=())
        ids, rest = read_numbered(single, card.mask_values, card.labelling)
        if place == 0:
            classes, objects = np.zeros(ids.shape, np.uint8), np.zeros(ids.shape, np.int32)
        elif ids.shape != objects.shape:
            sizes = " and ".join(f"{shape[1]}x{shape[0]}" for shape in (objects.shape, ids.shape))
            raise DataError(
                f"{path} and {ref.path} are one mask, but {sizes} pixels",
                "All files of a mask have the size of its image.",
            )
        name = ref.labels[place] if ref.labels else ""
        there = ids > 0
        objects[there] = ids[there] + objects.max(initial=0)
        classes[there] = class_id(name, card, single)
        aside = (rest != 0) & ~there
        classes[aside] = rest[aside]
    return _labels(classes, objects)


def _drawn(ref: ImageRef, card: DatasetCard, size: tuple[int, int]) -> Labels:
    drawn = rasterise(ref, size)
    table = np.array([0, *(class_id(name, card, ref) for name in drawn.names)], np.uint8)
    table[list(drawn.crowds)] = IGNORE  # nobody said where one of them ends
    return _labels(table[drawn.objects], drawn.objects)


def _labels(classes: Bytes, objects: Objects) -> Labels:
    return Labels(classes, np.where((classes == 0) | (classes == IGNORE), np.int32(0), objects))


def class_id(name: str, card: DatasetCard, ref: ImageRef) -> int:
    """The class id of an object by the name that its file gives it. Raises DataError for a name the card lacks."""
    names = card.labelling.names
    if name in names:
        return names[name]
    raise DataError(
        f"{ref} holds an object of the class {name!r}, which the data set does not have",
        f"It has {', '.join(names) or 'none'}. Declare what it is: `dataset.classes`, or `dataset.ignore`.",
    )
