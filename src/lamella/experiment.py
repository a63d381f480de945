"""One run from start to end: data, training, scores, tracking."""

import hashlib
import json
import logging
import shutil
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella import checkpoint, environment, figures, hardware, scoring, tracking
from lamella.config import CHECKOUT, build, check, flat
from lamella.data.audit import audit, data_sha256, manifest, split_ids, split_sha256
from lamella.data.augment import window_size
from lamella.data.channels import channel_statistics
from lamella.data.module import SegmentationData
from lamella.data.store import Store
from lamella.data.types import Batch, Dataset, Split
from lamella.errors import ConfigError
from lamella.inference import Normalise, classes
from lamella.progress import TrainingProgress, console
from lamella.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint  # isort: skip

warnings.filterwarnings("ignore", module="pytorch_lightning")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Data:
    """The data of one run, audited and split."""

    dataset: Dataset
    split: Split
    store: Store


def run(cfg: DictConfig, sweep: str | None = None) -> float:
    """Runs one experiment as configured, from files to a finished MLflow run.

    Args:
        cfg: as Hydra composed it.
        sweep: the name shared by all jobs of a sweep; None outside one.

    Returns:
        The mean test Dice, for a sweeper that optimises.

    Raises:
        LamellaError: anything a user can mend; the data is checked before the run is opened.
    """
    out = console()
    cfg = check(cfg)
    machine = hardware.choose(cfg.trainer.accelerator, cfg.trainer.precision)
    if machine.device.type == "cpu":
        hardware.keep_freed_memory()
    pl.seed_everything(cfg.seed, verbose=False)
    data = load(cfg, out)
    task, module = assemble(cfg, data)
    out.print(summary_line(cfg, data, task, machine), highlight=False)
    with tracking.start(
        uri=cfg.tracking.uri,
        artifacts=cfg.tracking.artifacts,
        experiment=cfg.tracking.experiment,
        run_name=cfg.tracking.run_name,
        params=flat(cfg),
        tags=identity(cfg, data, sweep),
    ) as tracked:
        out.print(f"run {tracked.run_id}", highlight=False)
        folder = Path(cfg.paths.output) / tracked.run_id
        describe(folder, cfg, data)
        tracked.log_folder(folder)
        history = train(cfg, task, module, machine, tracked, folder / "checkpoints", out)
        scores = judge(cfg, data, task, module, machine, folder, out)
        figures.curves(folder / "figures" / "curves.png", history, title(cfg, data))
        tracking.save_model(folder / "model", folder / "checkpoints" / "best.ckpt")
        tracked.log_metrics(scores)
        tracked.log_folder(folder)
        shutil.rmtree(folder)  # kept where anything above failed
    report(out, cfg, data, scores, tracked.run_id)
    return scores["test/dice"]


def load(cfg: DictConfig, out: Console) -> Data:
    """Files -> samples -> store -> split. Raises DataError with every faulty file named."""
    dataset: Dataset = build(cfg.dataset)
    card = dataset.card
    if (cfg.dataset.in_channels, cfg.dataset.num_classes) != (card.channels, len(card.class_names)):
        raise ConfigError(
            f"dataset.in_channels={cfg.dataset.in_channels}, dataset.num_classes={cfg.dataset.num_classes} contradict "
            f"the data set {card.name}: {card.channels} channel(s), classes {', '.join(card.class_names)}",
            "Leave both as the dataset's file has them.",
        )
    store = Store(Path(cfg.paths.cache) / "arrays", card, cfg.dataset.scale)
    with out.status("reading the data") as status:
        audit(dataset, store, lambda done, total: status.update(f"reading the data: {done} of {total}"))
    return Data(dataset, build(cfg.dataset.split, dataset.samples), store)


def assemble(cfg: DictConfig, data: Data) -> tuple[SegmentationTask, SegmentationData]:
    """Network, loss and loaders, from the configuration and the training images' statistics."""
    mean, std = channel_statistics(data.split.train, data.store)
    augmentation = build(cfg.augment)
    window = window_size(cfg.data.crop, augmentation)
    task = SegmentationTask(
        build(cfg.model),
        Normalise(mean, std),
        build(cfg.loss),
        num_classes=cfg.dataset.num_classes,
        crop=cfg.data.crop,
        frame=cfg.data.frame,
        augmentation=augmentation,
        inference=build(cfg.inference),
        make_optimizer=build(cfg.optimizer),
        make_scheduler=build(cfg.scheduler),
        seed=cfg.seed,
        description=checkpoint.contents(cfg, data.dataset.card),
    )
    module = SegmentationData(
        data.split,
        data.store,
        batch_size=cfg.data.batch_size,
        steps=cfg.data.steps,
        window=window,
        # Augmentation cuts the crop out of the window's middle: crops, not windows, reach `frame` beyond the picture.
        frame=cfg.data.frame + (window - cfg.data.crop) // 2,
        fill=[0] * cfg.dataset.in_channels,
        seed=cfg.seed,
        workers=cfg.data.workers,
    )
    return task, module


