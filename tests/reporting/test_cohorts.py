"""Runs of a real store -> cohorts -> tables: values by hand, unlike protocols apart, nothing counted twice."""

import json
import math

import pytest

from lamella import reporting as report
from lamella import tracking
from lamella.errors import ConfigError, StorageError
from lamella.reporting.cohorts import by_method, differences
from support.compared import Store
from support.stores import empty_store

OTSU, UNET_A, UNET_B = [0.5, 0.7], [0.8, 0.9], [0.6, 0.9]  # Dice of two images


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    empty_store(folder / "runs.db")
    return folder


@pytest.fixture
def empty(root, request):
    """An experiment of the test's own: a new store takes seconds."""
    return Store(root, request.node.name)


@pytest.fixture(scope="module")
def store(root):
    """Three runs to compare, one by another protocol beside them, and a run of another sweep."""
    made = Store(root)
    made.run("otsu", 1, OTSU)
    made.run("unet", 1, UNET_A)
    made.run("unet", 2, UNET_B)
    made.run("unet", 1, [0.99, 0.98], protocol="q")
    made.run("unet", 3, [0.1, 0.1], tags={"lamella.sweep": "another"})
    return made


@pytest.fixture(scope="module")
def cohort(store):
    cohorts, notes = report.cohorts(tracking.finished(store.uri, sweep="one", experiment="e"))
    assert notes == []
    assert [len(each.methods) for each in cohorts] == [2, 1]  # two protocols; the larger first
    return cohorts[0]


def test_a_cohort_by_hand(cohort):
    assert cohort.ids == ("image 0", "image 1")
    assert cohort.groups == cohort.ids
    resized = {"soft scores, resized to pixels": "none"}
    assert cohort.protocol == {"data": "p", **resized, "rules of undefined scores": "older rules"}
    assert cohort.card == {"data set": "Smears"}
    otsu, unet = cohort.methods
    assert (otsu.label, otsu.deterministic, unet.label, unet.deterministic) == ("otsu", True, "unet", False)
    assert unet.score("dice").tolist() == [UNET_A, UNET_B]
    assert unet.metric("time/train_s") == 90
    assert math.isnan(unet.metric("no/such"))
    assert unet.median.seed == 2  # means 0.85 and 0.75: of two the lower one
    assert unet.runs[0].curve["val/dice"].tolist() == [0, 0.1]
    with pytest.raises(StorageError, match=r"has no pictures/0000\.jpg"):
        unet.runs[0].fetch("pictures/0000.jpg")


def test_one_row_a_method_by_hand(cohort):
    rows = report.summary(cohort, "dice", {"otsu": {"dice": 0.65}})
    assert list(rows.method) == ["unet", "otsu"]
    assert list(rows.seeds) == [2, 1]
    assert rows.dice.tolist() == pytest.approx([(0.7 + 0.9) / 2, 0.6])
    assert rows.iou.tolist() == pytest.approx([0.4, 0.3])
    assert rows.dice_seed_sd[0] == pytest.approx(abs(0.85 - 0.75) / math.sqrt(2))
    assert math.isnan(rows.dice_seed_sd[1])
    assert (rows.dice_low <= rows.dice).all()
    assert (rows.dice_low >= 0).all()
    assert (rows.dice <= rows.dice_high).all()
    assert rows.dice_interval[0] == "Student's t"  # over images, of their mean over seeds
    assert rows.dice_difference[1] == pytest.approx(-0.05)
    assert math.isnan(rows.dice_published[0])
    assert rows.train_s.tolist() == [90, 60]
    assert "tp" not in rows
    with pytest.raises(ConfigError, match="metric=v_rand is no score") as caught:
        report.summary(cohort, "v_rand", {})
    assert "dice, iou" in caught.value.remedy


def test_no_winner_is_named_between_two_images(cohort):
    (pair,) = report.pairs(cohort, "dice")
    assert (pair.first, pair.second, pair.better) == ("otsu", "unet", None)
    assert pair.difference == pytest.approx(-0.2)
    said = " ".join(report.verdict(cohort, report.summary(cohort, "dice", {}), [pair], "dice").sentences)
    assert "No winner: unet has the best mean Dice 0.8000" in said
    assert "Against otsu nothing can be said: the differences on all images are the same" in said
    assert "2 test images are few" in said


