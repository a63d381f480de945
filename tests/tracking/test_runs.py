"""Runs in real stores: a SQLite file, several processes at once, and an MLflow server."""

import math
import re
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.errors import StorageError
from lamella.tracking import runs
from support.processes import end, start


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One store for the whole file: making one takes MLflow seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def begin(root, request):
    """`tracking.start` on that store, in an experiment of the test's own."""
    arguments = {
        "uri": f"sqlite:///{root}/runs.db",
        "artifacts": str(root / "artifacts"),
        "experiment": request.node.name,
        "run_name": "a run",
        "params": {},
        "tags": {},
        "output": root / "outputs",
    }
    return lambda **changed: tracking.start(**arguments | changed)


@pytest.fixture
def client(root):
    return MlflowClient(f"sqlite:///{root}/runs.db")


def fail():
    raise ZeroDivisionError("on purpose")


def artifacts(run):
    return Path(run.info.artifact_uri.removeprefix("file://"))


# How a run ends


def test_a_run_that_comes_to_its_end_is_finished(begin, client, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file.txt").write_text("kept")
    with begin(params={"a.b": 1, "none": None, "list": [1, 2]}, tags={"t": "x"}) as run:
        assert client.get_run(run.run_id).info.status == "RUNNING"
        run.log_metrics({"m": 0.5, "n": math.nan}, step=3)
        run.set_tags({"t": "y"})
        run.log_folder(tmp_path)
    kept = client.get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == "a run"
    assert kept.info.end_time >= kept.info.start_time
    assert kept.data.params == {"a.b": "1", "none": "None", "list": "[1, 2]"}
    assert kept.data.tags["t"] == "y"
    assert kept.data.metrics["m"] == 0.5
    assert math.isnan(kept.data.metrics["n"])
    assert [m.step for m in client.get_metric_history(run.run_id, "m")] == [3]
    assert (artifacts(kept) / "deep/file.txt").read_text() == "kept"


def test_an_error_fails_the_run_and_is_kept(begin, client):
    with pytest.raises(ZeroDivisionError), begin() as run:
        fail()
    kept = client.get_run(run.run_id)
    assert kept.info.status == "FAILED"
    assert kept.info.end_time
    text = (artifacts(kept) / "error.txt").read_text()
    assert text.startswith("Traceback")
    assert "on purpose" in text
    assert kept.data.tags["lamella.error"] == "ZeroDivisionError: on purpose"


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1), SystemExit(0)])
def test_an_interruption_kills_the_run(begin, client, stop):
    with pytest.raises(type(stop)), begin() as run:
        raise stop
    kept = client.get_run(run.run_id)
    assert kept.info.status == "KILLED"
    assert "lamella.error" not in kept.data.tags


def test_an_error_outlives_artifacts_that_cannot_be_written(begin, client, monkeypatch):
    monkeypatch.setitem(runs._PATIENCE_S, "FAILED", 1)

    def work(run):
        folder = artifacts(client.get_run(run.run_id))
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("in the way")
        fail()

    with pytest.raises(ZeroDivisionError), begin() as run:
        work(run)
    kept = client.get_run(run.run_id)
    assert kept.info.status == "FAILED"
    assert "on purpose" in kept.data.tags["lamella.traceback"]


def test_what_the_store_itself_refuses_is_a_storage_error(begin, client):
    with pytest.raises(StorageError, match="failed: "), begin() as run:
        run.log_metrics({"bad@name": 1})
    assert client.get_run(run.run_id).info.status == "FAILED"


def test_params_that_no_store_takes_make_no_run(begin, client):
    with pytest.raises(StorageError), begin(params={"bad@name": 1}):
        pytest.fail("the run began")
    assert not [each for each in client.search_experiments() if each.name.startswith("test_params_that")]


