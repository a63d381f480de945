"""Methods that differ by dataset.take alone: one curve, compared at the largest share that all have."""

import json

import pandas as pd
import pytest

from lamella.errors import StorageError
from lamella.reporting.cohorts import Method, SeedRun
from lamella.reporting.cohorts.shares import by_share, labelled, named


def nothing(name):
    raise StorageError(f"no {name}")


def method(label, share=None, *, images=(10.0,), fetch=nothing):
    params = {} if share is None else {"dataset.take": str(share)}
    runs = tuple(SeedRun(f"{n}", label, n, params, {}, pd.DataFrame(), pd.DataFrame, fetch, labelled=count)
                 for n, count in enumerate(images))  # fmt: skip
    return Method(label + named(str(share or 1)), runs, False)


def test_a_curve_by_hand():
    methods = [method("unet", 0.25, images=(2, 3)), method("otsu"), method("unet", 1.0, images=(10, 10)),
               method("unet", 0.5, images=(5, 5))]  # fmt: skip
    assert [each.label for each in methods] == ["unet dataset.take=0.25", "otsu", "unet", "unet dataset.take=0.5"]
    compared, curves, notes = by_share(methods)
    assert [each.label for each in compared] == ["unet", "otsu"]
    assert list(curves) == ["unet"]
    assert [each.labelled for each in curves["unet"]] == [2.5, 5, 10]
    assert curves["unet"][-1] is compared[0]
    assert notes == []


def test_runs_of_older_versions_were_trained_on_all():
    compared, curves, notes = by_share([method("unet"), method("fcn", 1)])
    assert [each.label for each in compared] == ["unet", "fcn"]
    assert (curves, notes) == ({}, [])


def test_the_largest_share_that_all_have_is_compared():
    methods = [method("a", 0.25, images=(2,)), method("a", 0.5, images=(5,)), method("a", 1), method("b", 0.5)]
    compared, curves, notes = by_share(methods)
    assert [(each.label, each.runs[0].params["dataset.take"]) for each in compared] == [("a", "0.5"), ("b", "0.5")]
    assert len(curves["a"]) == 3
    assert curves["a"][1] is compared[0]
    assert "dataset.take=0.5, the largest share that all have" in notes[0]


def test_one_share_of_all_is_said():
    compared, _, notes = by_share([method("a", 0.5), method("b", 0.5)])
    assert [each.label for each in compared] == ["a", "b"]
    assert notes == ["What is compared was trained on a share of the training images: dataset.take=0.5."]


def test_shares_that_differ_are_said_and_stand_in_the_label():
    compared, _, notes = by_share([method("a", 0.5), method("b", 1)])
    assert [each.label for each in compared] == ["a dataset.take=0.5", "b"]
    assert "unlike shares" in notes[0]


def test_shares_of_as_many_images_are_one_point():
    methods = [method("a", 0.01, images=(1,)), method("a", 0.02, images=(1,)), method("a", 0.95), method("a", 1)]
    _, curves, notes = by_share(methods)
    assert [each.runs[0].params["dataset.take"] for each in curves["a"]] == ["0.02", "1"]
    assert len(notes) == 2
    assert "a dataset.take=0.95 came to 10 training images, as many as a:" in notes[0]


def test_labelled_images_of_an_older_run_are_those_of_its_split(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b", "c"], "val": ["d"], "test": ["e"]}))
    assert labelled(method("a", images=(float("nan"),), fetch=lambda name: tmp_path / "split.json")) == 3
    assert labelled(method("a", images=(float("nan"),))) != labelled(method("a"))


def test_labelled_images_of_folds_are_their_mean():
    whole = method("a", images=(4.0, 6.0))
    together = SeedRun("x", "a", 1, {}, {}, pd.DataFrame(), pd.DataFrame, nothing, parts=whole.runs)
    assert labelled(Method("a", (together,), False)) == pytest.approx(5)
