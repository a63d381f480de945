"""All files of a command, one after another: what is finished is kept, a failing one is told and the others go on."""

import errno
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lamella.data.io.read import header
from lamella.errors import ConfigError, DataError, LamellaError, StorageError
from lamella.prediction import file as one
from lamella.prediction import page, tables
from lamella.prediction.inputs import Found, Input
from lamella.prediction.record import SUMMARIES, Record, Store, unwritable
from lamella.prediction.settings import Predictor, Wanted

# What no other file would fare better with.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
_TOLD = 5


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        todo: files to predict.
        kept: records of files that are finished.
        again: names of files that were finished, and why they are done again.
        edited: names of result files that somebody edited, and that stay.
    """

    todo: list[Input]
    kept: list[Record]
    again: dict[str, str]
    edited: list[str]


@dataclass
class Outcome:
    """How it came out.

    Attributes:
        done: names of files that were predicted by this call.
        failed: the path of each file that was not, and why.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[Path, LamellaError] = field(default_factory=dict)


class Report(NamedTuple):
    """Whom to tell what, while files are predicted.

    Attributes:
        begins: called with a file, its number from 1, and how many there are.
        passed: called with the pixels done since the last call.
        fails: called with a file and the error.
    """

    begins: Callable[[Input, int, int], None]
    passed: Callable[[int], None]
    fails: Callable[[Path, LamellaError], None]


def plan(store: Store, inputs: Sequence[Input], axes: str | None, made_by: Mapping[str, object], kinds: Wanted, *,
         overwrite: bool) -> Plan:  # fmt: skip
    """What of the inputs is to be done, where an earlier call may have done a part.

    Raises:
        ConfigError: the folder holds results of other networks, settings or inputs, which would be mixed.
        StorageError: a result would replace a file that somebody edited, or that predict did not write.
    """
    names = {each.name for each in inputs}
    unlike = [record for record in store.records.values() if record.made_by != dict(made_by)]
    beyond = [record for record in unlike if record.name not in names]
    if unlike and (beyond or not overwrite):
        told = (beyond or unlike)[0]
        what = [key for key in made_by if made_by[key] != told.made_by.get(key)]
        raise ConfigError(
            f"{store.folder} holds results of other settings ({', '.join(what)}), of {told.name} first",
            "Name another folder: output=FOLDER."
            + ("" if beyond else " Or predict all of it again, which replaces them: overwrite=true."),
        )
    todo, kept, again, edited, lost, strange = [], [], dict[str, str](), list[str](), list[str](), list[str]()
    for each in inputs:
        wanted = kinds.names(each.name)
        strange += store.strangers(wanted, each.name)
        record = store.records.get(each.name)
        if record is None:
            todo.append(each)
            continue
        missing, changed = store.state(record)
        edited += changed
        reason = _reason(store, record, each, axes, wanted, missing, overwrite=overwrite)
        if not reason:
            kept.append(record)
            continue
        lost += changed
        again[each.name] = reason
        todo.append(each)
    if not (store.folder / SUMMARIES[-1]).exists() and not store.records:
        strange += [name for name in SUMMARIES if (store.folder / name).exists()]
    if strange:
        raise StorageError(
            f"{_few(strange)} in {store.folder}: predict did not write it, and would replace it",
            "Name another folder: output=FOLDER.",
        )
    if lost:
        raise StorageError(
            f"{_few(lost)} in {store.folder} was edited since predict wrote it, and would be replaced"
            f" ({next(iter(again.values()))})",
            "Predict into another folder: output=FOLDER. Or move away what was edited; it is never "
            "replaced, whatever overwrite says.",
        )
    return Plan(todo, kept, again, edited)


def _reason(store: Store, record: Record, given: Input, axes: str | None, wanted: Mapping[str, str],
            missing: Sequence[str], *, overwrite: bool) -> str:  # fmt: skip
    """Why a finished file is done again; "" where it is not. Raises ConfigError where it is another input's."""
    if (record.path, record.inside) != (str(given.path.absolute()), given.inside) and not overwrite:
        inside = f":{record.inside}" if record.inside else ""
        raise ConfigError(
            f"{given.name}{'_labels.tif'} in {store.folder} was made of {record.path}{inside}, not of {given.path}",
            "Name another folder: output=FOLDER. Or replace it: overwrite=true.",
        )
    if overwrite:
        return "overwrite=true"
    if record.axes != axes:
        return "its axes were others"
    if missing:
        return f"{missing[0]} is missing"
    if not set(wanted) <= set(record.files):
        return f"it lacks {next(name for kind, name in wanted.items() if kind not in record.files)}"
    with suppress(DataError):
        if store.facts.sha256(given.path) == record.sha256:
            return ""
    return "the image is another one than it was"


def total_pixels(inputs: Sequence[Input], axes: str | None) -> int:
    """How many pixels there are to predict, as far as files say so without being decoded."""
    total = 0
    for each in inputs:
        with suppress(LamellaError, OSError, ValueError, MemoryError):
            _, refs = one.pictures(each, axes)
            found = header(refs[0])
            total += found.height * found.width * len(refs)
    return total


