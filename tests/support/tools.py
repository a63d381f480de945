"""The programs of `tools/`, which are no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType


def tool(name: str) -> ModuleType:
    """One of them by its name."""
    path = Path(__file__).parents[2] / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
