"""Training: optimizers and schedules by the names that `conf/` gives them, and the loop around them."""

from typing import Any

from lamella.config.targets import lazily

_HOMES = {"adamw": "lamella.training.optim", "cosine": "lamella.training.optim"}


def __getattr__(name: str) -> Any:
    return lazily(name, _HOMES, __name__)
