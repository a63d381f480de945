"""Stores that are locked, away, slow or lose what they are told: nothing is lost, nothing is told twice."""

import contextlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.errors import StorageError
from lamella.tracking import runs
from lamella.tracking.outbox import JOURNAL, SENT, Journal, entries_of
from support.mlflow_server import Proxy, Server, between
from support.stores import empty_store
from support.trained import kept

STEPS = 40


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with between(server) as proxy:
        yield proxy


@pytest.fixture
def local(tmp_path: Path) -> str:
    return empty_store(tmp_path / "runs.db")


def begin(uri: str, folder: Path, **changed: object) -> contextlib.AbstractContextManager[tracking.Run]:
    arguments = {
        "uri": uri,
        "artifacts": None,
        "experiment": folder.name,
        "run_name": "a run",
        "params": {"a": 1},
        "tags": {"t": "x"},
        "output": folder / "outputs",
    }
    return tracking.start(**arguments | changed)


def work(run: tracking.Run, *, seconds: float = 0, steps: int = STEPS) -> float:
    """Tells of as many steps, two metrics each; the longest time that one of them took."""
    longest = 0.0
    for step in range(steps):
        began = time.monotonic()
        run.log_metrics({"m": step / 7, "n": float("nan")}, step)
        longest = max(longest, time.monotonic() - began)
        time.sleep(seconds / steps)
    (run.folder / "scores").mkdir(exist_ok=True)
    (run.folder / "scores/test.csv").write_text("id,dice\n")
    run.log_folder()
    return longest


def rows(store: Path, run_id: str, name: str) -> Counter[int]:
    """How often each step of a metric is in the store's own table."""
    with contextlib.closing(sqlite3.connect(store)) as database:
        found = database.execute("SELECT step FROM metrics WHERE run_uuid = ? AND key = ?", (run_id, name)).fetchall()
    return Counter(step for (step,) in found)


def complete(store: Path, run_id: str, steps: int = STEPS) -> None:
    """Asserts that the store has all of `work`, once."""
    for name in ("m", "n"):
        assert rows(store, run_id, name) == dict.fromkeys(range(steps), 1)
    with contextlib.closing(sqlite3.connect(store)) as database:
        (status,) = database.execute("SELECT status FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    assert status == "FINISHED"


@contextlib.contextmanager
def locked(store: Path, seconds: float) -> Iterator[None]:
    """Another program holds a SQLite store, from now on for so long."""
    held = sqlite3.connect(store, timeout=20, isolation_level=None, check_same_thread=False)
    held.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(seconds, held.close)
    timer.start()
    yield
    timer.join()


# A store that is a file


def test_a_locked_store_is_waited_for_by_nobody(local: str, tmp_path: Path) -> None:
    with begin(local, tmp_path) as run:
        run.log_metrics({"before": 1.0})
        with locked(tmp_path / "runs.db", 3):
            assert work(run, seconds=0.5) < 0.2
    complete(tmp_path / "runs.db", run.run_id)
    assert not run.folder.exists()


def test_what_was_sent_may_be_sent_again(local: str, tmp_path: Path) -> None:
    """As after a kill between sending and noting that it was sent; through MLflow's own tables."""
    kept(tmp_path / "best.ckpt")

    def end(run: tracking.Run) -> None:
        work(run)
        run.log_model(tmp_path / "best.ckpt", {"test/dice": 0.5})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), begin(local, tmp_path) as run:
        end(run)
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as database:
        tables = ("metrics", "params", "tags", "logged_models", "logged_model_metrics", "inputs", "runs")
        count = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        before = database.execute(count).fetchone()
        journal = Journal(run.folder)
        journal.append(status="FINISHED")
        journal.close()
        (run.folder / SENT).unlink()
        done = tracking.deliver(run.folder)
        assert done is not None
        assert done.complete
        assert database.execute(count).fetchone() == before
    complete(tmp_path / "runs.db", run.run_id)
    assert not run.folder.exists()


