"""The LightningDataModule: the loaders of training and validation, each process's share of them."""

import torch
from torch.utils.data import DataLoader

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.loaders.crops import Draws, RandomWindows, Share, collate, whole
from lamella.data.types import Batch, Split
from lamella.hardware import processors

import pytorch_lightning as pl  # isort: skip


class SegmentationDataModule(pl.LightningDataModule):
    """The loaders of a run: windows for training; whole images, one at a time, for validation.

    Args:
        split: which sample plays which part.
        windows: of the training samples; validation reads the same store.
        batch_size: windows a step and process.
        steps: steps an epoch.
        workers: processes that cut windows; 0 cuts them between steps; None: by the processors at hand.
        cuda: batches go to a GPU.

    Attributes:
        steps_done: by a training that is gone on with; its windows do not come again.
    """

    def __init__(
        self, split: Split, windows: RandomWindows, *, batch_size: int, steps: int, workers: int | None, cuda: bool
    ) -> None:
        super().__init__()
        self.split = split
        self.store = windows.store
        self.windows = windows
        self.batch_size = batch_size
        self.steps = steps
        self.workers = helpers(cuda) if workers is None else workers
        self.cuda = cuda
        self.steps_done = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, processes = self._place()
        a_step = self.batch_size * processes
        return DataLoader(
            self.windows,
            batch_size=self.batch_size,
            sampler=Share(Draws(self.steps * a_step, self.steps_done * a_step), rank, processes),
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.cuda,
            generator=torch.Generator(),  # of its own, or what a network draws would depend on the number of workers
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        rank, processes = self._place()
        return whole(self.split.val, self.store, ahead=self.cuda, rank=rank, processes=processes)

    def _place(self) -> tuple[int, int]:
        """This process's number and how many train together; one alone where no trainer is at work."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def helpers(cuda: bool) -> int:
    """How many processes cut windows where nobody says: one; for a GPU, which is faster, up to four.

    One of them cuts about a thousand windows a second. This process keeps a processor for itself, of those that it may
    use; where there is no other, windows are cut between steps.
    """
    return min(4 if cuda else 1, processors() - 1)
