"""The command `look`."""

from omegaconf import DictConfig

from lamella.commands.trained import chosen
from lamella.config.check import check
from lamella.config.schema import Look
from lamella.console import console


def run(cfg: DictConfig) -> None:
    out = console()
    wanted = check(cfg, Look)
    trained = chosen(wanted, out)
    del trained
