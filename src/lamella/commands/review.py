"""The command `review`: labels that networks confidently disagree with which have never seen the image."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from lamella import hardware, tracking
from lamella.commands.evaluate import configuration
from lamella.commands.setup import read, store_of
from lamella.config.check import check
from lamella.config.paths import typed
from lamella.config.schema import Config, Evaluate, Review
from lamella.console import console, counting
from lamella.data.cache.arrays import Store
from lamella.data.loaders.crops import whole
from lamella.data.manifest import changes, manifest
from lamella.data.types import Dataset, Sample, Split
from lamella.errors import ConfigError, DataError, StorageError
from lamella.evaluation.disagreements import Looked, Settings, disagreements
from lamella.inference import checkpoint
from lamella.inference.tiling import classes
from lamella.inference.whole_images import Predicted, certain, predict_images
from lamella.metrics.calibration import Probability, tempered
from lamella.reporting import review as report
from lamella.reporting.cohorts import MASKS

_UNUSED = ("loss", "optimizer", "scheduler")  # nothing is trained
_SHOWN = 10  # on the terminal; the files have all


class Judge(NamedTuple):
    """A finished run whose network judges the images of its own test.

    Attributes:
        run: as its store has it.
        config: its own.
        trained: its best checkpoint.
        store: the images as its network takes them.
        machine: what it predicts on.
    """

    run: tracking.FinishedRun
    config: Config
    trained: checkpoint.Trained
    store: Store
    machine: hardware.Hardware


def run(cfg: DictConfig) -> None:
    """Ranks the labels of all images that finished runs were tested on by how confidently their networks disagree.

    Raises:
        LamellaError: anything a user can mend.
    """
    out = console()
    wanted = check(cfg, Review)
    runs = _runs(wanted)
    _require_same_data(runs)
    judged = _judged(runs)
    judges = {each.run_id: _judge(wanted, each, out) for each in runs}
    first = next(iter(judges.values()))
    dataset = read(first.config)
    notes = _notes(runs[0], dataset, first.store, judged)
    samples = [sample for sample in dataset.samples if sample.id in judged]
    keys = first.config.score
    settings = Settings(wanted.tolerance, dataset.card.objects == "cells", keys.split_neck, keys.min_cell_size)
    looked: dict[str, Looked] = {}
    with counting(out, "looking at the labels") as say, ExitStack() as stack:
        for judge in judges.values():
            stack.enter_context(hardware.freed_memory_kept(judge.machine.device))
        for sample, found in _looked(samples, judged, judges, first.store, settings):
            looked[sample.id] = found
            say(len(looked), len(samples))
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    reviewed = report.reviewed(dataset, samples, looked, judged, first.store)
    folder = Path(wanted.paths.output) / f"review-{first.config.dataset.name}-{now}"
    page = report.write(folder, reviewed, notes, shown=wanted.cases)
    for note in notes:
        out.print(f"warning: {note}", style="yellow")
    _show(reviewed, out)
    out.print(f"review {page}", soft_wrap=True)


def _runs(wanted: Review) -> list[tracking.FinishedRun]:
    """The finished runs that the configuration picks: those that have a network, or a method without training."""
    uri = wanted.tracking.uri
    if (wanted.experiment is None) == (wanted.runs is None):
        raise ConfigError(
            "whose test images are reviewed is not said" if wanted.runs is None else "experiment and runs are both set",
            "Write experiment=NAME (an MLflow experiment) or runs=[ID,ID], such as all folds of a sweep.",
        )
    if wanted.runs is None:
        found = tracking.finished(uri, experiment=wanted.experiment, where=wanted.filter or "")
        found = [run for run in found if "lamella.kind" not in run.tags]
    else:
        found = [tracking.read(uri, run_id) for run_id in dict.fromkeys(wanted.runs)]
    for run in found:
        if kind := run.tags.get("lamella.kind"):
            what = "masks that were made elsewhere" if kind == MASKS else f"a{'n' * (kind[0] in 'aeiou')} {kind}"
            raise ConfigError(f"run {run.run_id} is {what}: it has no network of its own", "Leave it out.")
    if not found:
        raise StorageError("no finished run matches", f"`{typed('ui')}` lists the runs and their states.")
    return found


def _require_same_data(runs: Sequence[tracking.FinishedRun]) -> None:
    """Raises DataError where runs are of unlike data; it says what differs."""
    for run in runs[1:]:
        if run.tags["lamella.data_sha256"] != runs[0].tags["lamella.data_sha256"]:
            rows = [json.loads(each.fetch("data/manifest.json").read_text()) for each in (runs[0], run)]
            raise DataError(
                f"run {run.run_id} is of other data than {runs[0].run_id}: {changes(*rows)}",
                "Review runs of the same images and masks: name them, runs=[ID,ID].",
            )


def _judged(runs: Sequence[tracking.FinishedRun]) -> dict[str, tuple[str, ...]]:
    """The ids of the images that were tested, each with the runs that tested it and never saw it in training.

    Raises:
        DataError: a network was trained on an image that it would judge, in whatever file, or chosen by it.
    """
    judged: dict[str, tuple[str, ...]] = {}
    for run in runs:
        rows = json.loads(run.fetch("data/manifest.json").read_text())

        def content(row: dict[str, dict[str, str]]) -> str:
            image = row["image"]
            return image.get("pixels", image["sha256"])

        seen = {content(row): row["id"] for row in rows if row["role"] in ("train", "val")}
        for row in rows:
            if row["role"] == "test":
                if (twin := seen.get(content(row))) is not None:
                    raise DataError(
                        f"run {run.run_id} would judge {row['id']}, but its network learned from it, as {twin}",
                        "Remove one of the two, or leave the run out.",
                    )
                judged[row["id"]] = (*judged.get(row["id"], ()), run.run_id)
    return judged


def _judge(wanted: Review, run: tracking.FinishedRun, out: Console) -> Judge:
    trained = checkpoint.load(tracking.checkpoint(wanted.tracking.uri, run.run_id), [*wanted.plugins, *wanted.trust])
    for module in trained.changed:
        out.print(f"warning: {checkpoint.changed(module)}", style="yellow")
    asked = Evaluate(
        run=run.run_id,
        dataset=None,
        part="test",
        accelerator=None,
        precision=None,
        plugins=wanted.plugins,
        trust=wanted.trust,
        tracking=wanted.tracking,
        paths=wanted.paths,
        debug=wanted.debug,
    )
    own = check(configuration(asked, trained), unused=_UNUSED)
    machine = hardware.resolve(own.trainer.accelerator, own.trainer.precision)
    return Judge(run, own, trained, store_of(own, read(own).card), machine)


def _notes(run: tracking.FinishedRun, dataset: Dataset, store: Store, judged: dict[str, tuple[str, ...]]) -> list[str]:
    """What a reader of the review must know: images that nobody judged, and files that are not what they were."""
    kept = [row for row in json.loads(run.fetch("data/manifest.json").read_text()) if "added_by" not in row]
    since = changes(kept, manifest(dataset, Split((), (), ()), store))
    if since.images:
        raise DataError(
            f"images have changed since the runs were trained: {since}",
            "Train on them first, and review those runs.",
        )
    notes = []
    if since:
        notes.append(f"Since the runs were trained files have changed: {since}. What is shown are the labels of today.")
    left = [sample.id for sample in dataset.samples if sample.id not in judged]
    if left:
        named = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        notes.append(
            f"{len(left)} of {len(dataset.samples)} images are not reviewed, as no run was tested on them: {named}. "
            "All folds together test every image: dataset/split=hashed_folds (or blocks_folds), one run a fold."
        )
    return notes


def _looked(
    samples: Sequence[Sample],
    judged: dict[str, tuple[str, ...]],
    judges: dict[str, Judge],
    store: Store,
    settings: Settings,
) -> Iterator[tuple[Sample, Looked]]:
    """What the networks that never saw an image say of its labels; of several the mean probability."""
    for run_ids in dict.fromkeys(judged[sample.id] for sample in samples):
        together = [judges[run_id] for run_id in run_ids]
        segmenters = [each.trained.segmenter.on(each.machine.device) for each in together]
        mine = [sample for sample in samples if judged[sample.id] == run_ids]
        predictions = [
            predict_images(segmenter, whole(mine, each.store), each.machine, tta=segmenter.inference.tta)
            for each, segmenter in zip(together, segmenters, strict=True)
        ]
        for sample, *found in zip(mine, *predictions, strict=True):
            mean = np.mean([_believed(each, judge) for each, judge in zip(found, together, strict=True)], axis=0)
            batch, predicted = found[0].there, found[0].classes
            if len(found) > 1:
                predicted = classes(torch.from_numpy(mean)[None], 0.5)
            truth, valid, there = (each[0].cpu().numpy() for each in (batch.mask, batch.valid, predicted))
            yield sample, disagreements(mean, there, truth, valid, store.objects(sample), settings)


def _believed(predicted: Predicted, judge: Judge) -> Probability:
    """The probabilities (K', H, W) that a judge believes in: at its temperature; a mask leaves no doubt."""
    if not judge.trained.segmenter.gives_probabilities:
        return certain(predicted.classes, len(judge.trained.class_names))[0].cpu().numpy()
    point = judge.trained.operating_point
    return tempered(predicted.probability[0].cpu().numpy(), 1.0 if point is None else point.temperature)


def _show(reviewed: report.Reviewed, out: Console) -> None:
    """The most doubtful objects, where to find them, and how many there are."""
    numbers = (Column(name, justify="right") for name in ("score", "x", "y"))
    table = Table("", "label", "mask", *numbers, title="Labels to look at first", title_justify="left")
    for rank, row in enumerate(reviewed.objects[:_SHOWN], 1):
        table.add_row(str(rank), row.kind, Text(row.mask), f"{row.score:.2f}", str(row.x), str(row.y))
    out.print(table)
    counts = f"{len(reviewed.objects)} objects of {len(reviewed.images)} images are doubted"
    out.print(f"{counts}; score 1: a typical one is wrong, and nothing else in its image")
