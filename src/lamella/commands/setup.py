"""A configuration -> the objects of a run, once, for all commands. What lies below takes plain arguments alone."""

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from rich.console import Console
from torch.optim.lr_scheduler import LRScheduler

from lamella.commands.understood import rule_of, understood
from lamella.config import plugins
from lamella.config.check import as_yaml, build, is_foreign, targets
from lamella.config.paths import at_home
from lamella.config.schema import Config, MeasureKeys, PrepareData, Score, Target
from lamella.console import counting
from lamella.data.audit.audit import audit
from lamella.data.audit.report import raise_errors
from lamella.data.cache.arrays import Store
from lamella.data.datasets.corrected import joined
from lamella.data.io.intensity import intensity_stats
from lamella.data.io.pieces.memory import require_memory_to_score
from lamella.data.io.read import header
from lamella.data.loaders.augment import Augmentation, window_size
from lamella.data.manifest import without_redrawn
from lamella.data.prepared import PreparedData
from lamella.data.types import PARTS, Dataset, DatasetCard, ImageRef, Sample, Split
from lamella.errors import ConfigError, DataError
from lamella.hardware import Hardware
from lamella.metrics.catalogue import RULES
from lamella.models import weights
from lamella.splits import require_sound, taken, whole_groups

if TYPE_CHECKING:  # imported below where they are needed: they take seconds, which an audit can spare
    from lamella.data.loaders.datamodule import SegmentationDataModule
    from lamella.evaluation.image_scores import ScoreSettings
    from lamella.inference.segmenter import Segmenter
    from lamella.inference.settings import OperatingPoint
    from lamella.training.task import SegmentationTask


Kind = TypeVar("Kind")


def made(node: Target, kind: type[Kind], *arguments: Any, **offered: Any) -> Kind:
    """What the function of a node returns, which must be of that kind; see `lamella.config.check.build`.

    Raises:
        ConfigError: a user's own function returned something else.
    """
    result = build(node, *arguments, **offered)
    if not isinstance(result, kind):
        wanted = f"{kind.__module__}.{kind.__qualname__}"
        raise ConfigError(f"{node.target} must return a {wanted}; it returned a {type(result).__name__}")
    return result


def foreign(cfg: Config | Score) -> set[str]:
    """The modules of a user's own that a configuration takes functions from."""
    named = plugins.load(cfg.plugins)
    owners = {plugins.owner(node.target, named) for node in targets(cfg).values() if is_foreign(node)}
    return {owner for owner in owners if owner is not None}  # None: of an evaluation, a loss that is not run


def load(cfg: Config, out: Console) -> PreparedData:
    """What `cfg.dataset` names, read, split and audited; warnings are printed.

    Raises:
        ConfigError: the configuration contradicts the data.
        DataError: names every fault that the audit found.
        StorageError: the cache cannot be written.
    """
    return sound(inspect(cfg, out), out)


def inspect(cfg: Config | PrepareData, out: Console) -> PreparedData:
    """As `load`, but nothing is raised for faults of the files: they are left in the report."""
    dataset = read(cfg)
    return audited(cfg, *with_corrected(cfg, dataset, shared(cfg, parted(cfg, dataset))), out)


def shared(cfg: Config | PrepareData | Score, split: Split) -> Split:
    """The split with the share of what would train that `dataset.take` says; which, the run's seed decides.

    Raises ConfigError where nothing trains that could have a share.
    """
    assert cfg.dataset is not None
    if isinstance(cfg, Config):
        return taken(split, cfg.dataset.take, cfg.seed)
    if cfg.dataset.take != 1:
        raise ConfigError(
            f"dataset.take={cfg.dataset.take:g} is a share of what trains, and here nothing does",
            "Leave it out: the whole data set is looked at.",
        )
    return split


