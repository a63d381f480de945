"""Data sets by the names that `conf/dataset` gives them, and all that happens to images before a network.

Each lives in a file of its own below and is imported when it is asked for.
"""

from typing import Any

from lamella.config.targets import lazily

_HOMES = {
    "blood": "lamella.data.datasets.blood",
    "em": "lamella.data.datasets.em",
    "folder": "lamella.data.datasets.folder",
    "phantom_em": "lamella.data.datasets.phantom",
    "phantom_blood": "lamella.data.datasets.phantom",
    "Augmentation": "lamella.data.loaders.augment",
}


def __getattr__(name: str) -> Any:
    return lazily(name, _HOMES, __name__)