def train(
    cfg: DictConfig,
    task: SegmentationTask,
    module: SegmentationData,
    machine: hardware.Hardware,
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


def judge(
    cfg: DictConfig,
    data: Data,
    task: SegmentationTask,
    module: SegmentationData,
    machine: hardware.Hardware,
    folder: Path,
    out: Console,
) -> dict[str, float]:
    """Scores the best checkpoint on the test images; leaves figures and the per-image table in `folder`."""
    task.eval().to(machine.device)
    objects, tta = data.dataset.card.objects, task.inference.tta
    predicted: dict[str, np.ndarray] = {}

    def keep(batch: Batch, probability: np.ndarray) -> None:
        predicted[batch.id[0]] = classes(torch.from_numpy(probability)[None], task.inference.threshold)[0].numpy()

    with out.status("scoring the test images"):
        test = scoring.score(task, module.test_dataloader(), machine, tta=tta, objects=objects, each=keep)
        scores = scoring.summary(test, "test")
        chosen = None
        if test.neurites:
            val = scoring.score(task, module.val_dataloader(), machine, tta=tta, objects=objects)
            found, chosen = scoring.neurite_summary(test, val)
            scores |= found
        if cfg.score_seen:
            seen = scoring.score(task, module.whole(data.split.train), machine, tta=tta, objects="")
            dice, accuracy = seen.table.per_image("dice"), seen.table.per_image("accuracy")
            scores |= {"seen/dice": float(dice.mean()), "seen/pixel_error": float(1 - accuracy.mean())}
    (folder / "scores").mkdir()
    pd.DataFrame(scoring.rows(test, chosen)).to_csv(folder / "scores" / "test.csv", index=False)
    draw(cfg, data, test, predicted, folder / "figures")
    return scores


def draw(cfg: DictConfig, data: Data, test: scoring.Scored, predicted: dict[str, np.ndarray], folder: Path) -> None:
    """Writes the confusion matrix, and test images from the worst to the best."""
    names = data.dataset.card.class_names
    confusion = sum(confusion_of(data.store.truth(s), predicted[s.id], len(names)) for s in data.split.test)
    assert isinstance(confusion, np.ndarray)
    figures.confusion_matrix(folder / "confusion_matrix.png", confusion, names, title(cfg, data))
    dice = test.table.per_image("dice")
    order = np.argsort(dice)
    wanted = min(cfg.tracking.figures, len(order))
    places = np.unique(np.linspace(0, len(order) - 1, wanted).round().astype(int))
    for rank, place in enumerate(places, 1):
        sample = data.split.test[order[place]]
        figures.prediction(
            folder / f"prediction_{rank}.png",
            image=data.store.full_image(sample),
            truth=data.store.truth(sample),
            predicted=predicted[sample.id],
            title=f"{title(cfg, data)}\n{sample.id}: Dice {dice[order[place]]:.4f}, "
            f"number {place + 1} of {len(order)} from the worst",
            class_names=names,
        )


def confusion_of(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixel counts (K, K): truth in rows, prediction in columns."""
    return np.bincount(truth.reshape(-1).astype(np.int64) * num_classes + predicted.reshape(-1),
                       minlength=num_classes**2).reshape(num_classes, num_classes)  # fmt: skip


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


def identity(cfg: DictConfig, data: Data, sweep: str | None) -> dict[str, str]:
    """The tags that say what ran on what, and which scores may be compared with these."""
    code = environment.code(CHECKOUT)
    split = split_sha256(data.split)
    protocol = {
        "data": data_sha256(data.dataset, data.store),
        "split": split,
        "resolution": "full",
        "threshold": cfg.inference.threshold,
        "averaging": "mean over images",
    }
    tags = {
        "lamella.git_commit": code.commit,
        "lamella.git_dirty": str(bool(code.diff)).lower(),
        "lamella.config_sha256": hashlib.sha256(OmegaConf.to_yaml(cfg, sort_keys=True).encode()).hexdigest(),
        "lamella.data_sha256": protocol["data"],
        "lamella.split_sha256": split,
        "lamella.protocol": json.dumps(protocol),
        "lamella.phantom": str(data.dataset.card.phantom).lower(),
    }
    return tags | ({"lamella.sweep": sweep} if sweep else {})


def describe(folder: Path, cfg: DictConfig, data: Data) -> None:
    """Writes what the run is made of: configuration, environment, uncommitted change, data, split."""
    (folder / "data").mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    (folder / "environment.txt").write_text(environment.describe())
    (folder / "git.diff").write_text(environment.code(CHECKOUT).diff)
    (folder / "data" / "manifest.json").write_text(json.dumps(manifest(data.dataset, data.split), indent=1))
    (folder / "data" / "split.json").write_text(json.dumps(split_ids(data.split), indent=1))


def title(cfg: DictConfig, data: Data) -> str:
    """What stands above every figure and table; a phantom is always called one."""
    phantom = "PHANTOM (generated images) · " if data.dataset.card.phantom else ""
    return f"{phantom}{data.dataset.card.title} · {cfg.model.name}, seed {cfg.seed}"


def summary_line(cfg: DictConfig, data: Data, task: SegmentationTask, machine: hardware.Hardware) -> str:
    """What is about to run, on what."""
    size = sum(p.numel() for p in task.network.parameters()) / 1e6
    split = data.split
    return (
        f"{title(cfg, data)}\n{size:.1f} M parameters, on {machine.device.type} in {machine.precision}; images: "
        f"{len(split.train)} to train, {len(split.val)} to choose by, {len(split.test)} to test"
    )


def report(out: Console, cfg: DictConfig, data: Data, scores: dict[str, float], run_id: str) -> None:
    """Prints the test scores and how to look at the run."""
    heading = f"Test scores: {len(data.split.test)} images, full resolution\n{title(cfg, data)}"
    table = Table(title=heading, title_justify="left")
    for column in ("score", "mean", "95 % interval over images"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name, value in scores.items():
        if name.endswith(("/low", "/high")):
            continue
        low, high = scores.get(f"{name}/low"), scores.get(f"{name}/high")
        table.add_row(name, f"{value:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}")
    out.print(table)
    out.print(f"run {run_id}", highlight=False)
    out.print(f"`make ui` shows it, with pictures, in experiment {cfg.tracking.experiment}", highlight=False)
