"""The command `evaluate`: a finished run's best checkpoint on test images again, its own or another data set's."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from lamella import hardware, tracking
from lamella.commands.setup import audited, foreign, identity, parted, read, shared, sound, test
from lamella.commands.summary import print_scores, title
from lamella.config.check import as_yaml, check, flat, plain, settle
from lamella.config.paths import typed
from lamella.config.schema import Evaluate, TrainedKeys
from lamella.console import console, logged
from lamella.data.datasets.meaning.words import said
from lamella.data.io.read import header
from lamella.data.prepared import PreparedData
from lamella.data.types import IGNORE, Dataset, Split
from lamella.errors import ConfigError, DataError
from lamella.inference import checkpoint
from lamella.metrics.catalogue import lookup
from lamella.tracking.provenance import LABELLED, describe

UNUSED = ("loss", "optimizer", "scheduler")  # nothing is trained: whose code they name is no matter


def run(cfg: DictConfig) -> None:
    """Scores a finished run's best checkpoint again, and logs the scores as a child of that run.

    Raises:
        LamellaError: anything a user can mend.
    """
    wanted = check(cfg, Evaluate)
    with logged(f"{typed('evaluate')} run={wanted.run}"):
        _run(wanted, console())


def _run(wanted: Evaluate, out: Console) -> None:
    uri = wanted.tracking.uri
    parent = tracking.read(uri, wanted.run)
    trained = checkpoint.load(tracking.checkpoint(uri, wanted.run), [*wanted.plugins, *wanted.trust])
    for module in trained.changed:
        out.print(f"warning: {checkpoint.changed(module)}", style="yellow")
    if trained.operating_point is None:
        problem = f"run {wanted.run} keeps no threshold and temperature in its checkpoint: an older version wrote it"
        raise ConfigError(problem, "Train it again.")
    composed = configuration(wanted, trained)
    own = check(composed, unused=UNUSED)
    dataset = _as_learned(read(own), trained, out)
    whole = wanted.part == "all"
    split = Split((), (), tuple(dataset.samples)) if whole else parted(own, dataset)
    if wanted.dataset is None and not whole:
        split = shared(own, split)
    rule = "all images are scored" if whole else None
    data = sound(audited(own, dataset, split, out, parts=("test",), rule=rule), out)
    card = dataset.card
    own = check(settle(composed, channels=card.channels, classes=len(card.class_names)), unused=UNUSED)
    _require_levels(trained, split)
    entries = json.loads(parent.fetch("data/manifest.json").read_text())
    _require_unseen(data, entries, out)
    machine = hardware.resolve(own.trainer.accelerator, own.trainer.precision)
    if machine.remark:
        out.print(f"warning: {machine.remark}", style="yellow")
    segmenter = trained.segmenter.on(machine.device)
    heading = title(card, own.model.name, own.seed)
    tags = identity(own, data, machine, None) | {
        "mlflow.parentRunId": wanted.run,
        "lamella.kind": "evaluation",
        "lamella.evaluates": wanted.run,
        **{name: parent.tags[name] for name in ("lamella.corrected",) if name in parent.tags},
        LABELLED: str(sum(entry["role"] == "train" for entry in entries)),
    }
    name, experiment = f"{parent.name} on {own.dataset.name}", parent.experiment
    with tracking.start(
        uri=uri,
        artifacts=None,
        experiment=experiment,
        run_name=name,
        params=flat(own),
        tags=tags,
        output=Path(wanted.paths.output),
    ) as tracked:
        folder = tracked.folder
        describe(folder, as_yaml(own), data, foreign(own))
        scores = test(own, data, segmenter, trained.operating_point, machine, folder, heading, out)
        tracked.log_metrics(scores)
        tracked.log_folder()
        tested, name = data.split.test, own.tracking.experiment
        print_scores(out, scores, heading=heading, samples=tested, run_id=tracked.run_id, experiment=name)
        out.print(_against(parent, scores, json.loads(tags["lamella.protocol"])))


def _against(parent: tracking.FinishedRun, scores: dict[str, float], protocol: dict[str, Any]) -> str:
    """Whether the scores are the run's own, and where not, in what the protocols differ."""
    own = {"rules": 1, "tiles": 1} | json.loads(parent.tags["lamella.protocol"])  # the first rules had no number
    other = [name for name in {**own, **protocol} if own.get(name) != protocol.get(name)]
    older = ""
    if "rules" in other:
        age = "older" if own["rules"] < protocol["rules"] else "newer"
        older = (
            f"The run's own scores are of {age} rules ({own['rules']}; these are of {protocol['rules']}) of what is "
            "undefined: the two do not compare. "
        )
        other.remove("rules")
    if not {*other} <= {"device", "precision"}:
        return f"{older}These scores are of another protocol than the run's own; they differ in: {', '.join(other)}."
    if older:
        return older.rstrip()
    shared = [name for name in scores if lookup(name).part == "test" and name in parent.metrics]
    off = {name: scores[name] - parent.metrics[name] for name in shared if scores[name] != parent.metrics[name]}
    if off:
        worst = max(off, key=lambda name: abs(off[name]))
        text = f"{len(off)} of {len(shared)} scores differ from the run's own, {worst} the most: by {off[worst]:+.2g}."
    else:
        text = f"All {len(shared)} scores are the run's own, to the last bit."
    words = [f"{name} {protocol.get(name)}, not {own.get(name, 'known of the run')}" for name in other]
    return text + (f" They are of another protocol: {'; '.join(words)}." if other else "")


