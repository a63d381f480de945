"""Opening a store: made whole or not at all, under every name, and refused in words where it is none."""

import contextlib
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella import disk, tracking
from lamella.cli.messages import mistake
from lamella.config.paths import mlflow_address
from lamella.errors import ConfigError, LamellaError, StorageError
from lamella.tracking import store
from lamella.tracking.store import connect, make_store, open_store, require_store
from support.processes import end, start
from support.server import serving, status, waits
from support.stores import empty_store


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 64 kB; `resized` changes that."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or not _mounted("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)):
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def resized(folder: Path, size: str) -> None:
    """Gives a small disk another size."""
    assert _mounted("-o", f"remount,size={size}", str(folder))


def old(file: Path) -> Path:
    """The same file, last changed an hour ago: nobody is at work on it."""
    os.utime(file, (time.time() - 3600,) * 2)
    return file


def changed(file: Path, *statements: str) -> Path:
    """A whole store in which something was changed, an hour ago."""
    empty_store(file)
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement)
    return old(file)


def refused(file: Path) -> StorageError:
    """What is said of a file that is no store; it is left as it is."""
    before = file.read_bytes()
    with pytest.raises(StorageError) as reading:
        connect(f"sqlite:///{file}")
    with pytest.raises(StorageError) as writing:
        open_store(f"sqlite:///{file}", None, "e")
    assert file.read_bytes() == before
    assert reading.value.args == writing.value.args
    assert str(file) in reading.value.problem
    return reading.value


# Names


