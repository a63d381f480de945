"""Which device and precision a run uses."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch

from lamella.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed"]


class Hardware(NamedTuple):
    """What a run computes on, and how."""

    device: torch.device
    precision: Precision

    @property
    def accelerator(self) -> str:
        """Lightning's word for the device."""
        return "gpu" if self.device.type == "cuda" else "cpu"


def resolve(accelerator: str, precision: str) -> Hardware:
    """The device and precision that were asked for.

    `auto` is CUDA where there is one, and bfloat16 where the hardware computes in it.

    Raises:
        ConfigError: a GPU was asked for and there is none.
    """
    cuda = torch.cuda.is_available()
    if accelerator == "gpu" and not cuda:
        raise ConfigError(
            "trainer.accelerator=gpu, but torch sees no CUDA device here",
            "Use trainer=auto or trainer=cpu, or install a CUDA build of torch.",
        )
    device = torch.device("cuda" if cuda and accelerator != "cpu" else "cpu")
    mixed = precision == "bf16-mixed"
    if precision == "auto":
        gpu = device.type == "cuda"
        mixed = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else _cpu_has_bfloat16()
    return Hardware(device, "bf16-mixed" if mixed else "32-true")


def _cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware; emulated it is slower than float32.

    torch before 2.13 does not tell: float32 then.
    """
    capabilities: dict[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # torch before 2.13 does not tell: float32 then
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Keeps memory that is freed for the next step of a run, and gives it all back to the kernel at the end.

    A training step on the CPU frees and takes the same hundreds of megabytes again and again; unless glibc is told to
    keep them, the kernel clears every page anew each time. That must end with the run: else a process never shrinks,
    and an array that is hardly touched takes its whole size. On a GPU, or with another C library, nothing is kept.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform.startswith("linux") and device.type == "cpu" else None
    glibc = hasattr(libc, "gnu_get_libc_version")
    trim_threshold, mmap_max = -1, -4  # names and numbers of mallopt(3)
    if glibc:
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, -1)  # never
    try:
        yield
    finally:
        gc.collect()  # Lightning's trainer and module know each other: else weights and optimizer outlive their run
        if glibc:
            libc.mallopt(mmap_max, 65536)  # glibc's defaults
            libc.mallopt(trim_threshold, 128 * 1024)
            libc.malloc_trim(0)
