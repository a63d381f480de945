"""What a run ran on: code, packages, machine."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch


class Code(NamedTuple):
    """The state of the checkout: commit ("" where there is none), and the uncommitted change ("" when clean)."""

    commit: str
    diff: str


def code(checkout: Path) -> Code:
    """The state of a checkout: its commit, and the uncommitted change as a diff and the names of new files."""
    commit = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    change = _git(checkout, "diff", "HEAD") if commit else ""
    new = _git(checkout, "ls-files", "--others", "--exclude-standard").splitlines()
    return Code(commit, change + "".join(f"# new, not in git: {name}\n" for name in new))


def describe() -> str:
    """The text of `environment.txt`: Python, machine and every installed package with its version, one a line."""
    head = [f"python {sys.version.split()[0]}", f"platform {platform.platform()}", f"processor {_processor()}",
            f"threads {torch.get_num_threads()}"]  # fmt: skip
    if torch.cuda.is_available():
        head.append(f"gpu {torch.cuda.get_device_name()} (CUDA {torch.version.cuda})")
    packages = sorted({f"{d.name}=={d.version}" for d in metadata.distributions()}, key=str.lower)
    return "\n".join(["# " + line for line in head] + packages) + "\n"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _git(checkout: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, check=False)
    except FileNotFoundError:  # git is not installed: the run is still worth having
        return ""
    return result.stdout.decode(errors="replace") if result.returncode == 0 else ""
