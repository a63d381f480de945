"""A forked command is what a fresh one is, from its first line to its end, and ends with the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.processes import ENVIRONMENT, Warm, run, start

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="elsewhere than on Linux nothing is forked")
STATE = """
import json, multiprocessing.process, os, resource, signal, sys, threading
print(json.dumps({
    "name": __name__, "file": __file__, "main": sys.modules["__main__"].__file__, "argv": sys.argv,
    "orig_argv": sys.orig_argv, "path": sys.path, "cwd": [os.getcwd(), multiprocessing.process.ORIGINAL_DIR],
    "environment": {name: value for name, value in os.environ.items() if name not in ("_", "LC_CTYPE")},
    "leads": [os.getpid() == os.getpgid(0) == os.getsid(0)],
    "streams": [[each.isatty(), each.encoding, each.line_buffering] for each in (sys.stdin, sys.stdout, sys.stderr)],
    "stdin": sys.stdin.read(), "descriptors": os.listdir("/proc/self/fd"),
    "signals": [repr(signal.getsignal(each)) for each in sorted(signal.valid_signals())],
    "file size": resource.getrlimit(resource.RLIMIT_FSIZE), "threads": threading.active_count(),
    "children": open(f"/proc/self/task/{os.getpid()}/children").read(), "umask": os.umask(0o22),
}, sort_keys=True))
"""
ENDS = {
    "falls off its end": ("print('a', end='')", 0),
    "a number": ("import sys; print('a', end=''); sys.exit(3)", 3),
    "a sentence": ("import sys; sys.exit('too bad')", 1),
    "an error": ("print('a', end='')\n1 / 0", 1),
    "Ctrl-C": ("import signal\nsignal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "killed": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "a handler": ("import atexit\natexit.register(print, 'last')\nprint('first')", 0),
    "a failing handler": ("import atexit\natexit.register(lambda: 1 / 0)", 0),
    "a thread": ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('b'))).start()", 0),
    "a failing __del__": ("class A:\n    def __del__(self):\n        1 / 0\nprint('a')\na = A()", 0),
    "at once": ("import os\nos._exit(7)", 7),
}


@pytest.fixture(scope="module")
def bare():
    """Forks without imports: what is tested here does not depend on them."""
    warm = Warm()
    yield warm
    warm.end()


def test_a_fork_begins_as_a_fresh_process(bare, tmp_path):
    script = tmp_path / "a folder" / "script.py"
    script.parent.mkdir()
    script.write_text(STATE)
    how = {"cwd": tmp_path, "env": {**ENVIRONMENT, "LAMELLA_DATA": "here"}, "file_size": 1 << 30}
    forked, fresh = (run(script, "a b", "c=[1]", **how, fresh=fresh, warm=bare) for fresh in (False, True))
    assert forked.stdout == fresh.stdout != ""
    assert forked.stderr == fresh.stderr == ""


@pytest.mark.parametrize("how", ENDS)
def test_a_fork_ends_as_a_fresh_process(bare, tmp_path, how):
    script = tmp_path / "script.py"
    text, code = ENDS[how]
    script.write_text(text)
    forked, fresh = (run(script, cwd=tmp_path, fresh=fresh, warm=bare) for fresh in (False, True))
    assert forked.returncode == fresh.returncode == code
    assert forked.stdout == fresh.stdout
    # A traceback begins with the frames of what has forked.
    assert forked.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


def test_forks_draw_different_numbers(bare, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import random, tempfile\nprint(random.random(), tempfile.mktemp())")
    drawn = [run(script, cwd=tmp_path, warm=bare).stdout.split() for _ in range(2)]
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]


def test_a_long_output_and_one_that_is_read_meanwhile(bare, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nfor n in range(10**5):\n    print(n)\n    print(n, file=sys.stderr)\ninput()")
    process = start(script, cwd=tmp_path, warm=bare)
    assert process.poll() is None
    assert next(process.stdout) == "0\n"
    stdout, stderr = process.communicate(timeout=60)
    assert len(stdout.splitlines()) == 10**5 - 1
    assert stderr.splitlines()[10**5 - 1] == "99999"
    assert "EOFError" in stderr
    assert process.returncode == process.poll() == process.wait() == 1


def test_what_takes_too_long_is_said(bare, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(1000)")
    process = start(script, cwd=tmp_path, warm=bare)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.1)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL


def test_an_environment_that_an_import_may_read_starts_afresh(bare, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os\nprint(os.environ['MPLBACKEND'])")
    process = start(script, cwd=tmp_path, env={**ENVIRONMENT, "MPLBACKEND": "svg"}, warm=bare)
    assert isinstance(process, subprocess.Popen)
    assert process.communicate() == ("svg\n", "")


USER = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in the background, deaf to it
sys.path.insert(0, sys.argv[1])
from support.processes import Warm, start
warm = Warm()
process = start(Path(sys.argv[2]), cwd=Path(sys.argv[2]).parent, warm=warm)
print(warm.process.pid, process.pid, process.stdout.readline(), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_tests(tmp_path, number):
    endless, user = tmp_path / "endless.py", tmp_path / "user.py"
    endless.write_text("import os, time\nchild = os.fork()\nif child:\n    print(child, flush=True)\ntime.sleep(1000)")
    user.write_text(USER)
    tests = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, user, tests, endless], stdout=subprocess.PIPE, text=True) as process:
        numbers = [int(word) for word in process.stdout.readline().split()]
        there = [alive(each) for each in numbers]
        process.send_signal(number)
    assert there == [True] * 3  # what forks, its fork, and that one's child
    deadline = time.monotonic() + 60
    while any(map(alive, numbers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(number):
    """Whether a process runs, or at least its end was not yet seen."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
