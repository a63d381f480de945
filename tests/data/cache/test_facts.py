"""Facts about files: right whatever happens, found out once, shared by processes, and no worse for a broken disk."""

import hashlib
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from lamella.data.cache.facts import Facts
from lamella.errors import DataError


def write(path, content, age=60.0):
    """A file that was last changed `age` seconds ago."""
    path.write_bytes(content)
    then = time.time_ns() - int(age * 1e9)
    os.utime(path, ns=(then, then))
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def database(folder):
    (path,) = folder.glob("*.sqlite")
    return path


@pytest.fixture
def facts(tmp_path):
    return Facts(tmp_path / "cache")


@pytest.fixture
def opened(monkeypatch):
    """The files whose bytes are read."""
    paths = []
    plain = Path.open

    def watched(path, *args, **kwargs):
        if args == ("rb",):
            paths.append(path)
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", watched)
    return paths


def never():
    raise AssertionError("this fact was known")


# --- hashes ----------------------------------------------------------------------------------------------


def test_a_hash_is_found_once_by_all(tmp_path, facts, opened):
    path = write(tmp_path / "file", b"one")
    assert facts.sha256(path) == sha256(b"one")
    assert opened == [path]
    assert facts.sha256(path) == Facts(facts.folder).sha256(path) == sha256(b"one")
    assert opened == [path]


def test_a_young_file_may_change_unseen_and_is_hashed_again(tmp_path, facts, opened):
    path = write(tmp_path / "file", b"one", age=0)
    assert facts.sha256(path) == facts.sha256(path) == sha256(b"one")
    assert opened == [path, path]
    write(path, b"one", age=-60)  # another machine's clock
    assert facts.sha256(path) == facts.sha256(path) == sha256(b"one")
    assert len(opened) == 4
    write(path, b"one", age=3)
    assert facts.sha256(path) == facts.sha256(path) == sha256(b"one")
    assert len(opened) == 5


def test_a_change_is_noticed_though_size_and_time_are_the_same(tmp_path, facts):
    path = write(tmp_path / "file", b"one")
    assert facts.sha256(path) == sha256(b"one")
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert facts.sha256(path) == Facts(facts.folder).sha256(path) == sha256(b"two")


def test_another_file_in_its_place_is_noticed(tmp_path, facts):
    path, other = write(tmp_path / "file", b"one"), write(tmp_path / "other", b"two")
    stat = path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert facts.sha256(path) == sha256(b"one")
    other.replace(path)
    assert facts.sha256(path) == sha256(b"two")


def test_a_file_that_changes_meanwhile_is_not_remembered(tmp_path, facts, monkeypatch):
    path = write(tmp_path / "file", b"one")
    digest = hashlib.file_digest

    def slow(file, name):
        found = digest(file, name)
        write(path, b"two")
        return found

    monkeypatch.setattr(hashlib, "file_digest", slow)
    facts.sha256(path)
    monkeypatch.undo()
    assert facts.sha256(path) == Facts(facts.folder).sha256(path) == sha256(b"two")


def test_what_cannot_be_read_is_named(tmp_path, facts):
    with pytest.raises(DataError, match=r"nowhere\.png cannot be read: No such file"):
        facts.sha256(tmp_path / "nowhere.png")


