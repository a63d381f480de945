"""Importing Lamella leaves a user's session as it was: what others set at import is theirs, Lamella sets nothing."""

import json
import subprocess
import sys

import pytest

# In a process of its own: first all that Lamella imports, then what the session looks like, then Lamella.
SCRIPT = """
import ast, contextlib, importlib, json, logging, pkgutil, random, signal, sys, warnings
from pathlib import Path

import lamella.torchvision_ops  # without it torchvision cannot be imported beside every torch
import matplotlib
import numpy
import torch

wanted = set()
for path in Path(lamella.__file__).parent.rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            wanted |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            wanted |= {node.module} | {f"{node.module}.{each.name}" for each in node.names}
for name in sorted(wanted):
    if name.partition(".")[0] != "lamella":
        with contextlib.suppress(ImportError):  # a class, not a module; or a package that is not installed
            importlib.import_module(name)

def session():
    return {
        "rcParams": {name: repr(dict.__getitem__(matplotlib.rcParams, name)) for name in sorted(matplotlib.rcParams)},
        "backend": matplotlib.get_backend(auto_select=False),
        "warnings": [repr(each) for each in warnings.filters],
        "root level": logging.getLogger().level,
        "root handlers": [repr(each) for each in logging.getLogger().handlers],
        "random": repr(random.getstate()),
        "numpy random": repr(numpy.random.get_state()),
        "torch random": torch.get_rng_state().tolist(),
        "torch": [repr(torch.get_default_dtype()), torch.get_num_threads(), torch.is_grad_enabled()],
        "signals": [repr(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)],
        "hook": repr(sys.excepthook),
    }

before = session()
modules = [each.name for each in pkgutil.walk_packages(lamella.__path__, "lamella.")]
for name in modules:
    importlib.import_module(name)
after = session()
print(json.dumps([modules, {name: [before[name], after[name]] for name in before if before[name] != after[name]}]))
"""


@pytest.fixture(scope="module")
def imported():
    """The modules that were imported, and what is not as it was: name -> [before, after]."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_module_was_imported(imported):
    modules, _ = imported
    assert len(modules) > 100
    assert {"lamella.plots.run", "lamella.training.fit", "lamella.tracking.runs", "lamella.cli.main"} <= set(modules)


def test_the_session_is_as_it_was(imported):
    assert imported[1] == {}
