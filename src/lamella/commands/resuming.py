"""How a run is gone on with: its own configuration, and what of it may be said anew."""

from collections.abc import Sequence

from omegaconf import DictConfig

from lamella.config.schema import Config
from lamella.errors import ConfigError
from lamella.tracking import Unfinished


def earlier(asked: Config, composed: DictConfig, typed: Sequence[str]) -> tuple[Unfinished, DictConfig]:
    """The run that `resume` names, and its configuration with what extends it.

    Args:
        asked: as it was composed; only where runs are kept is taken from it, and what was typed.
        composed: the same, by Hydra.
        typed: the overrides of the command line.

    Raises:
        ConfigError: what was typed would change the experiment.
        StorageError: there is no such run, or another process is at work on it.
    """
    raise ConfigError("resume is not there yet")
