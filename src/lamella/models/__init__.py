"""Networks and methods by the names that `conf/model` gives them: `lamella.models.unet(...)` builds one.

Each lives in a file of its own below and is imported when it is asked for.
"""

from typing import Any

from lamella.config.targets import lazily

_HOMES = {
    "unet": "lamella.models.smp.networks",
    "unetplusplus_smp": "lamella.models.smp.networks",
    "deeplabv3plus": "lamella.models.smp.networks",
    "fpn": "lamella.models.smp.networks",
    "linknet": "lamella.models.smp.networks",
    "manet": "lamella.models.smp.networks",
    "pan": "lamella.models.smp.networks",
    "pspnet": "lamella.models.smp.networks",
    "upernet": "lamella.models.smp.networks",
    "dpt": "lamella.models.smp.networks",
    "segformer": "lamella.models.smp.networks",
    "unet_ronneberger": "lamella.models.papers.unet",
    "unetplusplus": "lamella.models.papers.unetplusplus",
    "attention_unet": "lamella.models.papers.attention_unet",
    "r2unet": "lamella.models.papers.r2unet",
    "attention_r2unet": "lamella.models.papers.r2unet",
    "fcn": "lamella.models.papers.fcn",
    "ternausnet": "lamella.models.papers.ternausnet",
    "otsu": "lamella.models.classical.methods",
    "bht": "lamella.models.classical.methods",
    "kmeans": "lamella.models.classical.methods",
    "watershed": "lamella.models.classical.methods",
}


def __getattr__(name: str) -> Any:
    return lazily(name, _HOMES, __name__)
