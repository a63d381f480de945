"""What a run says of where its scores come from: tags, and files that describe configuration, code and data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamella.config.paths import CHECKOUT
from lamella.data.audit.page import write_page
from lamella.data.manifest import data_sha256, manifest, split_ids, split_sha256
from lamella.data.prepared import PreparedData
from lamella.tracking import environment


def identity(
    data: PreparedData, *, config_sha256: str, scoring: Mapping[str, Any], sweep: str | None
) -> dict[str, str]:
    """The tags that say what ran on what, and which scores may be compared with these.

    Args:
        data: of the run.
        config_sha256: of the configuration, its keys in a fixed order.
        scoring: how images are scored; with data and split it makes the protocol.
        sweep: the name shared by all jobs of a sweep; None outside one.
    """
    code = environment.code(CHECKOUT)
    protocol = {"data": data_sha256(data.dataset, data.store), "split": split_sha256(data.split), **scoring}
    tags = {
        "lamella.git_commit": code.commit,
        "lamella.git_dirty": str(bool(code.diff)).lower(),
        "lamella.config_sha256": config_sha256,
        "lamella.data_sha256": protocol["data"],
        "lamella.split_sha256": protocol["split"],
        "lamella.protocol": json.dumps(protocol),
        "lamella.phantom": str(data.dataset.card.phantom).lower(),
        "lamella.data_warnings": str(len(data.report.warnings)),
    }
    return tags | ({"lamella.sweep": sweep} if sweep else {})


def describe(folder: Path, config: str, data: PreparedData) -> None:
    """Writes what the run is made of: configuration, environment, uncommitted change, data, split, audit.

    Args:
        folder: made for the run's files.
        config: the resolved configuration as YAML.
        data: of the run.
    """
    (folder / "data").mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "environment.txt").write_text(environment.describe())
    (folder / "git.diff").write_text(environment.code(CHECKOUT).diff)
    for name, content in (
        ("manifest", manifest(data.dataset, data.split, data.store.facts)),
        ("split", split_ids(data.split)),
        ("audit", data.report.as_json()),
        ("card", card(data)),
    ):
        (folder / "data" / f"{name}.json").write_text(json.dumps(content, indent=1))
    write_page(data.report, folder / "data" / "audit.html")


def card(data: PreparedData) -> dict[str, str]:
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