def with_corrected(cfg: Config | PrepareData, dataset: Dataset, split: Split) -> tuple[Dataset, Split]:
    """A data set and its split with the corrected predictions that `dataset.corrected` names among what trains."""
    keys = cfg.dataset
    folders, accepted = _texts("corrected", keys.corrected), _texts("accepted", keys.accepted)
    if accepted and not folders:
        raise ConfigError(
            "dataset.accepted is set without dataset.corrected", "Name the folder: dataset.corrected=DIR."
        )
    if not folders:
        return dataset, split
    places = [Path(folder) for folder in folders]
    group = keys.arguments.get("group")
    store = store_of(cfg, dataset.card)
    dataset, split = joined(dataset, split, store, folders=places, accepted=accepted, group=group)
    return dataset, whole_groups(split)


def _texts(name: str, said: Any) -> list[str]:
    """A key that takes one text or several."""
    texts = [] if said is None else list(said) if isinstance(said, list | tuple) else [said]
    if not all(isinstance(text, str) and text for text in texts):
        raise ConfigError(f"dataset.{name} must be a text or a list of them; got {said!r}")
    return [at_home(text) if name == "corrected" else text for text in texts]


def sound(data: PreparedData, out: Console) -> PreparedData:
    """The data as they are, if the audit found no fault and all fits into memory; its warnings are printed.

    Raises DataError.
    """
    raise_errors(data.report)
    for one in data.report.looked:
        if one.part in ("val", "test"):
            require_memory_to_score(one.sample.image, one.stats.mask_size)
    for warning in data.report.warnings:
        out.print(f"warning: {warning.message}", style="yellow")
    return data


def read(cfg: Config | PrepareData | Score) -> Dataset:
    """The data set that `cfg.dataset` names. Raises ConfigError where the two contradict each other."""
    assert cfg.dataset is not None
    dataset = made(cfg.dataset, Dataset)
    if is_foreign(cfg.dataset):
        _require_samples(dataset, cfg.dataset.target)
    card = dataset.card
    for key, found in (("in_channels", card.channels), ("num_classes", len(card.class_names))):
        wanted = getattr(cfg.dataset, key)
        if wanted not in (None, found):
            there = f"{card.channels} channel(s), classes {', '.join(card.class_names)}"
            problem = f"dataset.{key}={wanted} contradicts the data set {card.name}: {there}"
            raise ConfigError(problem, f"Leave dataset.{key} as the dataset's file has it.")
    return dataset


def parted(cfg: Config | PrepareData | Score, dataset: Dataset) -> Split:
    """The split of a data set's samples by `cfg.dataset.split`; a user's own is looked at."""
    assert cfg.dataset is not None
    split = made(cfg.dataset.split, Split, dataset.samples)
    if is_foreign(cfg.dataset.split):
        require_sound(split, dataset.samples, cfg.dataset.split.target)
    return split


def audited(
    cfg: Config | PrepareData | Score,
    dataset: Dataset,
    split: Split,
    out: Console,
    *,
    parts: Sequence[str] = PARTS,
    rule: str | None = None,
) -> PreparedData:
    """The samples of a split with their store and the audit's report; what they were taken for is printed.

    Args:
        cfg: what is configured.
        dataset: the samples.
        split: into which parts.
        out: where it is printed.
        parts: those that are used.
        rule: by which the split was made; None: that of the configuration.
    """
    assert cfg.dataset is not None
    store = store_of(cfg, dataset.card)
    with counting(out, "reading the data") as progress:
        report = audit(dataset, split, store, allow=cfg.dataset.allow, parts=parts, progress=progress)
    if rule is None:
        own = without_redrawn(dataset.samples)
        rule = rule_of(cfg.dataset.split.target, cfg.dataset.split.arguments, own)
        if isinstance(cfg, Config) and split.planned:
            some, of = len(without_redrawn(split.train)), len(split.planned)
            rule += f"; dataset.take={cfg.dataset.take:g}: {some} of {of} training images, drawn by seed {cfg.seed}"
    out.print(understood(report, rule))
    return PreparedData(dataset, split, store, report)


