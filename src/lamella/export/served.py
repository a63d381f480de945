"""What MLflow serves of a run: arrays or the bytes of image files in, class ids or probabilities out."""

import base64
import binascii
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.read import Pixels, read_image
from lamella.data.types import ImageRef
from lamella.errors import LamellaError
from lamella.inference.checkpoint import Trained
from lamella.plaintext import printable
from lamella.tracking import refused_request

_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",
    b"MM\0+": ".tif",
    b"BM": ".bmp",
}
"""How image files begin, each with the ending that it is read by."""


class Served:
    """A network behind MLflow's `predict`, one image at a time, from as many threads as there are.

    Args:
        trained: of its checkpoint.
        probabilities: one image (H, W, C) as stored -> class probabilities float32 (K', H, W).
    """

    def __init__(self, trained: Trained, probabilities: Callable[[Pixels], npt.NDArray[np.float32]]) -> None:
        self.trained = trained
        self._probabilities = probabilities
        self._one_at_a_time = threading.Lock()  # each takes all cores, and memory

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Classes of images, as the run's test made them.

        Args:
            model_input: one image (H, W) or (H, W, C); several of one size (B, H, W) or (B, H, W, C); or a table whose
                column `image` has a file's bytes, or these in base64, in each row: PNG, JPEG, TIFF, BMP.
            params: `probabilities`: true for probabilities instead of class ids.

        Returns:
            Class ids uint8 (H, W), or float32 (H, W, K'); of several images (B, ...), of a table a list of them.

        Raises:
            MlflowException: no image that this network takes; its message is one sentence, which a server answers
                with the status 400.
        """
        soft = bool((params or {}).get("probabilities"))
        try:
            images, many = self._images(_column(model_input))
            found = [self._one(image, soft=soft) for image in images]
        except LamellaError as error:
            raise refused_request(f"{error.problem}. {error.remedy}".strip()) from error
        if many == "table":
            return found
        return np.stack(found) if many == "stack" else found[0]

    def _images(self, given: Any) -> tuple[Iterable[Pixels], str]:
        """The images that are meant, each (H, W, C), and whether they are one, a stack, or a table's."""
        given = given.tolist() if isinstance(given, np.ndarray) and given.dtype.kind in "OSU" else given
        given = [given] if isinstance(given, bytes | bytearray | str) else given
        if _are_files(given):
            return [self._decoded(each, number) for number, each in enumerate(given, 1)], "table"
        array = self._levels(given)
        channels = self.trained.channels
        if array.ndim == 2:
            return [array[..., None]], "one"
        if array.ndim == 3 and array.shape[-1] == channels:
            return [array], "one"
        if array.ndim == 3 and channels == 1 and array.shape[-1] > 4:  # up to four are channels, not a width
            return list(array[..., None]), "stack"
        if array.ndim == 4 and array.shape[-1] == channels:
            return list(array), "stack"
        raise LamellaError(
            f"an array of shape {array.shape} is no image of {channels} channel(s)",
            f"Give (H, W, {channels}) or (B, H, W, {channels}){', (H, W) or (B, H, W)' if channels == 1 else ''}, or "
            "the bytes of image files in the column image.",
        )

    def _levels(self, given: Any) -> Pixels:
        """An array of the levels' own type. JSON has numbers alone: whole ones that fit are taken for that type's."""
        dtype = np.dtype(self.trained.dtype)
        try:
            array = np.asarray(given)
        except (ValueError, TypeError) as error:
            raise LamellaError("the rows of the array are not of one length", "Give one size an array.") from error
        if array.dtype.kind not in "iufb" or not array.size:
            raise LamellaError(
                f"what was sent is no array of levels and no image file, but of type {array.dtype}",
                "Send numbers, or the bytes of a PNG, JPEG, TIFF or BMP file (in JSON: in base64) in the column image.",
            )
        if array.dtype == dtype or self.trained.percentiles is not None:
            return array
        exact = isinstance(given, np.ndarray)
        with np.errstate(invalid="ignore"):
            cast = array.astype(dtype)
        if (exact and array.dtype.itemsize < 8) or not np.array_equal(cast.astype(np.float64), array):
            raise LamellaError(
                f"the levels are not {dtype}, which this network learned from",
                f"Send them as a camera of {dtype} does.",
            )
        return cast

    def _decoded(self, given: bytes | str, number: int) -> Pixels:
        """The image in a file's bytes, (H, W, C)."""
        content = _bytes(given, number)
        ending = next((ending for start, ending in _BEGINNINGS.items() if content.startswith(start)), None)
        if ending is None:
            raise LamellaError(
                f"row {number} of image is neither PNG, JPEG, TIFF nor BMP", "Send the bytes of such a file."
            )
        with tempfile.TemporaryDirectory(prefix="lamella-") as folder:
            path = Path(folder) / f"image{ending}"
            path.write_bytes(content)
            try:
                planes = read_image(ImageRef(path), self.trained.channels)
            except LamellaError as error:
                told = error.problem.replace(str(path), f"row {number} of image")
                raise LamellaError(told, error.remedy.replace(str(path), "it")) from error
        if planes.dtype != self.trained.dtype and self.trained.percentiles is None:
            raise LamellaError(
                f"row {number} of image has levels of type {planes.dtype}, and this network learned from "
                f"{self.trained.dtype}",
                "Send images as that camera stores them.",
            )
        return np.moveaxis(planes, 0, -1)

    def _one(self, image: Pixels, *, soft: bool) -> npt.NDArray[Any]:
        if 0 in image.shape:
            raise LamellaError(f"an image of {image.shape[0]} x {image.shape[1]} pixels has none", "")
        with self._one_at_a_time:
            probabilities = self._probabilities(np.require(image, requirements=["C", "W"]))
        if soft:
            return np.ascontiguousarray(np.moveaxis(probabilities, 0, -1))
        ids: npt.NDArray[np.uint8] = self.trained.segmenter.classes(torch.from_numpy(probabilities)[None])[0].numpy()
        return ids


def _column(given: Any) -> Any:
    """What is in the column `image`, or all that was given where there are no columns."""
    if isinstance(given, Mapping):
        if "image" not in given:
            raise LamellaError(f"there is no column image, but {printable(', '.join(map(str, given)))}", "Name it so.")
        return given["image"]
    if hasattr(given, "columns"):  # a DataFrame, which pandas need not be imported for
        return _column({str(name): given[name].tolist() for name in given.columns})
    return given


def _are_files(given: Any) -> bool:
    """Whether these are files, not levels."""
    kinds = bytes | bytearray | str
    return isinstance(given, Sequence) and len(given) > 0 and all(isinstance(row, kinds) for row in given)


def _bytes(given: bytes | bytearray | str, number: int) -> bytes:
    if not isinstance(given, str):
        return bytes(given)
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LamellaError(f"row {number} of image is not in base64", "Write the file's bytes so in JSON.") from error
