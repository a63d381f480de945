"""Who is alive: whether the process that writes a run is still at work; runs of dead ones are marked KILLED."""

import contextlib
import functools
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lamella.config.paths import resumed, sqlite_file
from lamella.console import console
from lamella.errors import LamellaError
from lamella.tracking.store import STORE_ERRORS, connect, require_writable

from mlflow import MlflowClient  # isort: skip - `store` says first how MLflow is to behave

PROCESS = "lamella.process"
"""The tag that says which process writes a run."""

HEARTBEAT = "lamella.heartbeat"
"""The tag with the time (seconds since 1970) at which that process last said that it lives."""

SILENT_S = 600
"""So long after its last heartbeat a process that cannot be looked at counts as gone."""


class Buried(NamedTuple):
    """A run whose process is gone.

    Attributes:
        run_id: its id.
        name: its name.
        ended: when it was last heard of, in seconds since 1970.
        resumable: whether it is an experiment, which can be gone on with.
    """

    run_id: str
    name: str
    ended: float
    resumable: bool


def process_tag() -> str:
    """This process, as the tag `lamella.process` says it: JSON of host, machine, boot, pid, started and namespace."""
    return json.dumps({**_place(), "pid": os.getpid(), "started": _Process.of(os.getpid()).started})


def is_gone(tags: Mapping[str, str], *, begun: float | None = None, now: float | None = None) -> bool:
    """Whether the process that wrote a run's tags is gone for certain; False where nobody can know.

    A process of this host, boot and PID namespace is looked for. Of one that was there before this host was started
    anew nothing is left. Elsewhere (another host, another container) only the heartbeat tells: 10 minutes of silence.

    Args:
        tags: of the run.
        begun: when the run began, its first sign of life, in seconds since 1970; None: not known.
        now: the time; None: now.
    """
    try:
        said: Any = json.loads(tags[PROCESS])
        pid, started = int(said["pid"]), said["started"]
    except (KeyError, TypeError, ValueError):
        return False  # another program's, or of an earlier version
    here = _place()
    if all(said.get(key) == here[key] for key in here):
        found = _Process.of(pid)
        return found.exists is False or (None not in (started, found.started) and started != found.started)
    same_machine = bool(here["machine"]) and all(said.get(key) == here[key] for key in ("host", "machine"))
    if same_machine and said.get("boot") and here["boot"] and said["boot"] != here["boot"]:
        return True
    heard = _heard(tags, begun)
    return heard is not None and (time.time() if now is None else now) - heard > SILENT_S


def bury(client: MlflowClient, experiments: Sequence[str] | None = None) -> list[Buried]:
    """The runs that said RUNNING although their process is gone; they now say KILLED, since they were last heard of.

    Runs without the tag `lamella.process` are left alone: other programs write them, or earlier versions did.

    Args:
        client: of the store.
        experiments: the ids of those that are looked through; None: all.

    Raises:
        MlflowException: and whatever else a store raises that cannot be read or written.
    """
    if experiments is None:
        experiments = [each.experiment_id for each in client.search_experiments()]
    buried = []
    for run in _running(client, experiments):
        info, begun = run.info, run.info.start_time / 1000
        if not is_gone(run.data.tags, begun=begun):
            continue
        newest = client.get_run(info.run_id)  # somebody may have gone on with it meanwhile
        if newest.info.status != "RUNNING" or newest.data.tags.get(PROCESS) != run.data.tags[PROCESS]:
            continue
        ended = max(_heard(newest.data.tags, begun) or begun, begun)
        client.set_terminated(info.run_id, "KILLED", end_time=int(ended * 1000))
        buried.append(Buried(info.run_id, info.run_name, ended, "lamella.kind" not in run.data.tags))
    return buried


def tell(uri: str, client: MlflowClient | None = None) -> None:
    """Buries the dead of a store and says of each in a line how to go on with it; what cannot be written stays.

    Args:
        uri: of the store.
        client: its client, where there is one already.
    """
    with contextlib.suppress(*STORE_ERRORS, LamellaError):
        client = client or connect(uri)
        if file := sqlite_file(uri):  # MLflow would wait for whoever holds it
            require_writable(file, patience=0)
        for each in bury(client):
            when = f"{datetime.fromtimestamp(each.ended):%Y-%m-%d %H:%M}"
            how = f": `{resumed(each.run_id, uri)}` goes on with it" if each.resumable else ""
            line = f"run {each.run_id} ({each.name}) was killed, last heard of on {when}{how}"
            console().print(line, style="yellow")


def _running(client: MlflowClient, experiments: Sequence[str]) -> Iterator[Any]:
    """All runs that say RUNNING and by which process."""
    token: str | None = ""
    while token is not None and experiments:
        page = client.search_runs(list(experiments), "attributes.status = 'RUNNING'", page_token=token or None)
        yield from (run for run in page if PROCESS in run.data.tags)
        token = page.token or None


def _heard(tags: Mapping[str, str], begun: float | None) -> float | None:
    """When a run was last heard of; None: not known."""
    try:
        return float(tags[HEARTBEAT])
    except (KeyError, ValueError):
        return begun


class _Process(NamedTuple):
    """What there is to see of a process of this machine.

    Attributes:
        exists: None where that cannot be seen.
        started: when, in a unit of the system's own; None where that cannot be seen.
    """

    exists: bool | None
    started: float | None

    @classmethod
    def of(cls, pid: int) -> "_Process":
        """What there is of the process with this number."""
        try:
            # After the name, which may hold anything: state, 18 others, start in ticks since the system's.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return cls(fields[0] not in "ZX", float(fields[19]))  # a zombie has ended, and nobody has asked how
        except (OSError, IndexError, ValueError):
            pass
        if os.name != "posix":  # there, asking would end it
            return cls(None, None)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return cls(False, None)
        except OSError:
            pass
        return cls(True, None)


@functools.cache
def _place() -> dict[str, str]:
    """Where this process is: what tells apart machines, their starts, and containers. "" for what is not known."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return {
        "host": socket.gethostname(),
        "machine": _first("/etc/machine-id", "/var/lib/dbus/machine-id"),
        "boot": _first("/proc/sys/kernel/random/boot_id"),
        "namespace": namespace,
    }


def _first(*files: str) -> str:
    """What the first of these files says that can be read."""
    for file in files:
        with contextlib.suppress(OSError):
            return Path(file).read_text().strip()
    return ""
