"""The command `sync`: what could not be sent to the store, sent now."""

from omegaconf import DictConfig

from lamella.config.check import check
from lamella.config.schema import Sync
from lamella.errors import ConfigError


def run(cfg: DictConfig) -> None:
    """What could not be sent to the store, sent now. Raises LamellaError."""
    check(cfg, Sync)
    raise ConfigError("not there yet")
