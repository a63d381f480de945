"""What a run says of where its scores come from: tags, and files that describe configuration, code and data."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lamella.config import plugins
from lamella.config.paths import CHECKOUT, source
from lamella.data.audit.page import write_page
from lamella.data.manifest import data_sha256, manifest, redrawn_sha256, split_ids, split_sha256, without_redrawn
from lamella.data.prepared import PreparedData
from lamella.data.types import Sample, Split
from lamella.hardware import Hardware
from lamella.version import __version__

# Packages that take part in what is computed, the most telling first.
_DECISIVE = (
    *("torch", "numpy", "pytorch-lightning", "segmentation-models-pytorch", "timm", "torchvision", "torchmetrics"),
    *("scipy", "scikit-image", "scikit-learn", "pandas", "pillow", "tifffile", "imagecodecs", "safetensors"),
)
_LISTED = 5  # other packages by name
_TAG_LIMIT = 5000  # characters that every MLflow takes
# Of what is typed: where things lie and are kept, which of a method's runs it is, how a sweep goes on.
_NOT_SAID = ("paths.", "tracking", "hydra", "seed=", "fresh=", "retry_failed=", "fail_fast=", "plugins=", "debug=")

LABELLED = "lamella.labelled"
"""The tag of a run that says on how many images its network was trained."""


def identity(
    data: PreparedData,
    *,
    config_sha256: str,
    scoring: Mapping[str, Any],
    hardware: Hardware | None,
    sweep: str | None,
    modules: Iterable[str] = (),
) -> dict[str, str]:
    """The tags that say what ran on what, and which scores may be compared with these.

    Args:
        data: of the run.
        config_sha256: of the configuration, its keys in a fixed order.
        scoring: how images are scored; with data, split, kind of device and precision it makes the protocol.
        hardware: what the network computes on, and how exactly; None where no network does.
        sweep: the name shared by all jobs of a sweep; None outside one.
        modules: a user's own code that takes part.
    """
    commit, change = code(CHECKOUT)
    own = replace(data.dataset, samples=without_redrawn(data.dataset.samples))
    # Corrected predictions train alone: what is judged, and by which images, stays what it is without them.
    protocol = {
        "data": data_sha256(own, data.store),
        "split": split_sha256(_own(data.split)),
        **scoring,
    }
    if hardware is not None:  # of cards the kind alone: two of one kind differ by far less than precisions do
        protocol |= {"device": hardware.device.type, "precision": hardware.precision}
    tags = {
        "lamella.version": __version__,
        "lamella.git_commit": commit or "none",
        "lamella.git_dirty": str(bool(change)).lower(),
        "lamella.source": source(),
        "lamella.config_sha256": config_sha256,
        "lamella.data_sha256": protocol["data"],
        "lamella.split_sha256": protocol["split"],
        "lamella.protocol": json.dumps(protocol),
        "lamella.phantom": str(data.dataset.card.phantom).lower(),
        "lamella.data_warnings": str(len(data.report.warnings)),
    }
    if hardware is not None:
        tags |= {"lamella.device": hardware.name, "lamella.precision": hardware.precision}
        tags[LABELLED] = str(len(data.split.train))
    if corrected := [sample for sample in data.split.train if sample.redrawn is not None]:
        sha256 = redrawn_sha256(corrected, data.store)
        tags["lamella.data_sha256"] = data_sha256(data.dataset, data.store)
        tags["lamella.corrected"] = f"{len(corrected)} masks, {sha256[:8]}"
    if code_ := plugins.fingerprints(modules):
        tags["lamella.code"] = json.dumps(code_)
    return tags | ({"lamella.sweep": sweep} if sweep else {})


def as_typed(overrides: Iterable[str]) -> dict[str, str]:
    """The tag that says what somebody typed, as JSON; without what changes no score, and none where it is too long."""
    said = [each for each in overrides if not each.lstrip("+~").startswith(_NOT_SAID)]
    text = json.dumps(said, ensure_ascii=False)
    return {"lamella.typed": text} if len(text) <= _TAG_LIMIT else {}


def describe(folder: Path, config: str, data: PreparedData, modules: Iterable[str] = ()) -> None:
    """Writes what the run is made of: configuration, environment, uncommitted change, plug-ins, data, split, audit.

    Args:
        folder: made for the run's files.
        config: the resolved configuration as YAML.
        data: of the run.
        modules: plug-ins, whose files are kept under `code/`.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)  # a run may have been killed here
    for module in modules:
        for name, text in plugins.sources(module).items():
            place = folder / "code" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text)
    (folder / "config.yaml").write_text(config)
    (folder / "environment.txt").write_text(environment())
    (folder / "git.diff").write_text(code(CHECKOUT)[1])
    for name, content in (
        ("manifest", manifest(data.dataset, data.split, data.store)),
        ("split", split_ids(_own(data.split))),
        ("audit", data.report.as_json()),
        ("card", card(data)),
    ):
        (folder / "data" / f"{name}.json").write_text(json.dumps(content, indent=1))
    write_page(data.report, folder / "data" / "audit.html")


