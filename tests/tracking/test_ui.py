"""What `make ui` serves, in a real browser: a sweep's experiment, runs, comparison, scores and pictures."""

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from mlflow_pages import NO_CHROMIUM, browsing, chromium, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.ui

EXPERIMENT = "phantom_blood"
NAMES = ("unet seed 1", "unet seed 2")
TINY = [
    "model=unet",
    "model.decoder_channels=[16,8]",
    "seed=1,2",
    "dataset.train=4",
    "dataset.test=2",
    "dataset.height=64",
    "dataset.width=96",
    "data.crop=32",
    "data.steps=2",
    "trainer.max_epochs=1",
    "trainer.progress=false",
    "tracking.figures=1",
]


@dataclass(frozen=True)
class Sweep:
    """Two finished runs in a store of their own."""

    store: Path
    ids: list[str]
    dice: list[float]  # as train.py prints it, to four digits
    surface_dice: list[float]  # likewise


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    if chromium() is None:
        pytest.skip(NO_CHROMIUM)
    place = tmp_path_factory.mktemp("ui")
    store = place / "runs.db"
    kept = [f"tracking.uri=sqlite:///{store}", f"tracking.artifacts={place}/artifacts"]
    paths = [f"paths.cache={place}/cache", f"paths.output={place}/outputs"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "-m", *TINY, *kept, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = list(dict.fromkeys(re.findall(r"^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE)))
    dice, surface_dice = (
        [float(value) for value in re.findall(rf"test/{name}\W+(\d\.\d{{4}})", done.stdout)]
        for name in ("dice", "boundary/surface_dice")
    )
    assert len(ids) == len(dice) == len(surface_dice) == 2, done.stdout
    return Sweep(store, ids, dice, surface_dice)


@pytest.fixture(scope="module")
def address(sweep: Sweep) -> Iterator[str]:
    """Where `make ui` serves the sweep; afterwards nothing that it or the browser started is left."""
    mark = f"LAMELLA_UI_TEST={uuid.uuid4().hex}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*mark.split("="))
        with served(sweep.store) as place:
            assert started_with(mark) or not Path("/proc/self/environ").exists()
            yield place
    assert started_with(mark) == []


def started_with(mark: str) -> list[str]:
    """Processes that have `mark` in their environment, by their command lines; Linux only."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


@pytest.fixture
def page(address: str) -> Iterator["Page"]:
    """A new browser, after what `make ui` tells its user to do."""
    with browsing(address, width=1400, height=900) as page:
        page.goto(address)
        page.get_by_text("Model training", exact=True).first.click()
        yield page


def test_a_sweep_is_listed_and_compared(page: "Page", sweep: Sweep) -> None:
    page.get_by_role("link", name=EXPERIMENT, exact=True).click()
    for name in NAMES:
        page.get_by_role("link", name=name, exact=True).wait_for()
        row = page.get_by_role("row").filter(has_text=name)
        row.get_by_role("checkbox", name="row selection").check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    page.get_by_text("test/boundary/surface_dice", exact=True).first.wait_for()  # the list holds what is in sight
    text = page.inner_text("body")
    assert all(word in text.split("\n") for word in NAMES)
    assert all(run_id in text for run_id in sweep.ids)
    shown = [float(line) for line in text.split("\n") if re.fullmatch(r"[01]\.?\d*", line)]
    assert any(
        list(pair) == pytest.approx(sweep.surface_dice, abs=0.0006) for pair in pairwise(shown)
    )  # it shows three digits


def test_a_run_shows_its_scores_and_a_figure(page: "Page", sweep: Sweep) -> None:
    page.get_by_role("link", name=EXPERIMENT, exact=True).click()
    page.get_by_role("link", name=NAMES[0], exact=True).click()
    metric = page.get_by_role("link", name="test/dice", exact=True)
    metric.wait_for()
    value = page.get_by_role("row").filter(has=metric).inner_text().removeprefix("test/dice")
    assert float(value) == pytest.approx(sweep.dice[0], abs=0.00006)
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("figures", exact=True).click()
    page.get_by_text("prediction_1.png", exact=True).click()
    page.wait_for_function("[...document.images].some(i => i.src.startsWith('blob:') && i.naturalWidth > 0)")