def store_of(cfg: Config | PrepareData | Score, card: DatasetCard) -> Store:
    """The arrays of a data set, as `cfg.dataset` has a network take them."""
    keys = cfg.dataset
    assert keys is not None
    offset = (float(keys.offset[0]), float(keys.offset[1]))
    return Store(Path(cfg.paths.cache) / "arrays", card, keys.scale, offset, keys.percentiles)


def _require_samples(dataset: Dataset, name: str) -> None:
    """Raises DataError where what a user's own function put into a data set is none of that."""
    if not isinstance(dataset.card, DatasetCard):
        raise DataError(f"{name} must put a DatasetCard into its Dataset; it put a {type(dataset.card).__name__}")
    if not isinstance(dataset.samples, list | tuple):
        raise DataError(f"{name} must put a list of samples into its Dataset, not a {type(dataset.samples).__name__}")
    for sample in dataset.samples:
        refs = (sample.image, sample.mask) if isinstance(sample, Sample) else (None,)
        if not all(isinstance(ref, ImageRef) and isinstance(ref.path, Path) for ref in refs):
            raise DataError(f"{name} must put Samples with ImageRef(Path(...)) into its Dataset; one is {sample!r:.99}")
        if not all(isinstance(text, str) for text in (sample.id, sample.group, sample.stack)):
            raise DataError(f"{name} must give ids, groups and stacks as text; one sample is {sample!r:.99}")


def assemble(cfg: Config, data: PreparedData, hardware: Hardware) -> "tuple[SegmentationTask, SegmentationDataModule]":
    """Network, loss and loaders, from the configuration and the training images' statistics."""
    from lamella.data.loaders.crops import RandomWindows
    from lamella.data.loaders.datamodule import SegmentationDataModule
    from lamella.inference import checkpoint
    from lamella.inference.segmenter import Normalise, Segmenter
    from lamella.inference.settings import Inference
    from lamella.training.rehearsal import rehearse
    from lamella.training.task import SegmentationTask

    keys, split, class_names = cfg.data, data.split, data.dataset.card.class_names
    levels = {one.sample.id: one.stats.levels for one in data.report.looked}
    found = intensity_stats([levels[sample.id] for sample in split.train])
    normalise = Normalise(found.mean, found.std, found.low, found.high)
    augmentation = made(cfg.augment, Augmentation)
    window = window_size(keys.crop, augmentation)
    dtype = str(header(split.train[0].image).dtype)
    task = SegmentationTask(
        Segmenter.of(started(cfg), normalise, made(cfg.inference, Inference), keys.context),
        build(cfg.loss),
        num_classes=len(class_names),
        val_ids=[sample.id for sample in split.val],
        crop=keys.crop,
        augmentation=augmentation,
        make_optimizer=partial(made, cfg.optimizer, torch.optim.Optimizer),
        make_scheduler=lambda optimizer, steps: made(cfg.scheduler, LRScheduler, optimizer, steps=steps),
        seed=cfg.seed,
        description=checkpoint.contents(
            as_yaml(cfg),
            class_names,
            dtype,
            plugins.fingerprints(foreign(cfg)),
            objects=data.dataset.card.objects,
            border=_border(data.dataset.card, cfg.dataset.scale),
        ),
    )
    if foreign_keys := {key: node.target for key, node in targets(cfg).items() if is_foreign(node)}:
        rehearse(task, foreign_keys, channels=data.dataset.card.channels)
    # Augmentation cuts the crop out of the window's middle: crops, not windows, reach that far beyond the picture.
    context = keys.context + (window - keys.crop) // 2
    windows = RandomWindows(split.train, data.store, window=window, context=context, fill=found.low, seed=cfg.seed)
    return task, SegmentationDataModule(
        split,
        windows,
        batch_size=keys.batch_size,
        steps=keys.steps,
        workers=keys.workers,
        cuda=hardware.device.type == "cuda",
    )