def test_images_without_a_score_are_left_out_and_counted(empty):
    nan = float("nan")
    for seed, dice in ((1, 0.8), (2, 0.9)):
        empty.run(
            "unet", seed, [nan, dice, 0.5], columns={"boundary/hd95": [nan, 3, 9], "boundary/imputed": [nan, 0, 1]}
        )
    empty.run("otsu", 1, [nan, 0.4, 0.2], columns={"boundary/hd95": [nan] * 3, "boundary/imputed": [nan, 0, 0]})
    (cohort,), _ = report.cohorts(empty.finished())
    rows = report.summary(cohort, "dice", {})
    assert list(rows.method) == ["unet", "otsu"]
    assert rows.dice.tolist() == pytest.approx([(0.85 + 0.5) / 2, 0.3])
    assert rows.dice_images.tolist() == [2, 2]
    assert rows.images.tolist() == [3, 3]
    assert rows.dice_seed_sd[0] == pytest.approx(0.05 / math.sqrt(2))
    assert rows["boundary/hd95_images"].tolist() == [2, 0]
    assert rows["boundary/hd95_imputed"].tolist() == [2, 0]  # one in each of two runs
    assert rows.failed.tolist() == [0, 2]
    by_hd95 = report.summary(cohort, "boundary/hd95", {})
    assert list(by_hd95.method) == ["unet", "otsu"]  # what has no score is never first
    with pytest.raises(StorageError, match="image image 1 has a score boundary/hd95 by one of"):
        report.pairs(cohort, "boundary/hd95")
    assert cohort.methods[0].median.seed == 1
    section = report.section(cohort, "dice", {}, notes=[], k=3)
    assert [case.id for case in section.gallery.cases] == ["image 2", "image 1"]
    assert report.heading(section) == "blood: 3 test images, full resolution; mean (95 % over images, Student's t)"


def test_a_score_that_no_image_has_is_never_compared(empty):
    for seed in (1, 2):
        empty.run("unet", seed, [float("nan")] * 2, columns={"precision": [0.5, 0.7]})
    empty.run("otsu", 1, [float("nan")] * 2, columns={"precision": [0.5, 0.6]})
    (cohort,), _ = report.cohorts(empty.finished())
    section = report.section(cohort, "dice", {}, notes=[], k=3)
    assert section.comparisons == []
    assert section.gallery is None
    assert section.verdict.sentences == ("No test image has this score (Dice): by it nothing is compared.",)
    assert "No score (–): no test image has it." in section.notes


def test_a_lead_beyond_images_and_seeds_is_a_win_and_one_seed_never_is(empty):
    for seed in (1, 2, 3):
        empty.run("unet", seed, [0.9 + seed / 1000 + image / 1000 for image in range(30)])
        empty.run("fpn", seed, [0.8 + seed / 1000 + image / 1500 for image in range(30)])
    runs = empty.finished()
    (cohort,), _ = report.cohorts(runs)
    compared = report.pairs(cohort, "dice")
    assert [pair.better for pair in compared] == ["unet"]
    said = report.verdict(cohort, report.summary(cohort, "dice", {}), compared, "dice").sentences
    assert said[0].startswith("unet is better than fpn: mean Dice 0.9")
    (single,), _ = report.cohorts([run for run in runs if run.params["seed"] == "1"])
    compared = report.pairs(single, "dice")
    assert [pair.better for pair in compared] == [None]
    said = report.verdict(single, report.summary(single, "dice", {}), compared, "dice").sentences
    assert "does not show how much seeds matter" in " ".join(said)


def test_what_repeats_counts_once_and_is_said(empty):
    first = empty.run("unet", 1, UNET_A)
    later = empty.run("unet", 1, UNET_B)
    empty.run("unet", 1, [0.0, 0.0], tags={"lamella.kind": "evaluation", "lamella.evaluates": later})
    elsewhere = {"lamella.kind": "evaluation", "lamella.evaluates": later}
    empty.run("unet", 1, [0.3, 0.4], protocol="another data set", tags=elsewhere)
    empty.run("unet", 9, [0.0, 0.0], tags={"lamella.kind": "comparison"})
    (own, other), notes = report.cohorts(empty.finished())
    assert own.methods[0].score("dice").tolist() == [UNET_B]
    assert other.methods[0].score("dice").tolist() == [[0.3, 0.4]]
    assert notes == [f"unet: run {first} has the same seed 1 as the later {later}: left out."]


