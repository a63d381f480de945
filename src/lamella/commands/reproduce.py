"""The command `reproduce`: a finished run run again from what it keeps, and whether it came out the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table

from lamella import hardware, tracking
from lamella.commands import train
from lamella.commands.setup import audited, foreign, identity, parted, read, shared, sound, store_of, with_corrected
from lamella.config import paths, plugins
from lamella.config.check import check, plain, settle
from lamella.config.kept import kept_configuration
from lamella.config.schema import Config, Reproduce
from lamella.console import console, logged
from lamella.data.manifest import differing, manifest, split_ids, without_redrawn
from lamella.data.prepared import PreparedData
from lamella.data.types import Dataset, Split
from lamella.errors import ConfigError, DataError
from lamella.metrics.catalogue import lookup, ordered
from lamella.reporting.cohorts import REPRODUCTION
from lamella.tracking.provenance import source_differences

GPU_TOLERANCE = 0.005
"""The largest difference of a mean of the test that counts as the same where a GPU computed.

Its kernels add in an order that changes from run to run, and training carries such differences on, at worst until two
runs are as far apart as two seeds: three times the deviation of these on the blood smears (docs/surviving.md).
"""

# Shares of pixels: of these it is known how far runs that are the same lie apart. Single objects and outlines turn over
# as a whole, and precision goes up where recall goes down.
_JUDGED_ON_A_GPU = ("dice", "iou", "accuracy", "pixel_error")
_SHOWN = 5  # names of files that are listed; more are counted


class Row(NamedTuple):
    """One metric of two runs.

    Attributes:
        name: of the metric.
        kept: its last value in the run that is run again; NaN where it has none.
        now: the same of the new run.
        difference: the largest of all epochs, or that of the two values; NaN where one of them is not there.
        same: whether it is no more than the tolerance.
        judged: whether the verdict stands on it.
    """

    name: str
    kept: float
    now: float
    difference: float
    same: bool
    judged: bool


def run(cfg: DictConfig) -> bool:
    """Runs a finished run again and says, metric by metric, whether it came out the same.

    All that could differ is looked at before anything is computed: the data, the split and the code of plug-ins must
    be the run's own; of the source, the packages and the machine it is said in what they differ.

    Returns:
        Whether it is the same.

    Raises:
        LamellaError: anything a user can mend; what differs in the data is named.
    """
    wanted = check(cfg, Reproduce)
    with logged(f"{paths.typed('reproduce')} run={wanted.run}"):
        return _run(wanted, console())


def _run(wanted: Reproduce, out: Console) -> bool:
    kept = tracking.read(wanted.tracking.uri, wanted.run)
    if (kind := kept.tags.get("lamella.kind")) not in (None, REPRODUCTION):
        raise ConfigError(f"run {wanted.run} is of the kind {kind!r}: it has trained nothing that could be repeated")
    config = configuration(wanted, kept)
    own = check(config)
    _require_plugins(own, kept)
    machine = hardware.resolve(own.trainer.accelerator, own.trainer.precision)
    data = _same_data(own, kept, out)
    card = data.dataset.card
    own = check(settle(config, channels=card.channels, classes=len(card.class_names)))
    for difference in _differences(own, data, machine, kept):
        out.print(f"warning: {difference}", style="yellow")
    limit = _tolerance(wanted, own, machine, kept)
    tags = {
        "lamella.kind": REPRODUCTION,
        "lamella.reproduces": wanted.run,
        "mlflow.parentRunId": wanted.run,
    }
    outcome = train.experiment(own, data, machine, out, tags=tags)
    again = tracking.read(wanted.tracking.uri, outcome.run_id)
    rows = compared(kept, again, limit)
    _show(rows, out)
    images, sentence = _images(kept, again)
    out.print(sentence)
    same = all(row.same for row in rows if row.judged) and (images or limit > 0)
    out.print(_verdict(rows, same, limit, kept, machine))
    return same


# What is run again


def configuration(wanted: Reproduce, kept: tracking.FinishedRun) -> dict[str, Any]:
    """What the run was told, plain, with this machine's folders and the code that was named on the command line."""
    before = kept_configuration(kept.fetch("config.yaml"))
    protocol = json.loads(kept.tags["lamella.protocol"])
    folders: dict[str, str] = plain(wanted.paths)
    own: dict[str, Any] = _moved(before, before["paths"], folders)
    own["paths"] = folders
    own["tracking"] |= {
        "uri": wanted.tracking.uri,
        "artifacts": None,  # where its experiment has them
        "experiment": kept.experiment,
        "run_name": f"{kept.name} again",
        "register": None,
        "offline": False,
    }
    # The device and precision that were found then, whatever there is today; and as many epochs as time allowed then.
    device = {"cpu": "cpu", "cuda": "gpu"}.get(protocol.get("device", ""), own["trainer"]["accelerator"])
    own["trainer"] |= {
        "accelerator": wanted.accelerator or device,
        "precision": protocol.get("precision", own["trainer"]["precision"]),
        "minutes": None,
    }
    own |= {"resume": None, "fresh": False, "retry_failed": False, "fail_fast": False}
    return own | {"plugins": list(wanted.plugins), "debug": wanted.debug}


