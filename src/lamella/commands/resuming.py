"""How a run is gone on with: its own configuration, and what of it may be said anew."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from lamella import tracking
from lamella.config.check import plain
from lamella.config.kept import kept_configuration
from lamella.config.paths import CONF, resumed
from lamella.config.schema import Config
from lamella.console import console
from lamella.data.manifest import differing, manifest
from lamella.data.prepared import PreparedData
from lamella.errors import ConfigError, DataError, StorageError
from lamella.tracking import Unfinished
from lamella.tracking.provenance import source_differences
from lamella.training import keeping
from lamella.training.fit import FitSettings, scheduled
from lamella.training.keeping import Earlier
from lamella.training.task import SegmentationTask

# What may be said anew: how long it trains, where things lie, what is shown. Whole groups end with a dot.
_ANEW = (
    *("trainer.max_epochs", "trainer.minutes", "trainer.patience", "trainer.progress", "trainer.accelerator"),
    *("data.workers", "tracking.uri", "tracking.artifacts", "tracking.keep_last", "tracking.register"),
    *("tracking.figures", "paths.", "plugins", "debug", "resume", "hydra."),
)
# Choices of one function, whatever was chosen: only their values tell them apart.
_BY_VALUES = ("augment", "inference", "trainer", "tracking")
# Of the files of a checkpoint folder.
_CHECKPOINTS = ("last.ckpt", "last.previous.ckpt", "best.ckpt", "best.previous.ckpt")


def earlier(asked: Config, composed: DictConfig, typed: Sequence[str]) -> tuple[Unfinished, DictConfig]:
    """The run that `resume` names, and its configuration with what extends it.

    Args:
        asked: as it was composed; only where runs are kept is taken from it, and what was typed.
        composed: the same, by Hydra.
        typed: the overrides of the command line.

    Raises:
        ConfigError: what was typed would change the experiment.
        StorageError: there is no such run, or another process is at work on it.
    """
    assert asked.resume is not None
    before = tracking.unfinished(asked.tracking.uri, asked.resume, Path(asked.paths.output))
    if (kind := before.tags.get("lamella.kind")) is not None:
        raise ConfigError(f"run {asked.resume} is of the kind {kind!r}: there is no training to go on with")
    own = _configuration(before)
    now = plain(asked)
    for key, said in _said(typed, composed):
        value, kept = _at(now, key), _at(own, key)
        if key.endswith("._target_") or not _may_change(key):
            if value != kept:
                raise ConfigError(
                    f"{said} would make another experiment of run {before.run_id}: its {key} is {_text(kept)}, not "
                    f"{_text(value)}",
                    "Leave it out: a run goes on with its own configuration. Or start another one, without resume.",
                )
        elif key.partition(".")[0] in own:
            _put(own, key, value)
            if key == "trainer.accelerator" and value != kept:
                text = "on another device than before the run does not come out to the last bit as it would have"
                console().print(f"warning: {text}", style="yellow")
    own["tracking"] |= {"uri": now["tracking"]["uri"]} if before.client is not None else {"offline": True}
    own["paths"] |= {"output": now["paths"]["output"]}
    own |= {"plugins": now["plugins"], "debug": now["debug"]}  # never whose code the file says
    own |= {"resume": None, "fresh": False, "retry_failed": False, "fail_fast": False}
    config = OmegaConf.create(own)
    assert isinstance(config, DictConfig)
    return before, config


def training(
    before: Unfinished, cfg: Config, data: PreparedData, tags: Mapping[str, str], out: Console
) -> Earlier | None:
    """The training of a run that is gone on with, in its working folder; None where it begins anew.

    Args:
        before: the run.
        cfg: with which it goes on.
        data: as they are today.
        tags: the run's identity as it is today.
        out: what is to be said of it is printed there.

    Raises:
        ConfigError: nothing is left to train, or a plug-in is another.
        DataError: the data are others; names the first file.
        StorageError: what the run keeps of it cannot be had.
    """
    _require_same_data(before, data, tags)
    _require_same_code(before, tags)
    for difference in _source(before, tags):
        out.print(f"warning: {difference}", style="yellow")
    folder = (before.folder or Path(cfg.paths.output) / before.run_id) / "checkpoints"
    _bring(before, folder)
    found, remarks = keeping.found(folder)
    for remark in remarks:
        out.print(f"warning: {remark}", style="yellow")
    finished = before.status == "FINISHED"
    if found is None:
        if finished:
            raise ConfigError(
                f"run {before.run_id} is finished, and the state of its optimizer is gone with its last checkpoint",
                f"Train anew for longer (trainer.max_epochs=N), or from its weights (model.init_from={before.run_id}). "
                "With tracking.keep_last=true a finished run can be gone on with.",
            )
        out.print(f"run {before.run_id} has no checkpoint to go on from: it starts from its beginning")
        return None
    trainer, done = cfg.trainer, len(found.rows)
    if trainer.minutes is None and trainer.max_epochs < done:
        raise ConfigError(
            f"trainer.max_epochs={trainer.max_epochs} is fewer than the {done} epochs that run {before.run_id} has "
            "behind it",
            f"Choose at least {done}.",
        )
    over = trainer.minutes is None and found.over(trainer.max_epochs, trainer.patience)
    if over and finished:
        longer = resumed(before.run_id, cfg.tracking.uri, cfg.paths.output)
        raise ConfigError(
            f"run {before.run_id} is finished: nothing is left to do",
            f"For more epochs: `{longer} trainer.max_epochs={done + max(done, 1)}`"
            + ("" if done >= trainer.max_epochs else f", with more patience than {trainer.patience}")
            + ".",
        )
    what = "all epochs are done; what follows them is done now" if over else f"from step {found.steps}"
    out.print(f"run {before.run_id} goes on: {what}")
    return found


def job(before: Unfinished, cfg: Config, today: str) -> str:
    """Which job a run is, that is gone on with by its id: the one that it was, unless it goes on for longer.

    Args:
        before: the run.
        cfg: with which it goes on.
        today: the job by that configuration, in which minutes may stand as epochs.
    """
    was, now = _configuration(before)["trainer"], plain(cfg.trainer)
    same = all(was[name] == now[name] for name in ("max_epochs", "minutes", "patience", "accelerator"))
    return before.tags.get("lamella.job", today) if same else today


def counted(before: Unfinished, cfg: Config) -> Config:
    """The configuration of a sweep's job, with minutes as the epochs that its run has counted them to be."""
    if cfg.trainer.minutes is None:
        return cfg
    try:
        was = kept_configuration(before.fetch("config.yaml"))["trainer"]
    except StorageError:  # it was stopped before it had counted
        return cfg
    return replace(cfg, trainer=replace(cfg.trainer, max_epochs=was["max_epochs"], minutes=was["minutes"]))


