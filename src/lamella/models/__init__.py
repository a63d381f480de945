"""Networks and methods by the names that `conf/model` gives them: `lamella.models.unet(...)` builds one.

Each lives in a file of its own below and is imported when it is asked for.
"""

from typing import Any

from lamella.config.targets import lazily

_NAMES = {
    "smp.networks": "unet unetplusplus_smp deeplabv3plus fpn linknet manet pan pspnet upernet dpt segformer",
    "papers.unet": "unet_ronneberger",
    "papers.unetplusplus": "unetplusplus",
    "papers.attention_unet": "attention_unet",
    "papers.r2unet": "r2unet attention_r2unet",
    "papers.fcn": "fcn",
    "papers.ternausnet": "ternausnet",
    "classical.methods": "otsu bht kmeans watershed",
}
_HOMES = {name: f"lamella.models.{file}" for file, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    return lazily(name, _HOMES, __name__)
