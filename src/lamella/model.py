"""A trained model as a function: arrays in, probabilities or class ids out. Also what MLflow loads of a run.

import lamella
model = lamella.load("best.ckpt")
labels = model.segment(image)
"""

import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lamella.config.paths import store_file, typed
from lamella.data.cache.arrays import network_input
from lamella.data.io.read import Bytes, Pixels
from lamella.errors import ConfigError, StorageError
from lamella.export.served import Served
from lamella.hardware import Hardware, Precision, has_bfloat16, resolve
from lamella.inference import checkpoint
from lamella.inference.arrays import pictures
from lamella.inference.pictures import objects_in, require_alike, require_as_learned
from lamella.inference.segmenter import stream
from lamella.inference.whole_images import computing

Source = str | Path


class Model:
    """A trained network, or an ensemble, that segments arrays of any size as its run's test did.

    Tiles, views, threshold and precision are the test's; on another device, labels may differ by a few pixels. Images
    are taken where they lie: where labels lie beside what they outline (`dataset.offset`), the test moved its images
    first. `hardware` says what is computed on, `class_names` what the classes are, `threshold` what makes foreground of
    two of them.

    Args, and what is raised: see `lamella.load`.
    """

    def __init__(
        self,
        source: Source | Sequence[Source],
        *,
        uri: str | None = None,
        device: str = "cpu",
        precision: str | None = None,
        trust: Sequence[str] = (),
    ) -> None:
        sources = [source] if isinstance(source, str | Path) else list(source)
        if not sources:
            raise ConfigError("no model is named", "Write a run's id, a checkpoint's file, or several of them.")
        self.trained = [checkpoint.load(_checkpoint(each, uri), trust) for each in sources]
        for module in sorted({module for each in self.trained for module in each.changed}):
            warnings.warn(checkpoint.changed(module), stacklevel=3)
        first = self.trained[0]
        require_alike(self.trained)
        self.hardware = _hardware(device, precision, first.precision)
        for each in self.trained:
            each.segmenter.on(self.hardware.device)
        self.class_names = first.class_names
        self.threshold = first.segmenter.inference.threshold

    def predict(self, image: npt.NDArray[Any], *, axes: str | None = None) -> npt.NDArray[np.float32]:
        """The probabilities of classes at every pixel of an image, or of each image of a stack.

        Args:
            image: levels as a camera gives them, of the type that the model was trained on: (H, W), (H, W, C) or
                (C, H, W); of a stack (Z, H, W), (Z, H, W, C) or (Z, C, H, W).
            axes: a letter a dimension, such as "YX", "YXC", "CYX", "ZYX" or "ZYXC"; Z or T counts images, C or S
                channels. None: as the shape makes plain; what it does not is an error that says how to write it.

        Returns:
            float32 (K', H, W), of a stack (Z, K', H, W): K' = 1, the foreground's, for two classes, else one a class.

        Raises:
            DataError: no array of real, finite numbers; or other axes, channels or levels than the model learned from.
        """
        found, stack = pictures(image, axes, self.trained[0].channels)
        require_as_learned(self.trained, found.shape[1], found.dtype, "the array")
        probabilities = np.stack([self._probability(each) for each in found])
        return probabilities if stack else probabilities[0]

    def segment(self, image: npt.NDArray[Any], *, axes: str | None = None) -> Bytes:
        """The class of every pixel, as the run's test chose it: `class_names` has the names.

        Args: and what is raised: see `predict`.

        Returns:
            Class ids uint8 (H, W), of a stack (Z, H, W).
        """
        probabilities = self.predict(image, axes=axes)
        batch = torch.from_numpy(probabilities if probabilities.ndim == 4 else probabilities[None])
        ids: Bytes = self.trained[0].segmenter.classes(batch).numpy()
        return ids if probabilities.ndim == 4 else ids[0]

    def objects(self, image: npt.NDArray[Any], *, axes: str | None = None) -> npt.NDArray[np.uint32]:
        """The single objects in an image, numbered as `predict` numbers them: cells, cut where they touch, or regions.

        Args: and what is raised: see `predict`.

        Returns:
            uint32 (H, W), of a stack (Z, H, W): 0 outside objects, ids from 1 in each image.
        """
        ids, first = self.segment(image, axes=axes), self.trained[0]
        numbers = np.zeros(ids.shape, np.uint32)
        for one, found in zip(ids.reshape(-1, *ids.shape[-2:]), numbers.reshape(-1, *ids.shape[-2:]), strict=True):
            with tempfile.TemporaryDirectory(prefix="lamella-") as folder:
                found[:] = objects_in(one, first, Path(folder)).labels
        return numbers

    def __getattr__(self, name: str) -> Any:
        if name == "probability":  # what it was called while `predict` gave class ids
            raise AttributeError("Model.predict gives probabilities now, and Model.segment class ids")
        raise AttributeError(f"a Model has no {name!r}")

    def _probability(self, image: Pixels) -> npt.NDArray[np.float32]:
        """The probabilities (K', H, W) of one image (C, H, W)."""
        first, size = self.trained[0], (image.shape[1], image.shape[2])
        own = np.require(image, requirements=["C", "W"])
        stored = torch.from_numpy(network_input(own, scale=first.scale, percentiles=first.percentiles))
        rows, segmenters = [stored.to(self.hardware.device)], [each.segmenter for each in self.trained]
        tta = first.segmenter.inference.tta and first.segmenter.gives_probabilities
        with computing(self.hardware):
            bands = [*stream(segmenters, rows, (stored.shape[1], stored.shape[2]), size, tta=tta)]
        outputs = 1 if len(first.class_names) == 2 else len(first.class_names)  # what follows is their spread
        found: npt.NDArray[np.float32] = torch.cat(bands, dim=1)[:outputs].cpu().numpy()
        return found


