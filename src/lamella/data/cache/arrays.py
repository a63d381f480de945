"""Decoded images and masks, kept as arrays on disk and memory-mapped, so that each file is decoded once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from lamella.data.cache.facts import Facts
from lamella.data.io.formats.arrays import ONE_AT_A_TIME
from lamella.data.io.intensity import stretch
from lamella.data.io.labels import Labels, parted, read_as, read_labels, shrink_objects
from lamella.data.io.masks import Objects
from lamella.data.io.pieces.blocks import Block, blocks_of, is_large, rows_at_a_time, rows_of
from lamella.data.io.pieces.inputs import input_blocks
from lamella.data.io.read import (
    Bytes,
    Pixels,
    header,
    image_blocks,
    mask_blocks,
    move,
    read_image,
    scaled_size,
    shrink,
    shrink_mask,
)
from lamella.data.io.redrawn import read_redrawn, redrawn_blocks
from lamella.data.io.resize import strips
from lamella.data.types import DatasetCard, ImageRef, Sample
from lamella.errors import StorageError

_FORMAT = 3  # counts up when the arrays' meaning changes, so that old caches are not read as new ones


class Store:
    """The images and masks of the samples as arrays, each decoded the first time it is asked for.

    One file an array, named by the hash of the source file and of all that shapes the array, written beside
    and moved into place: several processes may fill one folder at once, and a crash leaves nothing half-written
    under a name that is read. An array that was damaged since is made again.

    Every method raises DataError where a source file is missing or unsound, and StorageError where the folder
    cannot be written or read.

    Args:
        folder: where the arrays live.
        card: what the files hold.
        scale: training and network input at this times the stored size; `truth` keeps full size.
        offset: where labels lie, in full-size pixels (down, right) of what they outline: images are moved as much.
        percentiles: stretch each image from these of its own levels; None: levels as stored.
    """

    def __init__(
        self,
        folder: Path,
        card: DatasetCard,
        scale: float,
        offset: tuple[float, float] = (0.0, 0.0),
        percentiles: Sequence[float] | None = None,
    ) -> None:
        self.folder = folder
        self.card = card
        self.scale = float(scale)
        self.offset = offset
        self.percentiles = percentiles
        self.facts = Facts(folder)

    def image(self, sample: Sample) -> Pixels:
        """The image as the network is given it, moved to where the labels lie: uint8, uint16 or float32 (C, h, w)."""
        offset = self.offset_of(sample)
        key = _key_of_image(self.card, self.scale, offset, self.percentiles)

        def make() -> Iterator[Block]:
            blocks = image_blocks(sample.image, self.card.channels)
            first = next(blocks)
            if _is_whole(first):
                stored = first.pixels
                self._recall_pixels(sample.image, lambda: _fingerprint(stored))  # while it is at hand
                yield _whole(network_input(move(stored, offset), scale=self.scale, percentiles=self.percentiles))
            elif key == _key_of_image(self.card):
                yield first
                yield from blocks
            else:
                yield from input_blocks(self._stored(sample), offset, self.scale, self.percentiles)

        return self._array(sample.image, key, make)

    def offset_of(self, sample: Sample) -> tuple[float, float]:
        """Where a mask lies, (down, right) of what it outlines: one that was predicted lies on it."""
        return self.offset if sample.redrawn is None else (0.0, 0.0)

    def pixels(self, sample: Sample) -> str:
        """Hash of the image's values at full size: the same for the same picture in whatever file, as whatever type."""

        def make() -> str:
            first = next(image_blocks(sample.image, self.card.channels))
            return _fingerprint(first.pixels if _is_whole(first) else self._stored(sample))

        return self._recall_pixels(sample.image, make)

    def _stored(self, sample: Sample) -> Pixels:
        """The array of a large image at full size, unmoved: what all others of it are made of."""
        return Store(self.folder, self.card, 1.0).image(sample)

    def mask(self, sample: Sample) -> Bytes:
        """The mask at `scale`: uint8 class ids (h, w), IGNORE included, objects that touch parted at this scale."""
        if self.scale == 1:
            return self.truth(sample)

        def make() -> Iterator[Block]:
            if self._tells_objects(sample):
                labels = self._labels(sample)
                small = None if labels.objects is None else shrink_objects(labels.objects, self.scale)
                shrunk = Labels(shrink_mask(labels.classes, self.scale), small, labels.between)
                yield _whole(parted(shrunk, self._border))
            elif is_large(truth := self.truth(sample)):
                size = truth.shape[0], truth.shape[1]
                height = scaled_size(size, self.scale)[0]
                for strip in strips(size, height, rows_at_a_time(truth)):
                    piece = rows_of(truth, strip.first, strip.last)
                    yield Block(shrink_mask(piece, self.scale, strip), strip.top, height)
            else:
                yield _whole(shrink_mask(truth, self.scale))

        return self._array(sample.mask, self._key(sample, f"mask {self.scale}"), make)

    def truth(self, sample: Sample) -> Bytes:
        """The mask at full size: uint8 class ids (H, W), IGNORE included, objects that touch parted."""

        def make() -> Iterator[Block]:
            if self._tells_objects(sample):
                yield _whole(parted(self._labels(sample), self._border))
            elif sample.redrawn is not None:
                yield from redrawn_blocks(sample.mask, sample.redrawn)
            else:
                yield from mask_blocks(sample.mask, self.card.mask_values, self.card.labelling)

        return self._array(sample.mask, self._key(sample, "mask 1"), make)

    def objects(self, sample: Sample) -> Objects | None:
        """The ids of single objects at full size: int32 (H, W), 0 for none; None where masks tell none apart."""
        if not (self.card.labelling.objects and self._tells_objects(sample)):
            return None

        def make() -> Iterator[Block]:
            found = self._labels(sample).objects
            assert found is not None
            yield _whole(found)

        return self._array(sample.mask, self._key(sample, "objects"), make)

    def _labels(self, sample: Sample) -> Labels:
        if sample.redrawn is not None:
            return read_redrawn(sample.mask, sample.redrawn, header(sample.image)[:2])
        return read_labels(sample.mask, self.card, sample.image)

    def _tells_objects(self, sample: Sample) -> bool:
        """Whether the mask of a sample tells single objects apart."""
        return sample.redrawn.kind != "labels" if sample.redrawn is not None else bool(self.card.labelling.objects)

    def _key(self, sample: Sample, what: str) -> str:
        """What shapes an array of a mask, beside its files. Annotations have no size but the image's."""
        drawn = sample.redrawn.kind != "labels" if sample.redrawn else self.card.labelling.objects == "drawn"
        return f"{what} {read_as(sample, self.card)} {header(sample.image)[:2] if drawn else ''}"

    def full_image(self, sample: Sample) -> Pixels:
        """The image at full size, decoded anew (for figures): (C, H, W)."""
        return read_image(sample.image, self.card.channels)

    def _recall_pixels(self, ref: ImageRef, make: Callable[[], str]) -> str:
        return str(self.facts.recall(f"pixels {_FORMAT} {self.facts.source(ref)} {self.card.channels}", make))

    @property
    def _border(self) -> str:
        return self.card.labelling.border

    def _array(self, ref: ImageRef, key: str, make: Callable[[], Iterator[Block]]) -> Pixels:
        name = hashlib.sha256(f"{_FORMAT} {self.facts.source(ref)} {key}".encode()).hexdigest()[:40]
        path = self.folder / name[:2] / f"{name}.npy"
        try:
            return _load(path)
        except (FileNotFoundError, ValueError):
            pass  # not made yet, or damaged since
        except OSError as error:
            raise _unusable(path.parent, "read", error) from error
        _write(path, make())
        return _load(path)


