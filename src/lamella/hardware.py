"""Which device and precision a run uses."""

import contextlib
import ctypes
import gc
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch

from lamella.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed"]


class Hardware(NamedTuple):
    """What a run computes on, and how.

    Attributes:
        device: the CPU, or a CUDA device.
        precision: of the forward pass: float32, or bfloat16 where that is enough (autocast).
        remark: why the CPU was taken though there seems to be a GPU, a sentence; "" where there is nothing to say.
    """

    device: torch.device
    precision: Precision
    remark: str = ""

    @property
    def accelerator(self) -> str:
        """Lightning's word for the device."""
        return "gpu" if self.device.type == "cuda" else "cpu"

    @property
    def name(self) -> str:
        """What people call the device: "cpu", or the card's name."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type


class Facts(NamedTuple):
    """What a machine says of its GPU.

    Attributes:
        torch: torch's version.
        built: what torch was built for, such as "CUDA 13.0"; "" for the CPU alone.
        cards: the GPUs that the system shows, torch or not; "" for none.
        devices: how many torch sees.
        capability: of the device that is meant; None where torch sees none.
        architectures: that torch holds kernels for, such as sm_90 and compute_120.
        error: what came of a small operation on the device; "" where it went well.
    """

    torch: str
    built: str
    cards: str
    devices: int
    capability: tuple[int, int] | None
    architectures: tuple[str, ...]
    error: str


def resolve(device: str, precision: str) -> Hardware:
    """The device and precision that were asked for.

    Args:
        device: `cpu`; `gpu`, `cuda` or `cuda:1` for a GPU; `auto` for a GPU where one works.
        precision: `32-true` or `bf16-mixed`; `auto` for bfloat16 where the hardware computes in it.

    Raises:
        ConfigError: there is no such device or precision, or a GPU was asked for that does not work.
    """
    if not re.fullmatch(r"auto|cpu|gpu|cuda(:\d+)?", device):
        raise ConfigError(
            f"there is no device {device!r} here", "Choose auto, cpu, cuda, or cuda:1 for the second one."
        )
    if precision not in ("auto", *get_args(Precision)):
        raise ConfigError(f"there is no precision {precision!r}", f"Choose auto, {' or '.join(get_args(Precision))}.")
    chosen, remark = torch.device("cpu"), ""
    if device != "cpu":
        gpu = torch.device(device if device.startswith("cuda") else "cuda")
        seen = facts(gpu)
        reason = why_not(seen)
        if not reason:
            chosen = gpu
        elif device != "auto":
            raise ConfigError(
                f"a GPU was asked for, but {reason}",
                "Take the CPU (trainer=cpu, accelerator=cpu), or install the torch that suits the GPU and its driver.",
            )
        elif seen.cards or seen.devices:
            remark = f"there seems to be a GPU ({seen.cards or 'as torch says'}), but the CPU is taken: {reason}"
    return Hardware(chosen, _precision(chosen, precision), remark)


def why_not(seen: Facts) -> str:
    """Why a GPU cannot be used, as the end of a sentence; "" where it can."""
    if seen.cards.startswith("Apple"):
        return "Lamella does not use Apple's GPUs (MPS): nobody has tested it there"
    if not seen.built:
        return f"torch {seen.torch} is built for the CPU alone"
    if not seen.devices and not seen.cards:
        return "no GPU is seen here"
    if not seen.error:
        return ""
    if seen.capability and not _has_kernels(seen.capability, seen.architectures):
        wanted, there = "{}.{}".format(*seen.capability), " ".join(seen.architectures)
        return f"it has compute capability {wanted}, and torch {seen.torch} has kernels for {there} alone"
    return f"torch {seen.torch} for {seen.built} fails at its first operation there: {seen.error}"


def facts(device: torch.device) -> Facts:
    """What this machine and its torch say of a CUDA device; a small operation is tried on it."""
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    capability, architectures, devices, error = None, tuple[str, ...](), 0, ""
    if torch.version.cuda or torch.version.hip:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what is said below
            devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
            try:  # an old driver, a card too old for this torch or one that is broken only show themselves now
                ones = torch.ones(1, 1, 8, 8, device=device)
                torch.nn.functional.conv2d(ones, ones[..., :3, :3]).sum().item()
            except (RuntimeError, AssertionError) as problem:
                error = str(problem).strip().splitlines()[0].rstrip(".")
            if devices:
                architectures = tuple(torch.cuda.get_arch_list())
                capability = torch.cuda.get_device_capability(min(device.index or 0, devices - 1))
    else:
        built = ""
    return Facts(torch.__version__, built, _cards(), devices, capability, architectures, error)


def _cards() -> str:
    """The names of the GPUs that the system itself shows, "" for none; torch is not asked, but for Apple's."""
    if torch.backends.mps.is_available():
        return f"Apple {platform.processor()}"
    found = [path.read_text() for path in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    if found:
        return ", ".join(re.findall(r"Model:\s*(.+)", "\n".join(found))) or "NVIDIA"
    if program := shutil.which("nvidia-smi"):  # Windows
        asked = [program, "--query-gpu=name", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
            return ", ".join(said.stdout.splitlines()) if said.returncode == 0 else ""
    return ""


def _has_kernels(capability: tuple[int, int], architectures: tuple[str, ...]) -> bool:
    """Whether code for one of the architectures runs on a card: binary code of its generation, or PTX of no later one.

    Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".
    """
    major, minor = capability
    for kind, number, only in re.findall(r"(sm|compute)_(\d+)([af]?)", " ".join(architectures)):
        there = divmod(int(number), 10)
        if only == "a":  # nothing but this very architecture
            if there == capability:
                return True
        elif there <= capability if kind == "compute" else there[0] == major and there[1] <= minor:
            return True
    return False


def _precision(device: torch.device, asked: str) -> Precision:
    mixed = asked == "bf16-mixed" or (asked == "auto" and has_bfloat16(device))
    return "bf16-mixed" if mixed else "32-true"


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; emulated it is slower than float32."""
    if device.type != "cuda":
        return _cpu_has_bfloat16()
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_has_bfloat16() -> bool:
    # torch before 2.13 does not tell: float32 then
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def processors() -> int:
    """How many processors this process may use: those it is bound to, no more than its container is granted."""
    mine = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such container, or one without a bound: "max 100000"
        granted, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
        mine = min(mine, max(1, granted // period))
    return mine


@contextmanager
def whole_float32(hardware: Hardware) -> Iterator[None]:
    """Makes `32-true` on a GPU what it says: convolutions and products in float32, not in TF32's 10 bits.

    torch allows cuDNN TF32 unless it is told otherwise. Its settings hold for the whole process: they are put back.
    """
    if hardware.device.type != "cuda" or hardware.precision != "32-true":
        yield
        return
    backends: Any = torch.backends
    places = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    backends.cudnn.allow_tf32 = False  # the older name of the first two; torch raises where the two ways disagree
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        backends.cudnn.allow_tf32 = before[0] == before[1] == "tf32"
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Keeps memory that is freed for the next step of a run, and gives it all back to the kernel at the end.

    A training step on the CPU frees and takes the same hundreds of megabytes again and again; unless glibc is told to
    keep them, the kernel clears every page anew each time. That must end with the run: else a process never shrinks,
    and an array that is hardly touched takes its whole size. On a GPU, or with another C library, nothing is kept.
    """
    if not gc.get_freeze_count():
        gc.freeze()  # modules are no garbage of any run: to look through them takes the collector most of a second
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
