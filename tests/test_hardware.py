"""Which device a run takes; and the memory that it keeps for its next step goes back to the kernel when it is over."""

import contextlib
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
    for device in ("gpu", "cuda", "cuda:1"):
        with pytest.raises(ConfigError, match="a GPU was asked for, but ") as caught:
            hardware.resolve(device, "auto")
        assert "trainer=cpu" in caught.value.remedy


CARD = "NVIDIA GeForce GTX 1080"
SEEN = hardware.Facts("2.13.0", "CUDA 13.0", CARD, 1, (6, 1), ("sm_75", "sm_80", "sm_120", "compute_120"), "")


def test_why_a_gpu_is_not_used_is_said_in_words():
    def why(**changed):
        return hardware.why_not(SEEN._replace(**changed))

    assert why(capability=(8, 6)) == ""
    assert why(error="") == ""  # it works, whatever the list says
    kernel = "CUDA error: no kernel image is available for execution on the device"
    assert why(error=kernel) == (
        "it has compute capability 6.1, and torch 2.13.0 has kernels for sm_75 sm_80 sm_120 compute_120 alone"
    )
    assert why(capability=(8, 0), error="CUDA error: uncorrectable ECC error encountered") == (
        "torch 2.13.0 for CUDA 13.0 fails at its first operation there: CUDA error: uncorrectable ECC error encountered"
    )
    old = "The NVIDIA driver on your system is too old (found version 11040)"
    assert why(devices=0, capability=None, architectures=(), error=old).endswith(f"first operation there: {old}")
    nothing = {"devices": 0, "capability": None, "architectures": ()}
    assert why(torch="2.13.0+cpu", built="", **nothing) == "torch 2.13.0+cpu is built for the CPU alone"
    assert why(cards="", error="Found no NVIDIA driver", **nothing) == "no GPU is seen here"
    assert "MPS" in why(torch="2.13.0", built="", cards="Apple arm", **nothing)


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((7, 5), "sm_75 sm_80", True),
        ((8, 6), "sm_75 sm_80", True),  # binary code runs on later cards of its generation
        ((8, 0), "sm_86", False),
        ((9, 0), "sm_75 sm_80 sm_86", False),
        ((9, 0), "sm_80 compute_80", True),  # PTX is compiled for any later card
        ((7, 0), "sm_80 compute_80", False),
        ((9, 0), "sm_90a", True),
        ((10, 3), "sm_100a", False),
        ((10, 3), "sm_100", True),
        ((12, 0), "sm_75 sm_120 compute_120", True),
        ((9, 4), "gfx942", False),  # of another maker: only a failed operation says so
    ],
)
def test_which_cards_code_was_made_for(capability, architectures, runs):
    assert hardware._has_kernels(capability, tuple(architectures.split())) == runs


def test_float32_on_a_gpu_is_no_tf32_and_settings_are_put_back():
    backends = torch.backends
    places = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    gpu = hardware.Hardware(torch.device("cuda"), "32-true")
    for other in (gpu._replace(precision="bf16-mixed"), gpu._replace(device=torch.device("cpu"))):
        with hardware.whole_float32(other):
            assert [place.fp32_precision for place in places] == before
    for cudnn, product in (("tf32", "tf32"), ("ieee", "none"), (before[0], before[2])):
        for place, value in zip(places, (cudnn, cudnn, product), strict=True):
            place.fp32_precision = value
        with contextlib.suppress(ZeroDivisionError), hardware.whole_float32(gpu):
            assert [place.fp32_precision for place in places] == ["ieee"] * 3
            assert not backends.cudnn.allow_tf32  # readable, too
            raise ZeroDivisionError
        assert [place.fp32_precision for place in places] == [cudnn, cudnn, product]