def extended(earlier: Earlier, task: SegmentationTask, settings: FitSettings, steps: int) -> str:
    """What the schedule does where a run has another length than before, in a line; "" where it has not.

    Args:
        earlier: the training that is gone on with.
        task: whose schedule it is.
        settings: with which it goes on.
        steps: an epoch.
    """
    total = settings.max_epochs * steps
    if total == earlier.state["scheduled"] or earlier.over(settings.max_epochs, settings.patience):
        return ""
    now = earlier.saved["optimizer_states"][0]["param_groups"][0]["lr"]
    begins, ends = (
        scheduled(task, total, done)[0].param_groups[0]["lr"] for done in (earlier.steps, max(total - 1, earlier.steps))
    )
    return (
        f"{settings.max_epochs} epochs, not {earlier.state['scheduled'] // steps}: the schedule is drawn anew over all "
        f"{total} steps. The learning rate is {now:.3g} now, {begins:.3g} at the next step, {ends:.3g} at the last"
    )


def _configuration(before: Unfinished) -> dict[str, Any]:
    try:
        file = before.fetch("config.yaml")
    except StorageError as error:
        raise ConfigError(
            f"run {before.run_id} ended before it had kept its configuration: there is nothing to go on with",
            f"Type again what started it. ({error.problem})",
        ) from error
    return kept_configuration(file)


