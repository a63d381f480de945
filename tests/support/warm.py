"""A process that imports what Lamella's commands import, and then runs scripts in forks of itself: the far end of
`support.processes`, which starts it with the number of a socket and the modules to import.

A fork is a process like any other: a session, an environment and streams of its own, a script as its main program,
and Python's own end. Only the imports, 10 s of them, are not its own.
"""

import sys

sys.path.pop(0)  # this file's folder, whose modules would stand before those of the standard library

import array
import contextlib
import gc
import importlib
import json
import multiprocessing.process
import os
import pkgutil
import random
import resource
import runpy
import selectors
import signal
import socket
import threading
from pathlib import Path
from typing import Any

# They import onnxruntime, whose own threads a fork has not, and misses at its end: it aborts.
_THREADED = {"lamella.export.graphs", "lamella.export.package"}


def load(names: list[str]) -> None:
    """Imports modules, `package.*` with all below it. Raises AssertionError where that started a thread."""
    gc.disable()  # nothing to collect, and a fifth of the time
    for name in names:
        module = importlib.import_module(name.removesuffix(".*"))
        if name.endswith(".*"):
            for below in pkgutil.walk_packages(module.__path__, name.removesuffix("*")):
                if below.name not in _THREADED:
                    importlib.import_module(below.name)
    assert threading.active_count() == 1  # a fork has none but the thread that forks
    gc.freeze()  # the collector would write to, and so copy, the memory that all forks share
    gc.enable()


def serve(door: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Forks for each request, and tells of each fork's end. Returns in the forks; does not return here.

    A request is JSON with the file descriptors of stdin, stdout, stderr and of a pipe. Into the pipe go two lines: the
    fork's number, from the fork itself as soon as signals meet it as they should, and how it ended, as
    `subprocess.Popen.returncode` says it. Where nobody is left to ask, the forks and their children end, too.
    """
    selector = selectors.DefaultSelector()
    selector.register(door, selectors.EVENT_READ)
    running: dict[int, tuple[int, int]] = {}  # what tells of its end: (process, pipe)
    while True:
        for key, _ in selector.select():
            if key.fileobj is door:
                text, descriptors = receive(door)
                if not text:
                    for process, _ in running.values():
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(process, signal.SIGKILL)
                    os._exit(0)
                process = os.fork()
                if process == 0:
                    selector.close()
                    door.close()
                    for end, (_, pipe) in running.items():
                        os.close(end)
                        os.close(pipe)
                    return json.loads(text), descriptors
                for descriptor in descriptors[:3]:
                    os.close(descriptor)
                end = os.pidfd_open(process)
                running[end] = process, descriptors[3]
                selector.register(end, selectors.EVENT_READ)
            else:
                end = key.fd
                selector.unregister(end)
                process, pipe = running.pop(end)
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                    os.write(pipe, f"{code}\n".encode())
                os.close(end)
                os.close(pipe)


def receive(door: socket.socket) -> tuple[bytes, list[int]]:
    """A message and the four descriptors that came with it, closed in programs that a fork starts."""
    numbers = array.array("i")
    text, extra, _, _ = door.recvmsg(1 << 20, socket.CMSG_SPACE(4 * numbers.itemsize), socket.MSG_CMSG_CLOEXEC)
    for _, _, data in extra:
        numbers.frombytes(data)
    return text, list(numbers)


def become(request: dict[str, Any], descriptors: list[int], imported: dict[str, str]) -> None:
    """Makes a fork what `python script arguments` would be at its first line."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in the background, deaf to it
    os.environ.clear()
    os.environ.update({**imported, **request["environment"]})
    os.chdir(request["cwd"])
    multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # joblib looks there; an import would find it so
    for stream, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    if request["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    sys.argv = [request["script"], *request["arguments"]]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path.insert(0, str(Path(request["script"]).resolve().parent))
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # torch begins with one and the same seed anyway
    os.write(descriptors[3], f"{os.getpid()}\n".encode())
    os.close(descriptors[3])


if __name__ == "__main__":
    before = dict(os.environ)
    load(sys.argv[2:])
    imported = {name: value for name, value in os.environ.items() if before.get(name) != value}
    request, descriptors = serve(socket.socket(fileno=int(sys.argv[1])))
    become(request, descriptors, imported)
    runpy.run_path(request["script"], run_name="__main__")
