"""Phantoms: pictures made by a program that look like the real data and lie on disk in its layout.

    write_em(folder, ...)     train-volume.tif, train-labels.tif    as ISBI-2012: sections of neuropil
    write_blood(folder, ...)  {train,test}/{original,mask}/         as BBBC041Seg: stained blood smears

They need no download, so every command can be tried at once. A score on a phantom says that the
program works; it says nothing about real images.
"""

import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tifffile
from PIL import Image

from lamella.config.key import Key
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.datasets.phantom_blood import blood_smear
from lamella.data.datasets.phantom_em import grow_neurites, section
from lamella.data.types import Dataset
from lamella.errors import StorageError


def phantom_em(
    *,
    cache: Annotated[str, Key("folder under which the phantom is made, once", path=True)],
    seed: Annotated[int, Key("another seed makes another tissue", least=0)],
    sections: Annotated[int, Key("sections in the block", least=3)],
    size: Annotated[int, Key("height and width of a section, pixels", least=64)],
) -> Dataset:
    """A data set of made-up electron micrographs, written to disk where it is missing. Raises StorageError."""
    folder = Path(cache) / f"phantom_em-{seed}-{sections}x{size}"
    write_em(folder, seed=seed, sections=sections, size=size)
    return _said_to_be_phantom(em(root=str(folder)), "neuropil")


def phantom_blood(
    *,
    cache: Annotated[str, Key("folder under which the phantom is made, once", path=True)],
    seed: Annotated[int, Key("another seed makes other smears", least=0)],
    train: Annotated[int, Key("images of the train part", least=2)],
    test: Annotated[int, Key("images of the test part", least=1)],
    height: Annotated[int, Key("of each image, pixels; a red cell is about 26 wide", least=64)],
    width: Annotated[int, Key("of each image, pixels", least=64)],
) -> Dataset:
    """A data set of made-up blood smears, written to disk where it is missing. Raises StorageError."""
    folder = Path(cache) / f"phantom_blood-{seed}-{train}-{test}-{height}x{width}"
    write_blood(folder, seed=seed, train=train, test=test, height=height, width=width)
    return _said_to_be_phantom(blood(root=str(folder)), "blood smears")


def _said_to_be_phantom(made: Dataset, what: str) -> Dataset:
    card = replace(
        made.card,
        name=f"phantom_{made.card.name}",
        title=f"generated {what}, {made.card.class_names[1]} against {made.card.class_names[0]}",
        source="made by lamella.data.datasets.phantom; a score says that the program works, nothing about real images",
        phantom=True,
    )
    return Dataset(card, made.samples)


def write_em(folder: Path, *, seed: int, sections: int, size: int) -> None:
    """Writes a phantom of serial-section electron microscopy, in the layout of ISBI-2012.

    `train-volume.tif` holds the sections, `train-labels.tif` the truth: 0 is membrane, 255 interior.
    Both are (sections, size, size), uint8, one page a section. Structures have the pixel sizes of the real
    data (4 nm a pixel, sections 50 nm apart). A section depends on seed (0 or more), size and its own number only.
    The folder is made by this call, all or nothing, and left as it is where it already holds something, so its name
    should tell the arguments. Raises StorageError where it cannot be written.
    """

    def fill(new: Path) -> None:
        neurites = grow_neurites(seed, size)
        pairs = [section(neurites, seed, index) for index in range(sections)]
        images, labels = zip(*pairs, strict=True)
        for name, pages in (("train-volume.tif", images), ("train-labels.tif", labels)):
            tifffile.imwrite(new / name, np.stack(pages), photometric="minisblack")

    _write_folder(folder, fill)


def write_blood(folder: Path, *, seed: int, train: int, test: int, height: int, width: int) -> None:
    """Writes a phantom of stained blood smears, in the layout of BBBC041Seg.

    `{train,test}/original/NAME.{png,jpg}` are RGB images, `{train,test}/mask/NAME.png` the truth: RGB, three
    equal channels, 255 is cell, 0 is not. All are (height, width, 3), uint8. Red and white cells are cells,
    platelets and dirt are not. One image in eight is a JPEG. Names of test images begin with e or f, others
    do not. A red cell is about 26 pixels wide. An image depends on seed (0 or more), height, width, its part and its
    own number only. The folder is made as by `write_em`. Raises StorageError where it cannot be written.
    """

    def fill(new: Path) -> None:
        # Each part has its own stream of random numbers, so that more images of one never change the other. Its JPEGs
        # are so placed that six images always hold at least one.
        for part, count, stream, first_jpeg in (("train", train, 2, 3), ("test", test, 3, 2)):
            (new / part / "original").mkdir(parents=True)
            (new / part / "mask").mkdir()
            for index in range(count):
                rng = np.random.default_rng((seed, stream, index))
                name = _uuid(rng, "ef" if part == "test" else "0123456789abcd")
                image, mask = blood_smear(rng, height, width)
                suffix = "jpg" if index % 8 == first_jpeg else "png"
                original = new / part / "original" / f"{name}.{suffix}"
                # JPEG heeds the first setting, PNG the second: less squeezed, twice as fast.
                Image.fromarray(image).save(original, quality=88, compress_level=3)
                Image.fromarray(np.dstack([mask] * 3)).save(new / part / "mask" / f"{name}.png")

    _write_folder(folder, fill)


def _write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` write into a new folder and move that to `folder` at the end: whole, or not there."""
    try:
        if _holds_something(folder):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            # One level down, since the temporary folder itself is closed to other users.
            new = Path(temporary) / folder.name
            new.mkdir()
            fill(new)
            try:
                new.replace(folder)
            except OSError:
                if not _holds_something(folder):  # else another process was first: its pictures are the same
                    raise
    except OSError as error:
        raise StorageError(
            f"cannot write the phantom data to {folder}: {error.strerror or error}",
            "Free some space there, or choose a folder you may write to with paths.data=FOLDER.",
        ) from error


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _uuid(rng: np.random.Generator, first: str) -> str:
    """A name like those of the real files, beginning with one of the letters `first`."""
    digits = rng.choice(list("0123456789abcdef"), 31)
    return str(uuid.UUID(rng.choice(list(first)) + "".join(digits), version=4))