def configuration(wanted: Evaluate | TrainedKeys, trained: checkpoint.Trained) -> dict[str, Any]:
    """The run's own, on this machine's folders, and with the other data set where one was chosen."""
    own = copy.deepcopy(trained.config)
    if lacking := [name for name in ("paths", "tracking", "dataset", "trainer") if name not in own]:
        raise ConfigError(f"the checkpoint is damaged: its configuration lacks {lacking[0]}")
    own["paths"] = plain(wanted.paths)
    own["tracking"]["uri"] = wanted.tracking.uri
    if isinstance(wanted, Evaluate) and wanted.dataset is not None:
        # What the network is given stays what it learned from; everything else is the other data set's.
        learned = {"take": own["dataset"].get("take", 1.0)}
        learned |= {name: own["dataset"][name] for name in ("scale", "percentiles")}
        own["dataset"] = plain(wanted.dataset) | learned
    for name in ("accelerator", "precision"):
        if getattr(wanted, name) is not None:
            own["trainer"][name] = getattr(wanted, name)
    own.get("score", {}).setdefault("failure", 0.5)  # older runs do not say; it changes no score
    own["tracking"].setdefault("register", None)  # nor this
    own["plugins"] = [*wanted.plugins, *wanted.trust]  # never what the file says
    own["trainer"]["callbacks"] = {}  # nothing is trained
    return own


def _as_learned(dataset: Dataset, trained: checkpoint.Trained, out: Console) -> Dataset:
    """The data set with its classes numbered as the network's: the same names are the same classes in any order
    and case.

    Two classes may have other names, which is said: background and foreground are so all the same.

    Raises:
        DataError: another number of channels or classes, or more than two classes of other names.
    """
    card, learned = dataset.card, trained.class_names
    names, count = card.class_names, len(learned)
    held = ", ".join(said(value) for value, id_ in card.mask_values.items() if id_ != IGNORE)
    template = ", ".join(f"{name}: ..." for name in learned)
    ours, theirs = _without_case(names), _without_case(learned)
    if card.channels != trained.channels:
        raise DataError(
            f"{dataset.samples[0].image} has {card.channels} channel(s), and the network was trained on "
            f"{trained.channels}",
            "Score it on images with the channels that it learned from, or train on such as these.",
        )
    if len(names) != count or (count > 2 and {*ours} != {*theirs}):
        raise DataError(
            f"{card.name} has the classes {', '.join(names)}; the network was trained on {', '.join(learned)}",
            "Choose a data set of the same kind. Where only the names differ, give each value of its masks, which hold "
            f"{held}, the name that the network has for it: 'dataset.classes={{{template}}}'",
        )
    if {*ours} == {*theirs}:
        order = [theirs.index(name) for name in ours]
    else:  # of two; a name that both have stays itself
        order = [1, 0] if ours[0] == theirs[1] or ours[1] == theirs[0] else [0, 1]
        pairs = ", ".join(f"{name} -> {learned[id_]}" for name, id_ in zip(names, order, strict=True))
        out.print(f"warning: classes are named otherwise than in training: {pairs}", style="yellow")
    if order == sorted(order):
        return dataset
    kept: dict[str, Any] = {
        "class_names": tuple(names[order.index(id_)] for id_ in range(count)),
        "mask_values": _renumbered(card.mask_values, order),
    }
    if card.labelling.objects:
        kept["labelling"] = replace(card.labelling, names=_renumbered(card.labelling.names, order))
    if order[0] == 0:  # the foreground is the same, and what is one of it
        return Dataset(replace(card, **kept), dataset.samples)
    if card.objects:
        out.print(f"warning: {card.objects} are not scored: {names[1]} is no foreground here", style="yellow")
    if card.labelling.objects:
        kept["labelling"] = replace(kept["labelling"], border="none")  # its pixels would be foreground
    return Dataset(replace(card, **kept, objects=""), dataset.samples)


def _renumbered(ids: Mapping[Any, int], order: Sequence[int]) -> dict[Any, int]:
    return {what: id_ if id_ == IGNORE else order[id_] for what, id_ in ids.items()}


def _without_case(names: Sequence[str]) -> list[str]:
    """Names of classes as they are compared: Nucleus is nucleus, unless both are classes."""
    plain = [name.casefold() for name in names]
    return plain if len({*plain}) == len(plain) else [*names]


def _require_levels(trained: checkpoint.Trained, split: Split) -> None:
    """Raises DataError where images hold levels of another type than the network learned from."""
    for sample in split.test:
        dtype = str(header(sample.image).dtype)
        if dtype != trained.dtype and trained.percentiles is None:
            raise DataError(
                f"{sample.image} has levels of type {dtype}; the network was trained on {trained.dtype}",
                "Convert the images, or train with dataset.percentiles, which stretches each image by itself.",
            )


def _require_unseen(data: PreparedData, entries: Sequence[Mapping[str, Any]], out: Console) -> None:
    """Raises DataError where an image of the test has trained the network, or chosen it, in whatever file.

    Args:
        data: whose test part is asked about.
        entries: the manifest of the network's run.
        out: where it is said that the manifest is an older version's.
    """
    used = [entry["image"] for entry in entries if entry["role"] in ("train", "val")]
    if all("pixels" in image for image in used):
        seen = {image["pixels"] for image in used}
        both = [s for s in data.split.test if data.store.pixels(s) in seen]
    else:
        text = "an older version made the run: files that the network has seen are recognised, copies of them are not"
        out.print(f"warning: {text}", style="yellow")
        files = {(image["sha256"], image["page"]) for image in used}
        both = [s for s in data.split.test if (data.store.facts.sha256(s.image.path), s.image.page) in files]
    if both:
        others = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise DataError(
            f"{both[0].image}{others}: the network was trained on it, or chosen by it",
            "A score on such images says nothing. Leave part=test, or take them out.",
        )
