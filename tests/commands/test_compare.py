"""Comparing finished runs: the command, from a store to the report."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from tests.commands.conftest import TINY, UNET

import lamella
from lamella import tracking
from lamella.commands import compare as comparing
from lamella.commands import evaluate, train
from lamella.data.datasets.phantom import write_blood
from lamella.errors import ConfigError, StorageError
from lamella.reporting.overview import apart


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
        (["experiment=[smears,smeers]"], "no experiment 'smeers'"),
        (["experiment='smears,smears'"], "no experiment 'smears,smears'"),
        (["experiment=[smears,Default]"], "no finished run of experiment 'Default' matches"),
        (["experiment=smears", "metric=dise"], "metric=dise is no score"),
        (["experiment=smears", "margin=1"], "margin=1 is no margin: dice lies between 0 and 1"),
        (["experiment=smears", "filter=\"params.seed = '7'\""], "no finished run matches"),
    ):
        with pytest.raises((ConfigError, StorageError), match=message):
            comparing.run(composed("compare", *overrides))
    after = len(MlflowClient(uri).search_runs([e.experiment_id for e in MlflowClient(uri).search_experiments()]))
    assert after == before


@pytest.fixture(scope="module")
def lab(uri, runs, composed, root, tmp_path_factory):
    """Another laboratory's images in a store of their own: networks of phantoms judged on them, one trained on them.

    The address of the store, and the ids of the runs to be compared.
    """
    place = tmp_path_factory.mktemp("lab") / "train"
    write_blood(place.parent, seed=7, train=12, test=1, height=64, width=64)
    there = ["dataset=folder", f"dataset.images={place}/original", f"dataset.masks={place}/mask", "dataset.name=lab"]
    store = f"sqlite:///{root}/lab.db"
    shutil.copyfile(root / "runs.db", root / "lab.db")
    own = [each for each in TINY if not each.startswith("dataset.")]
    for command, *words in (
        *(("evaluate", f"run={run.run_id}", *there) for run in runs),
        ("train", *own, *UNET, *there, "seed=1", "score.choose_threshold=true", "tracking.experiment=lab"),
    ):
        configured = composed(command, *words)
        configured.tracking.uri = store
        {"evaluate": evaluate, "train": train}[command].run(configured)
    ids = [run.run_id for run in runs]
    made = [run for run in tracking.finished(store) if run.params.get("dataset.name") == "lab"]
    return store, [*ids, *(run.run_id for run in made if run.tags.get("lamella.evaluates", ids[0]) in ids)]


def test_networks_are_judged_on_another_laboratorys_images_and_it_is_said_where_they_hold(lab, root, capsys):
    store, ids = lab
    found = lamella.report(runs=ids, uri=store, output=root / "several", cases=1)
    assert found.headings == ["lab", "phantom_blood (phantom)"]
    there, own = found.sections
    labels = {"unet trained on phantom_blood": 2, "otsu trained on phantom_blood": 1, "unet trained on lab": 1}
    assert dict(zip(there.summary["method"], there.summary["seeds"], strict=True)) == labels
    assert dict(zip(own.summary["method"], own.summary["seeds"], strict=True)) == {"unet": 2, "otsu": 1}
    table = found.overview.table.set_index("method")
    assert set(table.index) == set(labels)
    assert table.loc["unet trained on lab", "phantom_blood (phantom)_became"] == "not run"
    for section, name in ((own, "phantom_blood (phantom)"), (there, "lab")):
        means = section.summary.set_index("method")["dice"]
        for label in ("unet", "otsu"):
            mean = means.get(label, means.get(f"{label} trained on phantom_blood"))
            assert table.loc[f"{label} trained on phantom_blood", name] == mean
    assert "lab and phantom_blood (phantom) are other images" in " ".join(apart(found.sections, found.headings))
    assert capsys.readouterr().out == ""  # nothing is printed unless asked
    found.show()
    printed = capsys.readouterr().out
    assert "Where each method holds: mean Dice" in printed
    assert (found.page.parent / "overview.csv").is_file()
    text = found.page.read_text()
    assert "unet trained on phantom_blood" in text


def test_python_gives_what_the_command_gives(lab, composed, root, capsys):
    store, ids = lab
    before = len(tracking.finished(store))
    configured = composed("compare", f"runs=[{','.join(ids)}]", "cases=0", "metric=iou")
    configured.tracking.uri = store
    comparing.run(configured)
    assert len(tracking.finished(store)) == before + 1
    printed = capsys.readouterr().out
    (page,) = [Path(line.removeprefix("report ")) for line in printed.splitlines() if line.startswith("report ")]
    found = lamella.report(runs=ids, uri=store, output=root / "same", cases=0, metric="iou")
    assert len(tracking.finished(store)) == before + 1  # nothing is kept
    files = [path.relative_to(page.parent) for path in sorted(page.parent.rglob("*")) if path.is_file()]
    assert len(files) >= 13
    assert files == [
        path.relative_to(found.page.parent) for path in sorted(found.page.parent.rglob("*")) if path.is_file()
    ]
    for name in files:
        one, two = (
            re.sub(rb"(Lamella \S+, )[\d-]+ [\d:]+", rb"\1DATE", (place / name).read_bytes())
            for place in (page.parent, found.page.parent)
        )
        assert one == two, name
    assert lamella.report(runs=ids[:1], uri=store, output=root / "kept", cases=0, keep=True).overview is None
    kept = tracking.finished(store)[-1]
    assert (kept.tags["lamella.kind"], kept.experiment) == ("comparison", "smears")


def test_several_experiments_are_asked_for_in_brackets(lab, composed, root, capsys):
    store, _ = lab
    configured = composed("compare", "experiment=[smears,lab]", "cases=0")
    configured.tracking.uri = store
    comparing.run(configured)
    printed = capsys.readouterr().out
    assert "smears-lab-" in printed
    kept = tracking.finished(store)[-1]
    assert (kept.experiment, kept.tags["lamella.kind"]) == ("smears", "comparison")
    with pytest.raises(StorageError, match="no experiment 'smears,lab'") as caught:
        lamella.report("smears,lab", uri=store)
    assert "'experiment=[smears,lab]'" in caught.value.remedy
    for asked, message in (
        ({"experiment": ["smears", "labb"]}, "no experiment 'labb'"),
        ({"experiment": []}, "is not said"),
        ({"experiment": "lab", "runs": ["a"]}, "both set"),
        ({"experiment": "lab", "margin": 0}, "is no margin"),
        ({"experiment": "lab", "metric": "dise"}, "no score"),
    ):
        with pytest.raises((ConfigError, StorageError), match=message):
            lamella.report(**asked, uri=store, output=root / "never")
