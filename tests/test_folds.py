"""k-fold: every sample judges exactly once, whole groups, steady when images are added."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamella.data.types import ImageRef, Sample
from lamella.errors import ConfigError, DataError
from lamella.splits import blocks_folds, draw, hashed_folds, published_folds

seeds = st.integers(0, 1000)
groups = st.dictionaries(st.text("abcdef0123", min_size=1, max_size=6), st.integers(0, 15), min_size=6, max_size=40)


def sample(name, part="", group=None):
    ref = ImageRef(Path(name))
    return Sample(name, ref, ref, group or name, part)


def of(named, part=""):
    return [sample(name, part, f"group {number}") for name, number in sorted(named.items())]


def stack(count):
    refs = [ImageRef(Path("stack.tif"), page) for page in range(count)]
    return [Sample(f"{r.page:03d}", r, r, "stack") for r in refs]


def parts(split):
    return {s.id: name for name in ("train", "val", "test") for s in getattr(split, name)}


def whole(split):
    where = {}
    return all(where.setdefault(s.group, name) == name for name in vars(split) for s in getattr(split, name))


def every(strategy, samples, count, **arguments):
    """The splits of all folds, or None where a fold is empty."""
    with contextlib.suppress(DataError):
        return [strategy(samples, folds=count, fold=n, **arguments) for n in range(count)]
    return None


@given(groups, st.integers(3, 5), seeds, st.randoms())
@settings(max_examples=60)
def test_hashed_folds_judge_each_sample_once(named, count, seed, random):
    samples = of(named)
    splits = every(hashed_folds, samples, count, seed=seed)
    assume(splits is not None)
    assert sorted(s.id for split in splits for s in split.test) == sorted(named)
    for fold, split in enumerate(splits):
        assert parts(split).keys() == named.keys()
        assert whole(split)
        assert split.train
        assert set(split.val) == set(splits[(fold + 1) % count].test)
    shuffled = random.sample(samples, len(samples))
    assert parts(hashed_folds(shuffled, folds=count, fold=1, seed=seed)) == parts(splits[1])


@given(groups, groups, st.integers(3, 4), seeds)
@settings(max_examples=60)
def test_hashed_folds_move_none_when_some_are_added(named, more, count, seed):
    before = every(hashed_folds, of(named), count, seed=seed)
    assume(before is not None)
    after = every(hashed_folds, of(more | named), count, seed=seed)
    for one, other in zip(before, after, strict=True):
        assert parts(one).items() <= parts(other).items()


@given(groups, st.integers(2, 4), seeds)
@settings(max_examples=60)
def test_published_folds_choose_by_each_training_sample_once(named, count, seed):
    samples = [*of(named, "train"), sample("t", "test")]
    splits = every(published_folds, samples, count, seed=seed)
    assume(splits is not None)
    assert sorted(s.id for split in splits for s in split.val) == sorted(named)
    for split in splits:
        assert [s.id for s in split.test] == ["t"]
        assert parts(split).keys() == {"t", *named}
        assert whole(split)
        assert split.train


def test_folds_are_about_equally_large():
    samples = [sample(f"{i:04d}") for i in range(1000)]
    sizes = [len(hashed_folds(samples, folds=5, fold=n, seed=0).test) for n in range(5)]
    assert sum(sizes) == 1000
    assert all(150 < size < 250 for size in sizes)
    assert sizes[2] == sum(0.4 <= draw(s.group, 0) < 0.6 for s in samples)


def test_an_empty_fold_is_refused_with_a_seed_that_fills_all():
    samples = [sample(c) for c in "abcdef"]
    with pytest.raises(DataError, match=r"fold \d of 5 is empty: 6 group\(s\) are few") as caught:
        [hashed_folds(samples, folds=5, fold=n, seed=0) for n in range(5)]
    seed = int(re.search(r"dataset\.split\.seed=(\d+)", caught.value.remedy)[1])
    assert every(hashed_folds, samples, 5, seed=seed) is not None
    with pytest.raises(DataError) as caught:  # no seed makes five folds of three
        hashed_folds(samples[:3], folds=5, fold=0, seed=0)
    assert "seed" not in caught.value.remedy


def test_folds_leave_a_published_validation_part_alone():
    samples = [*of({"a": 1, "b": 2, "c": 3}, "train"), sample("v", "val"), sample("t", "test")]
    with pytest.raises(DataError, match="such as v, are published for validation"):
        published_folds(samples, folds=2, fold=0, seed=0)
    with pytest.raises(DataError, match="belong to no published part"):
        published_folds([sample("a")], folds=2, fold=0, seed=0)


@given(st.integers(2, 60), st.integers(2, 6), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=100)
def test_runs_judge_each_section_once_and_stay_apart(count, number, val, gap):
    sections = stack(count)
    tested = []
    for fold in range(number):
        run = range(fold * count // number, (fold + 1) * count // number)
        before, after = (range(n, n + val) for n in (run.start - gap - val, run.stop + gap))
        held = before if before.start >= 0 else after
        rest = [n for n in range(count) if all(abs(n - m) > gap for m in (*run, *held))]
        if not run or held.stop > count or not rest:
            with pytest.raises(DataError, match="too few for fold"):
                blocks_folds(sections, folds=number, fold=fold, val=val, gap=gap)
            return
        split = blocks_folds(sections, folds=number, fold=fold, val=val, gap=gap)
        pages = [[s.image.page for s in part] for part in (split.train, split.val, split.test)]
        assert pages == [rest, list(held), list(run)]
        tested += run
    assert tested == list(range(count))


def test_runs_of_a_block_of_thirty():
    split = blocks_folds(stack(30), folds=5, fold=4, val=4, gap=0)
    assert [part[0].image.page for part in (split.train, split.val, split.test)] == [0, 20, 24]
    first = blocks_folds(stack(30), folds=5, fold=0, val=4, gap=1)
    assert [s.image.page for s in first.test] == [0, 1, 2, 3, 4, 5]
    assert [s.image.page for s in first.val] == [7, 8, 9, 10]
    assert [s.image.page for s in first.train] == list(range(12, 30))


def test_runs_that_do_not_fit():
    for arguments in (
        {"folds": 4, "fold": 0, "val": 1, "gap": 0},
        {"folds": 2, "fold": 0, "val": 2, "gap": 0},
        {"folds": 3, "fold": 1, "val": 1, "gap": 1},
    ):
        with pytest.raises(DataError, match=r"3 section\(s\) are too few for fold"):
            blocks_folds(stack(3), **arguments)
    with pytest.raises(DataError, match="the group x lies in"):
        blocks_folds([sample(c, group="x") for c in "abcdef"], folds=3, fold=0, val=1, gap=0)


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        (published_folds, {"seed": 0}),
        (hashed_folds, {"seed": 0}),
        (blocks_folds, {"val": 1, "gap": 0}),
    ],
)
def test_there_is_no_fold_beyond_the_last(strategy, more):
    samples = [sample(c, "train") for c in "abcdefghijklmnopqrstuvwxyz"] + [sample("t", "test")]
    assert strategy(samples, folds=3, fold=2, **more).train
    with pytest.raises(ConfigError, match=r"dataset\.split\.fold=3, but there are 3 folds") as caught:
        strategy(samples, folds=3, fold=3, **more)
    assert "fold=2" in caught.value.remedy
