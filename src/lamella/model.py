"""A trained model as a function: an image in, class ids out. Also what MLflow loads from a run's `model/`.

from lamella.model import Model
mask = Model("best.ckpt").predict(image)
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.cache.arrays import network_input
from lamella.data.io.read import Bytes, Pixels
from lamella.errors import DataError
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.inference.whole_images import predict_image

_CPU = Hardware(torch.device("cpu"), "32-true")


class Model:
    """A checkpoint that segments images of any size, as its run's test did.

    Args:
        path: a checkpoint of Lamella.
        trust: modules or .py files of your own that the network may come from; nothing else in the file is run.

    Raises:
        ConfigError: `trust` names what cannot be imported.
        StorageError: the file is missing, damaged, or no checkpoint of Lamella; or it names code that is not trusted.
    """

    def __init__(self, path: str | Path, trust: Sequence[str] = ()) -> None:
        self.trained = checkpoint.load(Path(path), trust)
        for module in self.trained.changed:
            warnings.warn(checkpoint.changed(module), stacklevel=2)

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
        # Levels of another camera would mean something else; where each image is stretched by itself they do not.
        if (image.dtype != dtype and trained.percentiles is None) or planes.shape[0] != channels:
            raise DataError(
                f"the image has type {image.dtype} and shape {image.shape}",
                f"This model takes {dtype} (H, W, {channels})" + (" or (H, W)." if channels == 1 else "."),
            )
        stored = network_input(np.ascontiguousarray(planes), scale=trained.scale, percentiles=trained.percentiles)
        batch, size, tta = torch.from_numpy(stored)[None], (planes.shape[1], planes.shape[2]), segmenter.inference.tta
        result: npt.NDArray[np.float32] = predict_image(segmenter, batch, size, _CPU, tta=tta)[0].numpy()
        return result


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Model:
    """MLflow's entry: `path` is the checkpoint beside an MLmodel file, `model_config` has arguments of `Model`."""
    return Model(path, **model_config or {})
