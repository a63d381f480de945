"""The types that all of the data code shares: samples, data sets, splits and batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from lamella.plaintext import printable

if TYPE_CHECKING:
    import torch  # takes seconds, which what only reads files need not wait for

MaskValue = int | tuple[int, int, int]  # a grey level, a palette's index, or an RGB colour
Role = Literal["train", "val", "test", ""]  # the part a sample plays; "" for none
LEFT = "left"  # the part of those that would train, and that `dataset.take` leaves out
PARTS: tuple[Role, ...] = ("train", "val", "test")
IGNORE = 255  # the class id of pixels that count in neither loss nor score


@dataclass(frozen=True)
class ImageRef:
    """Where one picture is: a file, a page of one, what one holds under a name, or a mask spread over several files.

    Attributes:
        path: the file, or the first of several; a folder where a format is one (Zarr).
        page: which one, where the file holds several.
        axes: what the file's axes are, where its owner had to say so: letters as tifffile has them, "ZYX", "YXC".
        inside: which array of a container ("/volume/raw" of an HDF5 file), or the objects of which image (COCO).
        others: more files of one mask, each with objects of its own.
        labels: the class of the objects of each file, `path` first; empty where all are of one class.
    """

    path: Path
    page: int | None = None
    axes: str | None = None
    inside: str | None = None
    others: tuple[Path, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the picture."""
        return self.path, *self.others

    def __str__(self) -> str:
        text = printable(str(self.path))
        if self.inside is not None:
            text += f":{self.inside}"
        if self.page is not None:
            text += f" (page {self.page})"
        return f"{text} and {len(self.others)} more" if self.others else text


@dataclass(frozen=True)
class Origin:
    """What became of a mask that a network drew.

    Attributes:
        state: "corrected" by hand; "accepted" by a person as it was; "predicted": nobody touched it.
        networks: the ids of the runs, or the checkpoints, that drew it.
        before: SHA-256 of its file as it was predicted; "" where that file was added by hand.
    """

    state: Literal["corrected", "accepted", "predicted"]
    networks: tuple[str, ...]
    before: str


@dataclass(frozen=True)
class Redrawn:
    """How a mask is read that was corrected by hand: by the network's classes, whatever the data set's masks hold.

    Attributes:
        kind: "labels": class ids, and IGNORE; "objects": every value but 0 numbers one; "outlines" of objects.
        names: the network's classes, by id.
        ids: the data set's class id of each of them.
        inner: the class (of the network's) of an object that names none; None: what was predicted of most of it.
        outer: the class of what is in no object, and of what parts objects that touch.
        predicted: the class ids as they were predicted, where `inner` needs them.
        predicted_sha256: `lamella.data.predictions.values_sha256` of these.
    """

    kind: Literal["labels", "objects", "outlines"]
    names: tuple[str, ...]
    ids: tuple[int, ...]
    inner: int | None = 1
    outer: int = 0
    predicted: ImageRef | None = None
    predicted_sha256: str = ""


@dataclass(frozen=True)
class Sample:
    """One image with its mask, as files; no pixel is read yet.

    Attributes:
        id: unique in the data set and stable from run to run; names the image in tables and figures.
        image: where the image is.
        mask: where its mask is.
        group: what must never be split across train and test (a slide, a patient); a group that is one stack may be.
        part: the published part this sample belongs to; "" where nothing was published.
        stack: the run of neighbouring sections (or frames) this image is one of; "" where it has no neighbours.
        place: its number in the stack: neighbours are one apart; None where `stack` is "".
        origin: what became of the mask, where a network drew it; None where none did.
        redrawn: how the mask is read, where not as the data set's card says. It lies on what it outlines, wherever
            those of the data set lie.
    """

    id: str
    image: ImageRef
    mask: ImageRef
    group: str
    part: Role = ""
    stack: str = ""
    place: int | None = None
    origin: Origin | None = None
    redrawn: Redrawn | None = None


@dataclass(frozen=True)
class Labelling:
    """How mask files are read, beyond what each of their values means (`DatasetCard.mask_values`).

    Attributes:
        objects: whether masks tell single objects apart, and how: "" not at all, values are classes; "values": each
            value or colour without a meaning of its own is one object; "files": each file of a mask holds one object
            or, numbered, several; "drawn": outlines of annotation programs.
        border: what parts objects that touch, in what a network learns and pixels are scored by: pixels that touch
            another object are "background", or are to "ignore"; "none": nothing parts them. Objects stay whole.
        names: class id, or IGNORE, of the objects of each name; of "" where they have none.
        threshold: grey levels above it have the value 1, all others 0; None: levels mean what they say.
        layers: whether pages or channels of a mask are a layer a value (one-hot): "" no; "all": each pixel is in one
            layer, whose number from 0 is its value; "rest": what is in no layer has the value 0, layers count from 1.
        undeclared: values without a meaning are to be ignored; else they are an error.
    """

    objects: Literal["", "values", "files", "drawn"] = ""
    border: Literal["background", "ignore", "none"] = "background"
    names: Mapping[str, int] = field(default_factory=lambda: {"": 1})
    threshold: int | None = None
    layers: Literal["", "all", "rest"] = ""
    undeclared: bool = False


@dataclass(frozen=True)
class DatasetCard:
    """What a data set is: its classes, channels and source, which a reader of a score must know.

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
        labelling: how mask files are read, beyond their values.
        notes: what was found rather than said, one sentence each, for a person to check before anything trains.
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
    labelling: Labelling = Labelling()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set: its card and its samples, in a stable order."""

    card: DatasetCard
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Split:
    """Which samples train the network, which choose it (validation) and which judge it (test).

    Attributes:
        planned: all that would train, in their order, where `train` is a share of them (`dataset.take`); else empty.
    """

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    planned: tuple[Sample, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[Sample, ...]]:
        """The samples of train, val and test, by the name of the part."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def left(self) -> tuple[Sample, ...]:
        """Those that would train, but are left out by `dataset.take`."""
        taken = {sample.id for sample in self.train}
        return tuple(sample for sample in self.planned if sample.id not in taken)


class Batch(NamedTuple):
    """The crops that a loader gives at a time. Bytes, not floats: conversion and normalisation happen on the device.

    Attributes:
        image: (B, C, H, W), uint8, uint16 or float32 as stored.
        mask: (B, H, W), uint8 class ids; 0 where not valid.
        valid: (B, H, W), bool; False outside the picture and where the mask says IGNORE: no loss, no score.
        id: B sample ids.
    """

    image: "torch.Tensor"
    mask: "torch.Tensor"
    valid: "torch.Tensor"
    id: list[str]
