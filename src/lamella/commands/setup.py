"""Files -> samples -> split -> store -> audit: the data of one run."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lamella.config.check import build
from lamella.config.schema import Config, PrepareData
from lamella.data.audit.audit import audit
from lamella.data.audit.report import Report, raise_errors
from lamella.data.cache.arrays import Store
from lamella.data.types import Dataset, Split
from lamella.errors import ConfigError


@dataclass(frozen=True)
class Data:
    """The data of one run, audited and split."""

    dataset: Dataset
    split: Split
    store: Store
    report: Report


def load(cfg: Config, out: Console) -> Data:
    """Reads, splits and audits what `cfg.dataset` names; warnings are printed.

    Raises:
        ConfigError: the configuration contradicts the data.
        DataError: names every fault that the audit found.
        StorageError: the cache cannot be written.
    """
    data = inspect(cfg, out)
    raise_errors(data.report)
    for warning in data.report.warnings:
        out.print(f"warning: {warning.message}", style="yellow", highlight=False)
    return data


def inspect(cfg: Config | PrepareData, out: Console) -> Data:
    """As `load`, but faults of the files are left in the report."""
    dataset: Dataset = build(cfg.dataset)
    card = dataset.card
    for key, wanted, found in (
        ("in_channels", cfg.dataset.in_channels, card.channels),
        ("num_classes", cfg.dataset.num_classes, len(card.class_names)),
    ):
        if wanted not in (None, found):
            names = ", ".join(card.class_names)
            raise ConfigError(
                f"dataset.{key}={wanted} contradicts the data set {card.name}: {card.channels} channel(s), "
                f"classes {names}",
                f"Leave dataset.{key} as the dataset's file has it.",
            )
    split: Split = build(cfg.dataset.split, dataset.samples)
    offset = (float(cfg.dataset.offset[0]), float(cfg.dataset.offset[1]))
    store = Store(Path(cfg.paths.cache) / "arrays", card, cfg.dataset.scale, offset, cfg.dataset.percentiles)
    with out.status("reading the data") as status:
        report = audit(
            dataset,
            split,
            store,
            allow=list(cfg.dataset.allow),
            progress=lambda done, total: status.update(f"reading the data: {done} of {total}"),
        )
    return Data(dataset, split, store, report)
