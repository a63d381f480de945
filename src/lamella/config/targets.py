"""The names that a `_target_` may have: a package and what it exports, never the file that holds it.

So files may move while kept runs still load. What an older version called otherwise is translated here.
"""

import importlib
import re
from collections.abc import Mapping
from typing import Any

# Format 0: version 0.1.0 up to 2026-11, which named files; its checkpoints say no format at all.
_TARGETS_OF_0 = (
    (r"lamella\.models\.\w+\.(\w+)", r"lamella.models.\1"),
    (r"lamella\.data\.split\.(\w+)", r"lamella.splits.\1"),
    (r"lamella\.data\.folds\.(\w+)", r"lamella.splits.\1_folds"),
    (r"lamella\.data\.(?:augment|blood|em|folder|phantom)\.(\w+)", r"lamella.data.\1"),
    (r"lamella\.optim\.(\w+)", r"lamella.training.\1"),
)
_KEYS_OF_0 = {
    "published": "literature",
    "data.frame": "context",
    "score.smallest": "min_cell_size",
    "score.neck": "split_neck",
}

# Keys of `lamella.data.folder` that older runs of it lack, with what held before there were any.
_ADDED_TO_FOLDER = {
    "image_prefix": "", "mask_prefix": "", "instances": False, "border": "background", "mask_threshold": None,
    "mask_layers": False, "objects": "none", "spacing_nm": None,
}  # fmt: skip


def lazily(name: str, homes: Mapping[str, str], package: str) -> Any:
    """What a package exports under a name, its module imported only now: for the package's own `__getattr__`.

    Args:
        name: what is asked for.
        homes: exported names -> the modules that define them.
        package: the package's name.
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
    if format_ > 0:
        return _completed(config)
    new = _completed(_retargeted(config))
    for path, name in _KEYS_OF_0.items():
        group, _, old = path.rpartition(".")
        node = new.get(group, {}) if group else new
        if old in node:
            node[name] = node.pop(old)
    return new


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the keys that a folder's data set lacked when it was kept."""
    dataset = config.get("dataset")
    if not isinstance(dataset, Mapping) or dataset.get("_target_") != "lamella.data.folder" or "instances" in dataset:
        return dict(config)
    serial = None if dataset.get("serial") else False  # `true` spoke of pages alone
    return {**config, "dataset": {**_ADDED_TO_FOLDER, **dataset, "serial": serial}}


def _retargeted(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _target(str(value)) if key == "_target_" else _retargeted(value) for key, value in node.items()}
    return [_retargeted(each) for each in node] if isinstance(node, list) else node


def _target(name: str) -> str:
    for pattern, today in _TARGETS_OF_0:
        if match := re.fullmatch(pattern, name):
            return match.expand(today)
    return name
