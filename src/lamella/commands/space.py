"""Whether a run's files will fit where they go, asked before it trains."""

from pathlib import Path

from torch import nn

from lamella.config.paths import sqlite_file
from lamella.config.schema import Config
from lamella.disk import Place, require_space, temporary

_MB = 10**6
_REST = 20 * _MB  # tables, figures, the audit's page, Lamella's own code in the model
_STORE = 2 * _MB  # a new store with its journal
_BESIDE = 2  # each file is written beside the one it replaces, which is kept until the new one is whole


def require(cfg: Config, network: nn.Module) -> None:
    """Refuses to begin a run that would fill a disk: checkpoints are by far the most of what it writes.

    `last.ckpt` holds the weights, two numbers a weight of the optimizer's, and their average where there is one;
    `best.ckpt` and the MLflow model hold the weights. TernausNet, of 92 MB, took 918 MB at most; 1.1 GB are asked for.

    Args:
        cfg: says where things go.
        network: whose parameters are counted.

    Raises:
        StorageError: names what is free, what is needed where, and the key to change.
    """
    weights = sum(each.numel() * each.element_size() for each in network.state_dict().values())
    learned = sum(each.numel() * each.element_size() for each in network.parameters() if each.requires_grad)
    last = weights + learned * (3 if cfg.trainer.ema > 0 else 2) if learned else weights
    output = Place("paths.output", Path(cfg.paths.output))
    needs = {output: _BESIDE * (weights + last) + weights + _REST, temporary(): _REST}
    if (file := sqlite_file(cfg.tracking.uri)) and not cfg.tracking.offline:
        files = Place("tracking.artifacts", Path(cfg.tracking.artifacts or file.with_name("artifacts")))
        # On one disk files are linked, not copied: only a replaced best.ckpt may be there once more.
        needs[files] = weights if files.shares_disk(output) else 2 * weights + _BESIDE * last + _REST
        needs[Place("tracking.uri", file.parent)] = _STORE
    require_space(needs)
