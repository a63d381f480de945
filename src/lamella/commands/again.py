"""How a network is trained again with corrected predictions, as a line that can be copied."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lamella.config.kept import file_of, loaded
from lamella.config.paths import typed

# What a run is told anew, or finds out.
_LEFT = {"corrected", "accepted", "init_from", "init_part", "encoder_weights", "in_channels", "num_classes", "split"}


def again(config: Mapping[str, Any], network: str, folder: Path) -> str:
    """The command that goes on training a network with the masks that were corrected in a folder of predictions.

    Data set, split and model are those that the network had: choices by name, and what was typed beside.

    Args:
        config: what the network's checkpoint keeps.
        network: the id of its run, or its checkpoint.
        folder: of the predictions.
    """
    dataset, model = config["dataset"], config["model"]
    home, split = file_of("dataset", dataset), dataset.get("split", {"_target_": ""})
    words = [f"dataset={home.stem}", *_differing("dataset", dataset, loaded(home))]
    usual = loaded(home.parent / "split" / f"{_said(home).get('split')}.yaml")
    if split["_target_"] != usual.get("_target_"):
        chosen = file_of("dataset/split", split)
        usual = loaded(chosen)
        words.append(f"dataset/split={chosen.stem}")
    words += _differing("dataset.split", split, usual)
    home = file_of("model", model)
    words += [f"model={home.stem}", *_differing("model", model, loaded(home))]
    words += [f"dataset.corrected={folder}", f"model.init_from={network}"]
    return " ".join([typed("train"), *map(shlex.quote, words)])


def _said(file: Path) -> dict[str, str]:
    """The choices that a file makes of groups below its own."""
    said: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False) if file.is_file() else {}
    return {group: name for each in said.get("defaults", []) if isinstance(each, dict) for group, name in each.items()}


def _differing(path: str, node: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """The keys of a node that are not as its file has them, as they are typed."""
    return [
        f"{path}.{key}={_typed(value)}"
        for key, value in node.items()
        if key in usual and key not in _LEFT and value != usual[key] and "${" not in str(usual[key])
    ]


def _typed(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_typed(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
