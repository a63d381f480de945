"""The command `train`: one run from start to end, from files to scores in MLflow."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella import hardware, tracking
from lamella.commands import jobs, resuming, space
from lamella.commands.setup import assemble, foreign, identity, load, made, test
from lamella.commands.summary import print_scores, summary_line, title
from lamella.config import paths
from lamella.config.check import as_yaml, check, flat, settle
from lamella.config.paths import resumed
from lamella.config.schema import Config
from lamella.console import Held, console, logged
from lamella.data.loaders.crops import whole
from lamella.data.prepared import PreparedData
from lamella.errors import ConfigError
from lamella.evaluation.operating_point import select
from lamella.inference import checkpoint
from lamella.inference.segmenter import Segmenter
from lamella.inference.whole_images import count_images
from lamella.metrics.pixels import defined_mean
from lamella.models.classical.base import Classical
from lamella.novelty.reference import learn
from lamella.plaintext import printable
from lamella.plots import run as figures
from lamella.tracking.provenance import as_typed, describe
from lamella.training.budget import measure
from lamella.training.fit import FitSettings, fit, fit_classical
from lamella.training.keeping import Earlier
from lamella.training.repeatable import refuse_unrepeatable
from lamella.training.stopping import REQUEST

import pytorch_lightning as pl  # isort: skip

_EXAMPLE = 128  # largest side of the image that is kept as an example of what the model takes


class Outcome(NamedTuple):
    """How an experiment ended.

    Attributes:
        run_id: of its run.
        state: "finished"; of a job of a sweep also what `lamella.commands.jobs.Done` knows.
        score: the mean test Dice; NaN where no test image has foreground.
        remark: what is to be said of it; "" for nothing.
    """

    run_id: str
    state: str
    score: float
    remark: str = ""


def run(
    composed: DictConfig,
    sweep: str | None = None,
    typed: Sequence[str] = (),
    opened: Callable[[str, bool], None] = lambda *_: None,
) -> Outcome:
    """Runs one experiment as configured, from files to a finished MLflow run, or goes on with an interrupted one.

    Args:
        composed: by Hydra.
        sweep: the name shared by all jobs of a sweep; None outside one.
        typed: the overrides of the command line, or of the job.
        opened: is told the run's id as soon as it has one, and whether it is an earlier one that is gone on with.

    Raises:
        LamellaError: anything a user can mend; the data is checked before the run is opened.
    """
    with logged(shlex.join([*paths.typed("train").split(), *typed])):
        return _run(composed, sweep, typed, opened, console())


def _run(
    composed: DictConfig, sweep: str | None, typed: Sequence[str], opened: Callable[[str, bool], None], out: Console
) -> Outcome:
    checked = check(composed)
    before: tracking.Unfinished | None = None
    if checked.resume is not None:
        before, composed = resuming.earlier(checked, composed, typed)
        checked = check(composed)
    if checked.tracking.register is not None:
        tracking.require_name(checked.tracking.register)
    machine = hardware.resolve(checked.trainer.accelerator, checked.trainer.precision)
    if machine.remark:
        out.print(f"warning: {machine.remark}", style="yellow")
    looked_for = sweep is not None and before is None and not checked.fresh
    said = Held(out)
    if not looked_for:
        said.tell()
    try:
        data = load(checked, said)
    except Exception:
        said.tell()
        raise
    card = data.dataset.card
    cfg = check(settle(composed, channels=card.channels, classes=len(card.class_names)))
    if cfg.score.choose_threshold and len(card.class_names) > 2:
        raise ConfigError(
            f"score.choose_threshold parts two classes; {card.name} has {len(card.class_names)}",
            "Set it to false: of more classes the likeliest is taken.",
        )
    job = jobs.identity(cfg, data, machine)
    if before is not None:
        job = resuming.job(before, cfg, job)
    if looked_for:
        found = jobs.begun(cfg, job)
        if isinstance(found, jobs.Done):  # the sweep says it in a line
            return Outcome(found.run_id, found.state, found.score, found.remark)
        before = found
        cfg = resuming.counted(before, cfg) if before is not None else cfg
    said.tell()
    own = {"lamella.job": job} | ({} if before is not None else as_typed(typed))
    return experiment(cfg, data, machine, out, sweep=sweep, before=before, tags=own, opened=opened)


def experiment(
    cfg: Config,
    data: PreparedData,
    machine: hardware.Hardware,
    out: Console,
    *,
    sweep: str | None = None,
    before: tracking.Unfinished | None = None,
    tags: Mapping[str, str],
    opened: Callable[[str, bool], None] = lambda *_: None,
) -> Outcome:
    """Trains, scores and keeps one run.

    Args:
        cfg: settled: it says all that the data had to say.
        data: read and found to be sound.
        machine: what it runs on.
        out: where it prints.
        sweep: see `run`.
        before: an interrupted run that is gone on with.
        tags: of the run, beside those that say where its scores come from.
        opened: see `run`.
    """
    with hardware.freed_memory_kept(machine.device), hardware.whole_float32(machine):
        return _experiment(cfg, data, machine, sweep, before, tags, opened, out)


def _experiment(
    cfg: Config,
    data: PreparedData,
    machine: hardware.Hardware,
    sweep: str | None,
    before: tracking.Unfinished | None,
    tags: Mapping[str, str],
    opened: Callable[[str, bool], None],
    out: Console,
) -> Outcome:
    """Trains, scores and keeps one run. A function of its own: what it held is free when it returns."""
    card = data.dataset.card
    earlier = None
    if before is not None:
        earlier = resuming.training(before, cfg, data, identity(cfg, data, machine, sweep), out)
    if cfg.trainer.minutes is not None:
        cfg, tags = _fixed(cfg, data, machine, earlier, tags, out)
    pl.seed_everything(cfg.seed, verbose=False)
    task, datamodule = assemble(cfg, data, machine)
    callbacks = [made(node, pl.Callback) for node in cfg.trainer.callbacks.values()]
    if cfg.trainer.deterministic:
        refuse_unrepeatable(task, machine, batch_size=cfg.data.batch_size, name=cfg.model.name)
    heading = title(card, cfg.model.name, cfg.seed)
    parameters = sum(p.numel() for p in task.network.parameters())
    out.print(summary_line(heading, parameters, machine))
    space.require(cfg, task.network)
    if earlier is not None and (words := resuming.extended(earlier, task, _settings(cfg), cfg.data.steps)):
        out.print(words)
    with tracking.start(
        uri=cfg.tracking.uri,
        artifacts=cfg.tracking.artifacts,
        experiment=cfg.tracking.experiment,
        run_name=cfg.tracking.run_name,
        params=flat(cfg),
        tags=identity(cfg, data, machine, sweep) | dict(tags),
        output=Path(cfg.paths.output),
        offline=cfg.tracking.offline,
        keep_last=cfg.tracking.keep_last,
        before=before,
    ) as tracked:
        opened(tracked.run_id, before is not None)
        out.print(f"run {tracked.run_id}")
        if "lamella.kind" not in tags and sweep is None:
            REQUEST.remedy = f"`{resumed(tracked.run_id, cfg.tracking.uri, cfg.paths.output)}` goes on with it."
        folder = tracked.folder
        if earlier is None:
            describe(folder, as_yaml(cfg), data, foreign(cfg))
            tracked.log_folder()
        else:  # as it was made then; but it may go on for longer
            (folder / "config.yaml").write_text(as_yaml(cfg))
            tracked.log_file("config.yaml")
        checkpoints = folder / "checkpoints"
        if isinstance(task.network, Classical):
            method = task.network
            with out.status(f"{method.name}: choosing by {len(data.split.val)} validation images"):
                chosen = fit_classical(task, method, datamodule, machine, tracked=tracked, checkpoints=checkpoints)
            out.print(f"{method.name}: {chosen}")
        else:
            history = fit(
                task,
                datamodule,
                machine,
                _settings(cfg),
                callbacks=callbacks,
                tracked=tracked,
                checkpoints=checkpoints,
                progress=out if cfg.trainer.progress else None,
                earlier=earlier,
                say=lambda warning: out.print(f"warning: {warning}", style="yellow"),
            )
            figures.curves(folder / "figures" / "curves.png", history, heading)
        segmenter = task.segmenter.on(machine.device)
        with out.status(f"choosing by {len(data.split.val)} validation images"):
            batches = whole(data.split.val, data.store, ahead=machine.device.type == "cuda")
            choose = cfg.score.choose_threshold
            operating_point, chosen_by = select(
                segmenter, batches, machine, objects=card.objects, choose_threshold=choose
            )
        segmenter = segmenter.at(operating_point.threshold)
        scores = test(cfg, data, segmenter, operating_point, machine, folder, heading, out) | chosen_by
        if cfg.score.seen:
            with out.status("scoring the training images"):
                scores |= seen(data, segmenter, machine)
        with out.status("learning what the images are like"):
            keys, parts = cfg.dataset, data.split
            reference = learn(
                segmenter,
                parts.train,
                parts.val,
                channels=card.channels,
                scale=keys.scale,
                percentiles=keys.percentiles,
            )
        novelty = reference.plain() if reference else None
        checkpoint.keep(checkpoints / "best.ckpt", operating_point, machine.precision, novelty)
        example = np.moveaxis(np.asarray(data.store.full_image(data.split.val[0])), 0, -1)[:_EXAMPLE, :_EXAMPLE]
        tracked.log_model(checkpoints / "best.ckpt", scores, example)
        tracked.log_folder()
        tested, name = data.split.test, cfg.tracking.experiment
        print_scores(out, scores, heading=heading, samples=tested, run_id=tracked.run_id, experiment=name)
    if sweep is None:
        REQUEST.remedy = ""
    if cfg.tracking.register and (said := tracked.register(cfg.tracking.register)):
        out.print(printable(said))
    return Outcome(tracked.run_id, "finished", scores.get("test/dice", nan))  # none of them may have foreground


def _settings(cfg: Config) -> FitSettings:
    return FitSettings(
        max_epochs=cfg.trainer.max_epochs,
        patience=cfg.trainer.patience,
        gradient_clip=cfg.trainer.gradient_clip,
        ema=cfg.trainer.ema,
        deterministic=cfg.trainer.deterministic,
        devices=1,
    )


def _fixed(
    cfg: Config,
    data: PreparedData,
    machine: hardware.Hardware,
    earlier: Earlier | None,
    tags: Mapping[str, str],
    out: Console,
) -> tuple[Config, dict[str, str]]:
    """The configuration, and the tags, with `trainer.minutes` counted as epochs; the network is made for that alone."""
    minutes, done = cfg.trainer.minutes, len(earlier.rows) if earlier is not None else 0
    assert minutes is not None
    pl.seed_everything(cfg.seed, verbose=False)
    task, datamodule = assemble(cfg, data, machine)
    epochs = cfg.trainer.max_epochs
    if not isinstance(task.network, Classical):
        with out.status("measuring how long an epoch takes"):
            budget = measure(task, datamodule, machine, _settings(cfg))
        epochs = done + budget.epochs(minutes)
        out.print(
            f"{minutes:g} minutes: {epochs - done} epochs of {cfg.data.steps} steps "
            f"({budget.step_s:.3g} s a step, {budget.validation_s:.3g} s a validation)"
        )
    fixed = replace(cfg, trainer=replace(cfg.trainer, max_epochs=epochs, minutes=None))
    return fixed, {**tags, "lamella.minutes": f"{minutes:g}"}


def seen(data: PreparedData, segmenter: Segmenter, machine: hardware.Hardware) -> dict[str, float]:
    """Mean scores of the training images themselves, under `seen/`: far above the test's, they tell of overfitting."""
    samples, names, tta = data.split.train, data.dataset.card.class_names, segmenter.inference.tta
    ids = [sample.id for sample in samples]
    batches = whole(samples, data.store, ahead=machine.device.type == "cuda")
    table = count_images(segmenter, batches, machine, ids=ids, num_classes=len(names), tta=tta)
    values = {f"seen/{name}": float(defined_mean(table.per_image(name))) for name in ("dice", "pixel_error")}
    return {name: value for name, value in values.items() if not isnan(value)}