def _moved(node: Any, before: Mapping[str, Any], today: Mapping[str, str]) -> Any:
    """A configuration whose data lie below today's folders, where they lay below the run's own.

    Data that are still where the run found them are taken from there, unless another folder was named.
    """
    if isinstance(node, Mapping):
        return {key: _moved(value, before, today) for key, value in node.items()}
    if not isinstance(node, str):
        return node
    for name in ("cache", "data"):
        old = str(before.get(name, ""))
        if old and (node == old or node.startswith(f"{old}/")):
            named = name == "cache" or Path(today[name]) != paths.data()
            return today[name] + node.removeprefix(old) if named or not Path(node).exists() else node
    return node


def _require_plugins(own: Config, kept: tracking.FinishedRun) -> None:
    """Raises ConfigError where a plug-in's code is not what the run was made with."""
    then, now = json.loads(kept.tags.get("lamella.code", "{}")), plugins.fingerprints(foreign(own))
    for module in sorted({*then, *now}):
        if then.get(module) != now.get(module):
            raise ConfigError(
                f"the plug-in {module} is not the code that run {kept.run_id} was made with: "
                f"{now.get(module, 'not named')}, then {then.get(module, 'not there')}",
                f"The run keeps its files under code/ (`{paths.typed('ui')}` shows them): name those, plugins=[FILE].",
            )


def _same_data(own: Config, kept: tracking.FinishedRun, out: Console) -> PreparedData:
    """The run's data and split, read today.

    Raises:
        DataError: a file or the part of an image differs; names them.
    """
    files = json.loads(kept.fetch("data/manifest.json").read_text())
    dataset = read(own)
    _require_files([row for row in files if "added_by" not in row], dataset, own, kept.run_id)
    dataset, split = with_corrected(own, dataset, shared(own, parted(own, dataset)))
    _require_files(files, dataset, own, kept.run_id)
    parts = {
        part: dict.fromkeys(ids, part) for part, ids in json.loads(kept.fetch("data/split.json").read_text()).items()
    }
    today = split_ids(replace(split, train=without_redrawn(split.train)))
    then, now = ({id_: part for part, ids in of.items() for id_ in ids} for of in (parts, today))
    if moved := [id_ for id_ in {**then, **now} if then.get(id_, "none") != now.get(id_, "none")]:
        raise DataError(
            f"{_some(moved)}: split otherwise than in run {kept.run_id}: in {now.get(moved[0], 'none')} now, in "
            f"{then.get(moved[0], 'none')} then",
            f"{own.dataset.split.target} makes another split today: use the Lamella or the plug-in that made the run "
            f"(version {kept.tags.get('lamella.version')}, commit {kept.tags.get('lamella.git_commit')}).",
        )
    if {part: list(ids) for part, ids in parts.items()} != today:
        raise DataError(f"the images of run {kept.run_id} come in another order today, in which they are trained on")
    return sound(audited(own, dataset, split, out), out)


