"""MLflow's pages as `make ui` serves them, in a headless Chromium: for readme_pictures.py and tests/test_ui.py."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_CHROMIUM = "needs Chromium on the PATH (Debian, Ubuntu: apt-get install chromium)"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What MLflow keeps of a user who closed its assistant and its notice about telemetry.
CLOSED = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.telemetry.info.alert.dismissed_v1", "true");
"""
START_S = 600  # seconds for the server on a very busy machine
STOP_S = 60
STEP_S = 180  # seconds for one step in the browser


def chromium() -> str | None:
    """The path of an installed Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def served(store: Path) -> Iterator[str]:
    """Runs `make ui` over a store, with this Python's MLflow; yields the address and leaves nothing running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    # -o: this environment is complete, do not make .venv. MAKE...: a make around this one hands on its own options.
    command = ["make", "-o", ".venv/installed", "ui", f"BIN={Path(sys.executable).parent}", f"STORE={store}"]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            [*command, f"PORT={port}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_S
            while not _answers(address):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"`{' '.join(map(str, server.args))}` does not answer:\n{log.read()[-4000:]}")
                time.sleep(0.5)
            yield address
        finally:
            _stop(server)


@contextmanager
def browsing(address: str, width: int, height: int) -> Iterator["Page"]:
    """A page of a fresh Chromium that reaches nothing but `address`."""
    from playwright.sync_api import sync_playwright  # only `make test-ui` and `make pictures` install it

    def allow(route: "Route") -> None:
        if route.request.url.startswith((f"{address}/", "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    only = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # what a page is not asked about, too
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, only])
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, service_workers="block")
            page.set_default_timeout(STEP_S * 1000)
            page.add_init_script(CLOSED)
            page.route("**/*", allow)
            yield page
        finally:
            browser.close()


def _answers(address: str) -> bool:
    with suppress(URLError, OSError), urlopen(f"{address}/health", timeout=10) as answer:
        return bool(answer.status == 200)
    return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """Ends the server and all it started, in order where it can, by force where it must."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            server.poll()
            if not _running(server.pid):
                return
            time.sleep(0.1)
    raise RuntimeError(f"processes of group {server.pid} cannot be ended")


def _running(group: int) -> bool:
    """Whether a process of the group lives; one that ended and was not collected does not count."""
    if not Path("/proc/self/stat").exists():  # no Linux
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        return True
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            state, _parent, its_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
