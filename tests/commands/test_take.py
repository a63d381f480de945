"""A learning curve of real runs: what a share leaves out, and what every record and command makes of it."""

import json

import pandas as pd
import pytest

from commands.conftest import TINY
from lamella import reporting, tracking
from lamella.commands import compare, evaluate, prepare_data, reproduce, train
from lamella.errors import ConfigError

SHARES = (0.25, 0.5, 1)
OWN = ["tracking.experiment=shares", "model=unet_ronneberger", "model.width=4", "data.steps=2", "trainer.max_epochs=1",
       "tracking.figures=0"]  # fmt: skip
REST = [each for each in TINY if each.partition("=")[0] not in {own.partition("=")[0] for own in OWN}]
TAKEN = {0.25: 2, 0.5: 3, 1: 7}  # of seven: 1.75, and of 3.5 the smaller


@pytest.fixture(scope="module")
def shares(root, composed):
    """(share, seed) -> run: three shares by two seeds, the order of the shares first."""
    for share in SHARES:
        for seed in (1, 2):
            train.run(composed("train", *REST, *OWN, f"seed={seed}", f"dataset.take={share}"))
    found = tracking.finished(f"sqlite:///{root}/runs.db", experiment="shares")
    return {(float(run.params["dataset.take"]), int(run.params["seed"])): run for run in found}


def split_of(run):
    return json.loads(run.fetch("data/split.json").read_text())


def test_every_record_says_what_trained(shares):
    whole = split_of(shares[1, 1])
    assert set(whole) == {"train", "val", "test"}
    assert len({run.tags["lamella.protocol"] for run in shares.values()}) == 1
    assert len({run.tags["lamella.job"] for run in shares.values()}) == 6
    for (share, seed), run in shares.items():
        split = split_of(run)
        assert run.tags["lamella.labelled"] == str(TAKEN[share])
        assert len(split["train"]) == TAKEN[share]
        assert sorted(split["train"] + split.get("left", [])) == sorted(whole["train"])
        assert (split["val"], split["test"]) == (whole["val"], whole["test"])
        smaller = {id_ for other in SHARES if other < share for id_ in split_of(shares[other, seed])["train"]}
        assert smaller <= set(split["train"])
        rows = {row["id"]: row["role"] for row in json.loads(run.fetch("data/manifest.json").read_text())}
        assert [id_ for id_, role in rows.items() if role == "left"] == split.get("left", [])
        log = run.fetch("train.log").read_text()
        said = f"dataset.take={share:g}: {TAKEN[share]} of 7 training images, drawn by seed {seed}"
        assert (said in " ".join(log.split())) == (share != 1)
    card = json.loads(shares[0.25, 1].fetch("data/card.json").read_text())
    assert "2 to train (5 left out by dataset.take)" in card["images"]
    assert split_of(shares[0.25, 1])["train"] != split_of(shares[0.25, 2])["train"]


def test_a_share_is_compared_as_a_learning_curve(shares, composed, capsys):
    cohorts, notes = reporting.cohorts(list(shares.values()))
    (cohort,) = cohorts
    assert notes == []
    (method,) = cohort.methods
    assert method.label == "unet_ronneberger"
    assert [each.labelled for each in cohort.learning["unet_ronneberger"]] == [2, 3, 7]
    assert cohort.learning["unet_ronneberger"][-1] is method
    compare.run(composed("compare", "experiment=shares"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "wice the labelled images" in printed or "Labelled images are not what unet_ronneberger lacks" in printed
    page = printed.rpartition("report ")[2].split()[0]
    table = pd.read_csv(page.replace("report.html", "phantom_blood/learning.csv"))
    assert list(table.labelled) == [2, 3, 7]
    assert list(table.seeds) == [2, 2, 2]


def test_images_that_were_left_out_may_be_scored(shares, composed, root, tmp_path):
    run = shares[0.25, 1]
    split = split_of(run)
    left, trained = split["left"], split["train"]
    for name, test, rest in (("left", left, trained), ("seen", trained, left)):
        parts = {"train": [*rest, *split["test"]], "val": split["val"], "test": test}
        (tmp_path / f"{name}.json").write_text(json.dumps(parts))
    asked = [f"run={run.run_id}", "dataset=phantom_blood", "dataset/split=file", *TINY[:4]]
    evaluate.run(composed("evaluate", *asked, f"dataset.split.path={tmp_path}/left.json"))
    (scored,) = tracking.finished(
        f"sqlite:///{root}/runs.db", where="tags.`lamella.kind` = 'evaluation'", experiment="shares"
    )
    assert scored.tags["lamella.labelled"] == "2"
    assert float(scored.params["dataset.take"]) == 0.25
    assert sorted(scored.scores()["id"]) == sorted(left)
    with pytest.raises(Exception, match="was trained on it"):
        evaluate.run(composed("evaluate", *asked, f"dataset.split.path={tmp_path}/seen.json"))


def test_a_share_is_reproduced_and_gone_on_with_as_it_is(shares, composed, capsys):
    run = shares[0.25, 2]
    assert reproduce.run(composed("reproduce", f"run={run.run_id}"))
    assert "2 of 7 training images" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ConfigError, match=r"its dataset\.take is 0\.25, not 0\.5"):
        train.run(composed("train", f"resume={run.run_id}", "dataset.take=0.5"), typed=["dataset.take=0.5"])


def test_where_nothing_trains_there_is_no_share(composed):
    with pytest.raises(ConfigError, match=r"dataset\.take=0\.5 is a share of what trains, and here nothing does"):
        prepare_data.run(composed("prepare_data", "dataset=phantom_blood", *TINY[:4], "dataset.take=0.5"))
