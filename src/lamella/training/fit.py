"""How a task gets its weights: trained by gradients, or, where a method has none, chosen on labelled images.

With what is told of training while it goes on: to MLflow, and to the person at the terminal.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.console import clock
from lamella.data.loaders.datamodule import SegmentationDataModule
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.inference.whole_images import count_images
from lamella.models.classical.base import Classical
from lamella.tracking import Run
from lamella.training.ema import AveragedWeights
from lamella.training.task import SegmentationTask, validation_scores

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint  # isort: skip

_REFRESH_S = 0.5


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long training runs and what is done to gradients and weights.

    Attributes:
        max_epochs: epochs at most.
        patience: epochs without a better `val/dice` before it stops; None: never.
        gradient_clip: largest norm of the gradient; 0: no clipping.
        ema: decay a step of the averaged weights that are scored; 0: none.
        deterministic: only algorithms that repeat exactly.
        devices: how many train together, one process each.
    """

    max_epochs: int
    patience: int | None
    gradient_clip: float
    ema: float
    deterministic: bool
    devices: int


def fit(
    task: SegmentationTask,
    datamodule: SegmentationDataModule,
    hardware: Hardware,
    settings: FitSettings,
    *,
    callbacks: Sequence[pl.Callback] = (),
    tracked: Run,
    checkpoints: Path,
    progress: Console | None,
) -> list[dict[str, float]]:
    """Each epoch's metrics; the network is left with the weights of its best epoch.

    Args:
        task: network, loss and all that a step needs.
        callbacks: a user's own; called before ours.
        tracked: the run that metrics are logged to.
        checkpoints: made for `best.ckpt` and `last.ckpt`.
        progress: where it is shown; None: nowhere.

    Raises:
        KeyboardInterrupt: somebody stopped it, and this version of Lightning kept that to itself; others exit.
    """
    history = History(tracked)
    best = ModelCheckpoint(
        checkpoints,
        "best",
        monitor="val/dice",
        mode="max",
        save_weights_only=True,
        save_on_train_epoch_end=False,  # but while the validated weights are in place
        enable_version_counter=False,
    )
    last = ModelCheckpoint(checkpoints, "last", enable_version_counter=False)
    called: list[pl.Callback] = [*callbacks, history, best, last]
    if settings.patience is not None:
        called.append(EarlyStopping("val/dice", patience=settings.patience, mode="max"))
    if settings.ema > 0:
        called.append(AveragedWeights(task.network, settings.ema))
    if progress is not None:
        called.append(TrainingProgress(progress))
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=settings.devices,
            precision=hardware.precision,
            max_epochs=settings.max_epochs,
            gradient_clip_val=settings.gradient_clip or None,
            deterministic=settings.deterministic,
            callbacks=called,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # our loaders share out what they draw
        )
        started = time.perf_counter()
        trainer.fit(task, datamodule)
        if trainer.interrupted:
            raise KeyboardInterrupt
        seconds = time.perf_counter() - started
    crops = trainer.global_step * datamodule.batch_size * trainer.world_size
    times = {"time/train_s": seconds, "time/images_per_s": crops / seconds, "time/epochs": len(history.rows)}
    tracked.log_metrics(times)
    task.load_state_dict(checkpoint.read(checkpoints / "best.ckpt")["state_dict"])
    return history.rows


def fit_classical(
    task: SegmentationTask,
    method: Classical,
    datamodule: SegmentationDataModule,
    hardware: Hardware,
    *,
    tracked: Run,
    checkpoints: Path,
) -> str:
    """What a method without training chose on the validation images, in one line; it is kept as a checkpoint, too.

    Args:
        task: its network is `method`.
        method: chooses channel, polarity and the like.
        datamodule: its `split.val` is looked at.
        tracked: the run that scores and times are logged to.
        checkpoints: made for `best.ckpt` and `last.ckpt`, which are the same.
    """
    samples, store = datamodule.split.val, datamodule.store
    started = time.perf_counter()
    chosen = method.fit_on_validation(
        (task.normalise(task.normalise.grey(torch.from_numpy(np.array(store.image(s)))[None]))[0].numpy(),
         np.asarray(store.mask(s)))
        for s in samples
    )  # fmt: skip
    seconds = time.perf_counter() - started
    tracked.set_tags({"lamella.chosen": chosen})
    checkpoints.mkdir(parents=True)
    for name in ("best", "last"):
        torch.save({"state_dict": task.state_dict(), "lamella": task.description}, checkpoints / f"{name}.ckpt")
    segmenter = task.segmenter.on(hardware.device)
    ids = [sample.id for sample in samples]
    batches = datamodule.val_dataloader()
    table = count_images(segmenter, batches, hardware, ids=ids, num_classes=task.num_classes, tta=False)
    times = {"time/train_s": seconds, "time/images_per_s": len(samples) / seconds}
    tracked.log_metrics(validation_scores(table) | times)
    return chosen


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
        done, live = TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[live]}")
        passed, left = TimeElapsedColumn(), TimeRemainingColumn()
        columns = (TextColumn("{task.description}"), BarColumn(), done, passed, TextColumn("left"), left, live)
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
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
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.bar.stop()


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning's advice and banners off the screen, for as long as it trains."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
