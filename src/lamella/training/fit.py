"""How a task gets its weights: trained by gradients, or, where a method has none, chosen on labelled images."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.loaders.datamodule import SegmentationDataModule
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.inference.whole_images import count_images
from lamella.models.classical.base import Classical
from lamella.tracking import Run
from lamella.training.callbacks import History, TrainingProgress
from lamella.training.task import SegmentationTask, validation_scores

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint  # isort: skip


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
    tracked: Run,
    checkpoints: Path,
    progress: Console | None,
) -> list[dict[str, float]]:
    """Each epoch's metrics; the network is left with the weights of its best epoch.

    Args:
        task: network, loss and all that a step needs.
        datamodule: the loaders.
        hardware: device and precision.
        settings: how long, and how.
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
        enable_version_counter=False,
    )
    last = ModelCheckpoint(checkpoints, "last", enable_version_counter=False)
    callbacks: list[pl.Callback] = [history, best, last]
    if settings.patience is not None:
        callbacks.append(EarlyStopping("val/dice", patience=settings.patience, mode="max"))
    if settings.ema > 0:
        callbacks.append(EMAWeightAveraging(decay=settings.ema))
    if progress is not None:
        callbacks.append(TrainingProgress(progress))
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=settings.devices,
            precision=hardware.precision,
            max_epochs=settings.max_epochs,
            gradient_clip_val=settings.gradient_clip or None,
            deterministic=settings.deterministic,
            callbacks=callbacks,
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
    tracked.log_metrics(
        {"time/train_s": seconds, "time/images_per_s": crops / seconds, "time/epochs": len(history.rows)}
    )
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
        hardware: device and precision.
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
        content = {"state_dict": task.state_dict(), "lamella": task.description}
        torch.save(content, checkpoints / f"{name}.ckpt")
    table = count_images(
        task.segmenter().on(hardware.device),
        datamodule.val_dataloader(),
        hardware,
        ids=[sample.id for sample in samples],
        num_classes=task.num_classes,
        tta=False,
    )
    times = {"time/train_s": seconds, "time/images_per_s": len(samples) / seconds}
    tracked.log_metrics(validation_scores(table) | times)
    return chosen


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
