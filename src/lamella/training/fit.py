"""How a task gets its weights: trained by gradients, or, where a method has none, chosen on labelled images.

With what is told of training while it goes on: to MLflow, and to the person at the terminal.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.optim.lr_scheduler import LRScheduler

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.console import clock
from lamella.data.loaders.datamodule import SegmentationDataModule
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.inference.whole_images import count_images
from lamella.models.classical.base import Classical
from lamella.tracking import Run
from lamella.training import keeping
from lamella.training.divergence import Divergence
from lamella.training.ema import AveragedWeights
from lamella.training.keeping import Earlier, Keeper, WholeFiles
from lamella.training.stopping import graceful
from lamella.training.task import SegmentationTask, validation_scores

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import EarlyStopping  # isort: skip
from lightning_fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]  # isort: skip

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
    earlier: Earlier | None = None,
    say: Callable[[str], object] = print,
) -> list[dict[str, float]]:
    """Each epoch's metrics; the network is left with the weights of its best epoch.

    Args:
        task: network, loss and all that a step needs.
        callbacks: a user's own; called before ours.
        tracked: the run that metrics are logged to.
        checkpoints: made for `best.ckpt` and `last.ckpt`.
        progress: where it is shown; None: nowhere.
        earlier: the training that is gone on with, see `lamella.training.keeping.found`; None: a new one.
        say: is told a warning.

    Raises:
        Stopped: somebody asked for that; all is kept that is needed to go on.
        DivergedError: the loss is no number any more.
        KeyboardInterrupt: somebody stopped it, and this version of Lightning kept that to itself; others exit.
    """
    averaged = AveragedWeights(task.network, settings.ema) if settings.ema > 0 else None
    divergence = Divergence(say)
    keeper = Keeper(checkpoints, tracked=tracked, averaged=averaged, divergence=divergence)
    over = earlier is not None and earlier.over(settings.max_epochs, settings.patience)
    if earlier is not None and over:
        keeper.take_up(earlier)
        if settings.deterministic:
            torch.use_deterministic_algorithms(True)  # as Lightning leaves it
    else:
        patient = (
            [] if settings.patience is None else [EarlyStopping("val/dice", patience=settings.patience, mode="max")]
        )
        shown = [] if progress is None else [TrainingProgress(progress)]
        known = [] if averaged is None else [averaged]
        datamodule.steps_done = earlier.steps if earlier is not None else 0
        saved = earlier and continued(earlier, task, settings, datamodule.steps)
        with quiet_lightning():
            trainer = pl.Trainer(
                accelerator=hardware.accelerator,
                devices=settings.devices,
                precision=hardware.precision,
                max_epochs=settings.max_epochs,
                gradient_clip_val=settings.gradient_clip or None,
                deterministic=settings.deterministic,
                callbacks=[*callbacks, divergence, *patient, *known, *shown, keeper],
                # Of one process no cluster is asked: Lightning would requeue jobs of Slurm's, with files of its own.
                plugins=[WholeFiles(saved), *([LightningEnvironment()] if settings.devices == 1 else [])],
                default_root_dir=checkpoints,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,  # our loaders share out what they draw
            )
            try:
                with graceful():
                    trainer.fit(task, datamodule, ckpt_path=checkpoints / keeping.LAST if saved else None)
                if trainer.interrupted:
                    raise KeyboardInterrupt
            except BaseException:
                keeper.keep_files()
                raise
    seconds = keeper.seconds
    crops = keeper.steps * datamodule.batch_size * settings.devices
    times = {"time/train_s": seconds, "time/images_per_s": crops / seconds, "time/epochs": len(keeper.rows)}
    if not (over and tracked.logged("time/train_s")):  # else it was killed after it had been told
        tracked.log_metrics(times)
    task.load_state_dict(checkpoint.read(checkpoints / keeping.BEST)["state_dict"])
    keeping.tidy(checkpoints)
    return keeper.rows


def continued(earlier: Earlier, task: SegmentationTask, settings: FitSettings, steps: int) -> dict[str, Any]:
    """What Lightning is to go on from: an earlier training's checkpoint, with what of it is said anew.

    Args:
        earlier: of that training.
        task: that is gone on with.
        settings: its length and patience may be others than before.
        steps: an epoch.
    """
    saved = {**earlier.saved, "callbacks": {**earlier.saved["callbacks"]}}
    if settings.patience is not None and earlier.rows:
        early = EarlyStopping("val/dice", patience=settings.patience, mode="max")
        early.wait_count = earlier.waited()
        early.best_score = torch.tensor(earlier.best)
        saved["callbacks"][early.state_key] = early.state_dict()
    total = settings.max_epochs * steps
    if total != earlier.state["scheduled"]:
        optimizer, schedule = scheduled(task, total, earlier.steps)
        saved["lr_schedulers"] = [schedule.state_dict()]
        (old,) = saved["optimizer_states"]
        groups = [
            {**group, "lr": now["lr"]} for group, now in zip(old["param_groups"], optimizer.param_groups, strict=True)
        ]
        saved["optimizer_states"] = [{**old, "param_groups": groups}]
    return saved


def scheduled(task: SegmentationTask, total: int, done: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """An optimizer of a task and its schedule over `total` steps as they stand when `done` of them are done."""
    optimizer = task.make_optimizer(task.network.parameters())
    schedule = task.make_scheduler(optimizer, total)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch expects steps of the optimizer in between
        for _ in range(done):
            schedule.step()
    return optimizer, schedule


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
    for name in (keeping.BEST, keeping.LAST):
        checkpoint.write(checkpoints / name, {"state_dict": task.state_dict(), "lamella": task.description})
    segmenter = task.segmenter.on(hardware.device)
    ids = [sample.id for sample in samples]
    batches = datamodule.val_dataloader()
    table = count_images(segmenter, batches, hardware, ids=ids, num_classes=task.num_classes, tta=False)
    times = {"time/train_s": seconds, "time/images_per_s": len(samples) / seconds}
    tracked.log_metrics(validation_scores(table) | times)
    return chosen


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
def quiet_lightning() -> Iterator[None]:
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
