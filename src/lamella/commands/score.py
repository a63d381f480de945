"""The command `score`: masks that were made elsewhere for the test images, scored as any method's predictions are."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from lamella import tracking
from lamella.commands.setup import audited, foreign, parted, read, score_settings, scoring, shared, sound
from lamella.commands.summary import print_scores, title
from lamella.config.check import as_yaml, check, flat, plain, settle
from lamella.config.paths import typed
from lamella.config.schema import Score
from lamella.config.targets import translated
from lamella.console import console, counting, logged
from lamella.data.given import Given, given
from lamella.data.loaders.crops import whole
from lamella.data.prepared import PreparedData
from lamella.errors import ConfigError
from lamella.evaluation.evaluator import evaluate_test
from lamella.inference.whole_images import given_images
from lamella.reporting.cohorts import MASKS
from lamella.tracking.provenance import describe, identity


def run(cfg: DictConfig) -> None:
    """Scores masks that were made elsewhere, and logs the scores as a run of a method of that name.

    Raises:
        LamellaError: anything a user can mend; the masks are looked at before the run is opened.
    """
    wanted = check(cfg, Score)
    with logged(f"{typed('score')} masks={wanted.masks} name={wanted.name}"):
        _run(wanted, console())


def _run(wanted: Score, out: Console) -> None:
    composed, experiment = _configuration(wanted)
    own = check(composed, Score)
    dataset = read(own)
    card = dataset.card
    split = shared(own, parted(own, dataset))
    found = given(
        split.test,
        card,
        Path(own.masks),
        suffix=own.masks_suffix,
        classes=own.classes,
        numbered=own.instances,
    )
    data = sound(audited(own, dataset, split, out, parts=("test",)), out)
    own = check(settle(composed, channels=card.channels, classes=len(card.class_names)), Score)
    assert own.dataset is not None
    heading = title(card, own.name, None)
    out.print(f"{heading}\n{len(split.test)} masks of {own.masks}: {found.meaning}")
    if found.beside:
        out.print(f"passed over: {found.beside} other pictures there")
    sha256 = hashlib.sha256(as_yaml(own, sort_keys=True).encode()).hexdigest()
    protocol = scoring(own.score, None)
    del protocol["threshold"]  # nor has it a device: it stands beside runs of any
    experiment = experiment or own.dataset.name
    tags = identity(data, config_sha256=sha256, scoring=protocol, hardware=None, sweep=None, modules=foreign(own))
    params = flat(own) | {"model.name": own.name, "seed": 0}
    with tracking.start(
        uri=own.tracking.uri,
        artifacts=own.tracking.artifacts,
        experiment=experiment,
        run_name=own.name,
        params=params,
        tags=tags | {"lamella.kind": MASKS},
        output=Path(own.paths.output),
    ) as tracked:
        folder = tracked.folder
        describe(folder, as_yaml(own), data, foreign(own))
        (folder / "data" / "masks.json").write_text(json.dumps(_files(found, data), indent=1))
        batches = whole(split.test, data.store)
        predicted = given_images(batches, found.read, num_classes=len(card.class_names))
        with counting(out, "scoring the test images") as say:
            scores = evaluate_test(
                data,
                predicted,
                None,
                score_settings(own, card),
                folder,
                probabilities=False,
                heading=heading,
                shown=own.tracking.figures,
                progress=say,
            )
        tracked.log_metrics(scores)
        tracked.log_folder()
        tested, run_id = split.test, tracked.run_id
        print_scores(out, scores, heading=heading, samples=tested, run_id=run_id, experiment=experiment)


def _configuration(wanted: Score) -> tuple[dict[str, Any], str | None]:
    """What is scored and how, plain: as typed, or as a finished run has it; and the experiment, where one is said.

    Raises:
        ConfigError: neither or both are named.
    """
    own: dict[str, Any] = plain(wanted)
    if (wanted.run is None) == (wanted.dataset is None):
        raise ConfigError(
            "which images the masks are of is not said" if wanted.run is None else "run and dataset are both set",
            "Write run=ID, a finished run whose test images they are, or dataset=NAME with its keys.",
        )
    if wanted.run is None:
        return own, wanted.tracking.experiment
    parent = tracking.read(wanted.tracking.uri, wanted.run)
    loaded: Any = OmegaConf.to_container(OmegaConf.load(parent.fetch("config.yaml")), resolve=False)
    config = translated(loaded, 0)
    own["dataset"] = config["dataset"] | {"take": 1.0}  # which share trained is no matter here
    own["score"] |= {name: value for name, value in config["score"].items() if name in own["score"]}
    return own, wanted.tracking.experiment or parent.experiment


def _files(found: Given, data: PreparedData) -> list[dict[str, Any]]:
    """Which file each mask is, as `data/manifest.json` has those of the data set."""
    facts = data.store.facts
    return [
        {"id": id_, "file": ref.path.name, "page": ref.page, "sha256": facts.sha256(ref.path)}
        for id_, ref in found.masks.items()
    ]
