"""Registered models: runs as versions under one name, the best of them on validation as `champion`."""

import math
import re
from typing import Any, NamedTuple

from lamella.errors import ConfigError, StorageError
from lamella.tracking.store import connect, reported

from mlflow import MlflowClient  # isort: skip - `store` says first how MLflow is to behave
from mlflow.exceptions import MlflowException  # isort: skip

CHAMPION = "champion"
"""The alias of the version with the best Dice on validation images."""


class Version(NamedTuple):
    """One version of a registered model.

    Attributes:
        name: the model's.
        number: counts from 1.
        run_id: the run that trained it.
    """

    name: str
    number: str
    run_id: str


def require_name(name: str) -> None:
    """Raises ConfigError, before anything is trained, where no model can be registered under this name."""
    if not re.fullmatch(r"[^/:@\s](?:[^/:@\n\r\t]*[^/:@\s])?", name):
        raise ConfigError(
            f"tracking.register={name!r} is no name of a registered model", "Take one without any of / : and @."
        )


def registered(uri: str, name: str) -> Version:
    """The version that NAME, NAME@ALIAS or NAME/VERSION means; NAME alone is its champion.

    Raises:
        StorageError: the store cannot be read, or has no such model, alias or version; the message lists what it has.
    """
    model, _, alias = name.partition("@")
    model, _, number = model.partition("/")
    with reported(f"the tracking store {uri} cannot be read", "`tracking.uri` says where models are registered."):
        client = connect(uri)
        try:
            found = client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            names = sorted(each.name for each in client.search_registered_models())
            known = f"There are: {', '.join(names)}." if names else "There is none: tracking.register=NAME makes one."
            raise StorageError(f"there is no registered model {model!r} in {uri}", known) from error
        versions = client.search_model_versions(f"name = '{model}'")
        alias = alias or ("" if number else CHAMPION)
        number = number or str(found.aliases.get(alias, ""))
        version = next((each for each in versions if str(each.version) == number), None)
    if version is None:
        aliases = ", ".join(f"{model}@{each} (version {which})" for each, which in sorted(found.aliases.items()))
        numbers = ", ".join(sorted((str(each.version) for each in versions), key=int))
        what = f"alias {alias!r}" if alias else f"version {number}"
        raise StorageError(
            f"the registered model {model} has no {what}",
            f"Its versions: {numbers or 'none'}. Its aliases: {aliases or 'none'}.",
        )
    if not version.run_id:
        raise StorageError(
            f"version {number} of {model} was registered without a run, whose checkpoint would be taken",
            "Name the run or the checkpoint instead.",
        )
    return Version(model, number, str(version.run_id))


def register(uri: str, run_id: str, name: str) -> str:
    """Registers a finished run's model as the next version of NAME, and makes it champion where it is the best.

    The best is the one with the highest Dice on validation images; it is compared only with a run of the same data
    and split.

    Returns:
        What happened, in a sentence.

    Raises:
        StorageError: the store cannot be written, or the run has no model.
    """
    problem, remedy = f"run {run_id} cannot be registered as {name}", "It is finished and kept all the same."
    with reported(problem, remedy):
        client = connect(uri)
        run = client.get_run(run_id)
        outputs = run.outputs.model_outputs if run.outputs else []
        if not outputs:
            raise StorageError(f"{problem}: it has no MLflow model", remedy)
        model = client.get_logged_model(outputs[-1].model_id)
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        champion = client.get_registered_model(name).aliases.get(CHAMPION)
        versions = client.search_model_versions(f"name = '{name}'")
        version = next((each.version for each in versions if each.run_id == run_id), None)  # asked for again
        if version is None:
            made = client.create_model_version(name, model.artifact_location, run_id, model_id=model.model_id)
            version = made.version
        better, why = (True, "") if str(champion) == str(version) else _better(client, run, name, champion)
        if better:
            client.set_registered_model_alias(name, CHAMPION, str(version))
    place = f"registered as {name} version {version}"
    return f"{place}, its {CHAMPION}{why}" if better else f"{place}; {CHAMPION} stays version {champion}: {why}"


def _better(client: MlflowClient, run: Any, name: str, champion: str | None) -> tuple[bool, str]:
    """Whether a run beats the champion, and why."""
    if champion is None:
        return True, ""
    other_id = client.get_model_version(name, str(champion)).run_id
    try:
        other = client.get_run(other_id)
    except MlflowException:
        return False, "its run is gone, so that the two cannot be compared"
    for tag, what in (("lamella.data_sha256", "data"), ("lamella.split_sha256", "split")):
        if run.data.tags.get(tag) != other.data.tags.get(tag):
            return False, f"it was trained on another {what}, so that the two cannot be compared"
    mine, its = _dice(client, run.info.run_id), _dice(client, other_id)
    if mine is None or its is None:
        return False, "one of the two has no Dice on validation images"
    if mine > its:
        return True, f": Dice {mine:.4f} on validation images, {its:.4f} of version {champion}"
    return False, f"Dice {its:.4f} on validation images, {mine:.4f} of this one"


def _dice(client: MlflowClient, run_id: str) -> float | None:
    """The best Dice on validation images of a run's epochs: that of the checkpoint it keeps."""
    values = [each.value for each in client.get_metric_history(run_id, "val/dice")]
    return max((value for value in values if not math.isnan(value)), default=None)
