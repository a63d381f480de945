"""How a task gets its weights: trained by gradients, or, where a method has none, chosen by labelled images."""

import logging
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella import tracking
from lamella.commands.setup import Data
from lamella.config.schema import Config
from lamella.data.loaders.datamodule import SegmentationData
from lamella.evaluation import scores as scoring
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.models.classical.base import Classical
from lamella.training.callbacks import TrainingProgress
from lamella.training.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint  # isort: skip

warnings.filterwarnings("ignore", module="pytorch_lightning")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def train(
    cfg: Config,
    task: SegmentationTask,
    module: SegmentationData,
    machine: Hardware,
    tracked: tracking.Run,
    checkpoints: Path,
    out: Console,
) -> list[dict[str, float]]:
    """Fits the network and leaves it with the weights of its best epoch; returns each epoch's metrics."""
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
    if cfg.trainer.patience is not None:
        callbacks.append(EarlyStopping("val/dice", patience=cfg.trainer.patience, mode="max"))
    if cfg.trainer.ema > 0:
        callbacks.append(EMAWeightAveraging(decay=cfg.trainer.ema))
    if cfg.trainer.progress:
        callbacks.append(TrainingProgress(out))
    trainer = pl.Trainer(
        accelerator=machine.accelerator,
        devices=1,
        precision=machine.precision,
        max_epochs=cfg.trainer.max_epochs,
        gradient_clip_val=cfg.trainer.gradient_clip or None,
        deterministic=cfg.trainer.deterministic,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    started = time.perf_counter()
    trainer.fit(task, module)
    if trainer.interrupted:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - started
    crops = trainer.global_step * cfg.data.batch_size
    tracked.log_metrics(
        {"time/train_s": seconds, "time/images_per_s": crops / seconds, "time/epochs": len(history.rows)}
    )
    task.load_state_dict(checkpoint.read(checkpoints / "best.ckpt")["state_dict"])
    return history.rows


def choose(
    task: SegmentationTask,
    method: Classical,
    data: Data,
    module: SegmentationData,
    machine: Hardware,
    tracked: tracking.Run,
    checkpoints: Path,
    out: Console,
) -> None:
    """Settles what a method without training leaves open, by the validation images, and keeps it as a checkpoint."""
    started = time.perf_counter()
    with out.status(f"{method.name}: choosing by {len(data.split.val)} validation images"):
        chosen = method.fit_on_validation(
            (task.normalise(task.normalise.grey(torch.from_numpy(np.array(data.store.image(s)))[None]))[0].numpy(),
             np.asarray(data.store.mask(s)))
            for s in data.split.val
        )  # fmt: skip
    seconds = time.perf_counter() - started
    out.print(f"{method.name}: {chosen}", highlight=False)
    tracked.set_tags({"lamella.chosen": chosen})
    checkpoints.mkdir(parents=True)
    for name in ("best", "last"):
        content = {"state_dict": task.state_dict(), "lamella": task.description}
        torch.save(content, checkpoints / f"{name}.ckpt")
    table = scoring.count_all(
        task.segmenter().on(machine.device), module.val_dataloader(), machine, num_classes=task.num_classes, tta=False
    )
    scores = {f"val/{name}": float(table.per_image(name).mean()) for name in ("dice", "iou", "accuracy")}
    times = {"time/train_s": seconds, "time/images_per_s": len(data.split.val) / seconds}
    tracked.log_metrics(scores | times)


class History(pl.Callback):
    """Sends each epoch's metrics to MLflow in one call, and remembers them."""

    def __init__(self, tracked: tracking.Run) -> None:
        self.tracked = tracked
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append(row)
        self.tracked.log_metrics(row, step=trainer.current_epoch)
