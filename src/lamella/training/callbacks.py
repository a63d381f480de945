"""Progress people can read: a bar with the time left on a terminal, a line an epoch in a log file."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lamella.console import clock
from lamella.training.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip

_REFRESH_S = 0.5


class TrainingProgress(pl.Callback):
    """One bar over all steps of all epochs, with live loss and Dice; a line an epoch above it.

    The device is read back at most twice a second, so that watching costs nothing.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[live]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.seen = 0.0
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self.first_step = trainer.global_step
        self.total = int(trainer.estimated_stepping_batches)
        self.line = self.bar.add_task("training", total=self.total, live="")
        self.bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self.bar.disable or now - self.seen < _REFRESH_S:
            return
        self.seen = now
        assert isinstance(pl_module, SegmentationTask)
        live = f"loss {float(pl_module.train_loss.compute()):.4f}  Dice {float(pl_module.live_dice()):.4f}"
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.bar.update(self.line, completed=trainer.global_step, description=epoch, live=live)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        spent = time.monotonic() - self.started
        done = trainer.global_step - self.first_step
        left = spent / max(done, 1) * (self.total - trainer.global_step)
        m = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.console.print(
            f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}  "
            f"loss {m['train/loss']:.4f}  val loss {m['val/loss']:.4f}  Dice {m['val/dice']:.4f}  "
            f"IoU {m['val/iou']:.4f}  accuracy {m['val/accuracy']:.4f}  "
            f"spent {clock(spent)}  left {clock(left)}",
            highlight=False,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.bar.stop()
