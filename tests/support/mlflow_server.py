"""MLflow servers of our own in processes of their own, and what can stand between them and a run: a poor network."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_S = 300


class Server:
    """An MLflow server over a SQLite store in `root`, with its files in `root / "files"`.

    Attributes:
        root: its folder.
        port: it listens there, on this machine.
        uri: its address.
        store: the file.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.uri, self.store = f"http://127.0.0.1:{self.port}", root / "server.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        log = self.root / "server.log"
        with log.open("ab") as writing:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1",
                 "--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.store}",
                 "--artifacts-destination", f"{self.root}/files"],
                cwd=self.root,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=writing, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self._process.poll()}:\n{log.read_text()[-3000:]}") from None
                time.sleep(0.3)

    def stop(self) -> None:
        """Ends it, with all that it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=60)
            self._process = None


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """A server that is up, ended at the end."""
    server = Server(root)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Proxy:
    """A TCP proxy on this machine in front of a server: away for a while, slow, or losing what is asked and answered.

    Attributes:
        delay: seconds that it keeps back every request.
        losing: of so many requests one is lost: in turns before it arrives, and after, with its answer; 0: none.
        requests: how many there have been.
        lost: how many were lost.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.delay, self.losing, self.requests, self.lost = 0.0, 0, 0, 0
        self._listening: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._turn = threading.Lock()

    def come(self) -> None:
        """Listens."""
        door = socket.create_server(("127.0.0.1", self.port), backlog=50)
        self._listening = door
        threading.Thread(target=self._accept, args=[door], daemon=True).start()

    def go(self) -> None:
        """Is away: what is open breaks, what is asked anew is refused."""
        door, self._listening = self._listening, None
        if door is not None:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
        for each in list(self._open):
            self._close(each)

    def _accept(self, door: socket.socket) -> None:
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        server: socket.socket | None = None
        lose = False
        try:
            while True:
                for ready in select.select([client] if server is None else [client, server], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data or (ready is server and lose):
                        return
                    if ready is server:
                        answered = True
                        client.sendall(data)
                        continue
                    if server is None or answered:  # anew for each request: what is idle a server closes
                        if server is not None:
                            self._close(server)
                        before, lose = self._next()
                        time.sleep(self.delay)
                        if before:
                            return
                        server, answered = socket.create_connection(("127.0.0.1", self._to)), False
                        self._open.add(server)
                    server.sendall(data)
        except (OSError, ValueError):  # closed meanwhile
            return
        finally:
            self._close(client)
            if server is not None:
                self._close(server)

    def _next(self) -> tuple[bool, bool]:
        """Whether the next request is lost before it arrives, or after."""
        with self._turn:
            self.requests += 1
            if not self.losing or self.requests % self.losing:
                return False, False
            self.lost += 1
            return (True, False) if self.lost % 2 else (False, True)

    def _close(self, each: socket.socket) -> None:
        self._open.discard(each)
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def between(server: Server) -> Iterator[Proxy]:
    """A proxy in front of a server, there from the beginning."""
    proxy = Proxy(server.port)
    proxy.come()
    try:
        yield proxy
    finally:
        proxy.go()
