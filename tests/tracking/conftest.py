"""An MLflow server that several files share: starting one takes most of the time."""

from collections.abc import Iterator

import pytest

from support.mlflow_server import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An MLflow server of its own, on a free port of this machine."""
    with serving(tmp_path_factory.mktemp("server")) as up:
        yield up