def test_a_torn_line_is_no_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(metrics={"m": 1.0}, step=0)
    journal.close()
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"time": 5, "metrics": {"m": 2')
    assert len(entries_of(tmp_path)) == 1
    journal = Journal(tmp_path)
    journal.append(metrics={"m": 3.0}, step=1)
    journal.close()
    assert [entry["metrics"]["m"] for entry in entries_of(tmp_path)] == [1.0, 3.0]
    (tmp_path / JOURNAL).write_text("no line of it\n")
    with pytest.raises(StorageError, match="is damaged"):
        Journal(tmp_path)


def test_a_process_at_work_is_left_to_it(local: str, tmp_path: Path) -> None:
    with begin(local, tmp_path) as run:
        run.log_metrics({"m": 1.0})
        done = tracking.deliver(run.folder)
        assert done is not None
        assert "a process is at work" in done.said
        with pytest.raises(StorageError, match="a living process is at work"):
            tracking.unfinished(local, run.run_id, tmp_path / "outputs")


def test_the_checkpoint_of_a_killed_run_is_in_the_store(local: str, tmp_path: Path) -> None:
    def end(run: tracking.Run) -> None:
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints/last.ckpt").write_bytes(b"state")
        raise SystemExit(143)

    with pytest.raises(SystemExit), begin(local, tmp_path) as run:
        end(run)
    found = MlflowClient(local).get_run(run.run_id)
    assert found.info.status == "KILLED"
    place = Path(found.info.artifact_uri.removeprefix("file://"))
    assert (place / "checkpoints/last.ckpt").samefile(run.folder / "checkpoints/last.ckpt")
    assert tracking.deliver(run.folder) is None  # all has arrived; the folder stays, to be gone on with
    assert run.folder.exists()


def test_what_the_store_will_never_take_is_said(local: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="refused a part of run") as caught, begin(local, tmp_path) as run:
        run.log_params({"a": 2})  # a parameter cannot be changed
    assert str(run.folder) in caught.value.remedy
    assert MlflowClient(local).get_run(run.run_id).info.status == "FINISHED"


# A server


def test_a_server_that_loses_every_third_request(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    kept(tmp_path / "best.ckpt")
    proxy.losing = 3
    with begin(proxy.uri, tmp_path) as run:
        assert work(run, seconds=3) < 0.2
        run.log_model(tmp_path / "best.ckpt", {"test/dice": 0.5})
    assert proxy.lost > 5
    complete(server.store, run.run_id)
    client = MlflowClient(server.uri)
    found = client.search_runs([run.experiment_id])
    assert [each.info.run_id for each in found] == [run.run_id]
    models = client.search_logged_models([run.experiment_id])
    assert [(str(each.status), each.source_run_id) for each in models] == [("READY", run.run_id)]
    assert len(client.get_run(run.run_id).outputs.model_outputs) == 1
    assert {each.path for each in client.list_artifacts(run.run_id, "scores")} == {"scores/test.csv"}


def test_a_server_that_is_away_for_a_while(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    with begin(proxy.uri, tmp_path) as run:
        run.log_metrics({"before": 1.0})
        proxy.go()
        back = threading.Timer(3, proxy.come)
        back.start()
        assert work(run) < 0.2
    complete(server.store, run.run_id)


def test_a_slow_server(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    with begin(proxy.uri, tmp_path) as run:
        proxy.delay = 1
        assert work(run, seconds=0.5) < 0.2
    assert proxy.requests < 25  # many steps in one
    complete(server.store, run.run_id)


def test_a_server_that_stays_away_is_sent_the_rest_later(
    server: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(runs._PATIENCE_S, "FINISHED", 1)
    with begin(proxy.uri, tmp_path) as run:
        proxy.go()
        work(run)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("warning:") == 1
    assert f"All is kept in {run.folder}, and `python scripts/sync.py` sends it" in said
    assert not run.kept
    with pytest.raises(StorageError, match="cannot be used"):
        tracking.deliver(run.folder)
    proxy.come()
    done = tracking.deliver(run.folder)
    assert done is not None
    assert done.complete
    complete(server.store, run.run_id)
    assert not run.folder.exists()


@pytest.mark.parametrize("how", ["away", "silent"])
def test_a_server_that_is_not_there_at_the_start(proxy: Proxy, tmp_path: Path, how: str) -> None:
    if how == "away":
        proxy.go()
    proxy.delay = 30
    began = time.monotonic()
    with pytest.raises(StorageError) as caught, begin(proxy.uri, tmp_path):
        pytest.fail("the run began")
    assert time.monotonic() - began < 10
    assert "tracking.offline=true" in caught.value.remedy
    assert not (tmp_path / "outputs").exists()


def test_a_run_kept_offline_is_found_by_either_id(server: Server, tmp_path: Path) -> None:
    before = time.time() - 0.001
    with begin(server.uri, tmp_path, offline=True) as run:
        work(run)
    after = time.time()
    done = tracking.deliver(run.folder)
    assert done is not None
    assert done.complete
    (found,) = MlflowClient(server.uri).search_runs(
        [MlflowClient(server.uri).get_experiment_by_name(tmp_path.name).experiment_id]
    )
    assert found.info.run_id in done.said
    assert found.info.run_name == "a run"
    assert found.data.params == {"a": "1"}
    assert found.data.tags["lamella.offline_id"] == run.run_id
    complete(server.store, found.info.run_id)
    assert before <= found.info.start_time / 1000 <= after
    for run_id in (run.run_id, found.info.run_id):
        assert tracking.unfinished(server.uri, run_id, tmp_path / "outputs").run_id == found.info.run_id
