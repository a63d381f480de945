"""A folder of files as nobody should name them: audited, scored and compared, and no name is run by what shows it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamella import tracking
from lamella.commands import compare, prepare_data, train

NAMES = [
    "well[dapi]",
    "=1+1",
    "-5",
    "@a $x_{$ b",
    "esc\x1b[31m",
    "line\nbreak",
    "<b>&amp;",
    "[i] :cat:",
    "\u202eleft",
    "ä#%~",
]
RAW = {"\x1b", "\u202e"}


@pytest.fixture(scope="module")
def folder(root):
    place = root / "scan[dapi] (1),=2"
    rng = np.random.default_rng(1)
    for name in NAMES:
        mask = np.zeros((64, 64), np.uint8)
        y, x = rng.integers(8, 40, 2)
        mask[y : y + 16, x : x + 16] = 255
        image = np.clip(150 - 80 * (mask > 0) + rng.normal(0, 12, mask.shape), 0, 255).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (place / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / kind / f"{name}.png")
    for kind in ("images", "masks"):  # so that a warning names two
        (place / kind / "twin[dapi].png").write_bytes((place / kind / "well[dapi].png").read_bytes())
    return place


def test_a_folder_of_hostile_names(folder, root, composed, capsys):
    quoted = str(folder).replace("'", "\\'")
    data = [f"dataset.{kind}='{quoted}/{kind}'" for kind in ("images", "masks")]
    data = ["dataset=folder", *data, "dataset.allow=[leak]", "dataset.split.test=0.5"]
    page = root / "audit.html"
    prepare_data.run(composed("prepare_data", *data, f"html={page}"))
    for model in ("otsu", "bht"):
        few = ("augment=none", "trainer=cpu", "tracking.figures=3", "tracking.experiment=hostile")
        train.run(composed("train", *data, f"model={model}", *few))
    compare.run(composed("compare", "experiment=hostile"))
    printed = capsys.readouterr().out
    assert "scan[dapi] (1),=2" in printed
    assert "well[dapi]" in printed
    assert "twin[dapi]" in printed
    runs = tracking.finished(f"sqlite:///{root}/runs.db", experiment="hostile")
    (report,) = [line.removeprefix("report ") for line in printed.splitlines() if line.startswith("report ")]
    for text in (printed, page.read_text(encoding="utf-8"), Path(report).read_text(encoding="utf-8")):
        assert not {*text} & RAW
    both = [run for run in runs if run.tags.get("lamella.kind") != "comparison"]
    tables = [run.scores() for run in both]
    assert tables[0]["id"].tolist() == tables[1]["id"].tolist()  # and compared as the same images
    for run in both:
        file = run.fetch("scores/test.csv")
        rows = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
        assert not {*file.read_text(encoding="utf-8")} & RAW
        assert all(row["id"][0] not in "=+-@\t\r" for row in rows)
        assert all(float(row["dice"]) >= 0 for row in rows)
    seen = {name for table in tables for name in table["id"]}
    assert any(name in seen for name in ("=1+1", "-5", "@a $x_{$ b"))
