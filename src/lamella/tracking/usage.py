"""What runs take on disk: in their store's folder for files, in their working folders; and what dead ones left there.

Only folders of names that Lamella gives are looked at, and only those that say of which store they are.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lamella.config.paths import sqlite_file
from lamella.errors import StorageError
from lamella.tracking import alive
from lamella.tracking.outbox import ENDS, JOURNAL, LOCK, RESUMED_FROM, Hold, Record, Sent, entries_of, last_status
from lamella.tracking.store import connect, first_line, reported

from mlflow import MlflowClient  # isort: skip - `store` says first how MLflow is to behave
from mlflow.entities import ViewType  # isort: skip
from mlflow.utils.file_utils import local_file_uri_to_path  # isort: skip

KINDS = ("checkpoints", "model", "figures", "rest")
"""What the files of a run are counted as."""

_KIND_OF = {"checkpoints": "checkpoints", "model": "model"} | dict.fromkeys(
    ("figures", "pictures", "outcomes"), "figures"
)
_ID, _MODEL_ID = re.compile("[0-9a-f]{32}"), re.compile("m-[0-9a-f]{32}")
_SWEEP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d{6})?")
_PART = re.compile(r"[0-9a-f]{40}\.[0-9a-f]{32}\.part")  # an array of the cache that is written
_YOUNG_S = 3600  # what was changed so lately may still be in work


class Files:
    """Files that are counted once, however many names they have."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def size(self, path: Path) -> int:
        """Bytes of a file, or of all files below a folder, that were not counted before; no link is followed."""
        return sum(size for _, size in self.sizes(path))

    def sizes(self, path: Path) -> Iterator[tuple[Path, int]]:
        """The same, one by one."""
        for file, stat in _below(path):
            if (stat.st_dev, stat.st_ino) not in self._seen:
                self._seen.add((stat.st_dev, stat.st_ino))
                yield file, stat.st_size


@dataclass(frozen=True)
class RunUsage:
    """A run of the store and what it takes.

    Attributes:
        run_id: its id.
        name: its name.
        status: FINISHED, FAILED, KILLED, RUNNING, or "deleted".
        began: in seconds since 1970.
        here: whether its files lie on this machine.
        sizes: bytes, by `KINDS`.
    """

    run_id: str
    name: str
    status: str
    began: float
    here: bool
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def add(self, files: Files, folder: Path, kind: str | None = None) -> None:
        """Counts what lies below a folder of the run, as one kind or as its names say."""
        for path, size in files.sizes(folder):
            self.sizes[kind or _KIND_OF.get(path.relative_to(folder).parts[0], "rest")] += size


class Leftover(NamedTuple):
    """What nobody needs any more.

    Attributes:
        path: of a file, or a folder with all in it.
        why: the end of a sentence.
        model_id: of the failed LoggedModel whose folder it is; "" for none.
    """

    path: Path
    why: str
    model_id: str = ""


class Survey(NamedTuple):
    """What there is.

    Attributes:
        runs: Lamella's, the latest first.
        leftovers: what may go.
        kept: working folders that somebody may still need, each with the reason and what to type.
    """

    runs: list[RunUsage]
    leftovers: list[Leftover]
    kept: list[tuple[Path, str]]


class _Run(NamedTuple):
    """A run as its store has it, its files' folder and the folders of its models (None: on another machine)."""

    usage: RunUsage
    tags: Mapping[str, str]
    files: Path | None
    models: list[tuple[str, str, Path | None]]  # id, status


def survey(uri: str, output: Path, cache: Path) -> Survey:
    """What the runs of a store take, and what dead ones left in it, in working folders and in the cache.

    Args:
        uri: of the store.
        output: the folder of working folders.
        cache: the folder of decoded images.

    Raises:
        StorageError: the store cannot be read.
    """
    with reported(f"the tracking store {uri} cannot be read", "`tracking.uri` says where runs are kept."):
        client = connect(uri)
        alive.tell(uri, client)
        experiments = client.search_experiments(view_type=ViewType.ALL)
        known, places = _runs(client, experiments)
    files = Files()
    leftovers: list[Leftover] = []
    kept: list[tuple[Path, str]] = []
    for run in known.values():
        if run.files is not None:
            run.usage.add(files, run.files)
        for _, _, folder in run.models:
            if folder is not None:
                run.usage.add(files, folder, "model")
        leftovers += _of_run(run)
    for place in places:
        leftovers += _unknown(place, known, uri)
    for folder in _folders(output, _ID):
        if folder.name in known:
            known[folder.name].usage.add(files, folder)
        why, needed = _working_folder(folder, known, uri)
        if needed:
            kept.append((folder, why))
        else:
            leftovers.append(Leftover(folder, why))
    leftovers += _sweeps(output / "sweeps", known)
    for file, stat in _below(cache):
        if _PART.fullmatch(file.name) and _old(stat.st_mtime):
            leftovers.append(Leftover(file, "an array that was never finished"))
    runs = sorted((run.usage for run in known.values()), key=lambda usage: -usage.began)
    return Survey(runs, leftovers, kept)


