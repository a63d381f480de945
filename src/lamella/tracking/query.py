"""Runs read back from a store: finished ones, and those that are to be gone on with."""

import contextlib
import csv
import errno
import gc
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lamella.config.paths import typed
from lamella.errors import StorageError
from lamella.metrics.catalogue import lookup
from lamella.plaintext import from_cell
from lamella.tracking import alive
from lamella.tracking.delivery import Place, place_of
from lamella.tracking.outbox import ENDS, RECORD, Hold, Record, entries_of, last_status
from lamella.tracking.store import connect, first_line, reported

from mlflow import MlflowClient  # isort: skip - `store` says first how MLflow is to behave
from mlflow.exceptions import MlflowException  # isort: skip

_AT_ONCE = 8  # files that a server is asked for


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as its store has it: parameters, last metrics, tags, and its files on demand."""

    run_id: str
    name: str
    experiment: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    client: MlflowClient
    place: Place
    # What a server keeps is brought here; gone with the last run that knows it.
    folder: tempfile.TemporaryDirectory[str]

    def fetch(self, name: str) -> Path:
        """One of the run's files on this machine, brought once from where they are elsewhere. Raises StorageError."""
        with reported(f"run {self.run_id} has no {name} to be had", ""):
            return self.place.get(name, Path(self.folder.name) / self.run_id)

    def scores(self) -> pd.DataFrame:
        """`scores/test.csv`: one row an image, sorted by its id; NaN where one has no score. Raises StorageError."""
        file = self.fetch("scores/test.csv")
        text = {"id": str, "case": str, "group": str}
        with file.open(encoding="utf-8", newline="") as lines:
            names = next(csv.reader(lines), [])
        # Ids and groups may spell "NA" or "null": only an empty cell is no value, and only where there are numbers.
        empty = {name: [""] for name in names if name not in text}
        table = pd.read_csv(file, dtype=text, keep_default_na=False, na_values=empty)
        for name in text.keys() & {*table.columns}:
            table[name] = table[name].map(from_cell)
        return table.sort_values("id", ignore_index=True)

    def sibling(self, run_id: str) -> "FinishedRun | None":
        """Another run of the same store, whatever became of it; None where there is none. Raises StorageError."""
        with reported(f"run {run_id} cannot be read", ""):
            run = _known(self.client, run_id)
        return None if run is None else _finished(run, self.experiment, self.client, self.folder)

    def curve(self) -> pd.DataFrame:
        """One row an epoch, a column for each metric that has one value an epoch; no row where nothing was trained."""
        names = [name for name in self.metrics if lookup(name).part in ("train", "val")]
        history = {name: self.client.get_metric_history(self.run_id, name) for name in names}
        steps = {name: {each.step: each.value for each in values} for name, values in history.items()}
        epochs = max((len(values) for values in steps.values()), default=0)
        whole = {name: values for name, values in steps.items() if epochs > 1 and len(values) == epochs}
        return pd.DataFrame(whole).sort_index()


@dataclass(frozen=True)
class Unfinished:
    """A run that can be gone on with: interrupted, failed, kept offline, or finished and to be extended.

    Attributes:
        run_id: in the store; of a run that was kept offline alone, the name of its folder.
        name: of the run.
        status: as the store has it; "OFFLINE" where only its folder knows of it.
        tags: of the run.
        folder: its working folder; None where that is gone or on another machine.
        client: of its store; None offline.
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    folder: Path | None
    client: MlflowClient | None
    # What a store keeps is brought here where there is no working folder.
    _fetched: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="lamella-"), compare=False, repr=False
    )

    def fetch(self, name: str) -> Path:
        """One of the run's files: of its working folder, else of the store. Raises StorageError."""
        if self.folder is not None and (self.folder / name).is_file():
            return self.folder / name
        with reported(f"run {self.run_id} has no {name} to be had", ""):
            if self.client is None:
                raise FileNotFoundError(errno.ENOENT, "there is no such file", str(self.folder and self.folder / name))
            place = place_of(self.client, self.client.get_run(self.run_id))
            return place.get(name, self.folder or Path(self._fetched.name))


