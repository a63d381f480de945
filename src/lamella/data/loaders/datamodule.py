"""The LightningDataModule: the loaders of training and validation, each process's share of them."""

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.loaders.crops import Draws, RandomWindows, Share, whole
from lamella.data.loaders.workers import Loader, require_shared_memory
from lamella.data.types import Split
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

    Raises:
        StorageError: the memory through which processes hand over batches is too small.
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
        if self.workers or cuda:
            self._require_shared_memory()

    def train_dataloader(self) -> Loader:
        rank, processes = self._place()
        a_step = self.batch_size * processes
        sampler = Share(Draws(self.steps * a_step, self.steps_done * a_step), rank, processes)
        return Loader(
            self.windows, workers=self.workers, batch_size=self.batch_size, sampler=sampler, pin_memory=self.cuda
        )

    def val_dataloader(self) -> Loader:
        rank, processes = self._place()
        return whole(self.split.val, self.store, ahead=self.cuda, rank=rank, processes=processes)

    def _require_shared_memory(self) -> None:
        channels, *_ = (levels := self.store.image(self.split.train[0])).shape
        pixel = channels * levels.itemsize + 2  # with class ids, and which of them count
        whole = [*self.split.val, *self.split.test] if self.cuda else []
        images = max((self.store.image(each).nbytes + 2 * self.store.truth(each).size for each in whole), default=0)
        require_shared_memory(self.batch_size * self.windows.window**2 * pixel, workers=self.workers, images=images)

    def _place(self) -> tuple[int, int]:
        """This process's number and how many train together; one alone where no trainer is at work."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def helpers(cuda: bool) -> int:
    """How many processes cut windows where nobody says: one; for a GPU, which is faster, up to four.

    One of them cuts about a thousand windows a second. This process keeps a processor for itself, of those that it may
    use; where there is no other, windows are cut between steps.
    """
    return min(4 if cuda else 1, processors() - 1)
