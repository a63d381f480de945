"""The names that a `_target_` may have: a package and what it exports, never the file that holds it.

So files may move while kept runs still load. What an older version called otherwise is translated here.
"""

import importlib
from collections.abc import Mapping
from typing import Any

# Format 0: version 0.1.0 up to 2026-11, which named files; its checkpoints say no format at all.
_TARGETS_OF_0 = {
    "lamella.models.smp.unet": "lamella.models.unet",
    "lamella.models.smp.unetplusplus_smp": "lamella.models.unetplusplus_smp",
    "lamella.models.modern.deeplabv3plus": "lamella.models.deeplabv3plus",
    "lamella.models.modern.fpn": "lamella.models.fpn",
    "lamella.models.modern.linknet": "lamella.models.linknet",
    "lamella.models.modern.manet": "lamella.models.manet",
    "lamella.models.modern.pan": "lamella.models.pan",
    "lamella.models.modern.pspnet": "lamella.models.pspnet",
    "lamella.models.modern.upernet": "lamella.models.upernet",
    "lamella.models.transformers.dpt": "lamella.models.dpt",
    "lamella.models.transformers.segformer": "lamella.models.segformer",
    "lamella.models.unet.unet_ronneberger": "lamella.models.unet_ronneberger",
    "lamella.models.unetplusplus.unetplusplus": "lamella.models.unetplusplus",
    "lamella.models.attention_unet.attention_unet": "lamella.models.attention_unet",
    "lamella.models.r2unet.r2unet": "lamella.models.r2unet",
    "lamella.models.r2unet.attention_r2unet": "lamella.models.attention_r2unet",
    "lamella.models.fcn.fcn": "lamella.models.fcn",
    "lamella.models.ternausnet.ternausnet": "lamella.models.ternausnet",
    "lamella.models.classical.otsu": "lamella.models.otsu",
    "lamella.models.classical.bht": "lamella.models.bht",
    "lamella.models.classical.kmeans": "lamella.models.kmeans",
    "lamella.models.classical.watershed": "lamella.models.watershed",
    "lamella.data.blood.blood": "lamella.data.blood",
    "lamella.data.em.em": "lamella.data.em",
    "lamella.data.folder.folder": "lamella.data.folder",
    "lamella.data.phantom.phantom_em": "lamella.data.phantom_em",
    "lamella.data.phantom.phantom_blood": "lamella.data.phantom_blood",
    "lamella.data.augment.Augmentation": "lamella.data.Augmentation",
    "lamella.data.split.blocks": "lamella.splits.blocks",
    "lamella.data.split.file": "lamella.splits.file",
    "lamella.data.split.found": "lamella.splits.found",
    "lamella.data.split.hashed": "lamella.splits.hashed",
    "lamella.data.split.published": "lamella.splits.published",
    "lamella.data.folds.blocks": "lamella.splits.blocks_folds",
    "lamella.data.folds.hashed": "lamella.splits.hashed_folds",
    "lamella.data.folds.published": "lamella.splits.published_folds",
    "lamella.optim.adamw": "lamella.training.adamw",
    "lamella.optim.cosine": "lamella.training.cosine",
}
_KEYS_OF_0 = {
    ("published",): "literature",
    ("data", "frame"): "context",
    ("score", "smallest"): "min_cell_size",
    ("score", "neck"): "split_neck",
}


def lazily(name: str, homes: Mapping[str, str], package: str) -> Any:
    """What a package exports under a name, its module imported only now: for the package's own `__getattr__`.

    Args:
        name: what is asked for.
        homes: exported names -> the modules that define them.
        package: the package's name, for the error.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(homes[name]), name)


def translated(config: Mapping[str, Any], format_: int) -> dict[str, Any]:
    """A configuration that an older version kept, in the names of this one.

    Args:
        config: plain and resolved, as a checkpoint or a run's `config.yaml` holds it.
        format_: of the checkpoint; 0 where it says none.
    """
    new: dict[str, Any] = _retargeted(config) if format_ == 0 else dict(config)
    if format_ == 0:
        for (*groups, old), name in _KEYS_OF_0.items():
            node = new
            for group in groups:
                node = node.get(group, {})
            if old in node:
                node[name] = node.pop(old)
    return new


def _retargeted(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            key: _TARGETS_OF_0.get(value, value) if key == "_target_" else _retargeted(value)
            for key, value in node.items()
        }
    return [_retargeted(each) for each in node] if isinstance(node, list) else node
