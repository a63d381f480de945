"""Draws docs/mlflow_compare.png and docs/predictions.png, the pictures of real runs in the README.

    python tools/readme_pictures.py

Takes the finished runs of the experiments `blood` and `em` from the checkout's own store. Needs Chromium.
"""

import os
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote, urlsplit

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from mlflow_pages import NO_CHROMIUM, ROOT, browsing, chromium, served

STORE = ROOT / "mlflow" / "lamella.db"
DOCS = ROOT / "docs"
COMPARED, OTHER = "blood", "em"  # experiments
SCORE = "test/dice"
MOST_RUNS = 5
CHARTS = "^(test|val)/(dice|accuracy|iou)$"
DRAWN = """
[...document.querySelectorAll(".js-plotly-plot")]
  .filter(chart => chart.querySelector(".bars .point, .scatterlayer .point")).length === 6
"""
LOWER = """
height => {
  for (const [key, text] of Object.entries(localStorage).filter(([_, text]) => text.includes("compareRunSections"))) {
    const state = JSON.parse(text);
    state.compareRunSections.forEach(section => section.cardHeight = height);
    localStorage.setItem(key, JSON.stringify(state));
  }
}
"""
CHART_HEIGHT = 290  # two rows of charts fit into the picture
WIDTH, HEIGHT = 1400, 980
GAP = 14  # pixels between the two predictions
COMPARE_KB, PREDICTIONS_KB = 400, 600


def main() -> None:
    if not STORE.is_file():
        fail(f"there is no store {STORE}", f"Run `python train.py dataset={COMPARED}` and dataset={OTHER} first.")
    if chromium() is None:
        fail("there is no browser", f"This {NO_CHROMIUM}.")
    client = MlflowClient(f"sqlite:///{STORE}")
    runs, others = finished(client, COMPARED), finished(client, OTHER)
    compared = newest(runs)
    figures = [median_figure(best(runs)), median_figure(best(others))]
    DOCS.mkdir(exist_ok=True)
    save(stacked(figures), DOCS / "predictions.png", PREDICTIONS_KB)
    save(charts(compared), DOCS / "mlflow_compare.png", COMPARE_KB)


def finished(client: MlflowClient, experiment: str) -> list[Run]:
    """The finished, scored runs of an experiment, newest first."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], "attributes.status = 'FINISHED'") if found else []
    runs = [run for run in runs if SCORE in run.data.metrics]
    if not runs:
        fail(
            f"{STORE} holds no finished run of experiment {experiment!r} with {SCORE}",
            f"Run `python train.py dataset={experiment}` first.",
        )
    return sorted(runs, key=lambda run: run.info.start_time, reverse=True)


def best(runs: Sequence[Run]) -> Run:
    """The run of the highest score."""
    return max(runs, key=lambda run: run.data.metrics[SCORE])


def newest(runs: Sequence[Run]) -> list[Run]:
    """The newest run of each name; where all have one name, the newest runs."""
    named = {run.info.run_name: run for run in reversed(runs)}
    chosen = [run for run in runs if named[run.info.run_name] is run]
    if len(chosen) < 2:
        chosen = list(runs)
    if len(chosen) < 2:
        fail(
            f"{STORE} holds one finished run of experiment {COMPARED!r}: nothing to compare",
            f"Run `python train.py dataset={COMPARED} model=unet`, too.",
        )
    return chosen[:MOST_RUNS]


def median_figure(run: Run) -> Path:
    """The middle one of a run's predictions, which are sorted by score."""
    folder = Path(unquote(urlsplit(run.info.artifact_uri).path)) / "figures"
    figures = sorted(folder.glob("prediction_*.png"), key=lambda path: int(path.stem.rpartition("_")[2]))
    if not figures:
        fail(f"run {run.info.run_id} has no {folder}/prediction_*.png", "Run it again with tracking.figures=6.")
    print(f"{run.info.run_name} ({run.info.run_id}), {SCORE} {run.data.metrics[SCORE]:.4f}: {figures[0].parent}")
    return figures[(len(figures) - 1) // 2]


def stacked(figures: Sequence[Path]) -> Image.Image:
    """Pictures below each other on white, all of one width."""
    rows = []
    for figure in figures:
        with Image.open(figure) as picture:
            size = (WIDTH, round(WIDTH * picture.height / picture.width))
            rows.append(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (WIDTH, sum(row.height for row in rows) + GAP * (len(rows) - 1)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return sheet


def charts(runs: Sequence[Run]) -> Image.Image:
    """MLflow's charts of some runs of one experiment."""
    chosen = "attributes.run_id IN ({})".format(", ".join(f"'{run.info.run_id}'" for run in runs))
    place = f"/#/experiments/{runs[0].info.experiment_id}/runs"
    query = f"workflowType=machine_learning&compareRunsMode=CHART&searchFilter={quote(chosen)}"
    with served(STORE) as address, browsing(address, WIDTH, HEIGHT) as page:
        page.goto(f"{address}{place}?{query}")
        page.get_by_placeholder("Search metric charts").fill(CHARTS)
        page.wait_for_function(DRAWN)
        page.evaluate(LOWER, CHART_HEIGHT)
        page.reload()
        page.wait_for_function(DRAWN)
        page.get_by_role("button", name="MLflow Assistant").evaluate("button => button.style.visibility = 'hidden'")
        page.wait_for_timeout(1000)  # animations
        return Image.open(BytesIO(page.screenshot())).convert("RGB")


def save(picture: Image.Image, path: Path, most_kb: int) -> None:
    """Writes a PNG, in 256 colours where it would be too large."""
    picture.save(path, optimize=True)
    if path.stat().st_size > 1000 * most_kb:
        picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB")


def fail(problem: str, remedy: str) -> NoReturn:
    """Ends the script with a message."""
    sys.exit(f"error: {problem}\n  {remedy}")


if __name__ == "__main__":
    main()
