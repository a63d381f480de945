"""Fixtures that several test files share."""

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# What takes longest comes first: two processes that share the tests then end at about the same time.
LONGEST = (
    *("test_readme.py", "cli/test_main.py", "commands/test_train.py", "models/papers/test_papers.py"),
    *("commands/test_compare.py", "commands/test_evaluate.py", "models/smp/test_networks.py", "test_session.py"),
)


@pytest.fixture(scope="session")
def lamella_data() -> Path:
    """The folder of the real data sets; tests that need it are skipped where it is not."""
    folder = os.environ.get("LAMELLA_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real data: set LAMELLA_DATA to the folder that holds em/ and blood/")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first."""
    places = {item: item.path.relative_to(TESTS).as_posix() for item in items}
    items.sort(key=lambda item: LONGEST.index(places[item]) if places[item] in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps Python's collector of cycles away from imports, where it takes a fifth of the time, and from modules."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
