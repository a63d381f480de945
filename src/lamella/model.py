"""A trained model as a function: an image in, class ids out. Also what MLflow loads from a run's `model/`.

from lamella.model import Model
mask = Model("best.ckpt").predict(image)
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lamella import checkpoint
from lamella.config import build
from lamella.data.images import shrink
from lamella.errors import DataError
from lamella.inference import Inference, classes, predict

Bytes = npt.NDArray[np.uint8]


class Model:
    """A checkpoint that segments images of any size, as its run's test did.

    Args:
        path: a checkpoint of Lamella.

    Raises:
        StorageError: the file is missing, damaged, or no checkpoint of Lamella.
    """

    def __init__(self, path: str | Path) -> None:
        self.trained = checkpoint.load(Path(path))
        self.inference: Inference = build(self.trained.config.inference)

    def predict(self, image: Bytes, params: dict[str, Any] | None = None) -> Bytes:
        """Segments one image.

        Args:
            image: uint8 (H, W) or (H, W, C), as a camera gives it.
            params: part of MLflow's signature; not used.

        Returns:
            Class ids uint8 (H, W).

        Raises:
            DataError: another type or number of channels than the model was trained on.
        """
        probability = torch.from_numpy(self.probability(image))[None]
        ids: Bytes = classes(probability, self.inference.threshold)[0].numpy()
        return ids

    def probability(self, image: Bytes) -> npt.NDArray[np.float32]:
        """Class probabilities float32 (K', H, W): K' = 1, the foreground's, for two classes, else one a class."""
        planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
        channels = self.trained.config.dataset.in_channels
        if image.dtype != np.uint8 or planes.shape[0] != channels:
            raise DataError(
                f"the image has type {image.dtype} and shape {image.shape}",
                f"This model takes uint8 (H, W, {channels})" + (" or (H, W)." if channels == 1 else "."),
            )
        scaled = torch.from_numpy(shrink(np.ascontiguousarray(planes), self.trained.config.dataset.scale))
        height, width = planes.shape[1:]
        with torch.inference_mode():
            found = predict(
                lambda levels: self.trained.network(self.trained.normalise(levels)),
                scaled[None].float(),
                (height, width),
                self.inference,
                frame=self.trained.config.data.frame,
                tta=self.inference.tta,
            )
        result: npt.NDArray[np.float32] = found[0].numpy()
        return result


def _load_pyfunc(path: str) -> Model:
    """MLflow's entry: `path` is the checkpoint beside an MLmodel file."""
    return Model(path)
