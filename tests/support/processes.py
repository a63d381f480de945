"""Lamella's commands as a user starts them: processes of their own that run train.py or a script.

Nearly all their time would go into the same imports. So they are forks of one process that has them behind it, see
`support.warm`; a test that is about importing, or about all that a command does from its first line, starts afresh.
"""

import array
import atexit
import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE_S = 600  # a machine that does other things at the same time is slow
# What the user's shell says must not reach the tests.
_OTHERS = ("LAMELLA_", "MLFLOW_", "HYDRA_", "PYTEST_")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
ENVIRONMENT["OMP_NUM_THREADS"] = "1"
# Whatever else an environment says may have been read by an import.
READ_LATE = {"LAMELLA_DATA", "LAMELLA_HOME"}
# All of Lamella, and what a run imports only when it first needs it.
IMPORTS = (
    *("lamella.*", "matplotlib.backends.backend_agg", "pygments.formatters.html", "timm"),
    *("mlflow.store.tracking.sqlalchemy_store", "alembic.command", "alembic.context", "alembic.op"),
    *("hydra._internal.core_plugins.basic_launcher", "hydra._internal.core_plugins.basic_sweeper"),
)


class Fork:
    """A running command. What it has of `subprocess.Popen` means the same."""

    def __init__(self, args: list[str], pipe: int, stdout: int, stderr: int) -> None:
        self.args = args
        self.stdout, self.stderr = os.fdopen(stdout, encoding="utf-8"), os.fdopen(stderr, encoding="utf-8")
        self.returncode: int | None = None
        self._pipe = os.fdopen(pipe, encoding="utf-8")
        self.pid = self._told()

    def poll(self) -> int | None:
        """The return code; None while it runs."""
        if self.returncode is None and select.select([self._pipe], [], [], 0)[0]:
            self.returncode = self._told()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The return code, when it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not select.select([self._pipe], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that is still to come on stdout and stderr, when it has ended. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        texts = {}
        readers = [
            threading.Thread(target=lambda stream=stream: texts.update({stream: stream.read()}), daemon=True)
            for stream in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        return texts[self.stdout], texts[self.stderr]

    def _told(self) -> int:
        line = self._pipe.readline()
        if not line:
            raise RuntimeError("the process that starts commands has ended; what it printed says why")
        return int(line)


class Warm:
    """A process with these imports behind it, from the first fork on. It ends with this process.

    Args:
        imports: modules; `package.*` with all below it.
        env: its environment.
        how: options of `subprocess.Popen`, such as `user` and `umask`.
    """

    def __init__(self, *imports: str, env: Mapping[str, str] = ENVIRONMENT, **how: Any) -> None:
        self.imports, self.env, self.how = imports, dict(env), how
        self.process: subprocess.Popen[bytes] | None = None

    def fork(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Asks for a process; see `support.warm.serve`."""
        if self.process is None:
            self.door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, str(Path(__file__).with_name("warm.py")), str(theirs.fileno()), *self.imports],
                    cwd=tempfile.gettempdir(),
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for pytest, whose end it sees
                    **self.how,
                )
        numbers = array.array("i", descriptors)
        self.door.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])

    def end(self) -> None:
        """Ends it, and whatever of its forks still runs."""
        if self.process is not None:
            with self.door, contextlib.suppress(OSError):  # it may have ended
                self.door.shutdown(socket.SHUT_RDWR)  # heard also where another process has the socket, too
            self.process.wait()
            self.process = None


_warm = Warm(*IMPORTS)
atexit.register(_warm.end)


def start(
    script: Path,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] = ENVIRONMENT,
    file_size: int | None = None,
    fresh: bool = False,
    warm: Warm = _warm,
) -> "Fork | subprocess.Popen[str]":
    """A running `python script arguments`, in a session of its own and not deaf to Ctrl-C, with pipes for its output.

    Args:
        cwd: the folder the user stands in.
        env: the whole environment. One that differs from `ENVIRONMENT` in what an import might read starts afresh.
        file_size: bytes above which no file can be written, as on a full disk.
        fresh: starts a new interpreter, which then imports all it needs.
        warm: what forks otherwise.
    """
    differs = {name for name in {*env, *warm.env} if env.get(name) != warm.env.get(name)}
    if fresh or differs - READ_LATE or not hasattr(os, "pidfd_open"):  # Linux has it

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the tests may run in the background
            if file_size is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        return subprocess.Popen(
            [sys.executable, str(script), *arguments], cwd=cwd, env=env, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=prepare,
        )  # fmt: skip
    request = {"script": str(script), "arguments": arguments, "cwd": str(cwd), "environment": dict(env),
               "file_size": file_size}  # fmt: skip
    (stdout, its_stdout), (stderr, its_stderr), (pipe, its_pipe) = os.pipe(), os.pipe(), os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    descriptors = [nothing, its_stdout, its_stderr, its_pipe]
    try:
        warm.fork(request, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return Fork([sys.executable, str(script), *arguments], pipe, stdout, stderr)


def end(process: "Fork | subprocess.Popen[str]") -> subprocess.CompletedProcess[str]:
    """How a command ended, and all that it printed since somebody last read there."""
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run(script: Path, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """How `python script arguments` ended, and what it printed; see `start`."""
    return end(start(script, *arguments, **how))
