"""The command `tidy`: what runs take on disk, and leftovers of dead ones removed."""

from omegaconf import DictConfig

from lamella.config.check import check
from lamella.config.schema import Tidy
from lamella.errors import ConfigError


def run(cfg: DictConfig) -> None:
    """What runs take on disk, and leftovers of dead ones removed. Raises LamellaError."""
    check(cfg, Tidy)
    raise ConfigError("not there yet")
