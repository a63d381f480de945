"""What each method was given: settings, runs and epochs by hand, and who is favoured, in words."""

import json

import pandas as pd
import pytest

from lamella.reporting.cohorts import Cohort, Method, SeedRun
from lamella.reporting.cohorts.budget import tried
from lamella.tracking import Listed


def listed(run_id, model, *, status="FINISHED", typed=(), tags=None, data="d", **params):
    kept = {"lamella.protocol": json.dumps({"data": data})}
    kept |= {} if typed is None else {"lamella.typed": json.dumps(list(typed))}
    said = {"model.name": model, "dataset.name": "blood", "seed": "1", "optimizer.lr": "1"}
    return Listed(run_id, status, said | params, {}, kept | (tags or {}))


def method(label, *run_ids, epochs=None):
    metrics = {} if epochs is None else {"time/epochs": epochs}
    runs = [
        SeedRun(run_id, run_id, seed, {}, metrics, pd.DataFrame({"id": ["a"]}), pd.DataFrame, lambda name: name)
        for seed, run_id in enumerate(run_ids)
    ]
    return Method(label, tuple(runs), deterministic=False)


def cohort(*methods):
    return Cohort("blood", False, methods, {}, {"images": "6 to train, 12 to choose by, 8 to test"})


def test_a_budget_by_hand():
    typed = ["model=unet", "dataset=blood", "dataset/split=kept", "trainer.max_epochs=2"]
    runs = [
        listed("u1", "unet", typed=[*typed, "optimizer.lr=0.1"], **{"optimizer.lr": "0.1"}),
        listed("u2", "unet", typed=[*typed, "optimizer.lr=0.1"], **{"optimizer.lr": "0.1", "seed": "2"}),
        listed("u3", "unet", status="FAILED", **{"optimizer.lr": "5"}),
        listed("u4", "unet", status="KILLED", **{"optimizer.lr": "0.1", "dataset.split.fold": "3"}),
        listed("u5", "unet", status="RUNNING", **{"optimizer.lr": "0.1", "dataset.take": "0.5"}),
        listed("other", "unet", data="other", **{"optimizer.lr": "7"}),
        listed("judged", "unet", tags={"lamella.kind": "evaluation", "lamella.evaluates": "u1"}, **{"score.x": "1"}),
        listed("o1", "otsu", typed=typed, tags={"lamella.chosen": "channel 1"}),
        Listed("c", "FINISHED", {"metric": "dice"}, {}, {"lamella.kind": "comparison"}),
    ]
    found = tried(cohort(method("unet", "u1", "u2", epochs=20.0), method("otsu", "o1")), runs)
    assert found.budgets["unet"] == (2, (5, 2), 20.0, "recipe of blood; typed: optimizer.lr=0.1")
    settings, count, epochs, chosen = found.budgets["otsu"]
    assert (settings, count, chosen) == (1, (1, 1), "its setting chosen by 12 validation images of each run")
    assert pd.isna(epochs)
    assert found.remarks == [
        "Typed for all methods alike: trainer.max_epochs=2.",
        "unet was tried with 2 settings, otsu with 1: the comparison favours unet.",
    ]


def test_as_it_comes_and_not_known():
    both = cohort(method("unet", "u"), method("fcn", "f"))
    found = tried(both, [listed("u", "unet", typed=["model=unet,fcn"]), listed("f", "fcn", typed=["recipe=em"])])
    assert [each.chosen for each in found.budgets.values()] == [
        "recipe of blood, as it comes",
        "recipe of em, as it comes",
    ]
    assert found.remarks == []
    found = tried(both, [listed("u", "unet", typed=None), listed("f", "fcn", typed=["optimizer.lr=1"])])
    assert [each.chosen for each in found.budgets.values()] == [
        "recipe of blood; what was typed is not known",
        "recipe of blood; typed: optimizer.lr=1",
    ]


def test_a_method_that_was_evaluated_elsewhere_has_the_budget_of_its_training():
    runs = [
        listed("u", "unet", typed=["model.depth=3"], data="home"),
        listed("v", "unet", status="FAILED", data="home", **{"optimizer.lr": "9"}),
        listed("e", "unet", typed=None, data="away", tags={"lamella.kind": "evaluation", "lamella.evaluates": "u"}),
        listed("g", "unet", tags={"lamella.kind": "evaluation", "lamella.evaluates": "in another experiment"}),
    ]
    runs.append(listed("f", "fcn", typed=["model=fcn"]))
    found = tried(cohort(method("unet", "e"), method("fcn", "f")), runs)
    assert found.budgets["unet"].chosen == "recipe of blood; typed: model.depth=3"
    assert tried(cohort(method("unet", "g")), runs).budgets == {}
    assert tried(cohort(method("unet", "e")), runs).budgets["unet"][::3] == (2, "recipe of blood")


def test_masks_made_elsewhere_and_runs_that_are_not_listed():
    masks = listed("m", "cellpose", typed=None, tags={"lamella.kind": "masks"})
    unet = listed("u", "unet", typed=["optimizer.lr=3"])
    found = tried(cohort(method("cellpose", "m"), method("unet", "u"), method("fcn", "gone")), [masks, unet])
    assert {label: each.chosen for label, each in found.budgets.items()} == {
        "cellpose": "made elsewhere",
        "unet": "recipe of blood",
    }
    assert tried(cohort(method("unet", "u")), []) == ({}, [])


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"unet": 1, "fcn": 1}, []),
        ({"unet": 3, "fcn": 3}, []),
        (
            {"fcn": 1, "unet": 6, "otsu": 1},
            ["unet was tried with 6 settings, fcn and otsu with 1: the comparison favours unet."],
        ),
        (
            {"fcn": 2, "unet": 6, "otsu": 1},
            [
                "unet was tried with 6 settings, fcn with 2, otsu with 1: "
                "the comparison favours what was tried more often."
            ],
        ),
    ],
)
def test_who_is_favoured_is_said(counts, said):
    runs = [listed(f"{m}{n}", m, **{"optimizer.lr": str(n)}) for m, count in counts.items() for n in range(count)]
    assert list(tried(cohort(*(method(m, f"{m}0") for m in counts)), runs).remarks) == said
