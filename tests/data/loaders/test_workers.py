"""The processes that load batches: how they end, and how they fail. Real ones, really killed."""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import random
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from lamella.cli.messages import mistake
from lamella.data.loaders.workers import Loader, require_shared_memory
from lamella.data.types import Batch
from lamella.errors import DataError, StorageError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SIDE = 128
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS


@dataclass(eq=False)
class Windows(Dataset):
    """Black windows without end, and one that is not like the others."""

    odd: object = None

    def __len__(self):
        return 10**6

    def __getitem__(self, number):
        if number == 13 and self.odd is not None:
            self.odd()
        image = torch.full((3, SIDE, SIDE), number % 256, dtype=torch.uint8)
        return Batch(image, image[0], image[0] > 0, [str(number)])


def refuse():
    raise DataError("a.tif cannot be read", "Look at it.")


def stumble():
    raise ZeroDivisionError("on purpose")


def vanish():
    open("/nowhere/a.npy")  # noqa: PTH123, SIM115 - it raises


class TwoWordsError(Exception):
    """Cannot be sent as it is: what is sent has one argument."""

    def __init__(self, one, two):
        super().__init__(one + two)


def unsendable():
    raise TwoWordsError("on ", "purpose")


def end_by(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_same_whatever_the_workers(workers):
    loader = Loader(Windows(), workers=workers, batch_size=2)
    for number, batch in zip(range(3), loader, strict=False):
        assert batch.id == [str(2 * number), str(2 * number + 1)]
        assert batch.image.shape == (2, 3, SIDE, SIDE)
        assert (batch.image[1] == 2 * number + 1).all()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("odd", "error", "text"),
    [
        (refuse, DataError, "a.tif cannot be read"),
        (stumble, ZeroDivisionError, "on purpose"),
        (vanish, FileNotFoundError, "/nowhere/a.npy"),
    ],
)
def test_what_is_raised_there_is_raised_here(odd, error, text, workers):
    with pytest.raises(error, match=text) as raised:
        for _ in Loader(Windows(odd), workers=workers, batch_size=2):
            pass
    assert workers == 0 or f"in {odd.__name__}" in str(raised.value.__cause__)


def test_an_error_that_cannot_be_sent_is_told_all_the_same():
    with pytest.raises(RuntimeError, match="TwoWordsError: on purpose"):
        for _ in Loader(Windows(unsendable), workers=1, batch_size=2):
            pass


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (signal.SIGKILL, "a process that loads batches was ended from outside (Killed)"),
        (signal.SIGBUS, "shared memory (/dev/shm) is full"),
    ],
)
def test_one_that_dies_leaves_nobody_waiting(number, problem):
    started = time.monotonic()
    with pytest.raises(RuntimeError) as raised:
        for _ in Loader(Windows(end_by(number)), workers=2, batch_size=2):
            pass
    assert mistake(raised.value)[0].startswith(problem)
    assert time.monotonic() - started < 10


def test_only_its_own_parents_wish_ends_one():
    """Batch systems send SIGTERM to all processes at once, and the parent wants batches until its state is saved."""
    loader = Loader(Windows(), workers=2, batch_size=2)
    batches = iter(loader)
    next(batches)
    told = [worker.pid for worker in loader._iterator._workers]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):  # from another process
        subprocess.run(["kill", f"-{number.value}", *map(str, told)], check=True)
    time.sleep(0.2)
    for _ in range(10):
        next(batches)
    os.kill(told[0], signal.SIGTERM)
    deadline = time.monotonic() + 5
    while loader._iterator._workers[0].is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        for _ in batches:
            pass


def _load(pipe):
    for _ in Loader(Windows(), workers=3, batch_size=2):
        os.write(pipe, b".")
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch's own watchdog looks every few seconds")
def test_none_outlives_its_parent():
    """Killed at five moments, their start among them: whoever has the pipe's far end keeps it open."""
    for wait in (0.0, 0.02, random.uniform(0, 0.1), random.uniform(0.1, 0.3), 0.5):
        read, write = os.pipe()
        parent = multiprocessing.get_context("fork").Process(target=_load, args=(write,))
        parent.start()
        os.close(write)
        if wait == 0.5:
            os.read(read, 1)
        time.sleep(wait)
        os.kill(parent.pid, signal.SIGKILL)
        killed = time.monotonic()
        while select.select([read], [], [], max(0, killed + 1 - time.monotonic()))[0]:
            if not os.read(read, 1000):
                break
        else:
            pytest.fail(f"somebody lives 1 s after the parent, killed after {wait:.2f} s")
        os.close(read)
        parent.join()


def _with_little_memory(pipe, fill):
    """In a process of its own: /dev/shm has a MiB, or 8 that another program fills."""
    if ctypes.CDLL(None).unshare(_NEW_MOUNTS):
        os.write(pipe, pickle.dumps("not permitted"))
        return
    size = "8m" if fill else "1m"
    for command in ("mount --make-rprivate /", f"mount -t tmpfs -o size={size} tmpfs /dev/shm"):
        if subprocess.run(command.split(), capture_output=True, check=False).returncode:
            os.write(pipe, pickle.dumps("not permitted"))
            return
    try:
        for number, _ in enumerate(Loader(Windows(), workers=2, batch_size=8)):
            if fill and number == 3:
                found = os.statvfs("/dev/shm")
                with contextlib.suppress(OSError):
                    Path("/dev/shm/other").write_bytes(bytes(found.f_bavail * found.f_frsize))
    except Exception as error:
        os.write(pipe, pickle.dumps((type(error), str(error), mistake(error))))


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory is a file system on Linux alone")
@pytest.mark.parametrize("fill", [False, True])
def test_a_full_shared_memory_is_one_sentence(fill):
    read, write = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_with_little_memory, args=(write, fill))
    process.start()
    os.close(write)
    if not select.select([read], [], [], 60)[0]:
        process.kill()
        pytest.fail("it waits")
    told = pickle.loads(os.read(read, 10**6))
    process.join()
    if told == "not permitted":
        pytest.skip("needs the right to mount: root, in a namespace of its own")
    _, text, (problem, remedy) = told
    assert problem == "shared memory (/dev/shm) is full", text
    assert "`data.workers=0`" in remedy
    assert "--shm-size=" in remedy


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory is a file system on Linux alone")
def test_shared_memory_is_looked_at_before():
    require_shared_memory(2**50, workers=0)
    require_shared_memory(2**10, workers=2, images=2**10)
    with pytest.raises(StorageError, match=r"shared memory \(/dev/shm\) is too small: \d+ MiB are free, \d+ MiB") as no:
        require_shared_memory(2**50, workers=1)
    assert "--shm-size=" in no.value.remedy
