"""One MLflow run while it is written: what it tells goes through its outbox, see `outbox`."""

import contextlib
import json
import math
import os
import shutil
import tempfile
import threading
import time
import traceback
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

import numpy as np
import numpy.typing as npt
from sqlalchemy.exc import SQLAlchemyError

from lamella.config.paths import typed
from lamella.console import console, log_file
from lamella.errors import StorageError
from lamella.tracking import alive, delivery
from lamella.tracking.outbox import ENDS, RESUMED_FROM, Hold, Journal, Record, Sender, discard, enter, files_below
from lamella.tracking.query import Unfinished
from lamella.tracking.registry import register
from lamella.tracking.store import first_line, open_store, reason, reported

import mlflow.models  # isort: skip - `store` says first how MLflow is to behave
import mlflow.pyfunc  # isort: skip
from mlflow import MlflowClient  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip
from mlflow.models import ModelSignature  # isort: skip
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE  # isort: skip
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec  # isort: skip
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag  # isort: skip

PARAM_LIMIT = 6000
"""Characters of a parameter that MLflow takes; what is longer is cut."""

_TAG_LIMIT = 5000
_LAST, _BEST = RESUMED_FROM
_OFTEN_S = 600  # between two checkpoints that go to a server
_PATIENCE_S = {"FINISHED": 120.0, "FAILED": 10.0, "KILLED": 1.5}  # for a store that takes nothing, at the end
_KILLED_S = 3.0  # whatever it takes: a signal is obeyed soon
_Answer = TypeVar("_Answer")

SERVED_BY = (
    *("torch", "torchvision", "segmentation-models-pytorch", "timm", "safetensors", "huggingface-hub", "torchmetrics"),
    *("numpy", "scipy", "scikit-image", "scikit-learn", "pandas", "pillow", "tifffile", "imagecodecs", "filelock"),
    *("hydra-core", "omegaconf", "sqlalchemy", "rich", "h5py", "nibabel", "mrcfile", "roifile"),
)
"""What a model is loaded and served with, beside MLflow: packages by the names of their distributions."""

_LOADER = '''"""Lamella as this model was written with, unless this process has one already."""

import sys
from pathlib import Path

if "lamella" not in sys.modules:
    sys.path.insert(0, str(Path(__file__).with_name("lamella.zip")))

from lamella.model import _load_pyfunc  # noqa: F401
'''

# Arrays of any shape, or a column with the bytes of files: what MLflow has no other type for is an object.
_SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype("O"), (-1,), "image")]),
    outputs=Schema([TensorSpec(np.dtype("uint8"), (-1, -1))]),
    params=ParamSchema([ParamSpec("probabilities", DataType.boolean, False)]),
)
_MEASURED = ("time/train_s", "time/images_per_s", "time/test_images_per_s")  # of the moment


