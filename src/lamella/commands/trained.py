"""Trained networks as a command names them: by run, runs, checkpoint or registered model."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from lamella import tracking
from lamella.config.schema import TrainedKeys
from lamella.errors import ConfigError
from lamella.inference import checkpoint


class Source(NamedTuple):
    """Where a trained network was taken from.

    Attributes:
        path: its checkpoint.
        run: the run that trained it; "" of a file.
        words: what a person calls it: "run ID", "model NAME version 3 (run ID)", or the file.
    """

    path: Path
    run: str
    words: str


def chosen(keys: TrainedKeys, out: Console, sources: Sequence[Source] | None = None) -> Sequence[checkpoint.Trained]:
    """The trained networks that a command names, one or an ensemble; warnings are printed.

    Args:
        keys: the command's.
        out: where warnings go.
        sources: what `named` gave, where it was asked already.

    Raises:
        ConfigError: none is named, or more than one way is used.
        StorageError: a checkpoint cannot be had or read, or a run did not finish.
    """
    found = named(keys) if sources is None else sources
    trained = [checkpoint.load(each.path, [*keys.plugins, *keys.trust]) for each in found]
    for module in sorted({module for each in trained for module in each.changed}):
        out.print(f"warning: {checkpoint.changed(module)}", style="yellow")
    return trained


def named(keys: TrainedKeys) -> Sequence[Source]:
    """Where the networks lie that a command names, brought to this machine. Raises what `chosen` does."""
    ways = {name: getattr(keys, name) for name in ("run", "runs", "checkpoint", "model")}
    used = [name for name, value in ways.items() if value]
    if len(used) != 1:
        raise ConfigError(
            f"{' and '.join(used)} are set" if used else "which trained network is meant is not said",
            "Write one of run=ID, runs=[ID,ID], checkpoint=FILE and model=NAME@ALIAS.",
        )
    uri = keys.tracking.uri
    if keys.checkpoint:
        return [Source(Path(keys.checkpoint), "", keys.checkpoint)]
    if keys.model:
        version = tracking.registered(uri, keys.model)
        words = f"model {version.name} version {version.number} (run {version.run_id})"
        return [Source(_checkpoint(uri, version.run_id), version.run_id, words)]
    runs = [keys.run] if keys.run else keys.runs or []
    return [Source(_checkpoint(uri, run), run, f"run {run}") for run in runs]


def _checkpoint(uri: str, run: str) -> Path:
    tracking.read(uri, run)  # refuses one that is not there, or did not finish: its network was never chosen
    return tracking.checkpoint(uri, run)