def remove(uri: str, leftovers: Iterable[Leftover]) -> tuple[int, list[str]]:
    """Removes leftovers; gives the bytes that became free, and what could not be removed, a sentence each.

    A file that has another name elsewhere takes its space as before.
    """
    failed: list[str] = []
    links: dict[tuple[int, int], list[int]] = {}  # names that went, names there were, size
    for each in leftovers:
        if each.path.is_symlink() or _in_use(each.path):
            failed.append(f"{each.path} is in use by now")
            continue
        gone = [stat for _, stat in _below(each.path)]
        try:
            if each.path.is_dir():
                shutil.rmtree(each.path)
            else:
                each.path.unlink(missing_ok=True)
            if each.model_id:
                connect(uri).delete_logged_model(each.model_id)
        except Exception as error:  # the disk's, or whatever a store raises
            failed.append(f"{each.path}: {first_line(error)}")
            continue
        for stat in gone:
            links.setdefault((stat.st_dev, stat.st_ino), [0, stat.st_nlink, stat.st_size])[0] += 1
    return sum(size for went, names, size in links.values() if went == names), failed


def _runs(client: MlflowClient, experiments: Iterable[Any]) -> tuple[dict[str, _Run], set[Path]]:
    """Lamella's runs by their ids, and the folders of this machine in which those of their experiments keep files."""
    known: dict[str, _Run] = {}
    places: set[Path] = set()
    for experiment in experiments:
        token: str | None = ""
        while token is not None:
            ids = [experiment.experiment_id]
            page = client.search_runs(ids, run_view_type=ViewType.ALL, page_token=token or None)
            for each in page:
                info, tags = each.info, each.data.tags
                if not any(name.startswith("lamella.") for name in tags):
                    continue  # another program's
                files = _local(info.artifact_uri)
                status = info.status if info.lifecycle_stage == "active" else "deleted"
                usage = RunUsage(info.run_id, info.run_name, status, info.start_time / 1000, files is not None)
                known[info.run_id] = _Run(usage, tags, files, [])
                if (place := _local(experiment.artifact_location)) is not None:
                    places.add(place)
            token = page.token or None
        token = ""
        while token is not None and known:
            models = client.search_logged_models([experiment.experiment_id], page_token=token or None)
            for model in models:
                if model.source_run_id in known:
                    found = (model.model_id, str(model.status), _local(model.artifact_location))
                    known[model.source_run_id].models.append(found)
            token = models.token or None
    return known, places


def _of_run(run: _Run) -> Iterator[Leftover]:
    """What is left of a run that was deleted, and of models whose making failed."""
    status = run.usage.status
    named = [(run.usage.run_id, run.files), *((model_id, folder) for model_id, _, folder in run.models)]
    for name, folder in named if status == "deleted" else []:
        if folder is not None and folder.parent.name == name and _is_folder(folder.parent):
            yield Leftover(folder.parent, "of a run that was deleted")
    for model_id, state, folder in run.models:
        if status == "FINISHED" and state != "READY" and folder is not None and folder.parent.name == model_id:
            yield Leftover(folder.parent, "a model whose making failed", model_id)


def _unknown(place: Path, known: Mapping[str, _Run], uri: str) -> Iterator[Leftover]:
    """Folders of files of runs, and of models, that say they are of this store, which does not know them."""
    for folder in _folders(place, _ID):
        mine = _same_store(_store_of(folder / "artifacts"), uri)
        if mine and folder.name not in known and _old(folder.stat().st_mtime):
            yield Leftover(folder, "of a run that the store does not know")
    models = {model_id for run in known.values() for model_id, _, _ in run.models}
    for folder in _folders(place / "models", _MODEL_ID):
        with contextlib.suppress(OSError):
            text = (folder / "artifacts" / "MLmodel").read_text(errors="replace")
            its = re.search(r"^run_id: ([0-9a-f]{32})$", text, re.MULTILINE)
            ours = its and its[1] in known and "loader_module: lamella_model" in text
            if ours and folder.name not in models and _old(folder.stat().st_mtime):
                yield Leftover(folder, "a model that the store does not know")


