"""Runs that are folds of one plan, put together: values by hand, and what must not be put together."""

import json

import numpy as np
import pytest

from lamella import reporting as report
from lamella.reporting.cohorts import differences
from support.kept import FOLDS, GROUP_OF, HASHED, Runs, parted

MASKS = {"lamella.kind": "masks"}
PUBLISHED = {"_target_": "lamella.splits.published_folds", "folds": "2", "seed": "0"}


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def one(runs):
    (cohort,), notes = report.cohorts(runs.found)
    return cohort, notes


def test_two_methods_three_folds_and_two_seeds_by_hand(runs):
    for seed in (1, 2):
        runs.plan("unet", seed, less=seed / 100)
        runs.plan("otsu", seed, less=0.1)
    cohort, notes = one(runs)
    assert notes == []
    assert [(method.label, len(method.runs)) for method in cohort.methods] == [("unet", 2), ("otsu", 2)]
    assert cohort.ids == tuple("abcdef")
    assert cohort.groups == ("p", "p", "q", "q", "r", "r")
    unet, otsu = cohort.methods
    np.testing.assert_allclose(unet.score("dice"), [[0.89, 0.79, 0.69, 0.59, 0.49, 0.39],
                                                    [0.88, 0.78, 0.68, 0.58, 0.48, 0.38]])  # fmt: skip
    np.testing.assert_allclose(otsu.score("dice")[0], [0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert (cohort.folds.kind, cohort.folds.names, cohort.folds.planned) == ("parted", ("0", "1", "2"), 3)
    assert cohort.folds.of == ("0", "0", "1", "1", "2", "2")
    assert cohort.folds.ratio == 1  # two judge, two train
    assert cohort.protocol["fold plan"] == (
        "3 folds by groups (seed=0); each image scored once, by networks that did not see it"
    )
    assert "split" not in cohort.protocol
    assert cohort.card["images"] == "6 are tested, in 3 folds: 2 to train, 2 to choose by, 2 to test in each"
    assert cohort.card["groups in the test"] == "3"
    table = report.summary(cohort, "dice", {})
    assert table.method.tolist() == ["unet", "otsu"]
    assert table.dice.tolist() == pytest.approx([0.635, 0.55])
    assert table.seeds.tolist() == [2, 2]
    assert table.dice_seed_sd[0] == pytest.approx(0.01 / np.sqrt(2))
    assert table.folds.tolist() == [3, 3]
    (pair,) = report.pairs(cohort, "dice")
    assert pair.p_folds is not None  # the test is that of folds
    section = report.section(cohort, "dice", {}, notes=notes, k=1)
    assert report.heading(section).startswith("blood: 6 test images of 3 groups, each judged in one of 3 folds, full")
    assert "What is compared is a recipe, not one network" in " ".join(section.verdict.sentences)


def test_each_image_leads_to_the_run_that_scored_it(runs):
    ids = runs.plan("unet")
    cohort, _ = one(runs)
    (run,) = cohort.methods[0].runs
    assert [part.run_id for part in run.each] == ids
    assert [part.fold for part in run.parts] == ["0", "1", "2"]
    for row, image in enumerate(cohort.ids):
        part, place = run.of_image(row)
        assert image in FOLDS[int(part.fold)]
        assert part.scores["id"][place] == image
        assert part.scores["dice"][place] == run.scores["dice"][row]
    assert "dataset.split.fold" not in run.params
    with pytest.raises(ValueError, match="of one fold"):
        run.fetch("pictures/0000.jpg")


def test_the_order_of_folds_and_of_images_within_them_does_not_matter(runs):
    for fold in (2, 0, 1):
        runs.plan("unet", folds=[fold])
    for fold in (1, 2, 0):
        runs.plan("fpn", folds=[fold], less=0.1)
    cohort, _ = one(runs)
    assert cohort.folds.names == ("0", "1", "2")
    first, second = (method.score("dice")[0] for method in cohort.methods)
    np.testing.assert_allclose(first - second, 0.1)


def test_what_a_fold_took_is_a_mean_and_images_without_foreground_are_counted(runs):
    absent = [{"test/absent/images": 1, "test/absent/empty": 1.0, "test/absent/fp": 0.0}, {},
              {"test/absent/images": 3, "test/absent/empty": 1 / 3, "test/absent/fp": 8.0}]  # fmt: skip
    for fold, more in enumerate(absent):
        runs.plan("unet", folds=[fold], metrics={**more, "time/train_s": 60.0 * fold, "test/pooled/dice": 0.5})
    cohort, _ = one(runs)
    metrics = cohort.methods[0].runs[0].metrics
    assert metrics["time/train_s"] == 60
    assert metrics["model/parameters"] == 5
    assert metrics["test/absent/images"] == 4
    assert metrics["test/absent/empty"] == pytest.approx(0.5)
    assert metrics["test/absent/fp"] == pytest.approx(6)
    assert "test/pooled/dice" not in metrics  # there are no counts to make it of
    assert report.summary(cohort, "dice", {})["absent/images"].tolist() == [4]


def test_pooled_scores_are_counted_anew(runs):
    tp, fn = (dict(zip("abcdef", values, strict=True)) for values in ((9, 0, 5, 1, 2, 3), (0, 4, 1, 0, 2, 6)))
    counts = {"tp": tp, "fp": dict.fromkeys("abcdef", 1), "fn": fn, "tn": dict.fromkeys("abcdef", 10)}
    total = {i: sum(counts[name][i] for name in counts) for i in "abcdef"}
    counts["accuracy"] = {i: (counts["tp"][i] + 10) / total[i] for i in "abcdef"}
    runs.plan("unet", columns=counts, metrics={"test/pooled/dice": 0.1})
    cohort, _ = one(runs)
    metrics = cohort.methods[0].runs[0].metrics
    assert metrics["test/pooled/dice"] == pytest.approx(2 * 20 / (2 * 20 + 6 + 13))
    assert metrics["test/pooled/accuracy"] == pytest.approx(80 / sum(total.values()))
    assert metrics["test/pooled/specificity"] == pytest.approx(60 / 66)
    assert metrics["test/pooled/dice/low"] < metrics["test/pooled/dice"] < metrics["test/pooled/dice/high"]


def test_pooled_scores_of_several_classes_are_those_that_a_run_logs(runs):
    from lamella.metrics.pixels import ImageTable, of_image

    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 50, (6, 3, 3))  # truth, prediction
    tp = np.diagonal(confusion, axis1=1, axis2=2)
    fp, fn = confusion.sum(axis=1) - tp, confusion.sum(axis=2) - tp
    tn = confusion.sum(axis=(1, 2))[:, None] - tp - fp - fn
    table = ImageTable([*"abcdef"], np.stack([tp, fp, fn, tn], axis=-1))
    columns = {"accuracy": dict(zip("abcdef", of_image("accuracy", table.counts), strict=True))}
    for number, name in enumerate(("ground", "cell", "dirt")):
        columns[f"class/{name}/dice"] = dict.fromkeys("abcdef", 0.5)
        for place, count in enumerate(("tp", "fp", "fn", "tn")) if number else ():
            columns[f"{count}_{number}"] = dict(zip("abcdef", table.counts[:, number, place], strict=True))
    runs.plan("unet", columns=columns)
    cohort, _ = one(runs)
    metrics = cohort.methods[0].runs[0].metrics
    for name in ("dice", "accuracy", "mcc"):
        assert metrics[f"test/pooled/{name}"] == pytest.approx(table.pooled(name))
    both = table.counts.sum(axis=0)[0]
    assert metrics["test/pooled/class/ground/dice"] == pytest.approx(2 * both[0] / (2 * both[0] + both[1] + both[2]))


def test_folds_that_a_method_lacks_are_left_out_for_all_and_said(runs):
    runs.plan("unet")
    runs.plan("fpn", folds=[0, 2], seed=2)
    runs.plan("fpn", folds=[0, 2])
    cohort, notes = one(runs)
    assert cohort.ids == tuple("abef")
    assert cohort.folds.names == ("0", "2")
    assert cohort.folds.planned == 3
    assert "folds 0 and 2 of it" in cohort.protocol["fold plan"]
    (note,) = notes
    assert note.startswith("fpn: fold 1 of 3 was not run: all methods are compared over folds 0 and 2 alone.")
    assert "-m dataset=blood dataset/split=hashed_folds model=fpn dataset.split.fold=1 seed=1,2`" in note
    assert "with all else as in run 0" in note


def test_what_is_missing_is_named_as_it_was_typed(runs):
    said = ["dataset=blood", "dataset/split=hashed_folds", "dataset.split.folds=3", "model=fpn", "model.name=a b"]
    runs.plan("unet")
    for fold in (0, 2):
        typed = json.dumps([*said, f"dataset.split.fold={fold}"])
        runs.plan("fpn", folds=[fold], tags={"lamella.typed": typed})
    _, (note,) = one(runs)
    command = note.partition("To complete it: ")[2]
    assert command.startswith("`python train.py dataset=blood") or command.startswith("`lamella train dataset=blood")
    assert command.endswith("model=fpn 'model.name=a b' dataset.split.fold=1 seed=1`.")


def test_a_trial_on_one_fold_does_not_take_the_others_away(runs):
    runs.plan("unet", params={"optimizer.lr": "0.1"})
    runs.plan("unet", folds=[1], params={"optimizer.lr": "0.2"})
    runs.plan("otsu")
    cohort, notes = one(runs)
    assert [method.label for method in cohort.methods] == ["unet optimizer.lr=0.1", "otsu"]
    assert cohort.ids == tuple("abcdef")
    (note,) = notes
    assert note.startswith("unet optimizer.lr=0.2: folds 0 and 2 of 3 were not run, and it is left out")
    assert "-m dataset=blood" in note
    assert "dataset.split.fold=0,2" in note


def test_one_fold_alone_is_a_plain_split(runs):
    runs.plan("unet", folds=[1])
    runs.plan("otsu", folds=[1])
    cohort, notes = one(runs)
    assert (cohort.folds, notes, cohort.ids) == (None, [], ("c", "d"))
    assert "split" in cohort.protocol
    assert "fold plan" not in cohort.protocol


def test_one_fold_that_is_shared_is_a_plain_split_too(runs):
    runs.plan("unet", folds=[0, 1])
    runs.plan("otsu", folds=[1])
    cohort, notes = one(runs)
    assert (cohort.folds, cohort.ids) == (None, ("c", "d"))
    assert len(cohort.methods) == 2
    assert notes[0].startswith("otsu: fold 0 of 3 was not run: all methods are compared over fold 1 alone.")
    assert "Of 3 folds 2 were run: fold 2 by no method" in notes[1]


def test_methods_of_one_fold_each_are_plain_splits_side_by_side(runs):
    runs.plan("unet", folds=[2])
    runs.plan("otsu", folds=[0])
    cohorts, notes = report.cohorts(runs.found)
    assert notes == []
    assert [(each.methods[0].label, each.ids, each.folds) for each in cohorts] == [
        ("otsu", ("a", "b"), None),
        ("unet", ("e", "f"), None),
    ]


def test_shares_of_the_training_images_are_a_curve_over_folds(runs):
    for share, less, count in (("1.0", 0.0, 4), ("0.5", 0.1, 2)):
        tags, params = {"lamella.labelled": str(count)}, {"dataset.take": share}
        runs.plan("unet", less=less, params=params, tags=tags)
        runs.plan("fpn", less=less + 0.2, params=params, tags=tags)
    cohort, notes = one(runs)
    assert notes == []
    assert [method.label for method in cohort.methods] == ["unet", "fpn"]
    half, whole = cohort.learning["unet"]
    assert [method.labelled for method in (half, whole)] == [2, 4]
    np.testing.assert_allclose(whole.score("dice") - half.score("dice"), 0.1)
    assert len(half.runs[0].each) == 3


def test_folds_on_unlike_devices_stay_apart_and_say_which_they_are(runs):
    runs.plan("unet", folds=[0, 1])
    runs.plan("unet", folds=[2], protocol={"device": "cuda"})
    runs.plan("unet", folds=[0, 2], less=0.1, protocol={"device": "cuda"}, seed=2)
    cohorts, notes = report.cohorts(runs.found)
    assert sorted(each.folds.names for each in cohorts) == [("0", "1"), ("0", "2")]
    assert set(differences(cohorts)) == {"device", "fold plan"}
    assert [note.startswith("Of 3 folds 2 were run") for note in notes if "Of 3" in note] == [True, True]


def test_a_seed_of_its_own_for_each_fold_is_one_repetition(runs):
    for fold in range(3):
        runs.plan("unet", seed=10 + fold, folds=[fold])
    cohort, notes = one(runs)
    assert notes == []
    (run,) = cohort.methods[0].runs
    assert [part.seed for part in run.each] == [10, 11, 12]


def test_seeds_that_some_folds_have_more_of(runs):
    runs.plan("unet", 1)
    runs.plan("unet", 2, less=0.1)
    extra = runs.plan("unet", 7, folds=[1], less=0.9)[0]
    cohort, notes = one(runs)
    assert len(cohort.methods[0].runs) == 2
    assert extra not in [part.run_id for run in cohort.methods[0].runs for part in run.each]
    assert notes == ["unet: fold 1 has more seeds than the 2 of others: those beyond are left out."]


def test_the_same_fold_and_seed_twice_counts_once_the_later(runs):
    first = runs.plan("unet")[1]
    later = runs.plan("unet", folds=[1], less=0.5)[0]
    cohort, notes = one(runs)
    assert cohort.methods[0].score("dice")[0][2] == pytest.approx(0.2)
    assert notes == [f"unet: run {first} has the same seed 1 and fold 1 as the later {later}: left out."]


def test_plans_stay_apart_and_say_so_in_words(runs):
    runs.plan("unet")
    runs.plan("unet", split={**HASHED, "seed": "1"})
    cohorts, notes = report.cohorts(runs.found)
    assert (len(cohorts), notes) == (2, [])
    assert differences(cohorts) == ["fold plan"]
    runs.plan("unet", params={"dataset.group": "^(.)"})
    runs.plan("unet", split={"_target_": "mine.folds", "k": "3"})
    cohorts, _ = report.cohorts(runs.found)
    assert len({each.protocol["fold plan"] for each in cohorts}) == len(cohorts) == 4


def test_a_split_of_ones_own_with_a_fold_is_a_plan(runs):
    runs.plan("unet", split={"_target_": "mine.by_day", "days": "3"})
    runs.plan("fpn", split={"_target_": "mine.by_day", "days": "3"})
    cohort, notes = one(runs)
    assert notes == []
    assert cohort.folds.planned == 3
    assert cohort.protocol["fold plan"].startswith("3 folds by mine.by_day (days=3); each image scored once")


def test_files_whose_tests_share_no_image_are_folds_and_others_are_not(runs):
    split = {"_target_": "lamella.splits.file", "allow_unused": "False"}
    for fold in range(3):
        dice = dict.fromkeys(FOLDS[fold], 0.5)
        runs.add("unet", f"/splits/{fold}.json", dice, parts=parted(fold), split=split)
        runs.add("fpn", f"elsewhere/{fold}.json", dice, parts=parted(fold), split=split)
    cohort, notes = one(runs)
    assert notes == []
    assert cohort.ids == tuple("abcdef")
    assert [len(method.runs[0].each) for method in cohort.methods] == [3, 3]
    assert cohort.protocol["fold plan"].startswith("3 splits by files (0, 1, 2); each image")
    stray = runs.add("unet", "/splits/stray.json", dict.fromkeys("ac", 0.5), split=split)
    folded, alone = report.cohorts(runs.found)[0]
    assert folded.ids == tuple("abcdef")
    assert alone.ids == ("a", "c")
    (note,) = report.cohorts(runs.found)[1]
    assert stray in note
    assert "is judged in fold" in note


def test_files_with_the_same_test_and_other_training_images_are_experiments_of_their_own(runs):
    split = {"_target_": "lamella.splits.file", "allow_unused": "True"}
    for name, train in (("small", ["c"]), ("large", ["c", "d", "e"])):
        parts = {"train": train, "val": ["f"], "test": ["a", "b"]}
        runs.add("unet", name, {"a": 0.5, "b": 0.6}, parts=parts, split=split)
    cohorts, _ = report.cohorts(runs.found)
    assert [each.folds for each in cohorts] == [None, None]


def test_folds_of_the_published_train_part_are_runs_side_by_side(runs):
    alone = {image: image for image in GROUP_OF}
    for fold, held in enumerate(("cd", "ef")):
        parts = {"train": [i for i in "cdef" if i not in held], "val": [*held], "test": ["a", "b"]}
        for seed in (1, 2, 3):
            dice = {"a": 0.5 + fold / 10 + seed / 100, "b": 0.9}
            runs.add(
                "unet",
                fold,
                dice,
                seed=seed,
                parts=parts,
                split=PUBLISHED,
                groups=alone,
                metrics={"time/train_s": seed},
            )
        runs.add("otsu", fold, {"a": 0.4, "b": 0.4}, parts=parts, split=PUBLISHED, groups=alone)
    runs.add("cellpose", 1, {"a": 0.7, "b": 0.7}, parts=parts, split=PUBLISHED, groups=alone, tags=MASKS, seed=0,
             protocol={"device": None, "threshold": None})  # fmt: skip
    cohort, notes = one(runs)
    assert notes == []
    assert (cohort.folds.kind, cohort.folds.names, cohort.folds.of) == ("repeated", ("0", "1"), ())
    assert cohort.folds.ratio == 1  # two of the four are held out
    unet, otsu, cellpose = cohort.methods
    np.testing.assert_allclose(unet.score("dice"), [[0.52, 0.9], [0.62, 0.9]])
    np.testing.assert_allclose(cellpose.score("dice"), [[0.7, 0.7], [0.7, 0.7]])
    assert [run.fold for run in unet.runs] == ["0", "1"]
    assert [len(run.each) for run in unet.runs] == [3, 3]
    assert unet.runs[0].of_image(0)[0].seed == 2  # the median seed is the one to be shown
    assert unet.metric("time/train_s") == 2
    assert len(otsu.runs) == 2
    assert "every fold scores the same images" in cohort.protocol["fold plan"]
    pairs = {(pair.first, pair.second): pair for pair in report.pairs(cohort, "dice")}
    assert pairs["unet", "otsu"].p is not None
    assert pairs["otsu", "cellpose"].p is None  # their differences on all images are the same
    table = report.summary(cohort, "dice", {})
    assert table.set_index("method").seeds.to_dict() == {"unet": 3, "cellpose": 1, "otsu": 1}


def test_masks_of_each_fold_stand_beside_the_methods_of_the_plan(runs):
    runs.plan("unet")
    runs.plan("otsu", protocol={"device": "cuda"})  # a plan of its own: another device
    for fold in range(3):
        params = {"run": f"the one of fold {fold}"}
        runs.plan("cellpose", 0, folds=[fold], tags=MASKS, protocol={"device": None, "threshold": None}, params=params)
    cohorts, notes = report.cohorts(runs.found)
    assert notes == []
    assert [[method.label for method in each.methods] for each in cohorts] == [
        ["unet", "cellpose"],
        ["otsu", "cellpose"],
    ]
    assert cohorts[0].methods[1].deterministic
    runs.found = [run for run in runs.found if run.params["model.name"] != "unet" or run.params["seed"] != "1"]
    runs.found = runs.found[:-1]  # the masks of the last fold
    (cohort,), notes = report.cohorts([run for run in runs.found if run.params["model.name"] != "unet"])
    assert cohort.folds.names == ("0", "1")
    assert "score.py masks=DIR name=cellpose run=" in notes[0]


def test_evaluations_of_the_test_itself_count_once(runs):
    ids = runs.plan("unet")
    for fold, run_id in enumerate(ids):
        runs.plan("unet", folds=[fold], less=0.5, tags={"lamella.kind": "evaluation", "lamella.evaluates": run_id})
    cohort, notes = one(runs)
    assert (len(cohort.methods), notes) == (1, [])
    assert cohort.methods[0].score("dice")[0][0] == pytest.approx(0.9)


def test_networks_of_all_folds_on_other_data_are_runs_side_by_side(runs):
    for model, less in (("unet", 0.0), ("fpn", 0.2)):
        for fold, run_id in enumerate(runs.plan(model)):
            told = {"lamella.kind": "evaluation", "lamella.evaluates": run_id}
            runs.add(model, "", {"x": 0.8 - less + fold / 100, "y": 0.5}, data="other", tags=told, split={},
                     groups={"x": "x", "y": "y"}, params={"dataset.name": "own"})  # fmt: skip
    own, other = sorted(report.cohorts(runs.found)[0], key=lambda each: each.dataset)
    assert report.cohorts(runs.found)[1] == []
    assert (own.dataset, own.folds.kind, other.dataset, other.folds.kind) == ("blood", "parted", "own", "repeated")
    np.testing.assert_allclose(other.methods[0].score("dice"), [[0.8, 0.5], [0.81, 0.5], [0.82, 0.5]])
    assert "trained on=blood" in other.protocol["fold plan"]


def test_runs_of_versions_that_do_not_say_their_split_stand_as_ever(runs):
    for fold in range(3):
        runs.plan("unet", folds=[fold], split={})
    cohorts, notes = report.cohorts(runs.found)
    assert ([each.folds for each in cohorts], notes) == ([None] * 3, [])


def test_folds_of_older_names_are_the_same_plan(runs):
    runs.plan("unet", split={**HASHED, "_target_": "lamella.data.folds.hashed"})
    runs.plan("fpn")
    cohort, _ = one(runs)
    assert len(cohort.methods) == 2


def test_a_fold_of_other_images_under_one_name_stands_apart(runs):
    runs.plan("unet")
    runs.plan("fpn")
    stray = runs.add("otsu", 0, {"a": 0.5, "c": 0.5})
    folded, alone = report.cohorts(runs.found)[0]
    assert [method.label for method in folded.methods] == ["unet", "fpn"]
    assert alone.methods[0].label == "otsu"
    (note,) = report.cohorts(runs.found)[1]
    assert stray in note
    assert "fold 0 of other runs is another" in note


def test_a_fold_without_any_foreground_says_nothing_and_hinders_nothing(runs):
    nan = float("nan")
    for model, less in (("unet", 0.0), ("fpn", 0.1)):
        runs.add(model, 0, {"a": nan, "b": nan}, parts=parted(0))
        runs.plan(model, folds=[1, 2], less=less)
    cohort, notes = one(runs)
    assert notes == []
    table = report.summary(cohort, "dice", {})
    assert table.dice.tolist() == pytest.approx([0.55, 0.45])
    assert table.dice_images.tolist() == [4, 4]
    (pair,) = report.pairs(cohort, "dice")
    assert pair.difference == pytest.approx(0.1)
    section = report.section(cohort, "dice", {}, notes=notes, k=3)
    assert section.comparisons


def test_minutes_of_training_are_one_method_though_epochs_differ(runs):
    for fold in range(3):
        runs.plan("unet", folds=[fold], params={"trainer.max_epochs": str(fold)}, tags={"lamella.minutes": "5"})
    cohort, _ = one(runs)
    assert [method.label for method in cohort.methods] == ["unet"]
    assert json.loads(json.dumps(cohort.card))["data set"] == "Smears"
    assert set(GROUP_OF) == set(cohort.ids)
