"""The contracts of the data: what a data set is, and what flows from files to the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

MaskValue = int | tuple[int, int, int]  # a grey level, a palette's index, or an RGB colour
Role = Literal["train", "val", "test", ""]  # the part a sample plays; "" for none
IGNORE = 255  # the class id of pixels that count in neither loss nor score


@dataclass(frozen=True)
class ImageRef:
    """One picture in a file.

    Attributes:
        path: the file.
        page: which one, where the file holds several (TIFF).
        axes: what the file's axes are, where its owner had to say so: letters as tifffile has them, "ZYX", "YXC".
    """

    path: Path
    page: int | None = None
    axes: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.page is None else f"{self.path} (page {self.page})"


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        id: unique in the data set and stable from run to run; names the image in tables and figures.
        image: where the image is.
        mask: where its mask is.
        group: what must never be split across train and test (a volume block, a slide, a patient).
        part: the published part this sample belongs to; "" where nothing was published.
    """

    id: str
    image: ImageRef
    mask: ImageRef
    group: str
    part: Role = ""


@dataclass(frozen=True)
class DatasetCard:
    """What a reader of a score must know about the data behind it.

    Attributes:
        name: the data set's short name.
        title: one line, shown above tables of scores.
        class_names: one name per class id; class 0 is background.
        mask_values: the values allowed in mask files, each with the class id it stands for, or IGNORE.
        channels: channels of every image: 1 (grey), 3 (RGB) or any other number.
        source: citation and licence.
        phantom: True where a program made the images; said wherever a score appears.
        spacing_nm: pixel size (height, width) in nanometres where it is known.
        objects: what connected regions stand for, which decides the scores beyond pixels.
        serial: True where consecutive pages of a file are neighbouring sections of one piece.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    mask_values: dict[MaskValue, int]
    channels: int
    source: str
    phantom: bool = False
    spacing_nm: tuple[float, float] | None = None
    objects: Literal["neurites", "cells", ""] = ""
    serial: bool = False


@dataclass(frozen=True)
class Dataset:
    """A card and its samples, in a stable order."""

    card: DatasetCard
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Split:
    """Which samples train the network, which choose it, and which judge it."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]


class Batch(NamedTuple):
    """What the loaders give. Bytes, not floats: conversion and normalisation happen on the device.

    Attributes:
        image: (B, C, H, W), uint8, uint16 or float32 as stored.
        mask: (B, H, W), uint8 class ids; 0 where not valid.
        valid: (B, H, W), bool; False outside the picture and where the mask says IGNORE: no loss, no score.
        id: B sample ids.
    """

    image: torch.Tensor
    mask: torch.Tensor
    valid: torch.Tensor
    id: list[str]