def _require_files(files: Sequence[Mapping[str, Any]], dataset: Dataset, own: Config, run_id: str) -> None:
    """Raises DataError where a file is not one of the run's, or is missing: names it."""
    rows = manifest(dataset, Split((), (), ()), store_of(own, dataset.card))
    found = differing(files, rows)
    places = {sample.id: {"image": sample.image, "mask": sample.mask} for sample in dataset.samples}
    problems = [
        f"{places[id_][what].path}: not the {what} that run {run_id} was made with "
        f"(SHA-256 {now[:12]}..., then {then[:12]}...)"
        for id_, what, then, now in found.content
    ]
    missing = {row["id"]: row["image"]["file"] for row in files}
    problems += [f"{missing[id_]} is missing: run {run_id} was made with it" for id_ in found.removed]
    problems += [f"{places[id_]['image'].path} is new: run {run_id} was made without it" for id_ in found.added]
    problems = list(dict.fromkeys(problems))  # one file may hold many images
    if problems:
        more = "".join(f"Also: {each}\n" for each in problems[1:_SHOWN])
        more += f"And {len(problems) - _SHOWN} more.\n" if len(problems) > _SHOWN else ""
        raise DataError(
            problems[0],
            f"{more}Put the files back as they were; the run's data/manifest.json has their names and SHA-256.",
        )


# What it is run with


def _differences(own: Config, data: PreparedData, machine: hardware.Hardware, kept: tracking.FinishedRun) -> list[str]:
    """In what source, packages and machine differ from the run's, and what of its beginning nobody has kept."""
    if machine.device.type == "cpu":
        torch.set_num_threads(_threads(kept) or torch.get_num_threads())  # they decide in which order sums are made
    tags = identity(own, data, machine, None)
    said = source_differences(
        tags, kept.tags, kept.fetch("environment.txt").read_text(), kept.fetch("git.diff").read_text()
    )
    if machine.remark:
        said.append(machine.remark)
    then, now = (json.loads(each["lamella.protocol"]) for each in (kept.tags, tags))
    if (device := then.get("device")) != machine.device.type:
        said.append(f"the run was computed on {device}, this one is on {machine.device.type}: no bits to be compared")
    elif tags.get("lamella.device") != kept.tags.get("lamella.device"):
        said.append(f"the run was computed on {kept.tags.get('lamella.device')}, this one is on {machine.name}")
    if other := [name for name in {**then, **now} if name != "device" and then.get(name) != now.get(name)]:
        said.append(f"scores are not made as they were then; these of the protocol differ: {', '.join(other)}")
    if changed := kept.tags.get("lamella.extended"):
        said.append(f"the run was gone on with by other settings ({changed}): in one piece it is another training")
    weights = own.model.init_from or own.model.arguments.get("encoder_weights")
    if weights is not None:
        said.append(f"the network begins from {weights}: whether that is what it was then, the run does not tell")
    return said


def _threads(kept: tracking.FinishedRun) -> int | None:
    lines = kept.fetch("environment.txt").read_text().splitlines()
    return next((int(line.split()[2]) for line in lines if line.startswith("# threads ")), None)


def _tolerance(wanted: Reproduce, own: Config, machine: hardware.Hardware, kept: tracking.FinishedRun) -> float:
    """The largest difference that counts as the same: 0 where the same bits are to be expected."""
    if wanted.tolerance is not None:
        return wanted.tolerance
    device = json.loads(kept.tags["lamella.protocol"]).get("device")
    alike = device == machine.device.type and (
        device == "cpu" or (own.trainer.deterministic and kept.tags.get("lamella.device") == machine.name)
    )
    return 0.0 if alike else GPU_TOLERANCE


# How it came out


