"""Folders of predictions as `predict` leaves them, of class maps of a test's choice; edits as programs save them."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import roifile
import tifffile
from scipy import ndimage

from lamella.data import predictions
from lamella.data.cache.facts import Facts
from lamella.data.predictions import Picture, Predictions, values_sha256
from lamella.data.types import ImageRef

Array = npt.NDArray[Any]
RUN = "0123456789abcdef" * 2


def predicted(
    folder: Path,
    images: Mapping[str, ImageRef],
    classes: Mapping[str, Array],
    *,
    names: Sequence[str] = ("ground", "cell"),
    objects: str = "cells",
) -> Path:
    """A folder of predictions: of each name the class ids (H, W), or of all pages of one file (pages, H, W)."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = Facts(folder.parent / ".facts")
    written: dict[str, str] = {}
    pictures: list[Picture] = []
    for name, found in classes.items():
        pages = found if found.ndim == 3 else found[None]
        ids = np.stack([numbered(page, objects) for page in pages])
        files = {"labels": f"{name}_labels.tif", "objects": f"{name}_objects.tif"}
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        single = found.ndim == 2
        axes = {"axes": "YX" if single else "ZYX"}
        labels = pages.astype(np.uint8)
        tifffile.imwrite(folder / files["labels"], labels[0] if single else labels, imagej=True, metadata=axes)
        tifffile.imwrite(folder / files["objects"], ids[0] if single else ids, photometric="minisblack")
        written |= {file: facts.sha256(folder / file) for file in files.values()}
        image = images[name]
        for number, page in enumerate(pages):
            ref = image if single else ImageRef(image.path, number, image.axes, image.inside)
            values = {
                "labels": values_sha256(page, "labels"),
                "objects": values_sha256(ids[number], "objects"),
            }
            size = page.shape[0], page.shape[1]
            sha256 = facts.sha256(image.path)
            pictures.append(Picture(name, ref, sha256, size, files, None if single else number, values))
    predictions.write(folder, Predictions((RUN,), tuple(names), objects, written, tuple(pictures)))  # type: ignore[arg-type]
    return folder


def numbered(classes: Array, objects: str) -> Array:
    """The regions of class ids (H, W), as uint32, numbered in the order of their first pixels."""
    if objects == "neurites":
        return np.asarray(ndimage.label(classes == 0)[0], np.uint32)
    found = np.zeros(classes.shape, np.int64)
    for id_ in range(1, int(classes.max(initial=0)) + 1):
        regions = ndimage.label(classes == id_, np.ones((3, 3)))[0]
        found = np.where(regions > 0, regions + found.max(), found)
    ids, first = np.unique(found, return_index=True)
    table = np.zeros(int(found.max()) + 1, np.uint32)
    table[ids[ids > 0][np.argsort(first[ids > 0])]] = np.arange(1, np.count_nonzero(ids) + 1)
    return table[found]


def of_fiji(path: Path, values: Array) -> None:
    """Saves values as Fiji does after a lookup table was chosen: ImageJ's TIFF, its colours those of glasbey."""
    lut = np.random.default_rng(3).integers(0, 256, (3, 256), dtype=np.uint8)
    tifffile.imwrite(path, values, imagej=True, metadata={"LUTs": [lut], "axes": "YX" if values.ndim == 2 else "ZYX"})


def of_fiji_palette(path: Path, values: Array) -> None:
    """Saves values as Fiji does with an 8-bit image of colours: a TIFF with a palette."""
    table = np.random.default_rng(3).integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(path, values.astype(np.uint8), photometric="palette", colormap=table)


def of_napari(path: Path, values: Array) -> None:
    """Saves values as napari does: a plain TIFF of int32, compressed; three pages become the planes of colours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tifffile.imwrite(path, values.astype(np.int32), compression="zlib")


def of_qupath(path: Path, shapes: Sequence[tuple[str, Array]], **geometry: Any) -> None:
    """Saves closed rings (N, 2) of x and y with their classes as QuPath 0.5 exports annotations; "" has no class."""
    features = []
    for number, (name, points) in enumerate(shapes):
        ring = np.asarray(points).tolist()
        properties: dict[str, Any] = {"objectType": "annotation"}
        if name:
            properties["classification"] = {"name": name, "color": [200, 0, 0]}
        features.append(
            {
                "type": "Feature",
                "id": f"5f0c9a0e-0000-4000-8000-{number:012d}",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]], **geometry},
                "properties": properties,
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def of_roi_manager(path: Path, shapes: Sequence[tuple[int, Array]]) -> None:
    """Saves rings (N, 2) of x and y with their groups as Fiji's ROI Manager does."""
    path.unlink(missing_ok=True)
    rois = []
    for number, (group, points) in enumerate(shapes):
        roi = roifile.ImagejRoi.frompoints(np.asarray(points, np.float32), name=f"cell-{number:04d}")
        roi.group = group
        rois.append(roi)
    roifile.roiwrite(path, rois)


def box(top: int, left: int, bottom: int, right: int) -> Array:
    """The corners of a rectangle of pixels, x and y, at the edges of pixels."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