def test_runs_on_unlike_devices_are_kept_apart_and_it_is_named(empty):
    for device, precision in (("cpu", "32-true"), ("cuda", "bf16-mixed")):
        protocol = json.dumps({"data": "p", "device": device, "precision": precision})
        empty.run("unet", 1, [0.3, 0.4], tags={"lamella.protocol": protocol})
    cohorts, notes = report.cohorts(empty.finished())
    assert (len(cohorts), notes) == (2, [])
    assert differences(cohorts) == ["device", "precision"]
    assert differences(cohorts[:1]) == []


def test_runs_of_one_protocol_with_other_images_are_refused(empty):
    empty.run("unet", 1, UNET_A)
    empty.run("unet", 2, UNET_A, names=["image 0", "image 2"])
    with pytest.raises(StorageError, match="other images"):
        report.cohorts(empty.finished())


def test_a_run_without_groups_is_left_out_and_said(empty):
    run_id = empty.run("unet", 1, UNET_A, dropped=["group"])
    cohorts, notes = report.cohorts(empty.finished())
    assert cohorts == []
    assert run_id in notes[0]
    assert "older version" in notes[0]


def test_counts_are_compared_by_the_size_of_their_errors(empty):
    empty.run("unet", 1, UNET_A, columns={"count/error": [-4, 2], "count/true": [9, 9]})
    empty.run("fpn", 1, UNET_B, columns={"count/error": [1, -1], "count/true": [9, 9]})
    (cohort,), _ = report.cohorts(empty.finished())
    rows = report.summary(cohort, "count/error", {})
    assert list(rows.method) == ["fpn", "unet"]  # less is better
    assert rows["count/error"].tolist() == [1, 3]
    assert "count/true" not in rows


def test_what_differs_beside_the_seed_makes_another_method(store):
    class Run:
        def __init__(self, code=None, **params):
            self.tags = {} if code is None else {"lamella.code": json.dumps({"mine": f"sha256:{code}"})}
            self.params = {"model.name": "unet", **{key.replace("__", "."): value for key, value in params.items()}}

    runs = [Run(seed="1", lr="0.1"), Run(seed="2", lr="0.1", paths__data="x"), Run(seed="1", lr="0.2")]
    assert {name: len(some) for name, some in by_method(runs).items()} == {"unet lr=0.1": 2, "unet lr=0.2": 1}
    many = [Run(a=str(n), b=str(n), c=str(n), d=str(n)) for n in (1, 2, 1)]
    assert {name: len(some) for name, some in by_method(many).items()} == {"unet setting 1": 2, "unet setting 2": 1}
    # A changed file of a user's own is another method, wherever it lay.
    edited = [Run("0123456789", plugins="['a/mine.py']"), Run("abcdefghij"), Run("abcdefghij", plugins="['mine']")]
    names = {"unet code of mine=01234567": 1, "unet code of mine=abcdefgh": 2}
    assert {name: len(some) for name, some in by_method(edited).items()} == names
    of_one = [run for run in store.finished() if json.loads(run.tags["lamella.protocol"])["data"] == "p"]
    assert list(by_method(of_one)) == ["otsu", "unet"]


def test_runs_are_found_by_what_is_asked_for(store, tmp_path):
    assert len(store.finished()) == 5
    found = tracking.finished(store.uri, experiment="e", where="params.`model.name` = 'otsu'")
    assert [run.params["model.name"] for run in found] == ["otsu"]
    assert tracking.read(store.uri, found[0].run_id).scores().dice.tolist() == OTSU
    with pytest.raises(StorageError, match="no experiment 'f'") as caught:
        tracking.finished(store.uri, experiment="f")
    assert "Default" in caught.value.remedy
    with pytest.raises(StorageError, match="is not understood"):
        tracking.finished(store.uri, where="params.model = unet")
    with pytest.raises(StorageError, match="there is no run"):
        tracking.read(store.uri, "0" * 32)
    with pytest.raises(StorageError, match="no such file"):
        tracking.finished(f"sqlite:///{tmp_path}/nosuch.db")
    assert not (tmp_path / "nosuch.db").exists()


def test_the_checkpoint_of_a_run_that_has_none_is_said_so(store):
    run = tracking.finished(store.uri)[0]
    for run_id in (run.run_id, "0" * 32):
        with pytest.raises(StorageError, match="has no checkpoints"):
            tracking.checkpoint(store.uri, run_id)