def compared(kept: tracking.FinishedRun, again: tracking.FinishedRun, tolerance: float) -> list[Row]:
    """Every metric of two runs but their times, epoch by epoch where there are epochs.

    With a tolerance of 0 all are judged, else the means over the test's pixels alone.
    """
    curves = kept.curve(), again.curve()
    rows = []
    for name in ordered({**kept.metrics, **again.metrics}):
        if name.startswith("time/") or lookup(name).kind == "time":
            continue
        before, now = kept.metrics.get(name, nan), again.metrics.get(name, nan)
        if all(name in curve for curve in curves):
            first, second = (curve[name].to_numpy() for curve in curves)
            difference = _largest(first, second)
        else:
            difference = _largest(np.array([before]), np.array([now]))
        both = name in kept.metrics and name in again.metrics
        column = lookup(name).column
        judged = column is not None and not name.endswith(("/low", "/high")) if tolerance else True
        judged = judged and (not tolerance or str(column).rpartition("/")[2] in _JUDGED_ON_A_GPU)
        rows.append(Row(name, before, now, difference, both and difference <= tolerance, judged))
    return rows


def _largest(first: Any, second: Any) -> float:
    """The largest difference of two rows of numbers; 0 where both are the same, NaN where they cannot be compared."""
    if first.shape != second.shape or (np.isnan(first) != np.isnan(second)).any():
        return nan
    there = ~np.isnan(first) & (first != second)  # infinities of one sign are the same
    return float(np.abs(second[there] - first[there]).max()) if there.any() else 0.0


def _images(kept: tracking.FinishedRun, again: tracking.FinishedRun) -> tuple[bool, str]:
    """Whether every test image has the very same scores, and a sentence on it that names the worst."""
    first, second = (each.scores().set_index("id") for each in (kept, again))
    names = [name for name in first.columns if name in second.columns and name not in ("case", "group")]
    if list(first.index) != list(second.index):
        return False, "The two runs were tested on unlike images."
    old, new = first[names].to_numpy(float), second[names].to_numpy(float)
    unlike = ~((old == new) | (np.isnan(old) & np.isnan(new)))
    if not unlike.any():
        return True, f"All {len(first)} test images have the same {len(names)} scores, to the last bit."
    off = np.abs(np.nan_to_num(new, posinf=0, neginf=0) - np.nan_to_num(old, posinf=0, neginf=0))
    dice = names.index("dice")
    worst = int(off[:, dice].argmax()) if off[:, dice].any() else int(unlike.sum(axis=1).argmax())
    column = dice if off[worst, dice] else int(unlike[worst].argmax())
    word = lookup(names[column]).heading
    return False, (
        f"{int(unlike.any(axis=1).sum())} of {len(first)} test images differ, {first.index[worst]} the most: "
        f"{word} {new[worst, column]:.4f}, then {old[worst, column]:.4f}."
    )


def _show(rows: Sequence[Row], out: Console) -> None:
    numbers = (Column(name, justify="right") for name in ("kept", "now", "difference"))
    table = Table("metric", *numbers, "", title="Run again, metric by metric", title_justify="left")
    for row in rows:
        said = "same" if row.same else "differs" if row.judged else "not judged"
        off = "" if isnan(row.difference) else f"{row.difference:.2g}"
        table.add_row(row.name, *(f"{value:.6g}" if isfinite(value) else "-" for value in row[1:3]), off, said)
    out.print(table)


def _verdict(
    rows: Sequence[Row], same: bool, tolerance: float, kept: tracking.FinishedRun, machine: hardware.Hardware
) -> str:
    judged = [row for row in rows if row.judged]
    off = [row for row in judged if not row.same]
    if same and not tolerance:
        return f"Run {kept.run_id} was reproduced: all {len(judged)} metrics are the same, to the last bit."
    if same:
        largest = max((row.difference for row in judged), default=0.0)
        return (
            f"Run {kept.run_id} was reproduced on {machine.name}: {len(judged)} shares of pixels differ by "
            f"{largest:.2g} at most, and up to {tolerance:g} counts as the same."
        )
    if not off:
        return f"Run {kept.run_id} was not reproduced: its means are the same, scores of single images are not."
    worst = max(off, key=lambda row: (row.name.startswith("test/"), 0.0 if isnan(row.difference) else row.difference))
    return (
        f"Run {kept.run_id} was not reproduced: {len(off)} of {len(judged)} metrics differ by more than {tolerance:g}, "
        f"such as {worst.name}: {worst.now:.6g}, then {worst.kept:.6g}."
    )


def _some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