def _working_folder(folder: Path, known: Mapping[str, _Run], uri: str) -> tuple[str, bool]:
    """What is to be said of a working folder, and whether it is needed."""
    store = _store_of(folder)
    if _in_use(folder):
        return "a process is at work on it", True
    if store is None:
        return "it does not say of which run it is", True
    if not _same_store(store, uri):
        return f"it is of another store, {store}", True
    run = known.get(folder.name)
    if _waits(folder):
        return "not all of it is in the store", True
    if run is None:
        return ("of a run that the store does not know", False) if _old(folder.stat().st_mtime) else ("it is new", True)
    status = run.usage.status
    if status == "RUNNING":
        return "a process is at work on it", True
    if status in ("FINISHED", "deleted"):
        return f"the working folder of a run that is {status}", False
    there = [name for name in RESUMED_FROM if (folder / name).exists()]
    if all(run.files is not None and _alike(folder / name, run.files / name) for name in there):
        return f"the working folder of a run that is {status}; the store has what it goes on from, too", False
    return f"the run is {status}, and its last checkpoint is here alone", True


def _sweeps(place: Path, known: Mapping[str, _Run]) -> Iterator[Leftover]:
    """Folders of sweeps in which nothing is but what was asked for, and no job of which runs."""
    running = {run.tags.get("lamella.sweep") for run in known.values() if run.usage.status == "RUNNING"}
    for folder in _folders(place, _SWEEP):
        files = [path.relative_to(folder).as_posix() for path, _ in _below(folder)]
        if folder.name not in running and {*files} <= {"multirun.yaml"} and _old(folder.stat().st_mtime):
            yield Leftover(folder, "of a sweep that is over")


def _store_of(folder: Path) -> str | None:
    """The address of the store that a folder of a run is for, as it says itself; None where it does not."""
    if record := Record.read(folder):
        return record.uri
    with contextlib.suppress(OSError, UnicodeDecodeError):  # in the store, or of earlier versions
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        if found := re.search(r"^tracking:\n(?:  .*\n)*?  uri: (.+)$", text, re.MULTILINE):
            return found[1].strip("'\"")
    return None


def _waits(folder: Path) -> bool:
    """Whether something of a working folder has not been sent to its store."""
    if not (folder / JOURNAL).exists():
        return False  # an earlier version's, which sent at once
    try:
        entries = entries_of(folder)
    except (StorageError, OSError):
        return True
    sent = Sent.read(folder)
    return last_status(entries) not in ENDS or not sent.complete or sent.entries < len(entries)


def _in_use(folder: Path) -> bool:
    """Whether a living process holds a working folder."""
    if (folder / LOCK).exists():
        try:
            Hold(folder).release()
        except BlockingIOError:
            return True
    return False


def _alike(first: Path, second: Path) -> bool:
    """Whether two files are the same one, or have the same bytes."""
    try:
        if first.samefile(second):
            return True
        if first.stat().st_size != second.stat().st_size:
            return False
        with first.open("rb") as one, second.open("rb") as other:
            while block := one.read(1 << 20):
                if block != other.read(1 << 20):
                    return False
        return True
    except OSError:
        return False


def _same_store(one: str | None, other: str) -> bool:
    files = [sqlite_file(each) for each in (one or "", other)]
    if None not in files:
        first, second = (os.path.realpath(str(file)) for file in files)
        return first == second
    return (one or "").rstrip("/") == other.rstrip("/")


def _local(uri: str) -> Path | None:
    """A place of files as a folder; None where it is on another machine."""
    return Path(local_file_uri_to_path(uri)) if urlsplit(uri).scheme in ("", "file") else None


def _folders(place: Path, names: re.Pattern[str]) -> list[Path]:
    """The folders in one that have such names; no links."""
    with contextlib.suppress(OSError):
        return sorted(each for each in place.iterdir() if names.fullmatch(each.name) and _is_folder(each))
    return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _old(changed: float) -> bool:
    return time.time() - changed > _YOUNG_S


def _below(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """A file, or all files below a folder, with what the system knows of them; links are neither followed nor given."""
    if path.is_symlink() or not path.exists():
        return
    if path.is_file():
        yield path, path.lstat()
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            with contextlib.suppress(OSError):  # gone meanwhile
                if not file.is_symlink() and file.is_file():
                    yield file, file.lstat()