def started(cfg: Config) -> torch.nn.Module:
    """The network, from scratch or from what `model.init_from` names: a run, a checkpoint or a state dict."""
    from lamella import tracking

    source = cfg.model.init_from
    if source is not None and cfg.model.arguments.get("encoder_weights") is not None:
        raise ConfigError("model.init_from and model.encoder_weights are both set", "Start from one of the two.")
    network: torch.nn.Module = made(cfg.model, torch.nn.Module)
    if source is not None:
        file = tracking.checkpoint(cfg.tracking.uri, source) if re.fullmatch("[0-9a-f]{32}", source) else Path(source)
        state = weights.read_state_dict(file, "model.init_from")
        weights.initialise(network, state, f"model.init_from={source}", cfg.model.init_part)
    return network


def identity(cfg: Config, data: PreparedData, hardware: Hardware, sweep: str | None) -> dict[str, str]:
    """The tags of a run: see `lamella.tracking.provenance.identity`."""
    from lamella.inference.settings import TILES
    from lamella.tracking import provenance

    threshold = "chosen on validation" if cfg.score.choose_threshold else cfg.inference.arguments["threshold"]
    sha256 = hashlib.sha256(as_yaml(cfg, sort_keys=True).encode()).hexdigest()
    return provenance.identity(
        data,
        config_sha256=sha256,
        scoring=scoring(cfg.score, threshold) | {"tiles": TILES},
        hardware=hardware,
        sweep=sweep,
        modules=foreign(cfg),
    )


def scoring(keys: MeasureKeys, threshold: object) -> dict[str, Any]:
    """How images are scored: the entries of a protocol, beside data, split and device."""
    return {
        "resolution": "full",
        "threshold": threshold,
        "averaging": "mean over images",
        "rules": RULES,
        **{name: getattr(keys, name) for name in ("resized", "tolerance", "tolerance_nm")},
        "smallest": keys.min_cell_size,  # under the names that kept runs have
        "neck": keys.split_neck,
    }


def test(
    cfg: Config,
    data: PreparedData,
    segmenter: "Segmenter",
    operating_point: "OperatingPoint",
    hardware: Hardware,
    folder: Path,
    heading: str,
    out: Console,
) -> dict[str, float]:
    """The scores of the test images as a network predicts them: see `lamella.evaluation.evaluator.evaluate_test`."""
    from lamella.data.loaders.crops import whole
    from lamella.evaluation.evaluator import evaluate_test
    from lamella.inference.whole_images import predict_images

    batches = whole(data.split.test, data.store, ahead=hardware.device.type == "cuda")
    predicted = predict_images(segmenter, batches, hardware, tta=segmenter.inference.tta)
    with counting(out, "scoring the test images") as say:
        scores = evaluate_test(
            data,
            predicted,
            operating_point,
            score_settings(cfg, data.dataset.card),
            folder,
            probabilities=segmenter.gives_probabilities,
            heading=heading,
            shown=cfg.tracking.figures,
            progress=say,
        )
    return scores | {"model/parameters": sum(p.numel() for p in segmenter.network.parameters())}


def _border(card: DatasetCard, scale: float) -> int:
    """Pixels on each side that part objects that touch, in what a network learned from numbered objects."""
    return ceil(1 / scale) if card.labelling.objects and card.labelling.border == "background" else 0


def score_settings(cfg: Config | Score, card: DatasetCard) -> "ScoreSettings":
    """How images of a data set are scored."""
    from lamella.evaluation.image_scores import ScoreSettings

    keys = cfg.score
    assert cfg.dataset is not None
    return ScoreSettings(
        num_classes=len(card.class_names),
        objects=card.objects,
        spacing_nm=card.spacing_nm,
        tolerance=keys.tolerance,
        tolerance_nm=keys.tolerance_nm,
        min_cell_size=keys.min_cell_size,
        split_neck=keys.split_neck,
        border=_border(card, cfg.dataset.scale),
        resized=keys.resized,
        failure=keys.failure,
    )
