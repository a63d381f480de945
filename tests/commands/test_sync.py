"""What waits on disk is sent by the command, a line a run, with exit code 1 where not all has gone."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.config.paths import CHECKOUT
from support import processes
from support.mlflow_server import free_port
from support.stores import empty_store

assert CHECKOUT is not None
SYNC = CHECKOUT / "scripts/sync.py"


def offline(folder: Path, uri: str, **changed: object) -> str:
    """A run that was kept offline; its id."""
    where = {"uri": uri, "artifacts": None, "experiment": "e", "output": folder / "outputs"}
    with tracking.start(**where, run_name="r", params={"a": 1}, tags={}, offline=True) as run:
        run.log_metrics({"m": 0.5}, 3)
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints/last.ckpt").write_bytes(b"state")
        if changed.get("killed"):  # as it lies there when its process is gone
            shutil.copytree(run.folder, folder / "aside")
    if changed.get("killed"):
        shutil.rmtree(run.folder)
        (folder / "aside").rename(run.folder)
    return run.run_id


def sync(folder: Path, *overrides: str) -> tuple[int, str, str]:
    done = processes.run(SYNC, f"paths.output={folder}/outputs", *overrides, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def test_all_that_waits_is_sent(tmp_path: Path) -> None:
    uri = empty_store(tmp_path / "runs.db")
    away = f"http://127.0.0.1:{free_port()}"
    finished, killed, other = offline(tmp_path, away), offline(tmp_path, uri, killed=True), offline(tmp_path, away)
    code, said, error = sync(tmp_path)
    assert code == 1
    assert said.count("cannot be used") == 2
    assert "2 of 3 runs could not be sent completely" in error
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert f"run {killed}: sent to {uri}, as {run.info.run_id}: KILLED; its process had gone" in said
    assert (run.info.status, run.data.params, run.data.metrics) == ("KILLED", {"a": "1"}, {"m": 0.5})
    assert [each.path for each in client.list_artifacts(run.info.run_id, "checkpoints")] == ["checkpoints/last.ckpt"]
    # A store that is typed is for runs that no store knows yet.
    code, said, error = sync(tmp_path, f"tracking.uri={uri}")
    assert code == 0, error
    assert sorted(line.split()[1].rstrip(":") for line in said.splitlines()) == sorted([finished, other])
    assert len(client.search_runs([run.info.experiment_id], "attributes.status = 'FINISHED'")) == 2
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [killed]  # it can be gone on with
    code, said, _ = sync(tmp_path)
    assert (code, said.split()[:2]) == (0, ["nothing", "waits"])


@pytest.mark.parametrize("name", ["unknown", "../outputs"])
def test_a_run_that_does_not_wait(tmp_path: Path, name: str) -> None:
    code, _, error = sync(tmp_path, f"run={name}")
    assert code == 1
    assert error.startswith(f"error: there is no working folder of run {name!r} in {tmp_path}/outputs")
