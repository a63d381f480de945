"""Opening a store: where one can lie."""

from pathlib import Path

import pytest

from lamella.errors import StorageError
from lamella.tracking.store import open_store


@pytest.mark.parametrize("name", ["what?", "my%20work"])
def test_a_folder_that_no_address_can_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="no store can lie at") as caught:
        open_store(f"sqlite:///{tmp_path}/{name}/runs.db", None, "e")
    assert "LAMELLA_HOME" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_other_names_are_taken(tmp_path: Path) -> None:
    place = tmp_path / "50 % of ä, #1"
    client, experiment = open_store(f"sqlite:///{place}/runs.db", None, "e")
    assert client.get_experiment(experiment).name == "e"
    assert {path.name for path in place.iterdir()} >= {"runs.db", "artifacts"}