def _said(overrides: Sequence[str], composed: DictConfig) -> Iterator[tuple[str, str]]:
    """The keys that were typed, those of choices by name among them, each with what was typed."""
    for each in overrides:
        key, _, name = each.lstrip("+~").partition("=")
        key = key.partition("@")[0]
        if (CONF / key).is_dir():
            yield from ((place, each) for place in _chosen(key, name, composed))
        else:
            yield from ((place, each) for place in _leaves(OmegaConf.select(composed, key), key))


def _chosen(group: str, name: str, composed: DictConfig) -> Iterator[str]:
    """The keys by which a choice is told from the others of its group."""
    file = CONF / group / f"{name}.yaml"
    place = group.replace("/", ".")
    node = OmegaConf.select(composed, place)
    said: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False) if file.is_file() else {}
    others = said.pop("defaults", [])
    if group in _BY_VALUES:
        yield from _leaves({key: value for key, value in said.items() if "${" not in str(value)}, place)
    elif isinstance(node, DictConfig) and "_target_" in node:
        yield f"{place}._target_"
        if "name" in node:
            yield f"{place}.name"
    else:  # of the whole configuration: an experiment, a recipe
        for each in others:
            for other, choice in each.items() if isinstance(each, dict) else ():
                yield from _chosen(other.split()[-1].lstrip("/"), str(choice), composed)
        yield from (key for key in _leaves(said, "") if OmegaConf.select(composed, key) is not None)


def _leaves(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, Mapping | DictConfig) and node:
        for name in node:
            place = f"{path}.{name}" if path else str(name)
            value = node._get_node(name) if isinstance(node, DictConfig) else node[name]
            yield from _leaves(value if isinstance(value, Mapping | DictConfig) else None, place)
    else:
        yield path


def _may_change(key: str) -> bool:
    return any(key == each or (each.endswith(".") and key.startswith(each)) for each in _ANEW)


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _put(node: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        node = node[group]
    node[last] = value


def _text(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _require_same_data(before: Unfinished, data: PreparedData, tags: Mapping[str, str]) -> None:
    names = ("lamella.data_sha256", "lamella.split_sha256")
    if all(before.tags.get(name, tags[name]) == tags[name] for name in names):
        return
    rows = json.loads(before.fetch("data/manifest.json").read_text())
    found = differing(rows, manifest(data.dataset, data.split, data.store))
    files = {row["id"]: row for row in rows}
    places = {sample.id: {"image": sample.image.path, "mask": sample.mask.path} for sample in data.dataset.samples}
    problems = [
        *(f"{places[id_][what]} is not the {what} that it was" for id_, what, *_ in found.content),
        *(f"{files[id_]['image']['file']} is missing" for id_ in found.removed),
        *(f"{places[id_]['image']} is new" for id_ in found.added),
        "the images are split otherwise",
    ]
    raise DataError(
        f"run {before.run_id} cannot go on with other data: {problems[0]}",
        "Put the files back as they were (the run's data/manifest.json has their SHA-256), or start another run.",
    )


def _require_same_code(before: Unfinished, tags: Mapping[str, str]) -> None:
    then, now = (json.loads(each.get("lamella.code", "{}")) for each in (before.tags, tags))
    for module in sorted({*then, *now}):
        if before.tags.get("lamella.data_sha256") and then.get(module) != now.get(module):
            raise ConfigError(
                f"the plug-in {module} is not the code that run {before.run_id} was made with",
                "The run keeps its files under code/: name these by plugins=[FILE].",
            )


def _source(before: Unfinished, tags: Mapping[str, str]) -> list[str]:
    try:
        packages, change = (before.fetch(name).read_text() for name in ("environment.txt", "git.diff"))
    except StorageError:  # it was stopped before they were written
        return []
    return source_differences(tags, before.tags, packages, change)


def _bring(before: Unfinished, folder: Path) -> None:
    """Puts checkpoints that only the store has where training looks for them."""
    for name in _CHECKPOINTS:
        if (folder / name).exists() or (before.folder is not None and before.client is None):
            continue
        try:
            file = before.fetch(f"checkpoints/{name}")
        except StorageError:
            continue
        if file != folder / name:
            folder.mkdir(parents=True, exist_ok=True)
            part = (folder / name).with_suffix(".part")
            shutil.copyfile(file, part)
            part.replace(folder / name)
