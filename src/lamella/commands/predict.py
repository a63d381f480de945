"""The command `predict`: new images segmented by what was trained, and all that people open of it."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from lamella import hardware
from lamella.commands.again import again
from lamella.commands.trained import chosen, named
from lamella.config.check import check
from lamella.config.schema import Predict, TrainedKeys
from lamella.console import clock, console
from lamella.data.cache.facts import Facts
from lamella.errors import DataError, LamellaError
from lamella.inference.checkpoint import Trained
from lamella.prediction import folder, settings
from lamella.prediction.inputs import Found, find, told
from lamella.prediction.record import Store
from lamella.prediction.settings import Predictor, Wanted

_LISTED = 20  # failures at the end


def run(cfg: DictConfig) -> None:
    """Segments what `input` names with what was trained, and writes what is found to `output`.

    Raises:
        LamellaError: anything a user can mend; at the end where some files could not be predicted.
    """
    out = console()
    began = time.monotonic()
    keys = check(cfg, Predict)
    output = Path(keys.output).expanduser()
    wanted = Wanted(keys.probability, keys.uncertainty, keys.geojson, keys.rois, keys.challenge)
    found = find(keys.input, output)
    sources = named(keys)
    trained = [_cut(each, keys.tile, keys.overlap) for each in chosen(keys, out, sources)]
    predictor = predictor_of(keys, trained, out, tta=keys.tta)
    settings.check(predictor, wanted)
    spacing_nm = None if keys.spacing_nm is None else (float(keys.spacing_nm[0]), float(keys.spacing_nm[1]))
    store = Store(output, Facts(Path(keys.paths.cache) / "arrays"))
    with store.opened(), hardware.freed_memory_kept(predictor.hardware.device):
        plan = folder.plan(store, found.inputs, keys.axes, predictor.identity(), wanted, overwrite=keys.overwrite)
        _print_plan(out, found, plan)
        failed = dict(found.unread)
        for error in failed.values():
            _print_failure(out, error)
        networks = tuple(each.run or str(each.path.absolute()) for each in sources)
        outcome = folder.Outcome()
        try:
            with _progress(out, folder.total_pixels(plan.todo, keys.axes) if out.is_terminal else 0) as (
                begins,
                passed,
            ):
                report = folder.Report(begins, passed, lambda _path, error: _print_failure(out, error))
                outcome = folder.predict_all(
                    store, plan.todo, keys.axes, predictor, wanted, spacing_nm, report, debug=keys.debug
                )
        except (SystemExit, KeyboardInterrupt):
            done = len(plan.kept) + sum(each.name in store.records for each in plan.todo)
            out.print(
                f"{done} of {len(found.inputs)} files are finished; the same command goes on where this one stopped."
            )
            raise
        failed |= outcome.failed
        title = f"What was found in {Path(keys.input).name or keys.input}"
        folder.summarise(store, predictor, networks, failed, told(found.passed_over), title)
    _print_end(out, store, outcome, failed, time.monotonic() - began)
    line = again(predictor.first.config, networks[0], output)
    out.print(f"corrected by hand, these masks train: {line}", soft_wrap=True)
    if failed:
        _raise_failures(failed, len(found.inputs) + len(found.unread))


def predictor_of(keys: TrainedKeys, trained: Sequence[Trained], out: Console, *, tta: bool | None) -> Predictor:
    """The networks on the device that was asked for; objects are found as the first one's test found them."""
    first: Trained = trained[0]
    machine = hardware.resolve(keys.accelerator, keys.precision or first.precision)
    if machine.remark:
        out.print(f"warning: {machine.remark}", style="yellow")
    if keys.precision is None and first.precision == "bf16-mixed" and not hardware.has_bfloat16(machine.device):
        text = f"the run's test computed in bfloat16, which {machine.name} has to emulate: float32 is taken"
        out.print(f"warning: {text}, and a few pixels may differ (precision=bf16-mixed insists)", style="yellow")
        machine = machine._replace(precision="32-true")
    for each in trained:
        each.segmenter.on(machine.device)
    return Predictor(trained, machine, tta)