@pytest.mark.parametrize("name", ["50 % of ä, #1", "my%20work", "what?", "a%41?x=1&y", 'it\'s "so"'])
def test_every_character_of_a_path_is_kept(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.mkdir()
    uri = empty_store(place / f"{name}.db")
    client, experiment = open_store(uri, str(place / "files"), name)
    run = client.create_run(experiment).info
    client.log_text(run.run_id, "kept", "a.txt")
    client.set_terminated(run.run_id)
    assert tracking.read(uri, run.run_id).fetch("a.txt").read_text() == "kept"
    assert [each.run_id for each in tracking.finished(uri, experiment=name)] == [run.run_id]
    assert {each.name for each in place.iterdir()} == {f"{name}.db", f"{name}.db.lock", "files"}
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert open_store(uri, str(place / "files"), name)[1] == experiment


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/\udcff/runs.db"
    with pytest.raises(ConfigError, match=r"takes no '.udcff'"):
        mlflow_address(uri)


# Made whole or not at all

MAKER = """
import sys
from lamella.tracking.store import open_store
print("ready", flush=True)
open_store(sys.argv[1], None, "e")
"""


@pytest.mark.slow  # three kills and a whole store
def test_who_is_killed_while_a_store_is_made_leaves_none(tmp_path: Path) -> None:
    """Takes seconds, most of them MLflow's own."""
    file, part, script = tmp_path / "runs.db", tmp_path / "runs.db.part", tmp_path / "maker.py"
    script.write_text(MAKER)
    halves = []
    for size in (1, 150_000, 400_000):
        maker = start(script, f"sqlite:///{file}", cwd=tmp_path)
        while not any(each.stat().st_size >= size for each in tmp_path.glob(part.name)):
            assert maker.poll() is None, end(maker).stderr
            time.sleep(0.002)
        os.kill(maker.pid, signal.SIGKILL)
        end(maker)
        assert not file.exists()
        half = tmp_path / f"half_{size}.db"
        shutil.copy(part, half)  # as an older version left it
        halves.append(half)
    for half in halves:
        if half.stat().st_size:
            said = refused(old(half))
            assert "it is half made" in said.problem
            assert said.remedy.endswith(f"rm {half}")
    client, experiment = open_store(f"sqlite:///{file}", None, "e")
    assert client.get_experiment(experiment).name == "e"
    assert {each.name for each in tmp_path.glob("runs.db*")} == {"runs.db", "runs.db.lock"}


@pytest.mark.parametrize("size", ["64k", "200k", "600k", "800k"])
def test_a_disk_that_fills_while_a_store_is_made_leaves_none(small: Path, size: str) -> None:
    resized(small, size)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever MLflow makes of it
        open_store(f"sqlite:///{small}/runs.db", None, "e")
    problem, remedy = mistake(caught.value, [disk.Place("tracking.uri", small)]) or ("", "")
    assert f"the disk of {small} (tracking.uri) is full" in problem
    assert "tracking.uri=sqlite:////FOLDER/runs.db" in remedy
    assert {each.name for each in small.iterdir()} <= {"runs.db.lock"}


def test_an_empty_file_is_no_store_yet(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    with pytest.raises(StorageError, match="there is no such file"):
        connect(f"sqlite:///{tmp_path}/runs.db")


def test_half_a_store_names_what_to_delete(tmp_path: Path) -> None:
    file = changed(tmp_path / "my runs.db", "CREATE TABLE _alembic_tmp_experiments (a)", "DELETE FROM alembic_version")
    (tmp_path / "my runs.db-journal").touch()
    said = refused(file)
    assert "was stopped, or the disk was full" in said.problem
    assert said.remedy.endswith(f"rm {shlex.quote(str(file))} {shlex.quote(f'{file}-journal')}")
    subprocess.run(said.remedy.splitlines()[-1], shell=True, check=True)
    assert not file.exists()


def test_no_run_is_lost_to_the_advice(tmp_path: Path) -> None:
    run = (
        "INSERT INTO runs (run_uuid, experiment_id, status, source_type, lifecycle_stage) "
        "VALUES ('r', 0, 'FINISHED', 'LOCAL', 'active')"
    )
    said = refused(changed(tmp_path / "a.db", run, "CREATE TABLE _alembic_tmp_runs (a)", "DELETE FROM alembic_version"))
    assert "broken off" in said.problem
    assert "Put back a copy" in said.remedy
    assert "loses its runs" in said.remedy
    file = changed(tmp_path / "b.db", run)
    with file.open("rb+") as cut:
        cut.truncate(file.stat().st_size - 8192)
    said = refused(old(file))
    assert "it ends after" in said.problem or "damaged" in said.problem
    assert "loses its runs" in said.remedy


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_text("no database " * 100)
    assert "not a database" in refused(garbage).problem
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE pictures (a)")
    said = refused(old(other))
    assert "another program's database (pictures)" in said.problem
    assert "rm " not in said.remedy
    assert str(tmp_path) in refused_folder(tmp_path).problem


def refused_folder(folder: Path) -> LamellaError:
    """What is said of a folder in place of a store."""
    with pytest.raises(StorageError) as caught, store.reported("no", ""):
        connect(f"sqlite:///{folder}")
    return caught.value


def test_another_version_of_mlflow_is_named_with_what_to_type(tmp_path: Path) -> None:
    latest, known = store._revisions()
    before = sorted(known - {latest})[0]
    said = refused(changed(tmp_path / "a b.db", f"UPDATE alembic_version SET version_num = '{before}'"))
    assert "an older MLflow's" in said.problem
    copy, upgrade = said.remedy.splitlines()[1:]
    assert shlex.split(copy) == ["cp", f"{tmp_path}/a b.db", f"{tmp_path}/a b.db.before"]
    assert shlex.split(upgrade) == ["mlflow", "db", "upgrade", f"sqlite+pysqlite:///{tmp_path}/a b.db"]
    said = refused(changed(tmp_path / "b.db", "UPDATE alembic_version SET version_num = 'ffff'"))
    assert "a newer MLflow's" in said.problem
    assert "pip install --upgrade mlflow" in said.remedy
    said = refused(changed(tmp_path / "c.db", "DROP TABLE metrics"))
    assert "it lacks the table metrics" in said.problem


def test_a_store_that_another_program_is_making_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    changed(file, "DELETE FROM alembic_version")
    os.utime(file)
    began = time.monotonic()
    with pytest.raises(StorageError, match="was stopped"):
        require_store(f"sqlite:///{file}")
    assert 4 < time.monotonic() - began < 8


# Where files go


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, str]:
    """A folder with a store and a finished run in it, and the run's id."""
    home = tmp_path / "home"
    home.mkdir()
    client, experiment = open_store(empty_store(home / "runs.db"), str(home / "files"), "e")
    run_id = client.create_run(experiment).info.run_id
    client.log_text(run_id, "kept", "a.txt")
    client.set_terminated(run_id)
    return home, run_id


def test_files_that_cannot_go_where_they_are_asked_for_are_refused(kept: tuple[Path, str], tmp_path: Path) -> None:
    home, _ = kept
    uri = f"sqlite:///{home}/runs.db"
    with pytest.raises(StorageError) as caught:
        open_store(uri, str(tmp_path / "else"), "e")
    assert f"has its files in {home}/files/" in caught.value.problem
    assert f"cannot go to {tmp_path}/else/" in caught.value.problem
    assert "tracking.artifacts=null" in caught.value.remedy
    assert not (tmp_path / "else").exists()
    assert open_store(uri, None, "e")[1] == open_store(uri, str(home / "files"), "e")[1]
    client, other = open_store(uri, str(tmp_path / "else"), "another")  # as the message says
    assert f"{tmp_path}/else/" in client.get_experiment(other).artifact_location


def test_who_says_no_folder_goes_on_where_the_files_are(
    kept: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = kept
    monkeypatch.setenv("LAMELLA_HOME", str(tmp_path / "own"))
    unsaid = str(tmp_path / "own/mlflow/artifacts")
    open_store(f"sqlite:///{home}/runs.db", unsaid, "e")
    copy = tmp_path / "own/mlflow/lamella.db"  # but of a whole home that was copied the files would go to the first
    copy.parent.mkdir(parents=True)
    shutil.copy(home / "runs.db", copy)
    with pytest.raises(StorageError, match="has its files in"):
        open_store(f"sqlite:///{copy}", unsaid, "e")


def test_a_moved_store_is_refused_and_what_to_type_mends_it(kept: tuple[Path, str], tmp_path: Path) -> None:
    home, run_id = kept
    moved = home.rename(tmp_path / "moved")
    uri = f"sqlite:///{moved}/runs.db"
    for artifacts in (None, str(moved / "files")):
        with pytest.raises(StorageError) as caught:
            open_store(uri, artifacts, "e")
        assert f"{home}/files/" in caught.value.problem
        assert "which is gone" in caught.value.problem
    with pytest.raises(StorageError) as reading:
        tracking.read(uri, run_id).fetch("a.txt")
    assert f"there is no folder {home}/files/" in reading.value.problem
    assert not home.exists()
    link = reading.value.remedy.splitlines()[-1].strip()
    assert link == f"ln -s NEW_PLACE {home}"
    subprocess.run(link.replace("NEW_PLACE", str(moved)), shell=True, check=True)
    assert tracking.read(uri, run_id).fetch("a.txt").read_text() == "kept"
    open_store(uri, str(moved / "files"), "e")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        if umask == 0o077:  # once is enough: MLflow takes seconds
            make_store(f"sqlite:///{tmp_path}/runs.db")
        else:
            empty_store(tmp_path / "runs.db")
        client, experiment = open_store(f"sqlite:///{tmp_path}/runs.db", str(tmp_path / "files"), "e")
        (tmp_path / "a.txt").touch()
        client.log_artifact(client.create_run(experiment).info.run_id, str(tmp_path / "a.txt"))
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


# A disk that fills while runs are written


def test_a_disk_that_fills_while_runs_are_written_breaks_no_store(small: Path) -> None:
    resized(small, "4m")
    uri = empty_store(small / "runs.db")
    client, experiment = open_store(uri, str(small / "files"), "e")
    ids = []
    for room in (0, 4096, 20_000, 60_000):
        filler = small / "filler"
        filler.write_bytes(b"\0" * (disk.free(small) - room))
        with pytest.raises(Exception) as caught:  # noqa: PT011, PT012
            for step in range(1000):
                run = client.create_run(experiment)
                for at in range(20):
                    client.log_metric(run.info.run_id, f"m{at}", step)
        assert "disk of" in (mistake(caught.value, [disk.Place("tracking.uri", small)]) or ("", ""))[0]
        filler.unlink()
        ids.append(client.create_run(experiment).info.run_id)  # and goes on
        require_store(uri)
    with contextlib.closing(sqlite3.connect(small / "runs.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {*ids} <= {run.info.run_id for run in client.search_runs([experiment])}


# Servers


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no password of the machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def no_server(uri: str) -> StorageError:
    """What is said of it."""
    with pytest.raises(StorageError) as caught:
        require_store(uri)
    assert caught.value.problem.startswith(f"the tracking store {uri} cannot be used: ")
    return caught.value


@pytest.mark.parametrize(
    ("code", "problem", "remedy"),
    [
        (401, "is not known", "MLFLOW_TRACKING_USERNAME"),
        (403, "may not", "MLFLOW_TRACKING_PASSWORD"),
        (404, "is no MLflow server", "tracking.offline=true"),
        (502, "the status 502", "tracking.offline=true"),
    ],
)
def test_what_a_server_answers_is_put_into_words(code: int, problem: str, remedy: str) -> None:
    with serving() as web:
        web.answers = [status(code)]
        said = no_server(web.root)
    assert problem in said.problem
    assert remedy in said.remedy


def test_user_and_password_of_the_environment_are_told_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cr3t")
    with serving() as web:
        web.answers = [status(200, b"{}")]
        require_store(web.root)
        assert web.headers(0)["Authorization"] == "Basic bWU6czNjcjN0"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_a_proxy_of_the_environment_is_gone_through_and_past(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with serving() as proxy:
        proxy.answers = [status(200, b"{}")]
        monkeypatch.setenv(name, proxy.root)
        require_store("http://mlflow.example:5000")
        assert proxy.asked[0][0].startswith("http://mlflow.example:5000/api/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serving() as web:
            web.answers = [status(200, b"{}")]
            require_store(web.root)
        assert len(proxy.asked) == 1
    said = no_server("http://mlflow.example:5000")  # the proxy is gone
    assert "the proxy cannot be used (Connection refused)" in said.problem
    assert "export NO_PROXY=mlflow.example" in said.remedy


def test_a_server_that_speaks_no_tls_is_named() -> None:
    with serving() as web:
        web.answers = [status(200)]
        said = no_server(web.root.replace("http://", "https://"))
    assert "no safe connection" in said.problem
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in said.remedy


def test_a_server_that_does_not_answer_is_given_up_within_ten_seconds() -> None:
    """Nine seconds: one that takes five for an answer must be waited for."""
    began = time.monotonic()
    with serving() as web:
        web.answers = [waits(20)]
        said = no_server(web.root)
        assert time.monotonic() - began < 10
    assert "no answer within 9 s" in said.problem
    assert "tracking.offline=true" in said.remedy


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:s3cr3t@127.0.0.1:9",
        "https://s3cr3t@host/mlflow",
        "http://user:s3/cr3t@host:80",
        "postgresql://user:s3cr3t@host/db",
        "postgresql+psycopg2://host/db?user=me&password=s3cr3t",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_repeated(uri: str, tmp_path: Path) -> None:
    for use in (lambda: open_store(uri, str(tmp_path / "files"), "e"), lambda: tracking.read(uri, "a" * 32)):
        with pytest.raises(ConfigError) as caught:
            use()
        assert "s3cr3t" not in str(caught.value)
        assert "cr3t" not in str(caught.value)
        assert ("MLFLOW_TRACKING_PASSWORD" if uri.startswith("http") else "PGPASSWORD") in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["postgresql://user@host/db", "http://[::1]:5000/x", "sqlite:////a:b@c/d.db"])
def test_addresses_without_secrets_are_none_to_refuse(uri: str) -> None:
    from lamella.config.paths import refuse_secrets

    refuse_secrets(uri)


@pytest.mark.slow  # the end of a run waits a minute for room
def test_a_full_disk_of_files_is_named_at_the_end_of_a_run_and_nothing_torn_is_there(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = empty_store(tmp_path / "runs.db")
    with tracking.start(
        uri=uri,
        artifacts=str(small / "files"),
        experiment="e",
        run_name="r",
        params={},
        tags={},
        output=tmp_path / "out",
    ) as run:
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints/best.ckpt").write_bytes(b"\0" * 200_000)
        run.log_file("checkpoints/best.ckpt")
    said = " ".join("".join(capsys.readouterr()).split())
    assert f"the disk of {small}/files/" in said
    assert "(tracking.artifacts) is full" in said
    assert list(small.rglob("*.ckpt")) == []
    assert (run.folder / "checkpoints/best.ckpt").stat().st_size == 200_000
