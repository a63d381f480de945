"""What a run says about itself: its tags, the files that describe it, its titles, its final table."""

import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from lamella.commands.setup import Data
from lamella.config.schema import CHECKOUT
from lamella.data.audit.page import write_page
from lamella.data.manifest import data_sha256, manifest, split_ids, split_sha256
from lamella.hardware import Hardware
from lamella.metrics.catalogue import lookup
from lamella.tracking import environment
from lamella.training.task import SegmentationTask


def identity(cfg: DictConfig, data: Data, sweep: str | None) -> dict[str, str]:
    """The tags that say what ran on what, and which scores may be compared with these."""
    code = environment.code(CHECKOUT)
    split = split_sha256(data.split)
    protocol = {
        "data": data_sha256(data.dataset, data.store),
        "split": split,
        "resolution": "full",
        "threshold": "chosen on validation" if cfg.score.choose_threshold else cfg.inference.threshold,
        "averaging": "mean over images",
        **{name: cfg.score[name] for name in ("resized", "tolerance", "tolerance_nm")},
        "smallest": cfg.score.min_cell_size,  # under the names that kept runs have
        "neck": cfg.score.split_neck,
    }
    tags = {
        "lamella.git_commit": code.commit,
        "lamella.git_dirty": str(bool(code.diff)).lower(),
        "lamella.config_sha256": hashlib.sha256(OmegaConf.to_yaml(cfg, sort_keys=True).encode()).hexdigest(),
        "lamella.data_sha256": protocol["data"],
        "lamella.split_sha256": split,
        "lamella.protocol": json.dumps(protocol),
        "lamella.phantom": str(data.dataset.card.phantom).lower(),
        "lamella.data_warnings": str(len(data.report.warnings)),
    }
    return tags | ({"lamella.sweep": sweep} if sweep else {})


def describe(folder: Path, cfg: DictConfig, data: Data) -> None:
    """Writes what the run is made of: configuration, environment, uncommitted change, data, split, audit."""
    (folder / "data").mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    (folder / "environment.txt").write_text(environment.describe())
    (folder / "git.diff").write_text(environment.code(CHECKOUT).diff)
    (folder / "data" / "manifest.json").write_text(
        json.dumps(manifest(data.dataset, data.split, data.store.facts), indent=1)
    )
    (folder / "data" / "split.json").write_text(json.dumps(split_ids(data.split), indent=1))
    (folder / "data" / "audit.json").write_text(json.dumps(data.report.as_json(), indent=1))
    (folder / "data" / "card.json").write_text(json.dumps(card(data), indent=1))
    write_page(data.report, folder / "data" / "audit.html")


def card(data: Data) -> dict[str, str]:
    """What a reader of a score must know about the data behind it: label -> text."""
    of, split = data.dataset.card, data.split
    spacing = f"{of.spacing_nm[0]:g} x {of.spacing_nm[1]:g} nm" if of.spacing_nm else "not known"
    return {
        "data set": of.title,
        "source": of.source,
        "classes": ", ".join(f"{number} {name}" for number, name in enumerate(of.class_names)),
        "channels": str(of.channels),
        "size of a pixel": spacing,
        "images": f"{len(split.train)} to train, {len(split.val)} to choose by, {len(split.test)} to test",
        "groups in the test": str(len({sample.group for sample in split.test})),
        "warnings of the audit": "; ".join(warning.message for warning in data.report.warnings) or "none",
    }


def title(cfg: DictConfig, data: Data) -> str:
    """What stands above every figure and table; a phantom is always called one."""
    phantom = "PHANTOM (generated images) · " if data.dataset.card.phantom else ""
    return f"{phantom}{data.dataset.card.title} · {cfg.model.name}, seed {cfg.seed}"


def summary_line(cfg: DictConfig, data: Data, task: SegmentationTask, machine: Hardware) -> str:
    """What is about to run, on what."""
    size = sum(p.numel() for p in task.network.parameters()) / 1e6
    split = data.split
    return (
        f"{title(cfg, data)}\n{size:.1f} M parameters, on {machine.device.type} in {machine.precision}; images: "
        f"{len(split.train)} to train, {len(split.val)} to choose by, {len(split.test)} to test"
    )


def report(out: Console, cfg: DictConfig, data: Data, scores: dict[str, float], run_id: str) -> None:
    """Prints the test scores and how to look at the run."""
    heading = f"Test scores: {len(data.split.test)} images, full resolution\n{title(cfg, data)}"
    table = Table(title=heading, title_justify="left")
    for column in ("score", "mean", "95 % interval over images"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name, value in scores.items():
        if not lookup(name).shown:
            continue
        low, high = scores.get(f"{name}/low"), scores.get(f"{name}/high")
        table.add_row(name, f"{value:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}")
    out.print(table)
    out.print(f"run {run_id}", highlight=False)
    out.print(f"`make ui` shows it, with pictures, in experiment {cfg.tracking.experiment}", highlight=False)