def test_a_run_is_gone_on_with_under_its_own_id(begin, client, root):
    output = root / "outputs"
    uri = f"sqlite:///{root}/runs.db"

    def work(run):
        run.log_metrics({"m": 1.0}, 0)
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints/last.ckpt").write_bytes(b"first")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), begin(params={"epochs": 2, "lr": 0.1}, output=output) as run:
        work(run)
    before = tracking.unfinished(uri, run.run_id, output)
    assert (before.run_id, before.status, before.folder) == (run.run_id, "KILLED", output / run.run_id)
    assert before.fetch("checkpoints/last.ckpt").read_bytes() == b"first"
    assert (artifacts(client.get_run(run.run_id)) / "checkpoints/last.ckpt").read_bytes() == b"first"
    with begin(params={"epochs": 3, "lr": 0.1, "new": 1}, before=before, output=output) as again:
        assert again.run_id == run.run_id
        assert client.get_run(run.run_id).info.status == "RUNNING"
        assert again.logged("m") == {0: 1.0}
        assert again.logged("unheard of") == {}
        with pytest.raises(StorageError, match="a living process is at work"):
            tracking.unfinished(uri, run.run_id, output)
        again.log_metrics({"m": 1.0}, 0)
        again.log_metrics({"m": 2.0}, 1)
    kept = client.get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"epochs": "2", "lr": "0.1", "new": "1"}
    assert kept.data.tags["lamella.extended"] == '{"epochs": "3"}'
    assert [(m.step, m.value) for m in client.get_metric_history(run.run_id, "m")] == [(0, 1.0), (1, 2.0)]
    assert not (artifacts(kept) / "checkpoints/last.ckpt").exists()  # nobody goes on with a finished run
    assert not again.folder.exists()


def test_a_finished_run_is_gone_on_with_from_its_store(begin, client, root):
    output = root / "outputs"
    with begin(output=output, keep_last=True, params={"a": 1}) as run:
        run.log_metrics({"m": 1.0}, 0)
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints/last.ckpt").write_bytes(b"last")
        run.log_folder()
    before = tracking.unfinished(f"sqlite:///{root}/runs.db", run.run_id, output)
    assert (before.status, before.folder) == ("FINISHED", None)
    assert before.fetch("checkpoints/last.ckpt").read_bytes() == b"last"
    with begin(output=output, before=before, params={"a": 2}) as again:
        assert again.logged("m") == {0: 1.0}
        again.log_metrics({"m": 2.0}, 1)
    kept = client.get_run(run.run_id)
    assert (kept.info.status, kept.data.params) == ("FINISHED", {"a": "1"})
    assert [m.step for m in client.get_metric_history(run.run_id, "m")] == [0, 1]


def test_an_offline_run_touches_no_store(begin, tmp_path, capsys):
    with begin(uri=f"sqlite:///{tmp_path}/none.db", offline=True, output=tmp_path / "out", params={"a": 1}) as run:
        run.log_metrics({"m": 0.5}, step=3)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert run.folder == tmp_path / "out" / run.run_id
    assert not run.kept
    assert str(run.folder) in capsys.readouterr().out
    before = tracking.unfinished("sqlite:///none.db", run.run_id, tmp_path / "out")
    assert (before.status, before.folder, before.client) == ("OFFLINE", run.folder, None)
    with begin(uri=f"sqlite:///{tmp_path}/none.db", before=before, output=tmp_path / "out") as again:
        assert again.logged("m") == {3: 0.5}
    assert again.run_id == run.run_id


def test_runs_may_be_written_from_another_thread(begin, client):
    ids = []

    def work():
        with begin() as run:
            ids.append(run.run_id)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert client.get_run(ids[0]).info.status == "FINISHED"