class Run:
    """One MLflow run that is being written; without a journal, one that only another process writes.

    Nothing here waits for the store, or fails with it.

    Attributes:
        run_id: in the store; of a run that is offline, the name of its folder.
        experiment_id: in the store; "" offline.
        folder: its working folder.
        kept: whether this process keeps it, and all of it is in the store once `start` has ended.
    """

    def __init__(
        self,
        journal: Journal | None,
        run_id: str,
        experiment_id: str,
        folder: Path,
        *,
        uri: str = "",
        keep_last: bool = False,
        far: bool = False,
        history: Callable[[str], Mapping[int, float]] | None = None,
    ) -> None:
        self._journal = journal
        self._uri, self._keep_last, self._far, self._history = uri, keep_last, far, history
        self._sent_often: dict[str, float] = {}
        self._put_off: set[str] = set()
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.folder = folder
        self.kept = journal is not None

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Tells of metrics, once: the same value of the same step again is none. Raises MlflowException for a name."""
        if self._journal is None:
            return
        for name in values:
            _validate_metric_name(name)
        floats = {name: float(value) for name, value in values.items()}
        new = {name: value for name, value in floats.items() if not self._journal.knows(name, step, value)}
        # What was done again, since the process was killed right behind it, came out the same, and only took another
        # time: that was told then.
        if not all(name in _MEASURED and step in self._journal.told.get(name, {}) for name in new):
            self._journal.append(metrics=new, step=step)

    def logged(self, name: str) -> dict[int, float]:
        """The values of a metric that this run has told of so far, by step, before an interruption, too.

        Raises:
            StorageError: only the store knows them, and it cannot be read.
        """
        told = self._journal.told.get(name, {}) if self._journal is not None else {}
        earlier = self._history(name) if self._history is not None else {}
        return {**earlier, **{step: value for step, (value, _) in told.items()}}

    def log_model(self, checkpoint: Path, values: Mapping[str, float], example: npt.NDArray[Any] | None = None) -> None:
        """Writes the run's MLflow model to `folder / "model"`, and keeps it as a LoggedModel that these metrics are of.

        Args:
            checkpoint: the network's.
            values: its scores, logged as the run's, too.
            example: an image (H, W, C).
        """
        if self._journal is None:
            return
        self.log_metrics(values)
        folder = self.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)
        save_model(folder, checkpoint, example, mlflow.models.Model(artifact_path="model", run_id=self.run_id))
        if checkpoint.is_relative_to(self.folder):
            for copy in folder.rglob(checkpoint.name):
                delivery.put(checkpoint, copy)
        self._journal.append(model=sorted(values))

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Tells of parameters, cut to what MLflow keeps of one. Raises MlflowException for a name."""
        params = as_params(values)
        if self._journal is not None and params:
            self._journal.append(params=params)

    def log_file(self, name: str) -> None:
        """Keeps one file of the working folder with the run, as it is now or a little later; to a server not too often.

        Args:
            name: below the working folder, such as "checkpoints/last.ckpt".
        """
        if self._journal is None:
            return
        now = time.monotonic()
        if self._far and now - self._sent_often.get(name, now - _OFTEN_S) < _OFTEN_S:
            self._put_off.add(name)
            return
        self._sent_often[name] = now
        self._put_off.discard(name)
        self._journal.append(files=[name])

    def log_folder(self, folder: Path | None = None) -> None:
        """Keeps all files below a folder with the run, under the same relative names; None: its working folder.

        Of the working folder not the last checkpoint, unless it is to stay.
        """
        if self._journal is None:
            return
        names = files_below(folder or self.folder)
        if folder is not None and folder != self.folder:
            for name in names:
                delivery.put(folder / name, self.folder / name, links=False)
        else:
            names = [name for name in names if self._stays(name)]
        if names:
            self._journal.append(files=names)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tells of tags; an existing one is overwritten. Raises MlflowException for a name."""
        if self._journal is None or not tags:
            return
        for name, value in tags.items():
            _validate_tag(name, value)
        self._journal.append(tags=dict(tags))

    def describe(self, text: str, page: str) -> None:
        """Writes what MLflow's page of the run shows as its description: a link to one of its files, and a text.

        Args:
            text: Markdown. Whole lines at its end are left out, and this is said, where MLflow would not take all.
            page: the name of a file that the run keeps, such as "report.html".
        """
        # Without a host, so that it leads there wherever the pages are served. Older servers take 5,000 characters.
        place = f"#/experiments/{self.experiment_id}/runs/{self.run_id}/artifacts/{quote(page)}"
        lines, more = [f"**[Open the whole page]({place})**", "", *text.splitlines()], ["", "*The page has the rest.*"]
        if sum(len(line) + 1 for line in lines) > _TAG_LIMIT:
            while sum(len(line) + 1 for line in (*lines, *more)) > _TAG_LIMIT:
                lines.pop()
            lines += more
        self.set_tags({"mlflow.note.content": "\n".join(lines)})

    def fail(self, error: BaseException) -> None:
        """Keeps the traceback of `error`."""
        text = "".join(traceback.format_exception(error))
        said = f"{type(error).__name__}: {first_line(error)}"
        self.set_tags({"lamella.error": said[:_TAG_LIMIT], "lamella.traceback": text[-_TAG_LIMIT:]})
        if self._journal is not None:
            with contextlib.suppress(OSError):  # the disk may be what failed
                (self.folder / "error.txt").write_text(text, encoding="utf-8")
                self.log_file("error.txt")

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Tells that the run is over; what it is to be gone on from is kept, too, unless it is FINISHED."""
        if self._journal is None:
            return
        named = {name for entry in self._journal.entries for name in entry.get("files", ())}
        if status == "FINISHED":
            for name in sorted(named):
                if not self._stays(name):
                    self._journal.append(drop=name)
            self._journal.append(status=status)
            return
        self._journal.append(status=status)
        left = self._put_off | {name for name in RESUMED_FROM if (self.folder / name).exists()}
        if left:
            self._journal.append(files=sorted(left))

    def register(self, name: str) -> str:
        """What became of making the ended run the next version of a registered model: now, or when it is sent.

        Raises:
            StorageError: the store cannot be written, or the run has no model.
        """
        if self._journal is None:
            return ""
        if self.kept:
            return register(self._uri, self.run_id, name)
        hold = Hold(self.folder)
        try:
            journal = Journal(self.folder)
            journal.append(register=name)
            journal.close()
        finally:
            hold.release()
        return f"it becomes a version of {name} when `{typed('sync')}` has sent it"

    def _stays(self, name: str) -> bool:
        """Whether a file is to be kept with a finished run: of its checkpoints the best, and the last if asked for."""
        return not name.startswith("checkpoints/") or name == _BEST or (self._keep_last and name == _LAST)


