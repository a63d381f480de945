"""Whether the process of a run is gone, by real processes, and what becomes of the runs of those that are."""

import contextlib
import json
import multiprocessing
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.config.paths import resumed
from lamella.tracking.alive import HEARTBEAT, PROCESS, SILENT_S, bury, is_gone, process_tag
from support.stores import empty_store

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110

NOW = 1_800_000_000.0


def _say(pipe):
    os.write(pipe, process_tag().encode())
    os.close(pipe)
    time.sleep(600)


@pytest.fixture(scope="module")
def processes():
    """The tags of three processes: one that lives, one that was killed, one that nobody has asked how it ended."""
    found, tags = {}, {}
    for name in ("living", "dead", "zombie"):
        read, write = os.pipe()
        found[name] = multiprocessing.get_context("fork").Process(target=_say, args=(write,))
        found[name].start()
        tags[name] = os.read(read, 10000).decode()
    for name in ("dead", "zombie"):
        os.kill(found[name].pid, signal.SIGKILL)
    found["dead"].join()
    os.waitid(os.P_PID, found["zombie"].pid, os.WEXITED | os.WNOWAIT)  # its end takes a moment, and is not asked for
    yield tags
    for process in found.values():
        process.kill()
        process.join()


def changed(tag, **keys):
    return {PROCESS: json.dumps(json.loads(tag) | keys)}


def test_a_process_of_this_machine_is_looked_for(processes):
    assert not is_gone({PROCESS: process_tag()})
    assert not is_gone({PROCESS: processes["living"]})
    assert is_gone({PROCESS: processes["dead"]})
    assert is_gone({PROCESS: processes["zombie"]})
    # However long it has been silent: it may wait for a disk.
    assert not is_gone({PROCESS: processes["living"], HEARTBEAT: "1"}, begun=1)


def test_another_process_may_have_its_number(processes):
    started = json.loads(processes["living"])["started"]
    assert is_gone(changed(processes["living"], started=started - 1))
    assert not is_gone(changed(processes["living"], started=None))  # nobody can know


def test_nothing_is_left_of_a_machines_last_start(processes):
    living = processes["living"]
    if not json.loads(living)["machine"]:
        living = None
    here = {"machine": "m"} if living is None else {}
    other = changed(living or processes["living"], boot="another", **here)
    expected = living is not None  # without a number of the machine, another one may have its name
    assert is_gone(other | {HEARTBEAT: f"{NOW}"}, now=NOW) is expected


@pytest.mark.parametrize("elsewhere", [{"host": "other", "boot": "other"}, {"namespace": "pid:[1]"}])
def test_elsewhere_ten_minutes_of_silence_tell(processes, elsewhere):
    tags = changed(processes["dead"], **elsewhere)
    assert not is_gone(tags | {HEARTBEAT: f"{NOW - SILENT_S + 1}"}, now=NOW, begun=NOW - 10**6)
    assert is_gone(tags | {HEARTBEAT: f"{NOW - SILENT_S - 1}"}, now=NOW, begun=NOW - 10**6)
    # Its beginning is its first sign of life.
    assert not is_gone(tags, now=NOW, begun=NOW - SILENT_S + 1)
    assert is_gone(tags, now=NOW, begun=NOW - SILENT_S - 1)
    assert not is_gone(tags, now=NOW)


@pytest.mark.parametrize("tag", ["", "{", "[]", "7", '{"pid": "x", "started": 1}', '{"pid": 1}'])
def test_what_says_nothing_is_left_alone(tag):
    assert not is_gone({PROCESS: tag}, begun=1)
    assert not is_gone({}, begun=1)


@pytest.fixture
def store(tmp_path):
    uri = empty_store(tmp_path / "runs.db")
    client = MlflowClient(uri)
    return uri, client, client.create_experiment("e", artifact_location=(tmp_path / "files").as_uri())


def running(client, experiment, **tags):
    started = int((time.time() - 100) * 1000)
    return client.create_run(experiment, start_time=started, tags=tags, run_name="unet seed 0").info.run_id


def test_only_runs_of_the_dead_are_marked(store, processes, capsys):
    uri, client, experiment = store
    heard = time.time() - 50
    dead = running(client, experiment, **{PROCESS: processes["dead"], HEARTBEAT: f"{heard}"})
    silent = running(client, experiment, **{PROCESS: processes["dead"], "lamella.kind": "score"})
    others = [running(client, experiment, **{PROCESS: processes["living"]}), running(client, experiment)]
    done = running(client, experiment, **{PROCESS: processes["dead"]})
    client.set_terminated(done, "FINISHED", end_time=5)
    assert tracking.finished(uri)[0].run_id == done
    for run_id in (dead, silent):
        assert client.get_run(run_id).info.status == "KILLED"
    assert client.get_run(dead).info.end_time == int(heard * 1000)
    assert client.get_run(silent).info.end_time == client.get_run(silent).info.start_time
    assert {client.get_run(each).info.status for each in others} == {"RUNNING"}
    assert (client.get_run(done).info.status, client.get_run(done).info.end_time) == ("FINISHED", 5)
    lines = sorted(capsys.readouterr().out.splitlines(), key=len)
    assert len(lines) == 2
    assert lines[0].startswith(f"run {silent} (unet seed 0) was killed, last heard of on ")
    assert lines[1].startswith(f"run {dead} (unet seed 0) was killed, last heard of on ")
    assert lines[1].endswith(f": `python train.py resume={dead} tracking.uri={uri}` goes on with it")
    tracking.finished(uri)
    assert capsys.readouterr().out == ""  # said once


def test_a_run_that_somebody_goes_on_with_meanwhile_is_left_alone(store, processes):
    uri, client, experiment = store
    run = running(client, experiment, **{PROCESS: processes["dead"]})

    class Late(MlflowClient):
        """Between its two looks another process takes the run over."""

        def get_run(self, run_id):
            client.set_tag(run_id, PROCESS, processes["living"])
            return client.get_run(run_id)

    assert bury(Late(uri)) == []
    assert client.get_run(run).info.status == "RUNNING"


def test_several_may_bury_at_once(store, processes):
    uri, client, experiment = store
    runs = {running(client, experiment, **{PROCESS: processes["dead"]}) for _ in range(6)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: bury(MlflowClient(uri), [experiment]), range(4)))
    assert {each.run_id for one in found for each in one} == runs
    assert {client.get_run(run).info.status for run in runs} == {"KILLED"}
    assert {client.get_run(run).info.end_time - client.get_run(run).info.start_time for run in runs} == {0}


def test_a_store_that_another_program_holds_is_read_all_the_same(store, processes, capsys):
    uri, client, experiment = store
    run = running(client, experiment, **{PROCESS: processes["dead"]})
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        assert tracking.finished(uri) == []
    assert capsys.readouterr().out == ""
    assert tracking.finished(uri) == []
    assert client.get_run(run).info.status == "KILLED"


def test_how_to_go_on_names_the_store_where_it_must(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMELLA_HOME", str(tmp_path))
    usual = f"sqlite:///{tmp_path}/mlflow/lamella.db"
    assert resumed("abc", usual, str(tmp_path / "outputs")) == "python train.py resume=abc"
    assert resumed("abc", "http://host:5000", "/a b") == (
        "python train.py resume=abc tracking.uri=http://host:5000 'paths.output=/a b'"
    )
