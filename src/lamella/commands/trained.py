"""Trained networks as a command names them: by run, runs, checkpoint or registered model."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lamella import tracking
from lamella.config.schema import TrainedKeys
from lamella.errors import ConfigError
from lamella.inference import checkpoint


def chosen(keys: TrainedKeys, out: Console) -> Sequence[checkpoint.Trained]:
    """The trained networks that a command names, one or an ensemble; warnings are printed.

    Raises:
        ConfigError: none is named, or more than one way is used.
        StorageError: a checkpoint cannot be had or read.
    """
    trained = [checkpoint.load(path, [*keys.plugins, *keys.trust]) for path in _files(keys)]
    for module in sorted({module for each in trained for module in each.changed}):
        out.print(f"warning: {checkpoint.changed(module)}", style="yellow")
    return trained


def _files(keys: TrainedKeys) -> list[Path]:
    ways = {name: getattr(keys, name) for name in ("run", "runs", "checkpoint", "model")}
    named = [name for name, value in ways.items() if value]
    if len(named) != 1:
        raise ConfigError(
            f"{' and '.join(named)} are set" if named else "which trained network is meant is not said",
            "Write one of run=ID, runs=[ID,ID], checkpoint=FILE and model=NAME@ALIAS.",
        )
    uri = keys.tracking.uri
    if keys.run:
        return [tracking.checkpoint(uri, keys.run)]
    if keys.runs:
        return [tracking.checkpoint(uri, run) for run in keys.runs]
    if keys.checkpoint:
        return [Path(keys.checkpoint)]
    raise ConfigError("model=NAME cannot be read yet")
