"""How much memory there is, and the refusal of pictures that do not fit, before any of them is decoded."""

import contextlib
import math
import os
import re
import sys
from pathlib import Path

from lamella.errors import DataError

LARGE = 64 * 2**20  # bytes decoded, from which on a picture is read piece by piece where its file allows it
_SCORED = 100  # bytes a pixel that prediction and scores of a whole image take; measured: 115 with outlines scored
_CGROUPS = (  # what a container may take, and what it takes: of version 2, and of version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory() -> int:
    """Bytes that this process may still take: of the machine's, its container's and its own limit the least."""
    bounds = [sys.maxsize]
    with contextlib.suppress(OSError, AttributeError, ValueError):  # what a system does not say binds nobody
        bounds.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        if found := re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text()):
            bounds.append(int(found[1]) * 1024)
    for limit, usage in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such container, or one without a bound: "max"
            bounds.append(int(Path(limit).read_text()) - int(Path(usage).read_text()))
    with contextlib.suppress(ImportError, OSError, ValueError):  # `ulimit -v`; Windows has none
        import resource

        limit_, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit_ != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            bounds.append(limit_ - pages * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(bounds))


def require_memory(name: object, shape: tuple[int, ...], itemsize: int, copies: int = 3) -> None:
    """Raises DataError where a picture that must be decoded in one go does not fit into memory.

    Args:
        name: what it is, for the message.
        shape: of the decoded array.
        itemsize: bytes a value.
        copies: how often all of it is in memory at most: as stored, with channels first, and as what comes of it.
    """
    size = math.prod(shape) * itemsize
    if size <= LARGE:
        return
    free = free_memory()
    if size * copies > free:
        values = " x ".join(map(str, shape))
        raise DataError(
            f"{name} does not fit into memory: {values} values of {itemsize} byte(s) take {in_gb(size * copies)} to "
            f"decode in one go, {in_gb(free)} are free",
            "Save it as a TIFF in tiles (512 x 512, compressed as you like), which is read piece by piece, or cut it "
            "and its mask into smaller images.",
        )


def require_memory_to_score(name: object, size: tuple[int, int]) -> None:
    """Raises DataError where an image (H, W) is too large to be predicted and scored as a whole."""
    needed, free = size[0] * size[1] * _SCORED, free_memory()
    if needed > free:
        raise DataError(
            f"{name} is {size[1]:,} x {size[0]:,} pixels: to predict and score it takes about {in_gb(needed)} of "
            f"memory, {in_gb(free)} are free",
            "Cut it and its mask into tiles, such as 4,096 x 4,096; or move it to the training part, of which no more "
            "than windows are read (`dataset/split=file`).",
        )


def in_gb(size: int) -> str:
    """Bytes as people say them: 2.7 GB."""
    return f"{size / 1e9:.1f} GB"