def _cut(trained: Trained, tile: int | None, overlap: int | None) -> Trained:
    """A network that cuts pictures as its user says; a method without training takes them whole."""
    segmenter = trained.segmenter
    if not segmenter.gives_probabilities:
        return trained
    own = segmenter.inference
    own = replace(own, tile=tile or own.tile, overlap=own.overlap if overlap is None else overlap)
    return trained._replace(segmenter=replace(segmenter, inference=own))


@contextmanager
def _progress(out: Console, total: int) -> Iterator[tuple[Callable[..., None], Callable[[int], None]]]:
    """A bar with the time left, on a terminal; in a log file a line a minute or so. Gives what `Report` needs of it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=out, transient=True, disable=not out.is_terminal) as bar:
        line = bar.add_task("predicting", total=total or None)
        began = shown = time.monotonic()

        def begins(given: Any, number: int, count: int) -> None:
            nonlocal shown
            bar.update(line, description=f"{number} of {count}: {given.name}")
            now = time.monotonic()
            if not out.is_terminal and number > 1 and now - shown > 60:
                shown = now
                left = (now - began) / (number - 1) * (count - number + 1)
                out.print(f"{number - 1} of {count} files, left about {clock(left)}")

        yield begins, lambda pixels: bar.update(line, advance=pixels)


def _print_plan(out: Console, found: Found, plan: folder.Plan) -> None:
    several = "" if len(found.inputs) == 1 else "s"
    out.print(
        f"{len(found.inputs)} file{several} to predict" + (f", {len(plan.kept)} done before" if plan.kept else "")
    )
    if found.passed_over:
        out.print(f"passed over, no images: {told(found.passed_over)}")
    if found.results:
        out.print(f"passed over, written by predict: {found.results} files")
    for name, reason in [*plan.again.items()][:_LISTED]:
        out.print(f"again: {name}, {reason}")
    if len(plan.again) > _LISTED:
        out.print(f"again: {len(plan.again) - _LISTED} more")
    if plan.edited:
        out.print(
            f"kept as edited: {', '.join(plan.edited[:_LISTED])}" + (" and more" if len(plan.edited) > _LISTED else "")
        )


def _print_failure(out: Console, error: LamellaError) -> None:
    out.print(f"failed: {_in_line(error)}", style="red")


def _print_end(out: Console, store: Store, outcome: folder.Outcome, failed: Any, seconds: float) -> None:
    images = [image for record in store.records.values() for image in record.images]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    unlike = [image["unlike"] for image in images]
    flags = "cannot be said" if {*unlike} == {"cannot be said"} else f"{unlike.count('yes'):,}"
    for label, text in (
        ("images", f"{len(images):,} in {len(store.records):,} files, {len(outcome.done):,} files by this call"),
        ("objects", f"{sum(image['objects'] for image in images):,}"),
        ("unlike the training images", flags),
        ("failed", f"{len(failed):,}"),
        ("seconds", f"{seconds:.1f}"),
    ):
        table.add_row(label, text)
    out.print(table)
    out.print(f"open {store.folder / 'index.html'}; beside it are images.csv, objects.csv and NAME_labels.tif of each")


def _in_line(error: LamellaError) -> str:
    """An error in one line, whatever the name of its file holds."""
    return re.sub(r"\s+", " ", error.problem)


def _raise_failures(failed: dict[Path, LamellaError], count: int) -> None:
    lines = [_in_line(error) for error in failed.values()][:_LISTED]
    more = [f"and {len(failed) - _LISTED} more"] if len(failed) > _LISTED else []
    remedies = list(dict.fromkeys(error.remedy for error in failed.values() if error.remedy))
    raise DataError(
        f"{len(failed)} of {count} files could not be predicted; all others are finished",
        "\n  ".join([*lines, *more, *([remedies[0]] if len(remedies) == 1 else [])]),
    )