def _checkpoint(source: Source, uri: str | None) -> Path:
    """The checkpoint's file of a run, a file, a folder or a registered model. Raises StorageError."""
    name, path = str(source), Path(source).expanduser()
    registered = name.startswith("models:/")
    if registered or (re.fullmatch("[0-9a-f]{32}", name) and not path.exists()):
        from lamella import tracking  # MLflow takes seconds, which a file need not wait for

        store = uri or f"sqlite:///{store_file()}"
        run = tracking.registered(store, name.removeprefix("models:/")).run_id if registered else name
        tracking.read(store, run)  # refuses one that did not finish: its network was never chosen
        return tracking.checkpoint(store, run)
    if path.is_dir():
        places = (path / "best.ckpt", path / "checkpoints" / "best.ckpt", *sorted(path.glob("data/*.ckpt")))
        for place in places:
            if place.is_file():
                return place
        raise StorageError(
            f"the folder {path} holds no checkpoint", "Name a run's folder checkpoints or model, or a .ckpt file."
        )
    if not path.exists():
        raise StorageError(
            f"{name!r} is no file or folder that is there, and no run's id, which has 32 digits and letters a to f",
            f'`{typed("ui")}` lists the runs; a registered model is "models:/NAME@ALIAS".',
        )
    return path


def _hardware(device: str, precision: str | None, of_test: Precision) -> Hardware:
    found = resolve(device, precision or of_test)
    if found.remark:
        warnings.warn(found.remark, stacklevel=4)
    if precision is None and of_test == "bf16-mixed" and not has_bfloat16(found.device):
        text = f"its run's test computed in bfloat16, which {found.name} has to emulate: float32 is taken"
        warnings.warn(f"{text}, and a few pixels may differ (precision='bf16-mixed' insists)", stacklevel=4)
        return found._replace(precision="32-true")
    return found


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Served:
    """MLflow's entry: `path` is the checkpoint beside an MLmodel file, `model_config` the options of `Model`."""
    model = Model(path, **(model_config or {}))
    return Served(model.trained[0], partial(model.predict, axes="YXC"))
