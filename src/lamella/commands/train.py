"""One run from start to end: data, training, scores, tracking."""

import re
import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella import hardware, tracking
from lamella.commands.setup import Data, load
from lamella.config.schema import build, check, flat, settle
from lamella.console import console
from lamella.data.io.intensity import intensity_stats
from lamella.data.io.read import header
from lamella.data.loaders.augment import window_size
from lamella.data.loaders.datamodule import SegmentationData, whole
from lamella.errors import ConfigError
from lamella.evaluation import scores as scoring
from lamella.evaluation.evaluator import judge
from lamella.evaluation.operating_point import decide
from lamella.inference import checkpoint
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.models import weights
from lamella.models.classical.base import Classical
from lamella.plots import run as figures
from lamella.tracking.provenance import describe, identity, report, summary_line, title
from lamella.training.fit import choose, train
from lamella.training.task import SegmentationTask

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
    data = load(checked, out)
    card = data.dataset.card
    cfg = check(settle(cfg, channels=card.channels, classes=len(card.class_names)))
    if cfg.score.choose_threshold and cfg.dataset.num_classes > 2:
        raise ConfigError(
            f"score.choose_threshold parts two classes; {card.name} has {cfg.dataset.num_classes}",
            "Set it to false: of more classes the likeliest is taken.",
        )
    pl.seed_everything(cfg.seed, verbose=False)
    task, module = assemble(cfg, data)
    out.print(summary_line(cfg, data, task, machine), highlight=False)
    with (
        tracking.start(
            uri=cfg.tracking.uri,
            artifacts=cfg.tracking.artifacts,
            experiment=cfg.tracking.experiment,
            run_name=cfg.tracking.run_name,
            params=flat(cfg),
            tags=identity(cfg, data, sweep),
        ) as tracked,
        hardware.freed_memory_kept(machine.device),
    ):
        out.print(f"run {tracked.run_id}", highlight=False)
        folder = Path(cfg.paths.output) / tracked.run_id
        describe(folder, cfg, data)
        tracked.log_folder(folder)
        if isinstance(task.network, Classical):
            choose(task, task.network, data, module, machine, tracked, folder / "checkpoints", out)
        else:
            history = train(cfg, task, module, machine, tracked, folder / "checkpoints", out)
            figures.curves(folder / "figures" / "curves.png", history, title(cfg, data))
        best = folder / "checkpoints" / "best.ckpt"
        decided, scores = decide_and_judge(cfg, data, task.segmenter().on(machine.device), machine, folder, out)
        checkpoint.keep(best, decided)
        tracking.save_model(folder / "model", best)
        tracked.log_metrics(scores)
        tracked.log_folder(folder)
        shutil.rmtree(folder)  # kept where anything above failed
    report(out, cfg, data, scores, tracked.run_id)
    return scores["test/dice"]


def assemble(cfg: DictConfig, data: Data) -> tuple[SegmentationTask, SegmentationData]:
    """Network, loss and loaders, from the configuration and the training images' statistics."""
    found = intensity_stats(data.store.image(sample) for sample in data.split.train)
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
        description=checkpoint.contents(cfg, data.dataset.card, str(header(data.split.train[0].image).dtype)),
    )
    module = SegmentationData(
        data.split,
        data.store,
        batch_size=cfg.data.batch_size,
        steps=cfg.data.steps,
        window=window,
        # Augmentation cuts the crop out of the window's middle: crops, not windows, reach `frame` beyond the picture.
        frame=cfg.data.context + (window - cfg.data.crop) // 2,
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


def decide_and_judge(
    cfg: DictConfig,
    data: Data,
    segmenter: Segmenter,
    machine: hardware.Hardware,
    folder: Path,
    out: Console,
) -> tuple[checkpoint.Decided, dict[str, float]]:
    """The validation images decide thresholds and temperature, then the test images are scored with them."""
    tta = segmenter.how.tta
    with out.status(f"deciding by {len(data.split.val)} validation images"):
        decided, scores = decide(
            segmenter,
            whole(data.split.val, data.store),
            machine,
            objects=data.dataset.card.objects,
            choose=cfg.score.choose_threshold,
            tta=tta,
        )
    segmenter = segmenter.at(decided.threshold)
    scores = judge(cfg, data, segmenter, decided, machine, folder, out) | scores
    if cfg.score.seen:
        with out.status("scoring the training images"):
            seen = scoring.count_all(
                segmenter, whole(data.split.train, data.store), machine, num_classes=cfg.dataset.num_classes, tta=tta
            )
        scores |= {f"seen/{name}": float(seen.per_image(name).mean()) for name in ("dice", "pixel_error")}
    return decided, scores
