"""The command `predict`."""

from omegaconf import DictConfig

from lamella.commands.trained import chosen
from lamella.config.check import check
from lamella.config.schema import Predict
from lamella.console import console


def run(cfg: DictConfig) -> None:
    out = console()
    wanted = check(cfg, Predict)
    trained = chosen(wanted, out)
    del trained
