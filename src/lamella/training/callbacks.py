"""What is told of training while it goes on: to MLflow, and to the person at the terminal."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lamella.console import clock
from lamella.tracking import Run
from lamella.training.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip

_REFRESH_S = 0.5


class History(pl.Callback):
    """Every epoch's metrics: sent to MLflow in one call, and kept in `rows`."""

    def __init__(self, tracked: Run) -> None:
        self.tracked = tracked
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append(row)
        self.tracked.log_metrics(row, step=trainer.current_epoch)


class TrainingProgress(pl.Callback):
    """A bar over all steps of all epochs, with live loss and Dice, and a line an epoch; of the first process alone.

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
        self.shown = trainer.is_global_zero
        if self.shown:
            self.bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if not self.shown or self.bar.disable or now - self.seen < _REFRESH_S:
            return
        self.seen = now
        assert isinstance(pl_module, SegmentationTask)
        so_far = pl_module.crops.here()
        live = f"loss {float(so_far['loss']):.4f}  Dice {float(so_far['dice']):.4f}"
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.bar.update(self.line, completed=trainer.global_step, description=epoch, live=live)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.shown:
            return
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