def test_a_folder_is_all_that_lies_in_it(tmp_path, facts):
    for name in ("a/x", "b/x", "c/y"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one")
    assert facts.sha256(tmp_path / "a") == facts.sha256(tmp_path / "b") != facts.sha256(tmp_path / "c")
    (tmp_path / "b/x").write_text("two")
    assert facts.sha256(tmp_path / "a") != facts.sha256(tmp_path / "b")


# --- other facts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", [None, 0, "", [1, 2.5, "é"], {"a": {"b": []}}, float("inf")])
def test_a_fact_is_found_out_once(facts, fact):
    assert facts.recall("key", lambda: fact) == fact
    assert facts.recall("key", never) == fact
    assert Facts(facts.folder).recall("key", never) == fact


def test_the_first_answer_is_of_the_same_kind_as_the_later_ones(facts):
    assert facts.recall("key", lambda: (1, 2)) == [1, 2] == facts.recall("key", never)


def test_a_fact_that_cannot_be_found_is_not_remembered(facts):
    with pytest.raises(ZeroDivisionError):
        facts.recall("key", lambda: 1 / 0)
    assert facts.recall("key", lambda: 1) == 1


def test_other_keys_have_other_facts(facts):
    assert [facts.recall(key, lambda key=key: key) for key in ("a", "b", "a")] == ["a", "b", "a"]


def test_it_can_be_sent_to_another_process(facts):
    facts.recall("key", lambda: 1)
    assert pickle.loads(pickle.dumps(facts)).recall("key", never) == 1


# --- several at once -------------------------------------------------------------------------------------


def ask(facts, keys):
    return [facts.recall(key, lambda key=key: sha256(key.encode())) for key in keys]


KEYS = [f"key {number}" for number in range(150)]
RIGHT = [sha256(key.encode()) for key in KEYS]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_may_share_it(facts, start):
    facts.recall("before the fork", lambda: 1)
    with ProcessPoolExecutor(4, multiprocessing.get_context(start)) as pool:
        waiting = [pool.submit(ask, facts, KEYS) for _ in range(4)]
        assert all(future.result() == RIGHT for future in waiting)
    assert facts.recall("before the fork", never) == 1
    assert [facts.recall(key, never) for key in KEYS] == RIGHT


def test_threads_may_share_it(facts):
    with ThreadPoolExecutor(8) as pool:
        assert all(found == RIGHT for found in pool.map(lambda _: ask(facts, KEYS), range(8)))


FILLS = """
import sys
from pathlib import Path
from lamella.data.cache.facts import Facts
facts = Facts(Path(sys.argv[1]))
for number in range(10**9):
    facts.recall(f"{sys.argv[2]} {number}", lambda: [number] * 2000)
    if number == 20:
        print("busy", flush=True)
"""


def test_killed_while_writing(facts):
    for turn in range(3):
        command = [sys.executable, "-c", FILLS, facts.folder, str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"busy\n"
            time.sleep(0.05 * turn)
            os.kill(process.pid, signal.SIGKILL)
        after = Facts(facts.folder)
        for number in range(21):
            assert after.recall(f"{turn} {number}", never) == [number] * 2000
        assert after.recall(f"after {turn}", lambda: 1) == after.recall(f"after {turn}", never) == 1
    with sqlite3.connect(database(facts.folder)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- when something is broken ----------------------------------------------------------------------------

DAMAGE = {
    "no database": lambda _: b"no database" * 500,
    "cut off": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: bytes(len(whole)),
    "pages garbled": lambda whole: whole[:4096] + b"\xff" * (len(whole) - 4096),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("in_use", [False, True])
def test_a_damaged_database_is_made_anew(facts, damage, in_use):
    ask(facts, KEYS)
    path = database(facts.folder)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    if not in_use:
        facts = Facts(facts.folder)
    assert ask(facts, KEYS) == RIGHT
    fresh = Facts(facts.folder)
    assert ask(fresh, KEYS) == RIGHT
    assert [fresh.recall(key, never) for key in KEYS] == RIGHT
    assert [Facts(facts.folder).recall(key, never) for key in KEYS] == RIGHT


def test_processes_meet_a_damaged_database_at_once(facts):
    facts.recall("key", lambda: 1)
    database(facts.folder).write_bytes(b"no database" * 500)
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        waiting = [pool.submit(ask, Facts(facts.folder), KEYS) for _ in range(4)]
        assert all(future.result() == RIGHT for future in waiting)
    ask(facts, KEYS)
    assert [Facts(facts.folder).recall(key, never) for key in KEYS] == RIGHT


def test_a_row_that_a_disk_changed_is_not_believed(facts, tmp_path):
    path = write(tmp_path / "file", b"one")
    assert facts.sha256(path) == sha256(b"one")
    assert facts.recall("key", lambda: 12345) == 12345
    whole = database(facts.folder).read_bytes()
    changed = whole.replace(b"12345", b"12355").replace(sha256(b"one").encode(), sha256(b"two").encode())
    assert changed != whole
    database(facts.folder).write_bytes(changed)
    after = Facts(facts.folder)
    assert after.recall("key", lambda: 12345) == 12345
    assert after.sha256(path) == sha256(b"one")
    assert Facts(facts.folder).recall("key", never) == 12345


def test_without_a_place_the_answers_are_right_all_the_same(tmp_path):
    (tmp_path / "in the way").write_text("a file")
    facts = Facts(tmp_path / "in the way")
    path = write(tmp_path / "file", b"one")
    for _ in range(2):
        assert facts.sha256(path) == sha256(b"one")
        assert ask(facts, KEYS[:3]) == RIGHT[:3]


def test_a_name_that_is_no_text(facts, tmp_path):
    path = write(Path(os.fsdecode(bytes(tmp_path) + b"/\xff")), b"one")
    assert facts.sha256(path) == Facts(facts.folder).sha256(path) == sha256(b"one")


def test_another_program_s_lock_is_outwaited(facts):
    facts.recall("key", lambda: 1)
    holder = sqlite3.connect(database(facts.folder), check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(facts.recall, "key", never)
        time.sleep(0.3)
        assert not waiting.done()
        holder.rollback()
        assert waiting.result() == 1
    holder.close()


def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        path = write(tmp_path / "file", b"one")
        for _ in range(2):
            facts = Facts(disk)
            assert ask(facts, KEYS) == RIGHT
            assert [facts.recall(f"long {n}", lambda n=n: [n] * 5000) for n in range(9)] == [
                [n] * 5000 for n in range(9)
            ]
            assert facts.sha256(path) == sha256(b"one")
        assert ask(Facts(disk), KEYS[:20]) == RIGHT[:20]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
