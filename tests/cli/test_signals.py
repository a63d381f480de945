"""Signals that ask a command to end: real processes. Those here import little; below are whole trainings (slow)."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.cli.signals import ASKING
from lamella.config.paths import CHECKOUT, resumed
from support import processes
from support.processes import ENVIRONMENT
from support.stores import empty_store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")

PROGRAM = """
import os, signal, sys, threading, time
from lamella.cli.signals import heard
from lamella.training.stopping import REQUEST, Stopped, graceful

def deaf(seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(1)
        except BaseException:
            pass

def training(step, steps):
    with graceful():
        print("ready", flush=True)
        for _ in range(steps):
            step()
            REQUEST.obey()

with heard():
    REQUEST.remedy = "`python train.py resume=ID` goes on with it."
    try:
        if "trains" not in sys.argv[1]:
            print("ready", flush=True)
        match sys.argv[1]:
            case "waits":
                time.sleep(60)
            case "deaf":
                deaf()
            case "held by a lock":
                lock = threading.Lock()
                lock.acquire()
                while True:
                    try:
                        lock.acquire()
                    except BaseException:
                        pass
            case "trains":
                training(lambda: time.sleep(0.3), 200)
            case "trains in steps without end":
                training(lambda: time.sleep(60), 1)
            case "full pipe":
                os.set_blocking(2, True)
                threading.Thread(target=lambda: os.write(2, bytes(10**7)), daemon=True).start()
                deaf()
    finally:
        print("closed", flush=True)
"""
REMEDY = "  `python train.py resume=ID` goes on with it.\n"


def begin(folder, mode):
    """A process that has said that it is ready."""
    (folder / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(folder / "program.py"), mode], env=ENVIRONMENT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)  # it says so a step before
    return process


def ended(process, started):
    """Return code, seconds since `started`, what it printed."""
    try:
        code = process.wait(20)
    finally:
        process.kill()
    return code, time.monotonic() - started, *process.communicate()


def line(number, how=""):
    return f"error: stopped by {signal.Signals(number).name}{how}\n{REMEDY}"


@pytest.mark.parametrize("mode", ["waits", "trains"])
@pytest.mark.parametrize("number", ASKING)
def test_each_signal_ends_it_in_order(tmp_path, number, mode):
    process = begin(tmp_path, mode)
    started = time.monotonic()
    os.kill(process.pid, number)
    code, seconds, stdout, stderr = ended(process, started)
    assert (code, stdout, stderr) == (128 + number, "closed\n", line(number))
    assert seconds < 3


def test_one_signal_that_is_sent_twice_is_one(tmp_path):
    process = begin(tmp_path, "trains")
    started = time.monotonic()
    for _ in range(3):  # as `timeout` does, to a process and to its group
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.01)
    assert ended(process, started)[2:] == ("closed\n", line(signal.SIGTERM))


@pytest.mark.parametrize("mode", ["deaf", "held by a lock", "trains in steps without end"])
def test_a_second_signal_ends_it_at_once(tmp_path, mode):
    process = begin(tmp_path, mode)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.8)
    assert process.poll() is None
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    code, seconds, stdout, stderr = ended(process, started)
    assert (code, stdout, stderr) == (130, "", line(signal.SIGINT, ", at once: a second signal"))
    assert seconds < 1


def test_nothing_holds_it_longer_than_ten_seconds(tmp_path):
    """10 s long, all at once: what swallows every exception, a lock, a step without end, a pipe that nobody reads."""
    modes = ["deaf", "held by a lock", "trains in steps without end", "full pipe"]
    begun = {mode: begin(tmp_path, mode) for mode in modes}
    started = time.monotonic()
    for process in begun.values():
        os.kill(process.pid, signal.SIGTERM)
    while time.monotonic() < started + 10 and any(process.poll() is None for process in begun.values()):
        time.sleep(0.05)
    assert {mode: process.poll() for mode, process in begun.items()} == dict.fromkeys(modes, 143)
    told = {mode: process.communicate() for mode, process in begun.items()}
    late = line(signal.SIGTERM, ", and after 9 s still at work")
    assert told["deaf"] == told["held by a lock"] == ("", late)
    assert told["trains in steps without end"] == ("closed\n", line(signal.SIGTERM))  # the run could be closed


def test_what_an_import_makes_of_it_is_still_a_signal(tmp_path):
    """Outside of Hydra's part the error goes its way; inside, see `lamella.cli.main`."""
    script = (
        "import time\nfrom lamella.cli.main import main\nfrom lamella.cli.signals import heard\n"
        "def job(cfg):\n    print('ready', flush=True)\n    try:\n        time.sleep(60)\n"
        "    except BaseException:\n        raise ImportError('numpy._core failed to import')\n"
        "with heard():\n    main('tiff_to_png', job)\n"
    )
    (tmp_path / "job.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "job.py"), "input=x", "output=y"], cwd=tmp_path, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGTERM)
    code, _, _, stderr = ended(process, time.monotonic())
    assert (code, stderr) == (143, "error: stopped by SIGTERM\n")


def test_what_ends_by_itself_gives_all_signals_back():
    from lamella.cli.signals import asked, heard

    before = [signal.getsignal(number) for number in ASKING], sys.unraisablehook
    with heard():
        assert signal.getsignal(signal.SIGTERM) not in before[0]
    assert ([signal.getsignal(number) for number in ASKING], sys.unraisablehook) == before
    assert signal.set_wakeup_fd(-1) == -1
    assert asked() is None


def test_a_background_job_of_a_shell_stays_deaf_to_ctrl_c(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), "waits"], env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    assert ended(process, time.monotonic())[0] == 143


@pytest.mark.skipif(sys.platform != "linux", reason="needs PID namespaces")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_it_may_be_process_1_of_a_container(tmp_path, number):
    """The system drops what process 1 has no handler for."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = ["unshare", "--pid", "--fork", sys.executable, str(tmp_path / "program.py"), "waits"]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    if process.stdout.readline() != "ready\n":
        pytest.skip(f"not permitted: {process.communicate()[1]}")
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    started = time.monotonic()
    os.kill(int(first), number)
    code, seconds, _, stderr = ended(process, started)
    assert (code, stderr) == (128 + number, line(number))
    assert seconds < 3


# Whole trainings, at every moment of a run

TRAIN = CHECKOUT / "train.py"
SMALL = [
    *("dataset.train=12", "dataset.test=6", "dataset.height=64", "dataset.width=96", "data.crop=32", "data.steps=4"),
    *("data.workers=1", "trainer=cpu", "trainer.max_epochs=1", "model=unet", "model.decoder_channels=[16,8]"),
]
ENDLESS = ["trainer.max_epochs=100000", "trainer.patience=null"]
MANY = ["dataset.height=256", "dataset.width=256"]  # pictures that take their time
# moment -> (signals, what is typed beside)
MOMENTS = {
    "import": ([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], []),
    "audit": ([signal.SIGTERM, signal.SIGINT], [*MANY, "dataset.train=60"]),
    "waiting for a locked store, at the start": ([signal.SIGTERM, signal.SIGINT], []),
    "training": ([*ASKING], ENDLESS),
    "validation": ([signal.SIGTERM, signal.SIGINT], [*ENDLESS, *MANY, "dataset.train=40", "data.steps=1"]),
    "waiting for a locked store, in training": ([signal.SIGTERM, signal.SIGUSR2], ENDLESS),
    "test": ([signal.SIGTERM, signal.SIGINT], [*MANY, "dataset.test=30"]),
    "copying": ([signal.SIGTERM, signal.SIGINT], []),
}


def of_session(leader):
    """The processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
            if int(session) == leader and state not in "ZX":
                found.append(int(stat.parent.name))
    return found


def wait_for(process, is_there):
    deadline = time.monotonic() + 300
    while not is_there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow  # two minutes: 20 trainings
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize(
    ("moment", "number"), [(moment, number) for moment, (numbers, _) in MOMENTS.items() for number in numbers]
)
def test_a_training_ends_at_every_moment(tmp_path, moment, number):
    uri = empty_store(tmp_path / "runs.db")
    out = tmp_path / "outputs"
    typed = {key.partition("=")[0]: key for key in (*SMALL, *MOMENTS[moment][1])}
    places = [f"paths.cache={tmp_path}/cache", f"paths.output={out}", f"tracking.artifacts={tmp_path}/artifacts"]
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as other:
        if moment.endswith("at the start"):
            other.execute("BEGIN IMMEDIATE")
        process = processes.start(
            TRAIN, *typed.values(), *places, f"tracking.uri={uri}", cwd=tmp_path, fresh=moment == "import"
        )
        match moment:
            case "import":
                time.sleep(random.uniform(0.2, 5))
            case "audit":
                wait_for(process, lambda: any((tmp_path / "cache").rglob("*.npy")))
            case "waiting for a locked store, at the start":
                until(process, "parameters, on cpu")
                time.sleep(1)
            case "training" | "validation" | "waiting for a locked store, in training":
                until(process, "epoch ")
                if moment.endswith("in training"):
                    other.execute("BEGIN IMMEDIATE")
                    time.sleep(1)
                time.sleep(random.uniform(0, 0.5))
            case "test":
                wait_for(process, lambda: any(out.glob("*/figures/curves.png")))
                time.sleep(random.uniform(0, 1))
            case "copying":
                wait_for(process, lambda: any(out.glob("*/model")))
        started = time.monotonic()
        os.kill(process.pid, number)
        code = process.wait(20)
        seconds = time.monotonic() - started
        time.sleep(0.5)
        left = of_session(process.pid)
        stdout, stderr = process.communicate()
    sys.stdout.write(f"{moment}, {signal.Signals(number).name}: {seconds:.1f} s, {code}\n{stdout[-300:]}{stderr}")
    if moment == "copying" and code == 0:
        return  # it was done before
    assert (code, left) == (128 + number, [])
    assert seconds < 10
    first, *rest = stderr.splitlines()
    assert first.startswith(f"error: stopped by {signal.Signals(number).name}")
    tracking.finished(uri)
    runs = MlflowClient(uri).search_runs([each.experiment_id for each in MlflowClient(uri).search_experiments()])
    assert [run.info.status for run in runs] == ["KILLED"] * len(runs)
    if moment in ("import", "audit") or moment.endswith("at the start"):
        assert (runs, rest) == ([], [])
    else:
        (run,) = runs
        assert rest == [f"  `{resumed(run.info.run_id, uri, str(out))}` goes on with it."]
        assert (out / run.info.run_id / "checkpoints/last.ckpt").is_file()


def until(process, text):
    """Reads what the process prints up to a line with `text`."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came: {process.stderr.read()}")