def network_input(image: Pixels, *, scale: float, percentiles: Sequence[float] | None) -> Pixels:
    """The image as the network is given it, (C, h, w), of one as stored, (C, H, W), also where there is no store."""
    return shrink(image if percentiles is None else stretch(image, percentiles), scale)


def _key_of_image(
    card: DatasetCard,
    scale: float = 1.0,
    offset: tuple[float, float] = (0.0, 0.0),
    percentiles: Sequence[float] | None = None,
) -> str:
    return f"image {card.channels} {scale} {offset} {percentiles}"


def _is_whole(block: Block) -> bool:
    return bool(block.pixels.shape[-2] == block.height)


def _whole(array: Pixels) -> Block:
    return Block(array, 0, array.shape[-2])


def _fingerprint(image: Pixels) -> str:
    """SHA-256 of the values, in the smallest of the three types that holds them as they are."""
    lines = image.reshape(-1, image.shape[-1])  # in the order in which they lie

    def holds(dtype: np.dtype[Any]) -> bool:
        with np.errstate(invalid="ignore"):  # what does not fit comes out as another value
            return image.dtype == dtype or all(
                np.array_equal(block.pixels.astype(dtype), block.pixels) for block in blocks_of(lines)
            )

    dtype = next(filter(holds, map(np.dtype, (np.uint8, np.uint16))), image.dtype)
    digest = hashlib.sha256(f"{dtype} {image.shape}".encode())
    for block in blocks_of(lines):
        digest.update(np.ascontiguousarray(block.pixels, dtype).data)
    return digest.hexdigest()


def _load(path: Path) -> Pixels:
    with ONE_AT_A_TIME:
        array: Pixels = np.lib.format.open_memmap(path, mode="r")
    return array


def _write(path: Path, blocks: Iterator[Block]) -> None:
    """Writes what the blocks make up as one array. Not memory-mapped: that could not say that the disk is full."""
    part = path.with_name(f"{path.stem}.{uuid4().hex}.part")  # no other process has this name
    first = next(blocks)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                shape = (*first.pixels.shape[:-2], first.height, first.pixels.shape[-1])
                dtype = np.lib.format.dtype_to_descr(first.pixels.dtype)
                head = {"descr": dtype, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, head)
                start, row = file.tell(), shape[-1] * first.pixels.itemsize
                for block in chain([first], blocks):
                    for number, plane in enumerate(block.pixels.reshape(-1, *block.pixels.shape[-2:])):
                        file.seek(start + (number * block.height + block.top) * row)
                        file.write(np.ascontiguousarray(plane).data)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unusable(path.parent, "written", error) from error


def _unusable(folder: Path, what: str, error: OSError) -> StorageError:
    return StorageError(
        f"decoded images cannot be {what} in {folder}: {error.strerror or error}",
        "Free space there, or set `paths.cache=FOLDER` to a folder you can write to.",
    )
