"""One file: predicted page by page into arrays on disk, then written as all that people and programs open."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.formats.volume import Spacing
from lamella.data.io.pieces.blocks import blocks_of, release, rows_at_a_time
from lamella.data.io.read import image_blocks, size
from lamella.data.io.write.like import Like, like, sized
from lamella.data.io.write.scratch import Scratch
from lamella.data.io.write.tiff import write_tiff
from lamella.data.predictions import values_hash
from lamella.data.types import ImageRef
from lamella.inference.pictures import Band, objects_in, predict_rows
from lamella.novelty.collector import Collector
from lamella.objects import geojson, rois
from lamella.objects.geojson import Sheet
from lamella.objects.measures import Block, measure
from lamella.objects.regions import Found
from lamella.prediction import tables
from lamella.prediction.inputs import Input
from lamella.prediction.overview import Overview, colours
from lamella.prediction.settings import Predictor, Wanted

Floats = npt.NDArray[np.floating[Any]]
Passed = Callable[[int], None]
_PIXELS = 2**21  # at a time


class Predicted(NamedTuple):
    """What a network said of a file, on disk, before anything is made of it.

    Attributes:
        given: the file.
        like: what it says of itself.
        refs: its pictures.
        classes: uint8 (pages, H, W).
        sure: float16 (pages, H, W), the probability of the class that each pixel was given; None of a method that
            gives none.
        probability: float32 (pages, K', H, W) where it is wanted.
        spread: float32 (pages, H, W) where it is wanted.
        overview: of the page in the middle.
        rows: what images.csv says of each page so far.
        work: the folder of all that, to be deleted.
    """

    given: Input
    like: Like
    refs: list[ImageRef]
    classes: npt.NDArray[np.uint8]
    sure: Floats | None
    probability: Floats | None
    spread: Floats | None
    overview: Overview
    rows: list[dict[str, Any]]
    work: Path


class Written(NamedTuple):
    """What was made of a file, in its work folder.

    Attributes:
        rows: what images.csv says of each page.
        values: of each page: the kind of a file -> the hash of its values.
    """

    rows: list[dict[str, Any]]
    values: list[dict[str, str]]


def pictures(given: Input, axes: str | None) -> tuple[Like, list[ImageRef]]:
    """What a file says of itself, and the pictures in it. Raises DataError."""
    found = like(ImageRef(given.path, None, axes, given.inside))
    numbers = range(found.pictures) if found.pages else [None]
    return found, [ImageRef(given.path, number, axes, given.inside) for number in numbers]


def predict(
    given: Input,
    axes: str | None,
    spacing_nm: Spacing | None,
    predictor: Predictor,
    wanted: Wanted,
    work: Path,
    passed: Passed,
) -> Predicted:
    """Predicts all pictures of a file, rows by rows, into `work`.

    Args:
        given: the file.
        axes: its axes, where it does not say so itself.
        spacing_nm: pixel size (height, width) where its owner said so; None: as the file has it.
        predictor: with what; on its device.
        wanted: what will be written.
        work: a folder that is there.
        passed: called with the pixels that are done since it was called last.

    Raises:
        DataError: the file cannot be read, or is none that the network can predict.
        OSError: the folder cannot be written.
    """
    told, refs = pictures(given, axes)
    told = told if spacing_nm is None else sized(told, spacing_nm)
    first = predictor.first
    height, width = size(refs[0])
    shape = len(refs), height, width
    count = len(first.class_names)
    depth = 1 if count == 2 else count
    certain = not first.segmenter.gives_probabilities
    classes = Scratch(work / "classes", shape, np.uint8)
    sure = None if certain else Scratch(work / "sure", shape, np.float16)
    likely = wanted.probability or wanted.challenge
    probability = Scratch(work / "probability", (len(refs), depth, height, width), np.float32) if likely else None
    spread = Scratch(work / "spread", shape, np.float32) if wanted.uncertainty else None
    arrays = [each for each in (classes, sure, probability, spread) if each is not None]
    overview, rows = Overview((height, width)), []
    try:
        for page, ref in enumerate(refs):
            began, pixels, trusted = time.perf_counter(), np.zeros(count, np.int64), 0.0
            collector = Collector(predictor.trained)
            for band in predict_rows(predictor.trained, ref, predictor.hardware, tta=predictor.tta):
                collector.add(band)
                for part in _parts(band):
                    found = first.segmenter.classes(torch.from_numpy(part.probability)[None])[0].numpy()
                    classes.put((page,), part.top, found)
                    pixels += np.bincount(found.reshape(-1), minlength=count)
                    if sure is not None:
                        here = certainty(part.probability, found)
                        trusted += float(here.sum(dtype=np.float64))
                        sure.put((page,), part.top, here)
                    if probability is not None:
                        probability.put((page,), part.top, part.probability)
                    if spread is not None:
                        assert part.spread is not None  # there are several views or networks, see `settings.check`
                        spread.put((page,), part.top, part.spread)
                    if page == len(refs) // 2:
                        overview.add(part.top, part.image, found)
                    passed(found.size)
            mean = None if certain else trusted / (height * width)
            seconds = time.perf_counter() - began
            row = tables.image_row(given, page if told.pages else None, (height, width), pixels, mean, seconds)
            rows.append(row | tables.judged(collector.judgement()))
        read = [None if each is None else each.array() for each in (classes, sure, probability, spread)]
    finally:
        for each in arrays:
            each.close()
    assert read[0] is not None  # it is always there
    return Predicted(given, told, refs, read[0], read[1], read[2], read[3], overview, rows, work)


def write(made: Predicted, predictor: Predictor, wanted: Wanted) -> Written:
    """Writes all that is wanted of a predicted file into its work folder, under the last parts of its names.

    Args:
        made: what was predicted.
        predictor: by what.
        wanted: what is written.

    Raises:
        DataError: the file cannot be read any longer.
        OSError: the folder cannot be written.
    """
    first, told, work = predictor.first, made.like, made.work
    paths = {kind: work / Path(name).name for kind, name in wanted.names(made.given.name).items()}
    stem, table = Path(made.given.name).name, colours(first.class_names)
    flat = slice(None) if told.pages else 0
    write_tiff(paths["labels"], made.classes[flat], told, most=len(table) - 1, colours=table, name=stem)
    made.overview.write(paths["overlay"], first.class_names)
    if wanted.probability and made.probability is not None:
        several = made.probability.shape[1] > 1
        array = made.probability[flat] if several else made.probability[:, 0][flat]
        write_tiff(paths["probability"], array, told, most=1, name=stem, channels=first.class_names if several else ())
    if wanted.challenge and made.probability is not None:
        array = made.probability[:, 0][flat]
        write_tiff(paths["challenge"], array, told, most=1, name=stem, convert=_between_membranes, packed=False)
    if made.spread is not None:
        write_tiff(paths["uncertainty"], made.spread[flat], told, most=0.5, name=stem)
    sheets, greatest, values = _objects(made, predictor)
    numbers = np.memmap(work / "numbers", np.uint32, "r", shape=made.classes.shape)
    kind = np.uint16 if greatest < 2**16 else np.uint32
    write_tiff(paths["objects"], numbers[flat], told, most=greatest, name=stem, dtype=kind)
    if wanted.geojson:
        geojson.write(paths["geojson"], sheets(), first.class_names, table, picture=made.given.name)
    if wanted.rois:
        rois.write(paths["rois"], sheets(), table)
    return Written(made.rows, values)


def _parts(band: Band) -> Iterator[Band]:
    """The same rows, a few at a time: what is worked out of them takes several times as much memory."""
    height, width = band.image.shape[1:]
    step = max(1, _PIXELS // width)
    for top in range(0, height, step):
        rows = slice(top, top + step)
        spread = None if band.spread is None else band.spread[rows]
        yield Band(band.top + top, band.height, band.image[:, rows], band.probability[:, rows], spread)


def _between_membranes(membrane: Floats) -> Floats:
    """What the challenge asks for: 0 where there is a membrane for sure, 1 where there is none."""
    return np.asarray(1 - membrane)


def certainty(probability: Floats, found: npt.NDArray[np.uint8]) -> Floats:
    """The probability (h, W) of the class that each pixel was given."""
    if len(probability) == 1:
        return np.asarray(np.where(found == 1, probability[0], 1 - probability[0]))
    return np.asarray(np.take_along_axis(probability, found[None].astype(np.intp), axis=0)[0])


def _objects(made: Predicted, predictor: Predictor) -> tuple[Callable[[], Iterator[Sheet]], int, list[dict[str, str]]]:
    """Finds and measures the objects of each page: their outlines' sheets, the greatest number, hashes of values.

    The numbers are left in the file `numbers` of the work folder, the rows of objects.csv in `objects.csv`.
    """
    first, work, told, spacing = predictor.first, made.work, made.like, made.like.spacing_nm
    greatest, values = 0, []
    numbers = Scratch(work / "numbers", made.classes.shape, np.uint32)
    kept: list[tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]] = []
    with (work / "objects.csv").open("w", encoding="utf-8", newline="") as csv:
        for page, ref in enumerate(made.refs):
            folder = work / "regions"
            folder.mkdir()
            found = objects_in(made.classes[page], first, folder)
            hashes = {"labels": values_hash(), "objects": values_hash()}
            for block in blocks_of(made.classes[page]):
                hashes["labels"].update(np.ascontiguousarray(block.pixels).data)
            for block in blocks_of(found.labels):
                numbers.put((page,), block.top, block.pixels)
                hashes["objects"].update(np.ascontiguousarray(block.pixels, "<u4").data)
            values.append({kind: each.hexdigest() for kind, each in hashes.items()})
            columns = measure(found, _blocks(made, page, ref, first.channels), spacing)
            number = page if told.pages else None
            tables.write_objects(csv, number, columns, [first.class_names[id_] for id_ in found.class_ids], page == 0)
            greatest = max(greatest, len(found.class_ids))
            made.rows[page] |= tables.areas(made.rows[page], first.class_names, spacing) | {
                "objects": len(found.class_ids),
                "uncut": len(found.uncut),
            }
            kept.append((found.class_ids, columns))
            del found
            shutil.rmtree(folder)
    numbers.close()

    def sheets() -> Iterator[Sheet]:
        array = np.memmap(numbers.path, np.uint32, "r", shape=numbers.shape)
        for page, (class_ids, columns) in enumerate(kept):
            yield Sheet(Found(array[page], class_ids), page if told.pages else None, columns, told.pages or "Z")
            release(array)

    return sheets, greatest, values


def _blocks(made: Predicted, page: int, ref: ImageRef, channels: int) -> Iterator[Block]:
    """The picture once more, with how sure the network was."""
    for block in image_blocks(ref, channels):
        step = rows_at_a_time(made.classes[page])
        for start in range(0, block.pixels.shape[1], step):
            image = block.pixels[:, start : start + step]
            top = block.top + start
            sure = None if made.sure is None else made.sure[page, top : top + image.shape[1]].astype(np.float32)
            yield Block(top, image, sure)
