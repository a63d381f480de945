"""The command `evaluate`: a finished run's best checkpoint on test images again, its own or another data set's."""

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from lamella import hardware, tracking
from lamella.commands.setup import foreign, identity, load, test
from lamella.commands.summary import print_scores, title
from lamella.config.check import as_yaml, check, flat, plain, settle
from lamella.config.schema import Evaluate
from lamella.console import console
from lamella.data.io.read import header
from lamella.data.prepared import PreparedData
from lamella.data.types import Split
from lamella.errors import ConfigError, DataError
from lamella.inference import checkpoint
from lamella.metrics.catalogue import lookup
from lamella.tracking.provenance import describe

_UNUSED = ("loss", "optimizer", "scheduler")  # nothing is trained: whose code they name is no matter


def run(cfg: DictConfig) -> None:
    """Scores a finished run's best checkpoint again, and logs the scores as a child of that run.

    Raises:
        LamellaError: anything a user can mend.
    """
    out = console()
    wanted = check(cfg, Evaluate)
    uri = wanted.tracking.uri
    parent = tracking.read(uri, wanted.run)
    trained = checkpoint.load(tracking.checkpoint(uri, wanted.run), [*wanted.plugins, *wanted.trust])
    for module in trained.changed:
        out.print(f"warning: {checkpoint.changed(module)}", style="yellow", highlight=False)
    if trained.operating_point is None:
        problem = f"run {wanted.run} keeps no threshold and temperature in its checkpoint: an older version wrote it"
        raise ConfigError(problem, "Train it again.")
    composed = _configuration(wanted, trained)
    data = load(check(composed, unused=_UNUSED), out)
    card = data.dataset.card
    own = check(settle(composed, channels=card.channels, classes=len(card.class_names)), unused=_UNUSED)
    _fits(trained, data, out)
    if wanted.part == "all":
        split = data.split
        data = dataclasses.replace(data, split=Split((), (), (*split.train, *split.val, *split.test)))
    _require_unseen(data, parent)
    machine = hardware.resolve(own.trainer.accelerator, own.trainer.precision)
    if machine.remark:
        out.print(f"warning: {machine.remark}", style="yellow", highlight=False)
    segmenter = trained.segmenter.on(machine.device)
    heading = title(card, own.model.name, own.seed)
    tags = identity(own, data, machine, None) | {
        "mlflow.parentRunId": wanted.run,
        "lamella.kind": "evaluation",
        "lamella.evaluates": wanted.run,
    }
    name, experiment = f"{parent.name} on {own.dataset.name}", parent.experiment
    with tracking.start(
        uri=uri, artifacts=None, experiment=experiment, run_name=name, params=flat(own), tags=tags
    ) as tracked:
        folder = Path(wanted.paths.output) / tracked.run_id
        describe(folder, as_yaml(own), data, foreign(own))
        scores = test(own, data, segmenter, trained.operating_point, machine, folder, heading, out)
        tracked.log_metrics(scores)
        tracked.log_folder(folder)
        shutil.rmtree(folder)  # kept where anything above failed
    tested, name = data.split.test, own.tracking.experiment
    print_scores(out, scores, heading=heading, samples=tested, run_id=tracked.run_id, experiment=name)
    out.print(_against(parent, scores, json.loads(tags["lamella.protocol"])), highlight=False)


def _against(parent: tracking.FinishedRun, scores: dict[str, float], protocol: dict[str, Any]) -> str:
    """Whether the scores are the run's own, and where not, in what the protocols differ."""
    own = json.loads(parent.tags["lamella.protocol"])
    other = [name for name in {**own, **protocol} if own.get(name) != protocol.get(name)]
    if not {*other} <= {"device", "precision"}:
        return f"These scores are of another protocol than the run's own; they differ in: {', '.join(other)}."
    shared = [name for name in scores if lookup(name).part == "test" and name in parent.metrics]
    off = {name: scores[name] - parent.metrics[name] for name in shared if scores[name] != parent.metrics[name]}
    if off:
        worst = max(off, key=lambda name: abs(off[name]))
        text = f"{len(off)} of {len(shared)} scores differ from the run's own, {worst} the most: by {off[worst]:+.2g}."
    else:
        text = f"All {len(shared)} scores are the run's own, to the last bit."
    words = [f"{name} {protocol.get(name)}, not {own.get(name, 'known of the run')}" for name in other]
    return text + (f" They are of another protocol: {'; '.join(words)}." if other else "")


def _configuration(wanted: Evaluate, trained: checkpoint.Trained) -> dict[str, Any]:
    """The run's own, on this machine's folders, and with the other data set where one was chosen."""
    own = copy.deepcopy(trained.config)
    if lacking := [name for name in ("paths", "tracking", "dataset", "trainer") if name not in own]:
        raise ConfigError(f"run {wanted.run} keeps a damaged checkpoint: its configuration lacks {lacking[0]}")
    own["paths"] = plain(wanted.paths)
    own["tracking"]["uri"] = wanted.tracking.uri
    if wanted.dataset is not None:
        # What the network is given stays what it learned from; everything else is the other data set's.
        own["dataset"] = plain(wanted.dataset) | {name: own["dataset"][name] for name in ("scale", "percentiles")}
    for name in ("accelerator", "precision"):
        if getattr(wanted, name) is not None:
            own["trainer"][name] = getattr(wanted, name)
    own.get("score", {}).setdefault("failure", 0.5)  # older runs do not say; it changes no score
    own["plugins"] = [*wanted.plugins, *wanted.trust]  # never what the file says
    own["trainer"]["callbacks"] = {}  # nothing is trained
    return own


def _fits(trained: checkpoint.Trained, data: PreparedData, out: Console) -> None:
    """Raises DataError where the network cannot judge such images; says so where names alone differ."""
    card = data.dataset.card
    there, learned = ", ".join(card.class_names), ", ".join(trained.class_names)
    if card.channels != trained.channels or len(card.class_names) != len(trained.class_names):
        raise DataError(
            f"{card.name} has {card.channels} channel(s) and the classes {there}; the network was trained on "
            f"{trained.channels} channel(s) and {learned}",
            "Choose a data set of the same kind.",
        )
    if card.class_names != trained.class_names:
        out.print(f"warning: {there} is taken for what was trained as {learned}", style="yellow", highlight=False)
    for sample in data.split.test:
        dtype = str(header(sample.image).dtype)
        if dtype != trained.dtype and trained.percentiles is None:
            raise DataError(
                f"{sample.image} has levels of type {dtype}; the network was trained on {trained.dtype}",
                "Convert the images, or train with dataset.percentiles, which stretches each image by itself.",
            )


def _require_unseen(data: PreparedData, parent: tracking.FinishedRun) -> None:
    """Raises DataError where an image of the test has trained the network, or chosen it, under whatever name."""
    entries = json.loads(parent.fetch("data/manifest.json").read_text())
    seen = {(e["image"]["sha256"], e["image"]["page"]) for e in entries if e["role"] in ("train", "val")}
    both = [s for s in data.split.test if (data.store.facts.sha256(s.image.path), s.image.page) in seen]
    if both:
        others = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise DataError(
            f"{both[0].image}{others}: the network was trained on it, or chosen by it",
            "A score on such images says nothing. Leave part=test, or take them out.",
        )