def unfinished(uri: str, run_id: str, output: Path) -> Unfinished:
    """The run of an id, whatever became of it; one whose process is gone is marked KILLED by the way.

    Args:
        uri: where runs are kept.
        run_id: as it was printed.
        output: the folder of working folders.

    Raises:
        StorageError: the store cannot be read, there is no such run, or a living process is at work on it.
    """
    folder, record = _working_folder(output, run_id)
    if folder is not None and record is not None:
        try:
            Hold(folder).release()
        except BlockingIOError:
            raise StorageError(
                f"a living process is at work on run {run_id}: {record.process}", "Wait for its end, or end it."
            ) from None
        if record.run_id is None:
            tags = {name: text for entry in entries_of(folder) for name, text in entry.get("tags", {}).items()}
            return Unfinished(record.local_id, record.name, "OFFLINE", tags, folder, None)
        run_id = record.run_id
    with _reading(uri):
        client = connect(uri)
        run = _known(client, run_id)
        if run is None:
            raise StorageError(f"there is no run {run_id!r} in {uri}", f"`{typed('ui')}` lists the runs.")
        status = run.info.status
        # What the store has not heard of yet counts.
        told = last_status(entries_of(folder)) if folder is not None else status
        if told == "FINISHED" or (status == "RUNNING" and told in ENDS):
            status = told
        elif status == "RUNNING":
            # Nobody holds its folder; without one only its tags can tell.
            if folder is None and not alive.is_gone(run.data.tags, begun=run.info.start_time / 1000):
                process = run.data.tags.get(alive.PROCESS, "not known which")
                raise StorageError(
                    f"a living process is at work on run {run_id}: {process}",
                    "Wait for its end, or end it.",
                )
            status = "KILLED"
            client.set_terminated(run.info.run_id, status)
    info = run.info
    return Unfinished(info.run_id, info.run_name, status, run.data.tags, folder, client)


def _known(client: MlflowClient, run_id: str) -> Any:
    """The run of an id, the store's or the one that it had offline; None where there is none."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    if not run_id.isalnum():
        return None
    experiments = [each.experiment_id for each in client.search_experiments()]
    return next(iter(client.search_runs(experiments, f"tags.`lamella.offline_id` = '{run_id}'")), None)


def _working_folder(output: Path, run_id: str) -> tuple[Path | None, Record | None]:
    """The working folder of a run, by its id in the store or its own."""
    for folder in (output / run_id, *(path.parent for path in output.glob(f"*/{RECORD}"))):
        record = Record.read(folder)
        if record is not None and run_id in (record.run_id, record.local_id):
            return folder, record
    return None, None


def finished(
    uri: str, *, sweep: str | None = None, experiment: str | Sequence[str] | None = None, where: str = ""
) -> list[FinishedRun]:
    """All finished runs that match, in the order in which they began.

    Args:
        uri: where runs are kept.
        sweep: only those of this sweep, of whatever experiment.
        experiment: only those of this experiment, or of these.
        where: only those that MLflow's filter language says, such as "params.model.name = 'unet'".

    Raises:
        StorageError: the store cannot be read, the filter cannot be understood, or there is no such experiment.
    """
    parts = ["attributes.status = 'FINISHED'", where, f"tags.`lamella.sweep` = '{sweep}'" if sweep else ""]
    client, runs, names = _search(uri, experiment, " and ".join(filter(None, parts)), where)
    folder = tempfile.TemporaryDirectory(prefix="lamella-")
    return [_finished(run, names[run.info.experiment_id], client, folder) for run in runs]


@dataclass(frozen=True)
class Listed:
    """A run as a list of all has it, whatever became of it.

    Attributes:
        run_id: its id.
        status: FINISHED, FAILED, KILLED or RUNNING.
        params: as the store has them.
        metrics: the last value of each.
        tags: as the store has them.
    """

    run_id: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def listed(uri: str, experiment: str | Sequence[str]) -> list[Listed]:
    """All runs of an experiment, whatever became of them, in the order in which they began; deleted ones do not count.

    Raises:
        StorageError: the store cannot be read, or there is no such experiment.
    """
    _, runs, _ = _search(uri, experiment, "", "")
    return [Listed(run.info.run_id, run.info.status, run.data.params, run.data.metrics, run.data.tags) for run in runs]


def _of_experiments(names: Mapping[str, str], experiment: str | Sequence[str] | None, uri: str) -> list[str]:
    """The ids of one experiment or several, of None of all. Raises StorageError: there is no such experiment."""
    if experiment is None:
        return list(names)
    wanted = [experiment] if isinstance(experiment, str) else list(experiment)
    for name in wanted:
        if name not in names.values():
            parts = [part.strip() for part in name.split(",")]
            several = {*parts} & {*names.values()}
            remedy = f"There are: {', '.join(sorted(names.values()))}."
            if several:
                remedy = f"Several are written in brackets: 'experiment=[{','.join(parts)}]'. {remedy}"
            raise StorageError(f"there is no experiment {name!r} in {uri}", remedy)
    return [id_ for id_, name in names.items() if name in wanted]


def _search(
    uri: str, experiment: str | Sequence[str] | None, matching: str, where: str
) -> tuple[MlflowClient, list[Any], Any]:
    """A store's client, the runs that match, and its experiments by their ids; `where` is what a user wrote of it."""
    with _reading(uri):
        client = connect(uri)
        alive.tell(uri, client)
        names = {each.experiment_id: each.name for each in client.search_experiments()}
        chosen = _of_experiments(names, experiment, uri)
        runs: list[Any] = []
        token: str | None = ""
        try:
            while token is not None:  # a store gives so many at a time
                with _kept():
                    page = client.search_runs(
                        chosen, matching, order_by=["attributes.start_time ASC"], page_token=token
                    )
                runs += page
                token = page.token or None
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise StorageError(
                f"filter={where!r} is not understood: {first_line(error)}",
                "Such as: filter=\"params.`model.name` = 'unet' and metrics.`test/dice` > 0.9\".",
            ) from error
    return client, runs, names


