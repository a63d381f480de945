"""Configurations that runs have kept, made whole: in the names of this version, with the keys that were added since."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import omegaconf
from omegaconf import DictConfig, OmegaConf

from lamella.config.paths import CONF
from lamella.config.targets import translated
from lamella.errors import StorageError

_BY_NAME = ("dataset", "model", "loss", "optimizer", "scheduler")
_ALIKE = {"augment": "none", "inference": "default"}  # one function, whatever was chosen: a new key is off, or usual


def kept_configuration(file: Path) -> dict[str, Any]:
    """A run's `config.yaml`, plain, as this version of Lamella would have written it.

    It is text of somebody else's: no interpolation in it is resolved.

    Raises:
        StorageError: it cannot be read, or is no configuration.
    """
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        return completed(translated(config, 0))
    except Exception as error:  # of YAML, of OmegaConf, or of what is no configuration
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StorageError(f"{file} is damaged: it cannot be read as a configuration: {reason}") from error


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A kept configuration with the keys that it lacks, as the files of `conf/` have them for the same choices.

    Keys that once had another default are the affair of `lamella.config.targets`, which comes first.
    """
    usual = OmegaConf.create(_usual(config))
    assert isinstance(usual, DictConfig)
    return _filled(config, usual, OmegaConf.to_container(usual, resolve=False), "")


def file_of(group: str, node: Mapping[str, Any]) -> Path:
    """The file of `conf/` that chooses what a node names; of a user's own, what it would be called."""
    return CONF / group / f"{str(node['_target_']).rpartition('.')[2]}.yaml"


def loaded(file: Path) -> dict[str, Any]:
    """What a file of `conf/` says, upon what its defaults in the same folder say; nothing where there is none."""
    if not file.is_file():
        return {}
    said: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    found: dict[str, Any] = {}
    for name in said.pop("defaults", []):
        if isinstance(name, str) and name != "_self_":
            found |= loaded(file.with_name(f"{name}.yaml"))
    return {**found, **said}


def _usual(config: Mapping[str, Any]) -> dict[str, Any]:
    """What holds where nobody says otherwise, for the choices by name that a configuration has made."""
    train = loaded(CONF / "train.yaml")
    usual = {name: value for name, value in train.items() if name not in ("model", "score", "hydra")}
    for name in _BY_NAME:
        usual[name] = loaded(file_of(name, config[name])) | train.get(name, {})
    for name, choice in _ALIKE.items():
        usual[name] = loaded(CONF / name / f"{choice}.yaml")
    if isinstance(split := config["dataset"].get("split"), Mapping):
        usual["dataset"]["split"] = loaded(file_of("dataset/split", split))
    recipe = loaded(CONF / "recipe" / f"{usual['dataset'].get('name', 'folder')}.yaml")
    usual["data"] = recipe["data"]
    usual["trainer"] = loaded(CONF / "trainer" / "auto.yaml")
    usual["tracking"] = loaded(CONF / "tracking" / "local.yaml")
    usual["score"] = loaded(CONF / "scoring.yaml")["score"] | train["score"]
    usual["paths"] = loaded(CONF / "folders.yaml")["paths"]
    return usual


def _filled(own: Mapping[str, Any], usual: DictConfig, node: Any, path: str) -> dict[str, Any]:
    """A node with what it lacks of the usual one, if that is of the same function."""
    result = dict(own)
    if own.get("_target_") != node.get("_target_"):
        return result
    for name, value in node.items():
        place = f"{path}.{name}" if path else name
        if name not in own:
            with contextlib.suppress(omegaconf.errors.OmegaConfBaseException):  # said where the key is missed
                found = OmegaConf.select(usual, place, throw_on_missing=True)
                result[name] = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        elif isinstance(value, dict) and isinstance(own[name], Mapping):
            result[name] = _filled(own[name], usual, value, place)
    return result