def as_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow keeps them. Raises MlflowException for a name that it does not take."""
    params = {name: str(value)[:PARAM_LIMIT] for name, value in values.items()}
    for name, value in params.items():
        _validate_param(name, value)
    return params


@contextmanager
def start(
    *,
    uri: str,
    artifacts: str | None,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    output: Path,
    offline: bool = False,
    keep_last: bool = False,
    before: Unfinished | None = None,
) -> Iterator[Run]:
    """A new run, ended truthfully: FINISHED, FAILED with its traceback, or KILLED when interrupted.

    Of several processes that train together only the first writes; the others are given a run that keeps nothing.
    The store must be there when it begins. After that nothing waits for it but the end, which waits as long as
    something arrives, and leaves the rest in the working folder, for `sync`.

    Args:
        uri: tracking store; a missing SQLite store is created.
        artifacts: folder for the files of a SQLite store (None: beside it); a server decides itself.
        experiment: created where it is missing.
        run_name: shown in the UI.
        params: flat configuration.
        tags: identity of code, configuration and data.
        output: holds the working folders of runs, each called by its run's id.
        offline: only the working folder is written; see `lamella.commands.sync`.
        keep_last: `checkpoints/last.ckpt` stays with a finished run.
        before: the run that is gone on with, instead of a new one.

    Raises:
        StorageError: the store cannot be opened, refuses what it is told, or another process is at work on the run.
    """
    if number := _process_number():
        yield Run(None, f"process-{number}", "", output / f"process-{number}")
        return
    with reported(
        f"the tracking store {uri} cannot be used",
        "Set `tracking.uri` (and `tracking.artifacts`) to a store you can write to, or add tracking.offline=true: "
        f"the run is then kept on disk alone, and `{typed('sync')}` sends it later.",
    ):
        opened = _Opened(uri, artifacts, experiment, run_name, params, tags, output, offline, keep_last, before)
    try:
        try:
            with _log_kept(opened.run, before):
                yield opened.run
        except BaseException as error:
            stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
            if not stopped:
                opened.run.fail(error)
            opened.end("KILLED" if stopped else "FAILED")
            if isinstance(error, (MlflowException, SQLAlchemyError)):
                raise StorageError(
                    f"the tracking store {uri} failed: {first_line(error)}", "Check its disk or server, then run again."
                ) from error
            raise
        opened.end("FINISHED")
    finally:
        opened.close()


@contextmanager
def _log_kept(run: Run, before: Unfinished | None) -> Iterator[None]:
    """Keeps what is printed meanwhile as the run's `train.log`, behind what it has of an interrupted one."""
    path = run.folder / "train.log"
    if before is not None and not path.exists():
        with contextlib.suppress(StorageError, OSError):  # it may have none
            text = before.fetch(path.name).read_bytes()
            path.write_bytes(text)
    try:
        with log_file(path):
            yield
    finally:
        if path.exists():
            run.log_file(path.name)


