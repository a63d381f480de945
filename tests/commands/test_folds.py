"""A sweep over folds as a user types it: one comparison at its end, every image scored once."""

import re
from pathlib import Path

import pandas as pd
import pytest

from lamella.config.paths import CHECKOUT
from support import processes
from support.stores import empty_store

TRAIN = CHECKOUT / "train.py"
SMALL = [
    *("dataset.train=7", "dataset.test=2", "dataset.height=64", "dataset.width=96", "score.min_cell_size=5"),
    *("trainer=cpu", "data.workers=0", "tracking.figures=0", "dataset/split=hashed_folds", "dataset.split.folds=3"),
]


def places(root):
    empty_store(root / "runs.db")
    return [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.uri=sqlite:///{root}/runs.db",
            f"tracking.artifacts={root}/artifacts"]  # fmt: skip


@pytest.mark.slow  # seven processes' work, half a minute
def test_all_folds_of_two_methods_are_one_table(tmp_path):
    keys = [*SMALL, *places(tmp_path)]
    result = processes.run(TRAIN, "-m", *keys, "dataset.split.fold=0,1,2", "model=otsu,kmeans", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "protocols: their scores are not to be compared" not in result.stdout
    (page,) = [Path(line.removeprefix("report ")) for line in result.stdout.splitlines() if line.startswith("report ")]
    text = page.read_text()
    assert "2 methods" in text
    assert re.search(r"3 folds by groups \(seed=0\); each image scored once", text)
    (folder,) = [each for each in page.parent.iterdir() if each.is_dir()]  # one section
    table = pd.read_csv(folder / "table.csv")
    assert sorted(table.method) == ["kmeans", "otsu"]
    assert table.images.tolist() == [9, 9]
    assert table.dice_images.tolist() == [9, 9]
    assert table.folds.tolist() == [3, 3]
    assert table.seeds.tolist() == [1, 1]
    runs = [pd.read_csv(path) for path in (tmp_path / "artifacts").glob("**/scores/test.csv")]
    assert len(runs) == 6
    assert table.dice.sum() * 9 == pytest.approx(pd.concat(runs).dice.sum())


def test_a_fold_that_there_is_not_is_refused_before_any_is_run(tmp_path):
    keys = [*SMALL, *places(tmp_path)]
    result = processes.run(TRAIN, "-m", *keys, "dataset.split.fold=0,1,2,3", "model=otsu", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: dataset.split.fold=3, but there are 3 folds")
    assert "the last is dataset.split.fold=2" in result.stderr
    assert "job 1 of 4" not in result.stdout
    assert not (tmp_path / "artifacts").exists()
