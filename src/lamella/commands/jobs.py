"""The jobs of a sweep: which experiment each is, and what an earlier sweep has done of it."""

import hashlib
import inspect
import json
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from lamella import hardware, tracking
from lamella.commands.setup import foreign
from lamella.config import plugins
from lamella.config.check import plain, targets
from lamella.config.paths import source
from lamella.config.schema import Config
from lamella.config.words import hints_of, kind_and_key
from lamella.data.manifest import data_sha256, split_sha256
from lamella.data.prepared import PreparedData
from lamella.tracking import Unfinished

# What changes no score: where things lie and are kept, what is shown, how a sweep goes on. Of `plugins` their source
# counts, not how they were named.
_NO_MATTER = (
    *("paths", "tracking", "resume", "fresh", "retry_failed", "fail_fast", "literature", "plugins", "debug"),
    *("data.workers", "trainer.progress", "dataset.allow"),
)


class Done(NamedTuple):
    """A job that is not begun now.

    Attributes:
        run_id: of its run.
        state: "finished before", "failed before" or "running elsewhere", in another process.
        score: its mean test Dice; NaN where it has none.
        remark: what is to be said of it, such as that its source differs from today's; "" for nothing.
    """

    run_id: str
    state: str
    score: float
    remark: str


def identity(cfg: Config, data: PreparedData, machine: hardware.Hardware) -> str:
    """What tells an experiment from all others: the SHA-256 of its configuration, data and split.

    The configuration is the resolved one, however it was typed, with the kind of device and the precision that it comes
    to here. No part of it are paths, `tracking`, and what changes no score; of a file that training starts from its
    content is, of data files their content alone, of plug-ins their source.

    Args:
        cfg: settled, see `lamella.config.check.settle`.
        data: of the run.
        machine: what it runs on.

    Raises:
        LamellaError: a file of the data cannot be read.
    """
    node = plain(cfg)
    for key, value in _files(cfg).items():
        if key.startswith("dataset."):
            _put(node, key, None)  # `data_sha256` says what lies there
        elif isinstance(value, str) and Path(value).is_file():
            _put(node, key, data.store.facts.sha256(Path(value)))
    for key in _NO_MATTER:
        parent, _, name = key.rpartition(".")
        (node[parent] if parent else node).pop(name, None)
    if node["dataset"]["take"] == 1:  # jobs had this identity before there were shares
        del node["dataset"]["take"]
    node["trainer"] |= {"accelerator": machine.device.type, "precision": machine.precision}
    whole = {
        "configuration": _spelt_alike(node),
        "data": data_sha256(data.dataset, data.store),
        "split": split_sha256(data.split),
        "code": plugins.fingerprints(foreign(cfg)),
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def begun(cfg: Config, job: str) -> Done | Unfinished | None:
    """What there is of a job in the store: done with, interrupted, or nothing. Of several runs the newest counts.

    The job is claimed, see `lamella.tracking.claim`: whoever opens a run of it lets go of it then.

    Args:
        cfg: whose `tracking.uri` and `tracking.experiment` are looked at; offline its `paths.output`.
        job: its identity.

    Raises:
        StorageError: the store cannot be read.
    """
    keys, output = cfg.tracking, Path(cfg.paths.output)
    tracking.claim(keys.uri, output, job)
    found = tracking.attempts(keys.uri, keys.experiment, job, output, offline=keys.offline)
    if not found:
        return None
    last = found[0]
    remark = "" if last.tags.get("lamella.source") == source() else "Lamella's source was another then"
    if last.status == "FINISHED":
        if last.stored:
            tracking.clear_away(last.run_id, output)
        return Done(last.run_id, "finished before", last.score, remark)
    if last.status == "FAILED" and not cfg.retry_failed:
        said = last.tags.get("lamella.error", "")
        return Done(last.run_id, "failed before", nan, "; ".join(filter(None, (said, remark))))
    if last.status == "RUNNING" and not last.gone:
        return Done(last.run_id, "running elsewhere", nan, "")
    return tracking.unfinished(keys.uri, last.run_id, output)


def _files(cfg: Config) -> dict[str, Any]:
    """The values of all keys that name files or folders, below nodes that name a function: dotted key -> value."""
    found = {}
    for path, node in targets(cfg).items():
        hints = {name: each.annotation for name, each in inspect.signature(node.function).parameters.items()}
        for name, hint in {**hints_of(type(node)), **hints}.items():
            value = getattr(node, name, None) if name not in node.arguments else node.arguments[name]
            if value is not None and kind_and_key(hint)[1].path:
                found[f"{path}.{name}"] = value
    return found


def _put(node: Any, key: str, value: Any) -> None:
    """Puts a value where a dotted key says."""
    *parts, last = key.split(".")
    for part in parts:
        node = node[int(part) if isinstance(node, list) else part]
    node[last] = value


def _spelt_alike(node: Any) -> Any:
    """The same with 1.0 as 1, wherever a key takes any number."""
    if isinstance(node, dict):
        return {str(name): _spelt_alike(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_spelt_alike(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node
