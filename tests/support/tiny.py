"""A run as small as it gets: grey pictures of bright rectangles, and a network whose logits are the picture itself."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.loaders.augment import Augmentation
from lamella.data.loaders.crops import RandomWindows
from lamella.data.loaders.datamodule import SegmentationDataModule
from lamella.data.prepared import PreparedData
from lamella.data.types import Batch, Dataset, DatasetCard, ImageRef, Sample, Split
from lamella.hardware import Hardware
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.settings import Inference
from lamella.losses import bce
from lamella.training.optim import adamw, cosine
from lamella.training.task import SegmentationTask

CPU = Hardware(torch.device("cpu"), "32-true")
HEIGHT, WIDTH = 32, 48
BRIGHT, DARK = 230, 20
CARD = DatasetCard(
    name="tiny", title="bright rectangles", class_names=("ground", "rectangle"), mask_values={0: 0, 255: 1},
    channels=1, source="made for a test",
)  # fmt: skip
NO_AUGMENTATION = Augmentation(
    flip=False, rotate90=False, rotate=0, scale=0, elastic=0, elastic_grid=32, brightness=0, contrast=0, gamma=0,
    channel=0, blur=0, noise=0, p=0,
)  # fmt: skip


def inference(**changed) -> Inference:
    """Settings of a prediction in one piece, without views."""
    return Inference(**{"tile": 1024, "overlap": 0, "tta": False, "threshold": 0.5} | changed)


def as_logits(network: nn.Module | None = None, **changed) -> Segmenter:
    """A segmenter that takes levels as stored for normalised, and without a network for logits."""
    return Segmenter.of(network or nn.Identity(), Normalise([0.0], [1.0]), inference(**changed), 0)


def batch(probability, truth, valid=None, name: str = "") -> Batch:
    """A whole image for `as_logits` that will be given these foreground probabilities (H, W)."""
    image = torch.logit(torch.tensor(probability, dtype=torch.float64)).float()[None, None]
    mask = torch.tensor(truth, dtype=torch.uint8)[None]
    counted = torch.ones_like(mask, dtype=torch.bool) if valid is None else torch.tensor(valid)[None]
    return Batch(image, mask, counted, [name])


def prepared(folder: Path, *, train: int = 2, val: int = 2, test: int = 3, card: DatasetCard = CARD) -> PreparedData:
    """Files of pictures, split and audited; picture number i has a rectangle of 8 by 10 + 2 i pixels."""
    samples = []
    for number in range(train + val + test):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[6:14, 5 : 15 + 2 * number] = 255
        image = np.where(mask > 0, BRIGHT, DARK) + np.random.default_rng(number).integers(-9, 10, mask.shape)
        for kind, pixels in (("image", image), ("mask", mask)):
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{kind}-{number}.png")
        image_ref, mask_ref = (ImageRef(folder / f"{kind}-{number}.png") for kind in ("image", "mask"))
        samples.append(Sample(f"picture {number}", image_ref, mask_ref, f"group {number}"))
    dataset = Dataset(card, tuple(samples))
    split = Split(tuple(samples[:train]), tuple(samples[train : train + val]), tuple(samples[train + val :]))
    store = Store(folder / "cache", card, 1.0)
    return PreparedData(dataset, split, store, audit(dataset, split, store))


def datamodule(data: PreparedData, *, batch_size: int = 2, steps: int = 2) -> SegmentationDataModule:
    """Its loaders: windows of 16 pixels."""
    windows = RandomWindows(data.split.train, data.store, window=16, context=0, fill=0, seed=0)
    return SegmentationDataModule(data.split, windows, batch_size=batch_size, steps=steps, workers=0, cuda=False)


def task(data: PreparedData, network: nn.Module, *, loss=None, lr: float = 0.1) -> SegmentationTask:
    """A task with that network."""
    return SegmentationTask(
        Segmenter.of(network, Normalise([127.5], [50.0]), inference(), 0),
        loss or bce(),
        num_classes=2,
        val_ids=[sample.id for sample in data.split.val],
        crop=16,
        augmentation=NO_AUGMENTATION,
        make_optimizer=partial(adamw, lr=lr, weight_decay=0),
        make_scheduler=lambda optimizer, steps: cosine(optimizer, steps=steps, warmup=0, final=1),
        seed=0,
        description={"format": 1, "config": "{}"},
    )
