"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lamella_data() -> Path:
    """The folder of the real data sets; tests that need it are skipped where it is not."""
    folder = os.environ.get("LAMELLA_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real data: set LAMELLA_DATA to the folder that holds em/ and blood/")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest comes first: two processes that share the tests then end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