def predict_all(
    store: Store,
    todo: Sequence[Input],
    axes: str | None,
    predictor: Predictor,
    wanted: Wanted,
    spacing_nm: tuple[float, float] | None,
    report: Report,
    *,
    debug: bool = False,
) -> Outcome:
    """Predicts files, each published when it is whole. While one is written the next is predicted.

    Args:
        store: of the folder, open.
        todo: the files.
        axes: theirs, where they do not say so themselves.
        predictor: with what.
        wanted: what is written.
        spacing_nm: pixel size where its owner said so.
        report: whom to tell.
        debug: show the tracebacks of failures.

    Raises:
        StorageError: the folder cannot be written; what is finished stays.
    """
    out, made_by = Outcome(), predictor.identity()

    def fail(given: Input, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise unwritable(store.folder, error) from error
        if debug:
            traceback.print_exception(error)
        out.failed[given.path] = _said(given, error)
        report.fails(given.path, out.failed[given.path])

    def finish(made: one.Predicted, sha256: str) -> None:
        written = one.write(made, predictor, wanted)
        names = wanted.names(made.given.name)
        hashes = {name: store.facts.sha256(made.work / Path(name).name) for name in names.values()}
        place = str(made.given.path.absolute())
        record = Record(
            made.given.name, place, made.given.inside, axes, sha256, made_by, names, hashes, bool(made.like.pages),
            written.rows, written.values,
        )  # fmt: skip
        store.publish(record, made.work)

    def settle(pending: tuple[Input, Path, "Future[None]"] | None) -> None:
        if pending is None:
            return
        given, work, future = pending
        try:
            future.result()
            out.done.append(given.name)
        except Exception as error:
            fail(given, error)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    pending: tuple[Input, Path, Future[None]] | None = None
    with ThreadPoolExecutor(1, "writing") as writer:
        try:
            for number, given in enumerate(todo, 1):
                report.begins(given, number, len(todo))
                work = store.work / str(number)
                try:
                    work.mkdir(parents=True)
                    sha256 = store.facts.sha256(given.path)
                    made = one.predict(given, axes, spacing_nm, predictor, wanted, work, report.passed)
                except Exception as error:
                    shutil.rmtree(work, ignore_errors=True)
                    fail(given, error)
                    continue
                settle(pending)
                pending = given, work, writer.submit(finish, made, sha256)
        finally:  # a stop or a full disk, too: what is being written is brought to its end
            settle(pending)
    return out


def summarise(store: Store, predictor: Predictor, networks: tuple[str, ...], failed: Mapping[Path, LamellaError],
              passed_over: str, title: str) -> None:  # fmt: skip
    """Writes what tells of the whole folder: images.csv, objects.csv, index.html, predictions.json.

    Raises:
        StorageError: it cannot be written.
    """
    first, records = predictor.first, sorted(store.records.values(), key=lambda record: record.name)
    store.work.mkdir(parents=True, exist_ok=True)
    try:
        tables.write_images(store.work / "images.csv", records)
        tables.join_objects(store.work / "objects.csv", records, {each.name: store.rows(each.name) for each in records})
        text = page.page(store.folder, records, first, networks, failed, passed_over, title)
        (store.work / "index.html").write_text(text, encoding="utf-8")
        for name in ("images.csv", "objects.csv", "index.html"):
            (store.work / name).replace(store.folder / name)
    except OSError as error:
        raise unwritable(store.folder, error) from error
    store.tell(networks, first.class_names, first.objects)


def _said(given: Input, error: Exception) -> LamellaError:
    """An error over one file in a sentence, with the keys of this command."""
    if isinstance(error, LamellaError):
        kind = type(error) if isinstance(error, DataError | StorageError) else DataError
        return kind(*(_keys(text) for text in (error.problem, error.remedy)))
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return DataError(
            f"{given.path} does not fit into memory", "Close other programs, or cut it into smaller images."
        )
    text = (str(error).splitlines() or [""])[0]
    said = f"{given.path} cannot be predicted: {type(error).__name__}{': ' + text if text else ''}"
    return DataError(said, "debug=true shows where it happened.")


def _keys(text: str) -> str:
    """What errors say of data sets' keys, in the keys of this command."""
    for old, new in (
        (" (masks: `dataset.mask_axes`)", ""),
        ("dataset.axes=", "axes="),
        ("dataset.images=", "input="),
        ("the data set has", "the network learned from"),
        (
            "All images of a data set have the same channels: convert",
            "It needs the same channels, in their order: convert",
        ),
        (" (`FOLDER:NAME`: of each file; masks alike)", " (`FOLDER:NAME`: of each file)"),
    ):
        text = text.replace(old, new)
    return text


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


__all__ = ["Found", "Outcome", "Plan", "Report", "plan", "predict_all", "summarise", "total_pixels"]
