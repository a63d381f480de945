"""What comparing many runs takes: a store of as many runs as asked for is made, and every step of a report timed.

    python tools/benchmark_compare.py FOLDER [--methods 20] [--seeds 10] [--images 159] [--page]

A small network is trained once on phantom images of the size of real ones, into FOLDER. All other runs are copies of it
in the store, with all parameters, metrics, tags and 20 epochs of history, under other models, seeds and scores.
What FOLDER has already is taken as it is. `--page` makes the whole report as well, with figures and pictures; the
command itself is timed by

    time python scripts/compare.py experiment=many tracking.uri=sqlite:///FOLDER/runs.db output=FOLDER/reports
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENT = "many"
EPOCHS = 20
TEST_IMAGES = 12  # of the run that is copied
SMALL = [
    *("dataset=phantom_blood", f"dataset.test={TEST_IMAGES}", "dataset.train=6", "dataset.height=480"),
    *("dataset.width=640", "model=unet", "model.decoder_channels=[16,8]", "data.crop=64", "data.steps=2"),
    *("trainer.max_epochs=2", "trainer.progress=false", "tracking.figures=1", f"tracking.experiment={EXPERIMENT}"),
]
COPIED = ("params", "tags", "latest_metrics", "metrics")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--images", type=int, default=159)
    parser.add_argument("--page", action="store_true", help="the whole report, too")
    asked = parser.parse_args()
    folder: Path = asked.folder.absolute()
    if not (folder / "runs.db").exists():
        make(folder, asked.methods, asked.seeds, asked.images)
    measure(f"sqlite:///{folder}/runs.db", folder / "reports", page=asked.page)


def make(folder: Path, methods: int, seeds: int, images: int) -> None:
    """Trains one run and copies it."""
    kept = [f"tracking.uri=sqlite:///{folder}/runs.db", f"tracking.artifacts={folder}/files"]
    paths = [f"paths.output={folder}/outputs", f"paths.cache={folder}/cache"]
    subprocess.run([sys.executable, str(ROOT / "train.py"), *SMALL, *kept, *paths], check=True, stdout=sys.stderr)
    models = sorted(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml"))
    with sqlite3.connect(folder / "runs.db") as database:
        (run_id, place), *_ = database.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall()
        source = Path(place.removeprefix("file://"))
        table = pd.read_csv(source / "scores" / "test.csv")
        for number in range(methods * seeds):
            method, seed = divmod(number, seeds)
            name = models[method % len(models)] + ("" if method < len(models) else f"_{method}")
            copy_run(database, run_id, source, f"{name} seed {seed}", number, {"model.name": name, "seed": str(seed)})
            target = source.parents[1] / id_of(number) / "artifacts"
            write(scores(table, images, method, seed), source, target)
        database.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", [run_id])


def id_of(number: int) -> str:
    return uuid.UUID(int=number + 1).hex


def copy_run(
    database: sqlite3.Connection, of: str, source: Path, name: str, number: int, params: dict[str, str]
) -> None:
    """Adds a run with all that another has, in the order of their numbers."""
    new, place = id_of(number), f"file://{source.parents[1] / id_of(number)}/artifacts"
    columns = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
    row = dict(zip(columns, database.execute("SELECT * FROM runs WHERE run_uuid = ?", [of]).fetchone(), strict=True))
    row |= {"run_uuid": new, "name": name, "artifact_uri": place}
    row |= {each: row[each] + 1000 * (number + 1) for each in ("start_time", "end_time")}
    database.execute(f"INSERT INTO runs VALUES ({','.join('?' * len(row))})", list(row.values()))
    for kind in COPIED:
        columns = [each[1] for each in database.execute(f"PRAGMA table_info({kind})")]
        chosen = ", ".join("?" if each == "run_uuid" else each for each in columns)
        database.execute(f"INSERT INTO {kind} SELECT {chosen} FROM {kind} WHERE run_uuid = ?", [new, of])
    for step in range(2, EPOCHS):
        more = ", ".join({"run_uuid": "?", "step": str(step)}.get(each, each) for each in columns)
        epochs = "step = 1 AND (key LIKE 'train/%' OR key LIKE 'val/%')"
        database.execute(f"INSERT INTO metrics SELECT {more} FROM metrics WHERE run_uuid = ? AND {epochs}", [new, of])
    for key, value in params.items():
        database.execute("UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", [value, new, key])
    database.execute("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'mlflow.runName'", [name, new])


def scores(table: pd.DataFrame, images: int, method: int, seed: int) -> pd.DataFrame:
    """A table of so many images: those of another in turn, better or worse by the image, the method and the seed."""
    drawn = np.random.default_rng(7).normal(0, 0.3, images)
    off = np.random.default_rng((method, seed)).normal(0.05 * method, 0.1, images) + 0.02 * seed
    result = table.iloc[np.arange(images) % len(table)].reset_index(drop=True)
    result["case"] = [f"{place:04d}" for place in range(images)]
    result["id"] = result["group"] = [f"image {place:04d}" for place in range(images)]
    for name in result.columns[3:]:
        values = result[name].to_numpy(np.float64)
        share = (values >= 0) & (values <= 1)
        known = np.clip(values, 0.01, 0.99)
        moved = 1 / (1 + np.exp(-(np.log(known / (1 - known)) + drawn + off)))
        result[name] = np.where(share, moved, values * np.exp(drawn + off)) if name != "boundary/imputed" else values
    return result


def write(table: pd.DataFrame, source: Path, target: Path) -> None:
    """A run's files, without its model: they are other names of those of the run that is copied."""
    for file in source.rglob("*"):
        kind = file.relative_to(source).parts[0]
        if file.is_file() and kind not in ("checkpoints", "pictures", "outcomes"):
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target / file.relative_to(source))
    for kind in ("pictures", "outcomes"):
        (target / kind).mkdir()
        for place, case in enumerate(table["case"]):
            (file,) = (source / kind).glob(f"{place % TEST_IMAGES:04d}.*")
            os.link(file, target / kind / f"{case}{file.suffix}")
    (target / "scores" / "test.csv").unlink()
    table.to_csv(target / "scores" / "test.csv", index=False)


def measure(uri: str, output: Path, *, page: bool) -> None:
    """Prints how long each step takes."""
    from lamella import reporting, tracking
    from lamella.reporting.summary import pairs, summary

    def timed(words: str, work: Callable[[], Any]) -> Any:
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        told = f"{time.perf_counter() - began:7.2f} s, {time.process_time() - busy:7.2f} s of a core"
        print(f"{told}  {words}", flush=True)
        return result

    began, busy = time.perf_counter(), time.process_time()
    found = timed("runs listed", lambda: tracking.finished(uri, experiment=EXPERIMENT))
    (cohort,), _ = timed(f"scores of {len(found)} runs read, put together", lambda: reporting.cohorts(found))
    timed("one row a method, with intervals", lambda: summary(cohort, "dice", {}))
    timed("every pair tested", lambda: pairs(cohort, "dice"))
    told = f"{time.perf_counter() - began:7.2f} s, {time.process_time() - busy:7.2f} s of a core"
    print(f"{told}  in all: listed and compared")
    if page:
        shutil.rmtree(output, ignore_errors=True)
        section = timed("a section: the same, figures and pictures", lambda: reporting.section(
            cohort, "dice", {}, notes=[], k=3
        ))  # fmt: skip
        path = timed("the page and the files", lambda: reporting.write(output, EXPERIMENT, [section])).page
        print(f"{path.stat().st_size / 1e6:.1f} MB {path}")


if __name__ == "__main__":
    main()
