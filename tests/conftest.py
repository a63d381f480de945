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