def card(data: PreparedData) -> dict[str, str]:
    """What a reader of a score must know about the data behind it: label -> text."""
    of, split = data.dataset.card, data.split
    corrected = sum(sample.redrawn is not None for sample in split.train)
    told = f" ({corrected} of them predictions that a person corrected or accepted)" if corrected else ""
    left = f" ({len(split.left)} left out by dataset.take)" if split.left else ""
    spacing = f"{of.spacing_nm[0]:g} x {of.spacing_nm[1]:g} nm" if of.spacing_nm else "not known"
    return {
        "data set": of.title,
        "source": of.source,
        "classes": ", ".join(f"{number} {name}" for number, name in enumerate(of.class_names)),
        "channels": str(of.channels),
        "size of a pixel": spacing,
        "images": f"{len(split.train)} to train{told}{left}, {len(split.val)} to choose by, {len(split.test)} to test",
        "groups in the test": _groups(split.test),
        "warnings of the audit": "; ".join(warning.message for warning in data.report.warnings) or "none",
    }


def _own(split: Split) -> Split:
    """A split of the data set itself, without the corrected predictions that train beside it."""
    return replace(split, train=without_redrawn(split.train))


def _groups(samples: Sequence[Sample]) -> str:
    """How many groups there are, which is what statistics count; where each is one stack of sections, it says so."""
    groups, stacks = {sample.group for sample in samples}, {sample.stack for sample in samples}
    alike = len({(sample.group, sample.stack) for sample in samples}) == len(groups) == len(stacks)
    if alike and "" not in stacks:
        return "1 stack (specimen)" if len(groups) == 1 else f"{len(groups)} stacks (specimens)"
    return str(len(groups))


def code(checkout: Path | None) -> tuple[str, str]:
    """The state of a checkout: its commit ("" where there is none), and the uncommitted change ("" when clean).

    The change is a diff and the names of new files.
    """
    if checkout is None:
        return "", ""
    commit = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    change = _git(checkout, "diff", "HEAD") if commit else ""
    new = _git(checkout, "ls-files", "--others", "--exclude-standard").splitlines()
    return commit, change + "".join(f"# new, not in git: {name}\n" for name in new)


def environment() -> str:
    """The text of `environment.txt`: Python, machine and every installed package with its version, one a line."""
    head = [f"python {sys.version.split()[0]}", f"platform {platform.platform()}", f"processor {_processor()}",
            f"threads {torch.get_num_threads()}"]  # fmt: skip
    if torch.cuda.is_available():
        head.append(f"gpu {torch.cuda.get_device_name()} (CUDA {torch.version.cuda})")
    return "\n".join(["# " + line for line in head] + _packages()) + "\n"


@cache
def _packages() -> list[str]:
    return sorted({f"{d.name}=={d.version}" for d in metadata.distributions()}, key=str.lower)


def source_differences(now: Mapping[str, str], then: Mapping[str, str], packages: str, change: str) -> list[str]:
    """In what the source, the packages and the machine differ from those of a run, a sentence each.

    Args:
        now: today's tags.
        then: the run's.
        packages: the run's `environment.txt`.
        change: the run's `git.diff`.
    """
    said = []
    hashes = now.get("lamella.source"), then.get("lamella.source")  # earlier versions kept none
    known = None not in hashes
    names = ["lamella.version", "lamella.git_commit", "lamella.git_dirty"]
    if known and hashes[0] != hashes[1]:
        names.append("lamella.source")
    other = [name for name in names if now.get(name) != then.get(name)]
    if other and not (known and hashes[0] == hashes[1]):  # the same files, whatever git calls them
        named = "; ".join(f"{name.removeprefix('lamella.')} {now.get(name)}, then {then.get(name)}" for name in other)
        said.append(f"Lamella itself is another: {named}")
    elif not known and change != code(CHECKOUT)[1]:
        said.append("Lamella itself is another: what was changed after its last commit differs from git.diff")
    heads, versions = zip(*map(_read_environment, (packages, environment())), strict=True)
    machine = [(name, value, heads[1].get(name, "none")) for name, value in heads[0].items()]
    said += [f"another {name}: {today}, then {value}" for name, value, today in machine if value != today]
    names = [name for name in {**versions[0], **versions[1]} if versions[0].get(name) != versions[1].get(name)]
    words = [
        f"{name} {versions[1].get(name, 'not there')}, then {versions[0].get(name, 'not there')}" for name in names
    ]
    of = dict(zip(names, words, strict=True))
    if first := [of[name] for name in _DECISIVE if name in of]:
        said.append(f"packages that compute are others: {'; '.join(first)}")
    if rest := [of[name] for name in sorted(of) if name not in _DECISIVE]:
        more = f"; and {len(rest) - _LISTED} more" if len(rest) > _LISTED else ""
        said.append(f"other packages differ, too: {'; '.join(rest[:_LISTED])}{more}")
    return said


def _read_environment(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """What `environment` wrote: of Python and the machine, and the version of each package by its name."""
    lines = text.splitlines()
    heads = [line.removeprefix("# ").partition(" ") for line in lines if line.startswith("# ")]
    packages = [line.partition("==") for line in lines if not line.startswith("#")]
    names = {name.lower().replace("_", "-"): version for name, _, version in packages if name.lower() != "lamella"}
    return {name: value for name, _, value in heads}, names


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _git(checkout: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, check=False)
    except FileNotFoundError:  # git is not installed: the run is still worth having
        return ""
    return result.stdout.decode(errors="replace") if result.returncode == 0 else ""
