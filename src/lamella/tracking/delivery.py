"""Files of a run on their way into a store, whole under their own names or not there at all, and back."""

import contextlib
import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from lamella.errors import StorageError
from lamella.tracking.store import local, moved

from mlflow import MlflowClient  # isort: skip - `store` says first how MLflow is to behave
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # isort: skip


class Place:
    """Where a run's files, or those of its model, are kept.

    Args:
        uri: as the store has it: a local folder, or what only MLflow's client can write to.
        store: the address of the store.
    """

    def __init__(self, uri: str, store: str) -> None:
        self.uri, self._store = uri, store
        self.folder = local(uri)
        """None where it is no folder of this machine."""

    def put(self, source: Path, name: str) -> None:
        """Puts a file there, in place of an earlier one of this name. Raises OSError and what MLflow does."""
        if self.folder is not None:
            put(source, self.folder / name)
            return
        above = str(PurePosixPath(name).parent)
        self._held.log_artifact(str(source), None if above == "." else above)

    def drop(self, name: str) -> None:
        """Removes a file there, if there is one. Raises OSError and what MLflow does."""
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
            return
        above = str(PurePosixPath(name).parent)
        if any(each.path == name for each in self._held.list_artifacts(None if above == "." else above)):
            self._held.delete_artifacts(name)

    def get(self, name: str, folder: Path) -> Path:
        """A file there, on this machine: where it lies, or brought once to `folder`.

        Raises:
            StorageError: the files are not where the store says. And OSError, and what MLflow raises.
        """
        if self.folder is not None:
            if not self.folder.is_dir():
                old = next(each for each in (self.folder, *self.folder.parents) if each.parent.exists())
                raise StorageError(
                    f"the run's files are not where its store says: there is no folder {self.folder}",
                    f"Put them back. {moved(old)}",
                )
            (self.folder / name).stat()
            return self.folder / name
        if not (folder / name).exists():
            with tempfile.TemporaryDirectory(prefix=".", dir=_made(folder)) as part:
                found = Path(self._held.download_artifacts(name, part))
                _made((folder / name).parent)
                found.replace(folder / name)
        return folder / name

    @cached_property
    def _held(self) -> Any:
        """What MLflow reaches it through."""
        return get_artifact_repository(self.uri, self._store)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def place_of(client: MlflowClient, run: Any) -> Place:
    """Where the files of a run are that a store knows."""
    return Place(run.info.artifact_uri, client.tracking_uri)


_State = tuple[int, int, int, int]
_there: dict[_State, tuple[Path, _State]] = {}
"""Where a copy of a file went, by the state of both: its other names are links to that."""


def put(source: Path, target: Path, *, links: bool = True) -> None:
    """Makes `target` what `source` is, written beside it and renamed; with the modes of new files. Raises OSError.

    A checkpoint, and whatever has several names already, becomes another name of the same file, where the file system
    knows such links; else one copy of it is made, whatever names it has. Who changes it later writes a new one.

    Args:
        source: a file.
        target: replaced where it is there.
        links: False copies.
    """
    made = source.stat()
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(made, target.stat()):
            return
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    if links and (source.suffix == ".ckpt" or made.st_nlink > 1):
        whole, state = _there.get(_state(source), (source, _state(source)))
        if _linked(source, part, _state(source)) or _linked(whole, part, state):
            part.replace(target)
            return
    try:
        with source.open("rb") as reading, part.open("xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
        if source.suffix == ".ckpt":
            _there[_state(source)] = target, _state(part)
        part.replace(target)
    except OSError:
        with contextlib.suppress(OSError):  # what has begun takes space
            part.unlink(missing_ok=True)
        raise


def _state(file: Path) -> _State:
    made = file.stat()
    return made.st_dev, made.st_ino, made.st_size, made.st_mtime_ns


def _linked(whole: Path, part: Path, state: _State) -> bool:
    """Whether `part` now is another name of a file in this state; with the modes that a new file would have."""
    try:
        with part.open("xb") as made:
            mode = os.fstat(made.fileno()).st_mode & 0o777
        part.unlink()
        os.link(whole, part)
        if _state(part) == state:
            part.chmod(mode)
            return True
    except OSError:  # other device, no links there, or not ours
        pass
    part.unlink(missing_ok=True)
    return False
