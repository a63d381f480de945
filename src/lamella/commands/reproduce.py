"""The command `reproduce`: a finished run run again, and whether it came out the same."""

from omegaconf import DictConfig

from lamella.config.check import check
from lamella.config.schema import Reproduce
from lamella.errors import ConfigError


def run(cfg: DictConfig) -> None:
    """A finished run run again, and whether it came out the same. Raises LamellaError."""
    check(cfg, Reproduce)
    raise ConfigError("not there yet")
