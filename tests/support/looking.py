"""A running `look`."""

import contextlib
import os
import re
import signal
from pathlib import Path

from support import processes

SCRIPT = Path(__file__).parents[2] / "scripts" / "look.py"


@contextlib.contextmanager
def looking(root, *arguments):
    """A running `look` and its address; in the end it is asked to end."""
    paths = [f"paths.cache={root}/cache", f"paths.output={root}/outputs"]
    started = processes.start(SCRIPT, *arguments, "accelerator=cpu", *paths, cwd=root)
    line = started.stdout.readline()
    try:
        yield started, re.search(r"http://127\.0\.0\.1:\d+", line)[0]
    finally:
        if started.poll() is None:
            stopped(started)


def stopped(started):
    """How it ends after Ctrl-C."""
    os.kill(started.pid, signal.SIGINT)
    return processes.end(started)