# Several processes


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK"])
def test_of_processes_that_train_together_only_the_first_writes(begin, client, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with begin(uri=f"sqlite:///{tmp_path}/none.db", params={"a": 1}, tags={"t": "x"}) as run:
        run.log_metrics({"m": 0.5}, step=3)
        run.log_folder(tmp_path)
    assert run.run_id == "process-1"
    with pytest.raises(ZeroDivisionError), begin(uri=f"sqlite:///{tmp_path}/none.db"):
        fail()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(variable, "0")
    with begin() as run:
        run.log_metrics({"m": 0.5})
    assert client.get_run(run.run_id).data.metrics == {"m": 0.5}


# How much it takes


def test_many_values_go_in_several_calls(begin, client):
    metrics = {f"m{i}": float(i) for i in range(2500)}
    params = {f"p{i}": i for i in range(250)}
    tags = {f"t{i}": str(i) for i in range(150)}
    with begin(params=params, tags=tags) as run:
        run.log_metrics(metrics)
        run.log_metrics({})
    data = client.get_run(run.run_id).data
    assert data.metrics == metrics
    assert data.params == {name: str(value) for name, value in params.items()}
    assert tags.items() <= data.tags.items()


def test_long_params_are_cut(begin, client):
    with begin(params={"long": "x" * 10_000}) as run:
        pass
    assert client.get_run(run.run_id).data.params["long"] == "x" * 6000


def test_any_name_of_an_experiment_gets_a_folder(begin, client, root):
    for name in ("../up", "a/b", "ä ö", "x" * 200, "con."):
        with begin(experiment=name) as run:
            pass
        folder = artifacts(client.get_run(run.run_id))
        assert folder.resolve().is_relative_to(root / "artifacts")


# Where it is kept


def test_a_relative_store_is_relative_to_where_the_user_stands(begin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with begin(uri="sqlite:///new/folder/runs.db", artifacts=None) as run:
        pass
    kept = MlflowClient(f"sqlite:///{tmp_path}/new/folder/runs.db").get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert artifacts(kept).is_relative_to(tmp_path / "new/folder/artifacts")
    assert {path.name for path in tmp_path.iterdir()} == {"new"}  # and no mlruns/


def test_a_deleted_experiment_is_said_to_be_one(begin, client):
    with begin(experiment="gone"):
        pass
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(StorageError, match="'gone' was deleted") as caught, begin(experiment="gone"):
        pytest.fail("the run began")
    assert "tracking.experiment" in caught.value.remedy


def test_a_store_below_a_file_is_refused(begin, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(StorageError, match=r"cannot be used: .*file") as caught,
        begin(uri=f"sqlite:///{tmp_path}/file/x.db"),
    ):
        pytest.fail("the run began")
    assert "tracking.uri" in caught.value.remedy


def test_a_folder_or_another_file_is_no_store_and_is_refused_at_once(begin, tmp_path):
    (tmp_path / "text.db").write_text("no database " * 100)
    began = time.monotonic()
    for path in (tmp_path, tmp_path / "text.db"):
        with pytest.raises(StorageError, match=r"cannot be used|is no whole"), begin(uri=f"sqlite:///{path}"):
            pytest.fail("the run began")
    assert time.monotonic() - began < 10  # MLflow alone would try for an hour
    assert (tmp_path / "text.db").read_text().startswith("no database")


def test_artifacts_below_a_file_are_refused_before_the_run(begin, client, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"/file/"), begin(artifacts=f"{tmp_path}/file/artifacts"):
        pytest.fail("the run began")
    found = [e for e in client.search_experiments() if e.name.startswith("test_artifacts_below")]
    assert not client.search_runs([e.experiment_id for e in found]) if found else True


@pytest.mark.parametrize("uri", ["", "mlruns", "./mlruns", "file:///tmp/mlruns", "sqlite:runs.db", "sqlite:/runs.db"])
def test_what_is_no_store_is_refused(begin, uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="is no tracking store"), begin(uri=uri):
        pytest.fail("the run began")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["nosuch://host/x", "http://127.0.0.1:9", "http://"])
def test_a_server_that_is_not_there_is_refused_at_once(begin, uri):
    began = time.monotonic()
    with pytest.raises(StorageError, match="cannot be used"), begin(uri=uri):
        pytest.fail("the run began")
    assert time.monotonic() - began < 15  # MLflow alone would try for minutes


WRITER = """
import pathlib, sys, time
from lamella import tracking
print("ready", flush=True)
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.001)
where = {"uri": sys.argv[1], "artifacts": None, "experiment": "e", "output": pathlib.Path("out")}
with tracking.start(**where, run_name="r", params={"a": 1}, tags={}) as run:
    for step in range(20):
        run.log_metrics({"m": step}, step=step)
"""


def test_processes_that_meet_a_missing_store_at_once_all_succeed(tmp_path):
    uri = f"sqlite:///{tmp_path}/new.db"
    script, go = tmp_path / "writer.py", tmp_path / "go"
    script.write_text(WRITER)
    writers = [start(script, uri, str(go), cwd=tmp_path) for _ in range(4)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    go.touch()
    for writer in writers:
        done = end(writer)
        assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    assert all(len(client.get_metric_history(run.info.run_id, "m")) == 20 for run in runs)


# A server


def test_a_server_receives_a_run_with_its_files(server, begin, tmp_path):
    address, root = server.uri, server.root
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/test.csv").write_text("id,dice\n")
    # A folder for artifacts is a local store's affair; the server keeps them itself.
    with begin(uri=address, artifacts=str(tmp_path / "not here"), params={"a": 1}) as run:
        run.log_metrics({"m": 0.5, "nan": math.nan})
        run.log_folder(tmp_path)
    client = MlflowClient(address)
    kept = client.get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"a": "1"}
    assert kept.data.metrics["m"] == 0.5
    assert [f.path for f in client.list_artifacts(run.run_id, "scores")] == ["scores/test.csv"]
    assert list(root.glob("files/**/test.csv"))
    assert not (tmp_path / "not here").exists()


def test_a_server_keeps_a_failed_run_and_its_traceback(server, begin):
    address, root = server.uri, server.root
    with pytest.raises(ZeroDivisionError), begin(uri=address) as run:
        fail()
    assert MlflowClient(address).get_run(run.run_id).info.status == "FAILED"
    assert any("on purpose" in file.read_text() for file in root.glob("files/**/error.txt"))


# What is read back


def test_every_run_is_listed_whatever_became_of_it(begin, root, request):
    with begin(params={"a": 1}):
        pass
    with pytest.raises(ZeroDivisionError), begin(params={"a": 2}):
        fail()
    with pytest.raises(KeyboardInterrupt), begin(params={"a": 3}):
        raise KeyboardInterrupt
    with begin(params={"a": 4}) as run:
        run.log_metrics({"m": 1})
        uri = f"sqlite:///{root}/runs.db"
        waited(lambda: tracking.listed(uri, request.node.name)[-1].params)
        found = tracking.listed(uri, request.node.name)
    assert [each.status for each in found] == ["FINISHED", "FAILED", "KILLED", "RUNNING"]
    assert [each.params["a"] for each in found] == ["1", "2", "3", "4"]
    assert found[1].tags["lamella.error"] == "ZeroDivisionError: on purpose"
    with pytest.raises(StorageError, match="there is no experiment 'no such'"):
        tracking.listed(uri, "no such")


def test_files_of_a_server_are_brought_once_and_what_is_missing_is_told(server, begin, tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/test.csv").write_text("id,dice\nb,0.5\nNA,\n")
    for _ in range(3):
        with begin(uri=server.uri, artifacts=None, experiment="brought") as run:
            run.log_folder(tmp_path)
    with begin(uri=server.uri, artifacts=None, experiment="brought"):
        pass
    *found, empty = tracking.finished(server.uri, experiment="brought")
    tracking.bring([*found, empty], ["scores/test.csv"])
    for each in found:
        file = each.fetch("scores/test.csv")
        file.write_text(file.read_text().replace("0.5", "0.25"))  # what is here is not asked for again
        assert each.scores().fillna(-1).values.tolist() == [["NA", -1], ["b", 0.25]]
    assert tracking.finished(server.uri, experiment="brought")[0].scores()["dice"].tolist()[1] == 0.5
    with pytest.raises(StorageError, match=f"run {empty.run_id} has no scores/test.csv"):
        empty.scores()


def test_a_description_leads_to_a_page_of_its_run(server, begin, tmp_path):
    (tmp_path / "a page.html").write_text("<h1>kept</h1>")
    with begin(uri=server.uri, artifacts=None, experiment="described") as run:
        run.describe("unet is better.\n" + "a line\n" * 3000, "a page.html")
        run.log_folder(tmp_path)
    (kept,) = tracking.finished(server.uri, experiment="described")
    text = kept.tags["mlflow.note.content"]
    assert "unet is better." in text
    assert text.endswith("a line\n\n*The page has the rest.*")
    assert 4900 < len(text) <= 5000
    experiment, run_id, name = re.search(r"\]\(#/experiments/(\d+)/runs/(\w+)/artifacts/(\S+)\)", text).groups()
    assert (experiment, run_id) == (run.experiment_id, kept.run_id)
    with urlopen(f"{server.uri}/") as pages:  # MLflow's own, which read the rest of the link and ask for the file
        assert "<title>MLflow</title>" in pages.read().decode()
    with urlopen(f"{server.uri}/get-artifact?path={name}&run_uuid={run_id}") as answer:
        assert answer.read() == b"<h1>kept</h1>"


def waited(asked, seconds=30):
    """Waits until something is so."""
    until = time.monotonic() + seconds
    while not asked() and time.monotonic() < until:
        time.sleep(0.1)
