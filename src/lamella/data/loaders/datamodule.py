"""The LightningDataModule: loaders, nothing else."""

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.cache.arrays import Store
from lamella.data.loaders.crops import Draws, RandomWindows, WholeImages, collate
from lamella.data.types import Batch, Sample, Split

import pytorch_lightning as pl  # isort: skip


class SegmentationData(pl.LightningDataModule):
    """Windows for training; whole images, one at a time, for validation and test.

    Args:
        split: which sample plays which part.
        store: decoded arrays.
        batch_size: windows a step.
        steps: steps an epoch.
        window: side of a training window, in pixels of the scaled image.
        frame: how far a window may reach beyond the picture.
        fill: level beyond the picture.
        seed: decides where windows are cut.
        workers: processes that cut windows; 0 cuts them between steps.
    """

    def __init__(
        self,
        split: Split,
        store: Store,
        *,
        batch_size: int,
        steps: int,
        window: int,
        frame: int,
        fill: float,
        seed: int,
        workers: int,
    ) -> None:
        super().__init__()
        self.split = split
        self.store = store
        self.batch_size = batch_size
        self.steps = steps
        self.workers = workers
        self.windows = RandomWindows(split.train, store, window=window, frame=frame, fill=fill, seed=seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(
            self.windows,
            batch_size=self.batch_size,
            sampler=Draws(self.steps * self.batch_size),
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return whole(self.split.val, self.store)


def whole(samples: Sequence[Sample], store: Store) -> DataLoader[Batch]:
    """Whole images of any part, one a batch, in the samples' order."""
    return DataLoader(WholeImages(samples, store), batch_size=1, collate_fn=collate)
