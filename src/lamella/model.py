"""A trained model as a function: an image in, class ids out. Also what MLflow loads from a run's `model/`.

from lamella.model import Model
mask = Model("best.ckpt").predict(image)
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.cache.arrays import network_input
from lamella.data.io.read import Bytes, Pixels
from lamella.errors import DataError
from lamella.export.served import Served
from lamella.hardware import Hardware, Precision, has_bfloat16, resolve
from lamella.inference import checkpoint
from lamella.inference.whole_images import predict_image


class Model:
    """A checkpoint that segments images of any size, as its run's test did: tiles, views, threshold and precision.

    On another device than the test's, masks may differ by a few pixels. `hardware` says what is computed on. Images are
    taken where they lie: where labels lie beside what they outline (`dataset.offset`), the test moved its images first.

    Args:
        path: a checkpoint of Lamella.
        device: `cpu`; `cuda` or `cuda:1`; `auto`, which is a GPU where one works. A warning says why it is not taken.
        precision: `32-true` (float32), `bf16-mixed` (bfloat16) or `auto` (bfloat16 where the device has it). None: that
            of its run's test; where that was bfloat16 and the device would have to emulate it, float32, with a warning.
        trust: modules or .py files of your own that the network may come from; nothing else in the file is run.

    Raises:
        StorageError: the file is missing, damaged, or no checkpoint of Lamella; or it names code that is not trusted.
        ConfigError: there is no such device or precision here, or `trust` names what cannot be imported.
    """

    def __init__(
        self, path: str | Path, *, device: str = "cpu", precision: str | None = None, trust: Sequence[str] = ()
    ) -> None:
        self.trained = checkpoint.load(Path(path), trust)
        for module in self.trained.changed:
            warnings.warn(checkpoint.changed(module), stacklevel=2)
        self.hardware = _hardware(device, precision, self.trained.precision)
        self.trained.segmenter.on(self.hardware.device)

    def predict(self, image: Pixels, params: dict[str, Any] | None = None) -> Bytes:
        """The class of each pixel of one image.

        Args:
            image: (H, W) or (H, W, C), as a camera gives it, of the type that the model was trained on.
            params: part of MLflow's signature; not used.

        Returns:
            Class ids uint8 (H, W).

        Raises:
            DataError: another type or number of channels than the model was trained on.
        """
        probability = torch.from_numpy(self.probability(image))[None]
        ids: Bytes = self.trained.segmenter.classes(probability)[0].numpy()
        return ids

    def probability(self, image: Pixels) -> npt.NDArray[np.float32]:
        """Class probabilities float32 (K', H, W): K' = 1, the foreground's, for two classes, else one a class."""
        planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
        trained, segmenter = self.trained, self.trained.segmenter
        dtype, channels = trained.dtype, trained.channels
        if planes.shape[0] != channels:
            raise DataError(
                f"the image has {planes.shape[0]} channel(s), and this model was trained on {channels}",
                f"Give it (H, W, {channels}){' or (H, W)' if channels == 1 else ''}: the channels it learned from, in "
                "their order; or train a model on such images.",
            )
        # Levels of another camera would mean something else; where each image is stretched by itself they do not.
        if image.dtype != dtype and trained.percentiles is None:
            raise DataError(
                f"the image has type {image.dtype} and shape {image.shape}",
                f"This model takes {dtype} (H, W, {channels})" + (" or (H, W)." if channels == 1 else "."),
            )
        stored = network_input(np.ascontiguousarray(planes), scale=trained.scale, percentiles=trained.percentiles)
        batch, size = torch.from_numpy(stored)[None].to(self.hardware.device), (planes.shape[1], planes.shape[2])
        found = predict_image(segmenter, batch, size, self.hardware, tta=segmenter.inference.tta)
        result: npt.NDArray[np.float32] = found[0].cpu().numpy()
        return result


def _hardware(device: str, precision: str | None, of_test: Precision) -> Hardware:
    found = resolve(device, precision or of_test)
    if found.remark:
        warnings.warn(found.remark, stacklevel=3)
    if precision is None and of_test == "bf16-mixed" and not has_bfloat16(found.device):
        text = f"its run's test computed in bfloat16, which {found.name} has to emulate: float32 is taken"
        warnings.warn(f"{text}, and a few pixels may differ (precision='bf16-mixed' insists)", stacklevel=3)
        return found._replace(precision="32-true")
    return found


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Served:
    """MLflow's entry: `path` is the checkpoint beside an MLmodel file, `model_config` the options of `Model`."""
    model = Model(path, **(model_config or {}))
    return Served(model.trained, model.probability)
