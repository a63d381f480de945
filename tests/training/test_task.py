"""A training step as a GPU would see it: torch's *meta* device stands in for one, and no operation waits for it.

Nothing can be read from that device, so whatever reads it fails; the rest is asked of the operations themselves.
"""

import itertools
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella import models
from lamella.data.loaders.augment import Augmentation
from lamella.errors import DataError
from lamella.losses import (
    bce,
    bce_dice,
    boundary_weighted,
    cldice,
    dice,
    focal,
    lovasz,
    soft_jaccard,
    tversky,
    weighted_bce,
    weighted_sum,
)
from lamella.metrics.pixels import ImageTable
from lamella.training.ema import AveragedWeights
from lamella.training.optim import adamw, cosine
from lamella.training.task import validation_scores
from support.tiny import datamodule, prepared, task

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.accelerators import CPUAccelerator  # isort: skip
from pytorch_lightning.strategies import SingleDeviceStrategy  # isort: skip

META = torch.device("meta")
EVERYTHING = Augmentation(
    flip=True, rotate90=True, rotate=20, scale=0.2, elastic=1, elastic_grid=8, brightness=0.1, contrast=0.2, gamma=0.2,
    channel=0.1, blur=1, noise=5, p=0.5,
)  # fmt: skip
LOSSES = {
    "bce": bce(),
    "weighted_bce": weighted_bce(num_classes=2, weights=[3.0]),
    "dice": dice(),
    "bce_dice": bce_dice(bce_weight=1, dice_weight=1),
    "soft_jaccard": soft_jaccard(bce_weight=1, jaccard_weight=1),
    "focal": focal(gamma=2, alpha=0.25),
    "tversky": tversky(alpha=0.3, beta=0.7),
    "lovasz": lovasz(),
    "boundary_weighted": boundary_weighted(w0=10, sigma=5, cells="foreground"),
    "cldice": cldice(alpha=0.5, iterations=3),
    "weighted_sum": weighted_sum(terms={"bce": 1, "dice": 0.5}, parts={"bce": bce(), "dice": dice()}),
}


@dataclass
class Heard(TorchDispatchMode):
    """Every operation that torch carries out, and those that a host would wait in on a GPU."""

    listens: bool = False
    names: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.listens:
            return out
        flat = torch.utils._pytree.tree_leaves((args, kwargs))
        tensors = [each for each in flat if isinstance(each, torch.Tensor)]
        made = [each for each in torch.utils._pytree.tree_leaves(out) if isinstance(each, torch.Tensor)]
        name = str(func)
        on_device = any(tensor.is_meta for tensor in tensors)
        if on_device or any(tensor.is_meta for tensor in made):
            self.names.append(name)
        moved = {tensor.is_meta for tensor in tensors if tensor.numel()} | {tensor.is_meta for tensor in made}
        if name.startswith(("aten._to_copy", "aten.copy_")) and len(moved) == 2:
            hurried = (kwargs or {}).get("non_blocking") or args[-1] is True
            if not hurried:
                self.waits.append(f"{name} {[tuple(t.shape) for t in tensors]}")
        if on_device and "_local_scalar_dense" in name:
            self.waits.append(name)
        picked = args[1] if name.startswith(("aten.index.", "aten.index_put")) and len(args) > 1 else ()
        if on_device and any(index is not None and index.dtype == torch.bool for index in picked):
            self.waits.append(f"{name} by a mask")
        return out


class MetaAccelerator(CPUAccelerator):
    """Lightning's idea of a device, for one that has none."""

    def setup_device(self, device: torch.device) -> None:
        pass


class OnMeta(SingleDeviceStrategy):
    """One device, from which nothing comes back."""

    def reduce(self, tensor: Any, *_: Any, **__: Any) -> torch.Tensor:
        return torch.ones(())  # asked before the first step: whether there are batches

    def teardown(self) -> None:
        pass


class Steps(pl.Callback):
    """Has the steps heard, each with the transfer of its batch, and notes where each ends."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.ends: list[int] = []

    def on_train_start(self, *_: Any) -> None:
        self.heard.listens = True

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(len(self.heard.names))

    def on_train_epoch_end(self, *_: Any) -> None:
        self.heard.listens = False


def steps(tmp_path, monkeypatch, loss, network, count=3):
    """What is heard of Lightning's own training steps on the device: by step, and what waits."""
    # What torch has on a GPU: mixed precision, random numbers, one operation for all weights.
    generator = torch.Generator
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "Generator", lambda *_: generator())
    for module, query in (("optim.optimizer", "fused"), ("utils._foreach_utils", "foreach")):
        monkeypatch.setattr(sys.modules[f"torch.{module}"], f"_get_{query}_kernels_supported_devices", lambda: ["meta"])
    data = prepared(tmp_path)
    what = task(data, network, loss=loss)
    what.make_optimizer = partial(adamw, lr=0.01, weight_decay=0.01)
    what.make_scheduler = lambda optimizer, steps: cosine(optimizer, steps=steps, warmup=0.1, final=0)
    what.augmentation = EVERYTHING
    counted = Steps()
    trainer = pl.Trainer(
        accelerator=MetaAccelerator(), strategy=OnMeta(META), max_epochs=1, limit_val_batches=0,
        gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[AveragedWeights(what.network, 0.99), counted],
    )  # fmt: skip
    with counted.heard:
        trainer.fit(what, datamodule(data, steps=count))
    return [b - a for a, b in itertools.pairwise(counted.ends)], counted.heard


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("name", LOSSES)
def test_no_step_waits_for_the_device(tmp_path, monkeypatch, name):
    counts, heard = steps(tmp_path, monkeypatch, LOSSES[name], torch.nn.Conv2d(1, 1, 3, padding=1))
    assert heard.waits == []
    assert len(counts) == 2
    assert counts[0] == counts[1]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_step_of_a_unet_is_so_many_operations(tmp_path, monkeypatch):
    network = models.unet(
        in_channels=1, num_classes=2, encoder="resnet18", encoder_weights=None, decoder_channels=[32, 16, 8, 8, 8]
    )
    counts, heard = steps(tmp_path, monkeypatch, bce_dice(bce_weight=1, dice_weight=1), network)
    assert heard.waits == []
    assert max(counts) <= 700  # 653 with torch 2.13; one for each weight would be 92 more


def test_validation_is_a_mean_over_the_images_with_foreground():
    found, empty = [[2, 1, 1, 6], [6, 1, 1, 2]], [[7, 0, 3, 0], [0, 3, 0, 7]]
    scores = validation_scores(ImageTable(["a", "b"], np.array([found, empty])))
    assert scores == pytest.approx({"val/dice": 12 / 14, "val/iou": 6 / 8, "val/accuracy": (8 / 10 + 7 / 10) / 2})
    with pytest.raises(DataError, match="no validation image has a pixel of foreground"):
        validation_scores(ImageTable(["b"], np.array([empty])))


def test_what_would_wait_is_heard():
    there = torch.empty(4, device=META)
    heard = Heard(listens=True)
    with heard:
        torch.zeros(4).to(META)
        torch.zeros(4).to(META, non_blocking=True)
        there.copy_(torch.zeros(4))
        with pytest.raises(RuntimeError):
            there.sum().item()
        with pytest.raises(NotImplementedError):
            there.cpu()
    assert [name.partition(" ")[0] for name in heard.waits] == ["aten._to_copy.default", "aten.copy_.default"]
