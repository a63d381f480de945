"""Which device a run takes; and the memory that it keeps for its next step goes back to the kernel when it is over."""

import subprocess
import sys

import pytest
import torch

from lamella import hardware
from lamella.errors import ConfigError

PROGRAM = """
import os
import numpy as np
import torch
from lamella.hardware import freed_memory_kept

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

before = resident()
for _ in range(3):  # the runs of a sweep
    with freed_memory_kept(torch.device("cpu")):
        blocks = [np.ones(100 * 2**20, np.uint8) for _ in range(4)]
        last = np.ones(2**20, np.uint8)  # keeps the heap's end where it is
        del blocks
        inside = resident() - before
    del last
after = resident() - before
untouched = [np.zeros(400 * 2**20, np.uint8) for _ in range(2)]
print(inside, after, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc; other C libraries are left alone")
def test_freed_memory_is_kept_within_a_run_and_given_back_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    inside, after, untouched = map(float, done.stdout.split())
    assert inside > 390  # MiB
    assert after < 60
    assert untouched < 60  # what is allocated and never touched takes no memory


def test_hardware_follows_what_is_asked_for():
    assert hardware.resolve("cpu", "32-true") == hardware.Hardware(torch.device("cpu"), "32-true")
    assert hardware.resolve("cpu", "bf16-mixed").precision == "bf16-mixed"
    assert hardware.resolve("auto", "auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert hardware.resolve("cpu", "auto").accelerator == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said_so():
    with pytest.raises(ConfigError, match="=gpu, but torch sees no CUDA device") as caught:
        hardware.resolve("gpu", "auto")
    assert "trainer=cpu" in caught.value.remedy