@contextmanager
def _kept() -> Iterator[None]:
    """Leaves Python's collector of cycles out: of 200 runs it would go through 60,000 objects that stay, many times."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def read(uri: str, run_id: str) -> FinishedRun:
    """The finished run of an id.

    Raises:
        StorageError: the store cannot be read, or has no such run, or it did not finish.
    """
    with _reading(uri):
        client = connect(uri)
        alive.tell(uri, client)
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise StorageError(f"there is no run {run_id!r} in {uri}", f"`{typed('ui')}` lists the runs.") from error
        if run.info.status != "FINISHED":
            raise StorageError(f"run {run_id} is {run.info.status}: only a finished run has scores to speak of")
        name = client.get_experiment(run.info.experiment_id).name
    return _finished(run, name, client, tempfile.TemporaryDirectory(prefix="lamella-"))


def _finished(run: Any, experiment: str, client: MlflowClient, folder: tempfile.TemporaryDirectory[str]) -> FinishedRun:
    info, data = run.info, run.data
    place = place_of(client, run)
    said = (data.params, data.metrics, data.tags)
    return FinishedRun(info.run_id, info.run_name, experiment, *said, client, place, folder)


def bring(found: Sequence[FinishedRun], names: Iterable[str]) -> None:
    """Brings files of runs that a server keeps to this machine, many at a time; what is not there is passed over."""
    wanted = [(run, name) for run in found if run.place.folder is None for name in names]

    def fetch(wanted: tuple[FinishedRun, str]) -> None:
        with contextlib.suppress(StorageError):  # who needs it asks again, and is told
            wanted[0].fetch(wanted[1])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(fetch, wanted))


def checkpoint(uri: str, run_id: str) -> Path:
    """The best checkpoint of a finished run, brought to this machine where a server keeps it.

    Raises:
        StorageError: the store cannot be read, or holds no such run or no checkpoint of it.
    """
    name = "checkpoints/best.ckpt"
    remedy = f"`{typed('ui')}` lists the runs; `tracking.uri` says where they are kept."
    with reported(f"run {run_id} of {uri} has no {name} to be had", remedy):
        client = connect(uri)
        place = place_of(client, client.get_run(run_id))
        return place.get(name, Path() if place.folder is not None else Path(tempfile.mkdtemp(prefix="lamella-")))


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turns what can go wrong while a store is read into StorageError."""
    remedy = "`tracking.uri` says where runs are kept; the first run makes the store."
    with reported(f"the tracking store {uri} cannot be read", remedy):
        yield