class _Opened:
    """A run with its working folder, its journal and, unless it is offline, the thread that sends."""

    def __init__(
        self,
        uri: str,
        artifacts: str | None,
        experiment: str,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        output: Path,
        offline: bool,
        keep_last: bool,
        before: Unfinished | None,
    ) -> None:
        params = as_params(params)
        process = alive.process_tag()
        tags = {**tags, alive.PROCESS: process, alive.HEARTBEAT: str(int(time.time()))}
        for name, value in tags.items():
            _validate_tag(name, value)
        self.uri = uri
        self.sender: Sender | None = None
        client: MlflowClient | None = None
        record = Record.read(before.folder) if before is not None and before.folder is not None else None
        if record is None:
            local_id = before.run_id if before is not None else uuid.uuid4().hex
            record = Record(local_id, None, uri, artifacts, experiment, None, None, run_name, _now(), process)
        record.process = process
        known: Mapping[str, str] = {}
        if not (offline or (before is not None and before.client is None)):
            client, experiment_id = _answer(uri, lambda: open_store(uri, artifacts, experiment))
            _answer(uri, partial(alive.tell, uri, client))
            record.uri, record.artifacts = uri, artifacts
            if before is not None:
                known = _reopen(client, before.run_id, record)
            else:
                _answer(uri, partial(enter, client, experiment_id, record, tags))
                record.local_id = str(record.run_id)
        elif before is not None and before.client is not None and record.run_id is None:
            _locate(before.client.get_run(before.run_id), record)  # it is in the store, and told of later
        elif before is None:
            tags["lamella.offline_id"] = record.local_id
        self.folder = (before.folder if before is not None else None) or output / record.local_id
        try:
            with reported(f"the working folder {self.folder} cannot be written", "`paths.output` names another place."):
                try:
                    self._hold = Hold(self.folder)
                except BlockingIOError:
                    raise StorageError(f"another process is at work on run {record.local_id}") from None
                record.write(self.folder)
                self.journal = journal = Journal(self.folder)
        except BaseException:
            if client is not None and before is None:
                with contextlib.suppress(Exception):
                    client.set_terminated(str(record.run_id), "FAILED")
            raise
        asked = client is not None and before is not None and not journal.entries
        self.run = Run(
            journal,
            record.run_id or record.local_id,
            record.experiment_id or "",
            self.folder,
            uri=uri,
            keep_last=keep_last,
            far=client is not None and delivery.Place(record.location or "", uri).folder is None,
            history=_history(client, str(record.run_id)) if client is not None and asked else None,
        )
        if before is not None:
            told = _told(journal.entries) or known
            changed = {name: value for name, value in params.items() if name in told and told[name] != value}
            changed.pop("resume", None)
            if changed:
                tags["lamella.extended"] = json.dumps(changed)[:_TAG_LIMIT]
            params = {name: value for name, value in params.items() if name not in told}
            journal.append(status="RUNNING")
        self._location = record.location
        self.run.set_tags(tags)
        self.run.log_params(params)
        if client is not None:
            self.sender = Sender(client, record, journal, self.folder)
            self.sender.start()

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Tells of the end, waits for the store as long as it makes sense, and says what is left."""
        if self.journal.last not in ENDS:
            self.run.end(status)
        if self.sender is None:
            self.run.kept = False
            self._say(f"run {self.run.run_id} is kept in {self.folder} alone: `{typed('sync')}` sends it")
            return
        most = _KILLED_S if status == "KILLED" else math.inf
        done = self.sender.drain(_PATIENCE_S[status], most, self._waiting)
        self.run.kept = done and not self.sender.refused
        if not done:
            failed = self.sender.error
            why = f" ({reason(failed, self.uri, self._location)})" if failed is not None else ""
            self._say(
                f"{self.uri} did not take all of run {self.run.run_id}{why}: {self.sender.left()} left. "
                f"All is kept in {self.folder}, and `{typed('sync')}` sends it"
            )
        elif status == "FINISHED" and self.sender.refused:
            raise StorageError(
                f"{self.uri} refused a part of run {self.run.run_id}: {self.sender.refused[0]}",
                f"All is kept in {self.folder}.",
            )
        elif status == "FINISHED":
            self.sender.stop(5)
            discard(self.folder)

    def close(self) -> None:
        """Ends the thread and lets others have the folder."""
        if self.sender is not None:
            self.sender.stop()
        self.journal.close()
        self._hold.release()

    def _waiting(self) -> None:
        assert self.sender is not None
        self._say(f"waiting for {self.uri} to take what is left of run {self.run.run_id}: {self.sender.left()}")

    def _say(self, sentence: str) -> None:
        with contextlib.suppress(OSError):
            console().print(f"warning: {sentence}", style="yellow", soft_wrap=True)


def _reopen(client: MlflowClient, run_id: str, record: Record) -> Mapping[str, str]:
    """The parameters of a run of the store, which says RUNNING from now on; the record says where it is."""

    def ask() -> Any:
        # First, so that nobody takes it for that of a process that is gone.
        for name, value in ((alive.PROCESS, record.process), (alive.HEARTBEAT, str(int(time.time())))):
            client.set_tag(run_id, name, value)
        client.update_run(run_id, "RUNNING")
        return client.get_run(run_id)

    run = _answer(record.uri, ask)
    _locate(run, record)
    return dict(run.data.params)


def _locate(run: Any, record: Record) -> None:
    """Writes into a record where a run of the store is."""
    record.run_id, record.experiment_id = str(run.info.run_id), str(run.info.experiment_id)
    record.location = str(run.info.artifact_uri)


def _told(entries: list[dict[str, Any]]) -> dict[str, str]:
    """The parameters that a journal tells of."""
    return {name: value for entry in entries for name, value in entry.get("params", {}).items()}


def _history(client: MlflowClient, run_id: str | None) -> Callable[[str], Mapping[int, float]]:
    """What the store knows of a metric; asked once."""
    known: dict[str, dict[int, float]] = {}

    def history(name: str) -> Mapping[int, float]:
        if name not in known:
            with reported(f"the values of {name} that run {run_id} has logged cannot be read", ""):
                known[name] = {each.step: each.value for each in client.get_metric_history(run_id, name)}
        return known[name]

    return history


def _answer(uri: str, ask: Callable[[], _Answer], seconds: float = 90) -> _Answer:
    """What `ask` returns or raises; a signal is heard meanwhile. Raises TimeoutError."""
    if not _is_server(uri):
        return ask()
    answers: list[_Answer] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return answers[0]


def _is_server(uri: str) -> bool:
    """Whether a store may take its time to answer."""
    return urlsplit(uri).scheme in ("http", "https")


def _now() -> int:
    return int(time.time() * 1000)


def save_model(
    folder: Path,
    checkpoint: Path,
    example: npt.NDArray[Any] | None = None,
    model: mlflow.models.Model | None = None,
) -> None:
    """Writes an MLflow model that segments images with a checkpoint; see `lamella.export.served.Served`.

    It holds no pickled code, but Lamella itself as source: neither a checkout nor an installed Lamella is needed to
    load it, only what `requirements.txt` in it names.

    Args:
        folder: is made.
        checkpoint: of the run.
        example: an image (H, W, C), kept as the input example.
        model: what MLflow knows of it already: its id and its run's.
    """
    # Without "+cpu": no index has it.
    versions = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in SERVED_BY]
    with tempfile.TemporaryDirectory(prefix="lamella-") as made:
        mlflow.pyfunc.save_model(
            path=str(folder),
            loader_module="lamella_model",
            data_path=str(checkpoint),
            code_paths=_code(Path(made)),
            pip_requirements=versions,
            # What a user may set at loading: MLflow passes on what has a default here.
            model_config={"device": "cpu", "precision": None, "trust": []},
            mlflow_model=model,
            signature=_SIGNATURE,
            input_example=example,
        )


def _code(folder: Path) -> list[str]:
    """This package as one file, and the module by which MLflow finds it there."""
    package = Path(__file__).parents[1]
    with zipfile.ZipFile(folder / "lamella.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(package.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    (folder / "lamella_model.py").write_text(_LOADER)
    return [str(folder / name) for name in ("lamella.zip", "lamella_model.py")]


def refused_request(message: str) -> MlflowException:
    """An error that MLflow's server answers with the status 400 and this message alone."""
    return _RefusedRequest(message)


class _RefusedRequest(MlflowException):  # type: ignore[misc]
    """Keeps its message where MLflow would write all that was sent in front of it: an image, in numbers."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)
        self._said = message

    @property
    def message(self) -> str:
        return self._said

    @message.setter
    def message(self, _: str) -> None:
        pass


def _process_number() -> int:
    """0 for a process that trains alone, or first; as torch's launchers tell it to those they start."""
    number = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    return int(number) if number.isdecimal() else 0
