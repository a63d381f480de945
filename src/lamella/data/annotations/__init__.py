"""Outlines that annotation programs keep -> the ids of single objects, pixel by pixel. See `outlines` for which pixels.

COCO, LabelMe, GeoJSON of QuPath, and regions of ImageJ.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.annotations import coco, fiji, geojson, labelme
from lamella.data.annotations.outlines import Drawing, Outline, covered
from lamella.data.types import ImageRef
from lamella.errors import DataError

suffixes = (".json", ".geojson", ".roi", ".zip")


class Annotated(NamedTuple):
    """The objects of one image.

    Attributes:
        objects: int32 (H, W), 0 for none, ids from 1.
        names: the class of each object, by id - 1; "" where the file names none.
        overlap: pixels that more than one object claims; the one drawn last has them.
        crowds: the ids of those that stand for several objects which nobody drew one by one.
        lost: what the file calls the objects that have no pixel: others cover them, or they are too small.
    """

    objects: npt.NDArray[np.int32]
    names: tuple[str, ...]
    overlap: int
    crowds: tuple[int, ...] = ()
    lost: tuple[str, ...] = ()


class _Held(NamedTuple):
    """A file of annotations: whose they are, its content, and of COCO the objects by image."""

    kind: str
    content: Any = None
    by_image: Any = None


def is_annotation(path: Path) -> bool:
    """Whether a file holds outlines of a program that is known here; by its content."""
    if path.suffix.lower() not in suffixes or not path.is_file():
        return False
    try:
        return bool(_held(path).kind)
    except DataError:
        return False


def pictures(path: Path) -> dict[str, tuple[int, int]]:
    """The images that a COCO file speaks of, each with its size (H, W); empty for files of one image.

    Raises:
        DataError: the file cannot be read.
    """
    held = _held(path)
    if held.kind != "COCO":
        return {}
    with _naming(path):
        return coco.images(held.content)


def category_names(path: Path) -> list[str]:
    """The classes of the objects in a file, in a stable order; "" for objects without one. Raises DataError."""
    held = _held(path)
    with _naming(path):
        if held.kind == "COCO":
            return coco.names(held.content)
        if held.kind == "LabelMe":
            return labelme.names(held.content)
        return geojson.names(held.content) if held.kind == "GeoJSON" else fiji.names(path)


def rasterise(ref: ImageRef, size: tuple[int, int]) -> Annotated:
    """The objects that an annotation file outlines in an image.

    A pixel belongs to an object where its centre lies inside (`lamella.data.annotations.outlines`). What several claim
    goes to the one that its program draws last; what reaches beyond the image is cut off.

    Args:
        ref: the file, the image where it speaks of several (`inside`), and the page where regions are of a stack.
        size: (H, W) of the image.

    Raises:
        DataError: the file is damaged or of no program known here, annotates an image of another size, or holds
            something that encloses nothing, or lies wholly outside.
    """
    with _naming(ref.path):
        drawing = _drawing(ref)
    if drawing.size not in (None, size):
        raise DataError(
            f"{ref} annotates an image of {_by(drawing.size or size)} pixels, and the image has {_by(size)}",
            "Are they of one image? Annotate the image as it is, neither resized nor turned.",
        )
    outlines = _of_page(drawing.outlines, ref)
    objects = np.zeros(size, np.int32)
    twice = np.zeros(size, bool)
    for id_, outline in sorted(enumerate(outlines, 1), key=lambda each: not each[1].crowd):  # crowds below all others
        there = covered(outline, size)
        if there is None:
            raise DataError(
                f"{ref}: {outline.title} lies wholly outside of the image of {_by(size)} pixels",
                "Is it of another image, or of another size of it?",
            )
        window, inside = there
        twice[window] |= inside & (objects[window] > 0)
        objects[window][inside] = id_
    crowds = tuple(id_ for id_, outline in enumerate(outlines, 1) if outline.crowd)
    seen = np.bincount(objects.ravel(), minlength=len(outlines) + 1)
    lost = tuple(each.title for id_, each in enumerate(outlines, 1) if not seen[id_] and not each.crowd)
    return Annotated(objects, tuple(outline.name for outline in outlines), int(twice.sum()), crowds, lost)


def require_pages(path: Path, count: int) -> None:
    """Raises DataError where a file has an object on a page that a stack of `count` pages has not."""
    with _naming(path):
        outlines = _drawing(ImageRef(path)).outlines
    if beyond := [each for each in outlines if each.page is not None and each.page >= count]:
        raise DataError(
            f"{path}: {beyond[0].title} is of page {(beyond[0].page or 0) + 1}, and the stack has {count}",
            "Is it of another stack? Pages are counted from 1 there.",
        )


def _of_page(outlines: list[Outline], ref: ImageRef) -> list[Outline]:
    """Those of the page that is meant, where the image is one of a stack."""
    pages = {each.page for each in outlines}
    if ref.page is None:
        if len(pages - {None}) > 1:
            raise DataError(
                f"{ref} holds objects of {len(pages - {None})} pages of a stack where those of one image were expected",
                "Give it the name of the stack, or save the objects of each page in a file of their own.",
            )
        return outlines
    if None in pages:
        title = next(each.title for each in outlines if each.page is None)
        raise DataError(
            f"{ref}: {title} is of no page, and the image is one of a stack",
            "In ImageJ give each region its slice: ROI Manager > Properties > Position. Or save one file an image.",
        )
    return [each for each in outlines if each.page == ref.page]


def _drawing(ref: ImageRef) -> Drawing:
    held = _held(ref.path)
    if held.kind == "COCO":
        return coco.drawing(held.content, held.by_image, ref.path, ref.inside)
    if held.kind == "LabelMe":
        return labelme.drawing(held.content)
    if held.kind == "GeoJSON":
        return geojson.drawing(held.content)
    if held.kind == "ImageJ":
        return fiji.drawing(ref.path)
    raise DataError(
        f"{ref.path} holds no outlines of a program that is known here",
        "Read are COCO (.json), LabelMe (.json), GeoJSON of QuPath, and regions of ImageJ (.roi, .zip).",
    )


def _held(path: Path) -> _Held:
    """What a file holds, remembered as long as it does not change: one COCO file is asked once an image."""
    with _naming(path):
        stat = path.stat()
        return _opened(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _opened(path: Path, _changed: int, _bytes: int) -> _Held:
    if path.suffix.lower() in (".roi", ".zip"):
        return _Held("ImageJ" if fiji.holds_regions(path) else "")
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, dict) and isinstance(content.get("images"), list) and "annotations" in content:
        return _Held("COCO", content, coco.by_image(content))
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        return _Held("LabelMe", content)
    return _Held("GeoJSON" if geojson.features(content) is not None else "", content)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns whatever goes wrong over a file of annotations into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} is missing", "Check the path.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read", "Allow yourself to read it, or copy it.") from None
    except Exception as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(
            f"the annotations {path} cannot be used: {said or type(error).__name__}",
            "Mend that in the program that made them, and save them again.",
        ) from error


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
