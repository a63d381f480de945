"""The command `ui`: MLflow's pages over the runs of a store, until Ctrl-C."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType

from lamella.config import paths
from lamella.config.words import suggestion
from lamella.errors import ConfigError

_HOST = "127.0.0.1"
_PATIENCE_S = 6  # for what the server still does when it is asked to end
_RUNNING = """select count(*) from runs natural join tags where status = 'RUNNING' and key = 'lamella.process'"""


def run(arguments: list[str]) -> int:
    """The exit code, once the server has ended: 0 after Ctrl-C. Raises ConfigError."""
    if {"--help", "-h"} & {*arguments}:
        sys.stdout.write(_usage())
        return 0
    port, store = _options(arguments)
    _require_free(port)
    empty = "" if store.exists() else f" (none yet: `{paths.typed('demo')}` makes one)"
    from lamella.tracking.store import make_store, reported, require_store  # late: MLflow takes seconds

    with reported(f"the tracking store {store} cannot be used", "Choose another: `tracking.uri=sqlite:///FILE.db`."):
        make_store(f"sqlite:///{store}")
        require_store(f"sqlite:///{store}")
    sys.stdout.write(
        f"The runs of {store}{empty}\n"
        f"Open http://{_HOST}:{port}, choose 'Model training' at the top left, then an experiment. Ctrl-C stops.\n"
    )
    sys.stdout.flush()
    _bury(store)
    return _serve(port, store)


def _bury(store: Path) -> None:
    """Marks the runs of processes that are gone, where there may be any: MLflow takes seconds to come."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(store)) as connection:
        if store.stat().st_size and connection.execute(_RUNNING).fetchone()[0]:
            from lamella.tracking.alive import tell

            tell(f"sqlite:///{store}")


def _options(arguments: list[str]) -> tuple[int, Path]:
    """The port and the store's file. Raises ConfigError."""
    known = {"port": "5000", "tracking.uri": ""}
    for argument in arguments:
        key, _, value = argument.partition("=")
        key = "tracking.uri" if key == "store" else key  # its name in earlier versions
        if key not in known:
            raise ConfigError(f"there is no key {key!r}", suggestion(key, known))
        known[key] = paths.at_home(value)
    uri = known["tracking.uri"]
    paths.refuse_secrets(uri)
    if uri.startswith(("http://", "https://")):
        raise ConfigError(f"{uri} is a server, which shows its runs itself", "Open that address in a browser.")
    if not (known["port"].isdecimal() and 0 < int(known["port"]) < 2**16):
        raise ConfigError(f"port must be a whole number, at least 1 and at most 65535; got {known['port']!r}")
    store = (paths.sqlite_file(uri) or Path(uri).absolute()) if uri else paths.store_file()
    if uri and not store.is_file():
        raise ConfigError(f"there is no store {store}", "Write tracking.uri=sqlite:///FILE.db, as for other commands.")
    return int(known["port"]), store


def _require_free(port: int) -> None:
    """Raises ConfigError where another program listens: MLflow would tell in a page of logs."""
    with socket.socket() as trial:
        if os.name == "posix":  # a port that was just left counts as free
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((_HOST, port))
        except OSError as error:
            other = port + 1 if port < 2**16 - 1 else 5000
            raise ConfigError(
                f"port {port} cannot be used: {error.strerror}", f"Choose another: {_typed('port', other)}"
            ) from error


def _usage() -> str:
    return f"""Lamella: MLflow's pages over the runs, on this machine alone, until Ctrl-C.

  {paths.typed("ui"):<30} the runs, where commands keep them
  {_typed("port", 5001):<30} at another port than 5000
  {_typed("tracking.uri", "sqlite:///file.db"):<30} the runs of another store
"""


def _typed(key: str, value: object) -> str:
    """The command with an option, as the user types it: `lamella ui port=5001`, `make ui PORT=5001`."""
    if (ui := paths.typed("ui")).startswith("make"):
        return f"{ui} {'STORE' if key == 'tracking.uri' else key.upper()}={value}"
    return f"{ui} {key}={value}"


def _serve(port: int, store: Path) -> int:
    """Runs MLflow's server until it ends or a signal comes; returns the exit code."""
    # One worker and no job runner: 2 processes where MLflow would start 15.
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", _HOST, "--port", str(port),
               "--backend-store-uri", paths.mlflow_address(f"sqlite:///{store}")]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    if os.name != "posix":  # a console tells all its programs of Ctrl-C
        server = subprocess.Popen(command, env=os.environ | quiet)
        with suppress(KeyboardInterrupt):
            return server.wait()
        server.wait()
        return 0
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)

    # A group of its own, which is ended as a whole: MLflow does not pass on what its first process is told.
    server = subprocess.Popen(command, env=os.environ | quiet, process_group=0)
    _end_after_this(server.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    code = server.wait()
    _end(server.pid)
    return 0 if stopped else code


def _end_after_this(group: int) -> None:
    """Leaves a process behind that ends a group of processes when this one is gone, however it went."""
    read, write = os.pipe()  # only this process has the end for writing, until it is gone
    if os.fork():
        os.close(read)
        return
    os.close(write)
    os.read(read, 1)
    _end(group)
    os._exit(0)


def _end(group: int) -> None:
    """Ends all processes of a group."""
    with suppress(ProcessLookupError):
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            os.killpg(group, signal.SIGTERM)
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)
