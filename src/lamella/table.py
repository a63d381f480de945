"""After a sweep: one table of its methods, printed, and kept with every one of its runs."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from lamella import tracking
from lamella.screen import console
from lamella.statistics import Interval, interval

# Beside Dice and IoU, where a data set has them: name in `scores/test.csv` and heading.
_EXTRA = {
    "soft_dice": "soft Dice",
    "soft_iou": "soft IoU",
    "v_rand": "V_rand",
    "v_info": "V_info",
    "pixel_error": "pixel error",
}
_SAME = ("seed", "tracking.run_name", "model.seed")  # what differs between repetitions of one method


def after_sweep(uri: str, sweep: str, published: Mapping[str, Any]) -> None:
    """Prints a table of the sweep's finished runs, one a data set and protocol, and logs it to each of them.

    Args:
        uri: where the runs are kept.
        sweep: the name that its jobs share.
        published: what others found: {"dataset": name, "scores": {method: {score: value}}, "notes": [text]}, or empty.

    Raises:
        StorageError: the store cannot be read.
    """
    found = tracking.finished(uri, sweep)
    # Scores of unlike data, splits or thresholds never meet in one column.
    for protocol in dict.fromkeys(run.tags["lamella.protocol"] for run in found):
        runs = [run for run in found if run.tags["lamella.protocol"] == protocol]
        if len(runs) < 2:
            continue
        name = runs[0].params["dataset.name"]
        table = comparison(runs, published.get("scores", {}) if name == published.get("dataset") else {})
        notes = list(published.get("notes", [])) if name == published.get("dataset") else []
        title = heading(runs)  # reads a run's scores
        show(table, title, notes, console())
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "sweep"
            place.mkdir()
            table.to_csv(place / "table.csv", index=False)
            (place / "table.md").write_text(markdown(table, title, notes))
            for run in runs:
                run.log_folder(Path(folder))


def heading(runs: Sequence[tracking.Finished]) -> str:
    """What stands above the table."""
    phantom = "PHANTOM (generated images) · " if runs[0].tags["lamella.phantom"] == "true" else ""
    images, name = len(runs[0].scores()), runs[0].params["dataset.name"]
    return f"{phantom}{name}: {images} test images, hard predictions, full resolution; mean (95 % over images)"


def comparison(runs: Sequence[tracking.Finished], published: Mapping[str, Any]) -> pd.DataFrame:
    """One row a method, the best Dice first.

    Scores are means over test images of the mean over seeds, with a 95 % interval over images; so an image counts
    once, however many seeds there are.

    Args:
        runs: finished runs on the same images.
        published: method -> {"dice": ..., "iou": ...}, by another protocol.
    """
    rows = []
    for method, of_method in methods(runs).items():
        tables = [run.scores() for run in of_method]
        row: dict[str, Any] = {"method": method, "seeds": len(of_method)}
        for score in ("dice", "iou", *(name for name in _EXTRA if name in tables[0])):
            each = np.stack([table[score].to_numpy(np.float64) for table in tables])  # (seeds, images)
            found = interval(each.mean(axis=0))
            row |= {score: found.mean, f"{score}_low": found.low, f"{score}_high": found.high}
            if score == "dice" and len(tables) > 1:
                row["dice_seed_sd"] = float(each.mean(axis=1).std(ddof=1))
        for score, value in published.get(of_method[0].params["model.name"], {}).items():
            if score in row:  # not every run is scored by every measure
                row |= {f"{score}_published": value, f"{score}_difference": row[score] - value}
        row["train_s"] = float(np.mean([run.metrics["time/train_s"] for run in of_method]))
        rows.append(row)
    return pd.DataFrame(rows).sort_values("dice", ascending=False, ignore_index=True)


def methods(runs: Sequence[tracking.Finished]) -> dict[str, list[tracking.Finished]]:
    """Runs by method: the model's name and whatever else, beside the seed, differs between runs of that model."""
    by_model: dict[str, list[tracking.Finished]] = {}
    for run in runs:
        by_model.setdefault(run.params["model.name"], []).append(run)
    result: dict[str, list[tracking.Finished]] = {}
    for model, some in by_model.items():
        keys = sorted({key for run in some for key in run.params if key not in _SAME})
        varied = [key for key in keys if len({run.params.get(key) for run in some}) > 1]
        for run in some:
            label = " ".join([model, *(f"{key}={run.params.get(key, '')}" for key in varied)])
            result.setdefault(label, []).append(run)
    return result


def show(table: pd.DataFrame, title: str, notes: Sequence[str], out: Console) -> None:
    """Prints the table and its notes."""
    head, body = _cells(table)
    shown = Table(title=title, title_justify="left")
    for place, name in enumerate(head):
        shown.add_column(name, justify="right" if place else "left", no_wrap=not place)
    for row in body:
        shown.add_row(*row)
    out.print(shown)
    for note in notes:
        out.print(f"- {note}", highlight=False)


def markdown(table: pd.DataFrame, title: str, notes: Sequence[str]) -> str:
    """The same for a README."""
    head, body = _cells(table)
    lines = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and texts."""
    columns: dict[str, list[str]] = {"method": list(table["method"]), "seeds": [str(n) for n in table["seeds"]]}
    for score, name in {"dice": "Dice", "iou": "IoU", **_EXTRA}.items():
        if score not in table:
            continue
        triples = zip(table[score], table[f"{score}_low"], table[f"{score}_high"], strict=True)
        columns[name] = [_with_interval(Interval(*triple)) for triple in triples]
        if f"{score}_published" in table:
            columns[f"{name}, published"] = [_number(v) for v in table[f"{score}_published"]]
            columns[f"{name}, difference"] = [_number(v, "+.4f") for v in table[f"{score}_difference"]]
        if score == "dice" and "dice_seed_sd" in table:
            columns["deviation over seeds"] = [_number(v) for v in table["dice_seed_sd"]]
    columns["fit, min"] = [f"{seconds / 60:.1f}" for seconds in table["train_s"]]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _with_interval(found: Interval) -> str:
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"


def _number(value: float, form: str = ".4f") -> str:
    return "" if np.isnan(value) else format(value, form)
