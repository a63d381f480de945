"""One run from start to end: data, training, scores, tracking."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from rich.console import Console

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella import checkpoint, figures, hardware, scoring, tracking
from lamella.config import build, check, flat, settle
from lamella.data.augment import window_size
from lamella.data.levels import levels
from lamella.data.module import SegmentationData
from lamella.data.types import IGNORE, Batch
from lamella.description import describe, identity, report, summary_line, title
from lamella.errors import ConfigError
from lamella.fitting import choose, train
from lamella.inference import Normalise, classes
from lamella.loading import Data, load
from lamella.models import weights
from lamella.models.choice import Classical
from lamella.screen import console
from lamella.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip


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
    checked = check(cfg)
    machine = hardware.choose(checked.trainer.accelerator, checked.trainer.precision)
    if machine.device.type == "cpu":
        hardware.keep_freed_memory()
    data = load(checked, out)
    card = data.dataset.card
    cfg = check(settle(cfg, channels=card.channels, classes=len(card.class_names)))
    pl.seed_everything(cfg.seed, verbose=False)
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
        if isinstance(task.network, Classical):
            choose(task, task.network, data, module, machine, tracked, folder / "checkpoints", out)
        else:
            history = train(cfg, task, module, machine, tracked, folder / "checkpoints", out)
            figures.curves(folder / "figures" / "curves.png", history, title(cfg, data))
        scores = judge(cfg, data, task, module, machine, folder, out)
        tracking.save_model(folder / "model", folder / "checkpoints" / "best.ckpt")
        tracked.log_metrics(scores)
        tracked.log_folder(folder)
        shutil.rmtree(folder)  # kept where anything above failed
    report(out, cfg, data, scores, tracked.run_id)
    return scores["test/dice"]


def assemble(cfg: DictConfig, data: Data) -> tuple[SegmentationTask, SegmentationData]:
    """Network, loss and loaders, from the configuration and the training images' statistics."""
    found = levels(data.store.image(sample) for sample in data.split.train)
    augmentation = build(cfg.augment)
    window = window_size(cfg.data.crop, augmentation)
    network = started(cfg)
    inference, frame = checkpoint.inference_of(cfg, network)
    task = SegmentationTask(
        network,
        Normalise(found.mean, found.std, found.low, found.high),
        build(cfg.loss),
        num_classes=cfg.dataset.num_classes,
        crop=cfg.data.crop,
        frame=frame,
        augmentation=augmentation,
        inference=inference,
        make_optimizer=build(cfg.optimizer),
        make_scheduler=build(cfg.scheduler),
        seed=cfg.seed,
        description=checkpoint.contents(cfg, data.dataset.card, str(data.store.full_image(data.split.train[0]).dtype)),
    )
    module = SegmentationData(
        data.split,
        data.store,
        batch_size=cfg.data.batch_size,
        steps=cfg.data.steps,
        window=window,
        # Augmentation cuts the crop out of the window's middle: crops, not windows, reach `frame` beyond the picture.
        frame=cfg.data.frame + (window - cfg.data.crop) // 2,
        fill=found.low,
        seed=cfg.seed,
        workers=cfg.data.workers,
    )
    return task, module


def started(cfg: DictConfig) -> torch.nn.Module:
    """The network, from scratch or from what `model.init_from` names: a run, a checkpoint or a state dict."""
    source = cfg.model.init_from
    if source is not None and "encoder_weights" in cfg.model and cfg.model.encoder_weights is not None:
        raise ConfigError("model.init_from and model.encoder_weights are both set", "Start from one of the two.")
    network: torch.nn.Module = build(cfg.model)
    if source is not None:
        file = tracking.checkpoint(cfg.tracking.uri, source) if re.fullmatch("[0-9a-f]{32}", source) else Path(source)
        weights.initialise(
            network, weights.read_state_dict(file, "model.init_from"), f"model.init_from={source}", cfg.model.init_part
        )
    return network


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
        test = scoring.score(
            task, module.test_dataloader(), machine, tta=tta, objects=objects, resized=cfg.score_resized, each=keep
        )
        scores = scoring.summary(test, "test", data.dataset.card.class_names)
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
    """Pixel counts (K, K): truth in rows, prediction in columns; ignored pixels nowhere."""
    valid = truth != IGNORE
    pairs = truth[valid].astype(np.int64) * num_classes + predicted[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
