"""Comparing finished runs: the command, from a store to the report."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.commands import compare as comparing
from lamella.errors import ConfigError, StorageError


def test_a_comparison_is_printed_written_and_kept(uri, runs, composed, root, capsys):
    comparing.run(composed("compare", "experiment=smears", "cases=1"))
    printed = capsys.readouterr().out
    assert "PHANTOM" in printed
    assert "unet" in printed
    assert "otsu" in printed
    (page,) = [Path(line.removeprefix("report ")) for line in printed.splitlines() if line.startswith("report ")]
    text = page.read_text()
    assert text.count("data:image/") >= 3  # the picture, and each method's wrong pixels
    assert not re.search(r'(src|href)="(?!data:|#)', text)  # it needs nothing but itself
    table = pd.read_csv(page.parent / "phantom_blood" / "table.csv")
    assert set(table.method) == {"unet", "otsu"}
    both = np.mean([run.scores().dice.mean() for run in runs[:2]])
    assert table.set_index("method").dice["unet"] == pytest.approx(both)
    assert table.set_index("method").seeds["unet"] == 2
    assert (table.dice_images == 4).all()
    assert (table.failed_below == 0.5).all()
    assert "Rare failures are in no interval of a mean" in printed
    pairs = pd.read_csv(page.parent / "phantom_blood" / "pairs.csv")
    assert len(pairs) == 1
    assert pairs.p_equal.isna().all()
    for name in ("table.md", "table.tex", "pairs.md"):
        assert "unet" in (page.parent / "phantom_blood" / name).read_text()
    kept = tracking.finished(uri)[-1]
    assert kept.tags["lamella.kind"] == "comparison"
    assert kept.fetch("report.html").read_text() == text
    described = kept.tags["mlflow.note.content"]
    assert f"/runs/{kept.run_id}/artifacts/report.html)" in described
    assert "phantoms, made by a program" in described
    assert "| otsu | 1 |" in described
    comparing.run(composed("compare", f"runs=[{runs[0].run_id},{runs[1].run_id}]", "cases=1", "metric=boundary/hd95"))
    assert "nothing to compare it with" in capsys.readouterr().out


def test_what_is_asked_beside_is_answered_and_kept(uri, runs, composed, root, capsys):
    asked = ["margin=0.9", "leader=true", "failure=0.99", "cases=0"]
    comparing.run(composed("compare", "experiment=smears", *asked))
    printed = " ".join(capsys.readouterr().out.split())
    assert "equal" in printed
    assert "Dice below 0.99" in printed
    kept = tracking.finished(uri)[-1]
    assert {name: kept.params[name] for name in ("margin", "leader", "failure")} == {
        "margin": "0.9", "leader": "True", "failure": "0.99",
    }  # fmt: skip
    table = pd.read_csv(kept.fetch("phantom_blood/table.csv"))
    assert (table.failed_below == 0.99).all()
    assert pd.read_csv(kept.fetch("phantom_blood/pairs.csv")).p_equal.notna().all()


def test_a_margin_is_above_0_and_a_failure_a_dice(composed, root):
    for override, message in (("margin=0", "margin"), ("failure=2", "failure")):
        with pytest.raises(ConfigError, match=message):
            comparing.run(composed("compare", "experiment=smears", override))


def test_a_comparison_that_cannot_be_meant_is_refused(uri, composed, root):
    before = len(MlflowClient(uri).search_runs([e.experiment_id for e in MlflowClient(uri).search_experiments()]))
    for overrides, message in (
        ([], "is not said"),
        (["experiment=smears", "runs=[a]"], "both set"),
        (["experiment=smeers"], "no experiment 'smeers'"),
        (["experiment=smears", "metric=dise"], "metric=dise is no score"),
        (["experiment=smears", "margin=1"], "margin=1 is no margin: dice lies between 0 and 1"),
        (["experiment=smears", "filter=\"params.seed = '7'\""], "no finished run matches"),
    ):
        with pytest.raises((ConfigError, StorageError), match=message):
            comparing.run(composed("compare", *overrides))
    after = len(MlflowClient(uri).search_runs([e.experiment_id for e in MlflowClient(uri).search_experiments()]))
    assert after == before
