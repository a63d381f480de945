"""One MLflow run while it is written. It is RUNNING only while its process works on it."""

import contextlib
import os
import shutil
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sqlalchemy.exc import SQLAlchemyError

from lamella.console import log_file
from lamella.errors import LamellaError, StorageError
from lamella.tracking.query import Unfinished
from lamella.tracking.store import first_line, open_store, reported, undisturbed

import mlflow.models  # isort: skip - `store` says first how MLflow is to behave
import mlflow.pyfunc  # isort: skip
from mlflow import MlflowClient  # isort: skip
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip
from mlflow.models import ModelSignature  # isort: skip
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE  # isort: skip
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec  # isort: skip

_PARAM_LIMIT, _TAG_LIMIT = 6000, 5000  # characters that MLflow takes

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


class Run:
    """One MLflow run that is being written; without a client, one that only another process writes."""

    def __init__(self, client: MlflowClient | None, run_id: str, experiment_id: str, folder: Path) -> None:
        self._client = client
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.folder = folder
        self.kept = client is not None

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Writes metrics in as few calls as possible."""
        now = int(time.time() * 1000)
        self._log(metrics=[Metric(name, float(value), now, step) for name, value in values.items()])

    def log_model(self, checkpoint: Path, values: Mapping[str, float], example: npt.NDArray[Any] | None = None) -> None:
        """Writes the run's MLflow model to `folder / "model"`, and keeps it as a LoggedModel that these metrics are of.

        Args:
            checkpoint: the network's.
            values: its scores, logged as the run's, too.
            example: an image (H, W, C).
        """
        if not self._client:
            return
        made = self._client.create_logged_model(
            self.experiment_id, name="model", source_run_id=self.run_id, model_type="segmentation"
        )
        state = "FAILED"
        try:
            known = mlflow.models.Model(
                artifact_path=made.artifact_location,
                run_id=self.run_id,
                model_uuid=made.model_id,
                model_id=made.model_id,
            )
            save_model(self.folder / "model", checkpoint, example, known)
            self._client.log_model_artifacts(made.model_id, str(self.folder / "model"))
            self._client.log_outputs(self.run_id, [LoggedModelOutput(made.model_id, 0)])
            now = int(time.time() * 1000)
            self._log(metrics=[Metric(name, float(value), now, 0, made.model_id) for name, value in values.items()])
            state = "READY"
        finally:
            self._client.finalize_logged_model(made.model_id, state)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Writes parameters, cut to what MLflow keeps of one."""
        self._log(params=[Param(name, str(value)[:_PARAM_LIMIT]) for name, value in values.items()])

    def log_folder(self, folder: Path | None = None) -> None:
        """Keeps all files below a folder with the run, under the same relative names; None: its working folder."""
        if self._client:
            self._client.log_artifacts(self.run_id, str(folder or self.folder))

    def log_file(self, name: str) -> None:
        """Keeps one file of the working folder with the run."""
        if self._client:
            above = Path(name).parent.as_posix()
            self._client.log_artifact(self.run_id, str(self.folder / name), None if above == "." else above)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Writes tags; an existing one is overwritten."""
        self._log(tags=[RunTag(name, value) for name, value in tags.items()])

    def fail(self, error: BaseException) -> None:
        """Keeps the traceback of `error`, in whatever of the store still works."""
        text = "".join(traceback.format_exception(error))
        with contextlib.suppress(Exception):
            self.set_tags({"lamella.error": f"{type(error).__name__}: {first_line(error)}"[:_TAG_LIMIT]})
        try:
            if self._client:
                self._client.log_text(self.run_id, text, "error.txt")
        except Exception:  # the artifacts are what failed
            with contextlib.suppress(Exception):
                self.set_tags({"lamella.traceback": text[-_TAG_LIMIT:]})

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Closes the run."""
        if self._client:
            self._client.set_terminated(self.run_id, status)

    def _log(self, **entries: list[Any]) -> None:
        if self._client:
            self._client.log_batch(self.run_id, **entries)  # in as many calls as the store needs


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
        StorageError: the store cannot be opened or written.
    """
    if number := _process_number():
        yield Run(None, f"process-{number}", "", output / f"process-{number}")
        return
    run = None
    try:
        with reported(
            f"the tracking store {uri} cannot be used",
            "Set `tracking.uri` (and `tracking.artifacts`) to a store you can write to.",
        ):
            client, experiment_id = open_store(uri, artifacts, experiment)
            with undisturbed():
                run_id = client.create_run(experiment_id, run_name=run_name).info.run_id
                run = Run(client, run_id, experiment_id, output / run_id)
        run.set_tags(tags)
        run.log_params(params)
        with _log_kept(run, before):
            yield run
        with undisturbed():
            run.end("FINISHED")
        shutil.rmtree(run.folder, ignore_errors=True)  # kept where anything above failed
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        if run is not None:
            # A dead store must not hide why the run ended.
            with undisturbed(), contextlib.suppress(Exception):
                if not stopped:
                    run.fail(error)
                run.end("KILLED" if stopped else "FAILED")
        if isinstance(error, (MlflowException, SQLAlchemyError)):
            raise StorageError(
                f"the tracking store {uri} failed: {first_line(error)}", "Check its disk or server, then run again."
            ) from error
        raise


@contextmanager
def _log_kept(run: Run, before: Unfinished | None) -> Iterator[None]:
    """Keeps what is printed meanwhile as the run's `train.log`, behind what it has of an interrupted one."""
    path = run.folder / "train.log"
    if before is not None and not path.exists():
        with contextlib.suppress(LamellaError, OSError):  # it may have none
            text = before.fetch(path.name).read_bytes()
            path.write_bytes(text)
    try:
        with log_file(path):
            yield
    finally:
        if path.exists():
            run.log_file(path.name)


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
