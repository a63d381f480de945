"""Whole images through a trained network."""

from typing import Any

from lamella.config.targets import lazily

_HOMES = {"Inference": "lamella.inference.settings"}


def __getattr__(name: str) -> Any:
    return lazily(name, _HOMES, __name__)
