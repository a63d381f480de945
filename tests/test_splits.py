"""Splits: disjoint, covering, the same everywhere, whole groups, and steady when images are added.

Folds besides: every sample judges exactly once.
"""

import contextlib
import hashlib
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamella.cli import main as cli
from lamella.config.check import build, check, plain
from lamella.config.paths import CHECKOUT
from lamella.data.datasets import phantom
from lamella.data.datasets.blood import blood
from lamella.data.manifest import split_ids, split_sha256
from lamella.data.types import ImageRef, Sample, Split
from lamella.errors import ConfigError, DataError
from lamella.splits import (
    blocks,
    blocks_folds,
    draw,
    file,
    found,
    hashed,
    hashed_folds,
    published,
    published_folds,
    require_sound,
    taken,
    whole_groups,
)

CONF = CHECKOUT / "conf"

names = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=2, max_size=30)
fractions = st.floats(0.05, 0.9)
shares = st.floats(0.05, 0.45)
seeds = st.integers(0, 1000)
# Samples of up to eight groups, by name of the sample.
grouped = st.dictionaries(st.text("abcdef0123", min_size=1, max_size=6), st.integers(0, 7), min_size=3, max_size=30)


def sample(name, part="", group=None):
    ref = ImageRef(Path(name))
    return Sample(name, ref, ref, group or name, part)


def samples(train, test=("t",)):
    return [sample(f"train-{n}", "train") for n in sorted(train)] + [sample(f"test-{n}", "test") for n in sorted(test)]


def stack(count, name="stack.tif", group=None):
    """The neighbouring pages of one file, each its own group unless said otherwise."""
    refs = [ImageRef(Path(name), page) for page in range(count)]
    ids = [f"{name}-{page:03d}" for page in range(count)]
    return [Sample(i, r, r, group or i, stack=name, place=r.page) for i, r in zip(ids, refs, strict=True)]


def of(groups, part=""):
    return [sample(name, part, f"group {number}") for name, number in sorted(groups.items())]


def ids(part):
    return [s.id for s in part]


def places(split):
    """Of the sections of train, val and test."""
    return [[s.place for s in part] for part in (split.train, split.val, split.test)]


def parts(split):
    return {s.id: name for name in ("train", "val", "test") for s in getattr(split, name)}


# --- published -------------------------------------------------------------------------------------------


@given(names, fractions, seeds)
@settings(max_examples=60)
def test_parts_are_disjoint_cover_all_and_none_is_empty(train, fraction, seed):
    everything = samples(train)
    split = published(everything, val_fraction=fraction, seed=seed)
    assert sorted(ids([*split.train, *split.val, *split.test])) == sorted(ids(everything))
    assert split.train
    assert split.val
    assert ids(split.test) == ["test-t"]
    assert all(ids(part) == sorted(ids(part)) for part in (split.train, split.val))  # in the data set's order


@given(names, names, fractions, seeds)
@settings(max_examples=60)
def test_added_images_move_none(train, more, fraction, seed):
    first, later = samples(train), samples(train | more)
    drawn = [draw(s.group, seed) < fraction for s in first if s.part == "train"]
    assume(any(drawn) and not all(drawn))  # otherwise one had to be moved so that no part is empty
    before = published(first, val_fraction=fraction, seed=seed)
    after = published(later, val_fraction=fraction, seed=seed)
    assert set(before.train) <= set(after.train)
    assert set(before.val) <= set(after.val)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), seeds)
@settings(max_examples=60)
def test_a_group_is_never_split(groups, seed):
    assume(len(set(groups)) > 1)
    everything = [sample(f"train-{i}", "train", f"slide-{g}") for i, g in enumerate(groups)]
    split = published([*everything, sample("t", "test")], val_fraction=0.4, seed=seed)
    assert not {s.group for s in split.train} & {s.group for s in split.val}


def test_the_draw_is_the_same_on_every_machine():
    # The first 64 bits of `printf 0:a | sha256sum`, as a fraction.
    assert draw("a", 0) == int("9df3c5fab8ef8fe7", 16) / 2**64
    assert draw("a", 0) != draw("a", 1) != draw("b", 1)


def test_the_share_is_met_on_average():
    everything = samples([f"{i:03d}" for i in range(100)])
    held = [len(published(everything, val_fraction=0.15, seed=seed).val) for seed in range(60)]
    assert 13 < sum(held) / len(held) < 17
    assert len(set(held)) > 1  # no count is forced
    assert len({tuple(ids(published(everything, val_fraction=0.15, seed=s).val)) for s in range(5)}) == 5


@pytest.mark.parametrize(("train", "test"), [([], []), (["a"], ["t"]), (["a", "b"], [])])
def test_too_few_to_split(train, test):
    with pytest.raises(DataError, match="too few to split"):
        published(samples(train, test), val_fraction=0.5, seed=0)


def test_images_of_one_slide_are_too_few():
    everything = [sample(str(i), "train", "slide") for i in range(5)] + [sample("t", "test")]
    with pytest.raises(DataError, match="two groups"):
        published(everything, val_fraction=0.5, seed=0)


def test_an_image_of_no_part_is_not_dropped_silently():
    with pytest.raises(DataError, match="stray, belong to no published part"):
        published([*samples("ab"), sample("stray")], val_fraction=0.5, seed=0)


def test_a_published_validation_part_is_taken():
    everything = [*samples("ab"), sample("chosen", "val")]
    split = published(everything, val_fraction=0.9, seed=0)
    assert split_ids(split) == {"train": ["train-a", "train-b"], "val": ["chosen"], "test": ["test-t"]}
    assert ids(published(everything[1:], val_fraction=0.9, seed=0).train) == ["train-b"]  # one is enough then


@pytest.mark.parametrize("other", ["val", "test"])
def test_a_group_in_two_published_parts_is_refused(other):
    everything = [*samples("ab"), sample("x", "train", "patient 7"), sample("y", other, "patient 7")]
    with pytest.raises(DataError, match=rf"the group patient 7 lies in train \(x\) and {other} \(y\)"):
        published(everything, val_fraction=0.5, seed=0)


# --- hashed ----------------------------------------------------------------------------------------------


@given(grouped, shares, shares, seeds, st.randoms())
@settings(max_examples=60)
def test_hashed_parts_are_whole_groups_whatever_the_order(groups, val, test, seed, random):
    assume(len(set(groups.values())) >= 3)
    everything = of(groups)
    split = hashed(everything, val=val, test=test, seed=seed)
    assert sorted(ids([*split.train, *split.val, *split.test])) == sorted(groups)
    where = {}
    for name in ("train", "val", "test"):
        assert getattr(split, name)
        for s in getattr(split, name):
            assert where.setdefault(s.group, name) == name
    shuffled = random.sample(everything, len(everything))
    assert parts(hashed(shuffled, val=val, test=test, seed=seed)) == parts(split)
    assert split == hashed(everything, val=val, test=test, seed=seed)


@given(grouped, grouped, shares, shares, seeds)
@settings(max_examples=60)
def test_hashed_moves_none_when_some_are_added(groups, more, val, test, seed):
    draws = [draw(f"group {g}", seed) for g in set(groups.values())]
    drawn = {"test" if d < test else "val" if d < test + val else "train" for d in draws}
    assume(len(drawn) == 3)  # otherwise one had to be moved so that no part is empty
    before = parts(hashed(of(groups), val=val, test=test, seed=seed))
    after = parts(hashed(of(more | groups), val=val, test=test, seed=seed))
    assert before.items() <= after.items()


def test_hashed_shares_are_met_on_average():
    everything = [sample(f"{i:03d}") for i in range(200)]
    splits = [hashed(everything, val=0.1, test=0.3, seed=seed) for seed in range(60)]
    assert sum(len(s.val) for s in splits) / 60 == pytest.approx(20, abs=2)
    assert sum(len(s.test) for s in splits) / 60 == pytest.approx(60, abs=3)
    assert len({len(s.test) for s in splits}) > 1  # no count is forced


def test_hashed_is_the_same_on_every_machine():
    def fraction(name):
        return int(hashlib.sha256(f"5:{name}".encode()).hexdigest()[:16], 16) / 2**64

    split = hashed([sample(c) for c in "abcdefghijklmnop"], val=0.2, test=0.3, seed=5)
    assert ids(split.test) == [c for c in "abcdefghijklmnop" if fraction(c) < 0.3]
    assert ids(split.val) == [c for c in "abcdefghijklmnop" if 0.3 <= fraction(c) < 0.5]


@pytest.mark.parametrize("count", range(3, 9))
def test_a_handful_of_images_fills_every_part(count):
    for seed in range(30):
        split = hashed([sample(str(i)) for i in range(count)], val=0.05, test=0.05, seed=seed)
        assert [len(split.val), len(split.test)] != [0, 0]
        assert len(split.train) >= count - 4


def test_hashed_refuses_what_cannot_be_split():
    with pytest.raises(DataError, match=r"5 image\(s\) of 2 group\(s\) are too few") as caught:
        hashed(of({"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}), val=0.2, test=0.2, seed=0)
    assert "dataset/split=blocks" in caught.value.remedy
    with pytest.raises(ConfigError, match=r"split\.val=0\.5 and dataset\.split\.test=0\.5 leave nothing"):
        hashed([sample(c) for c in "abcdef"], val=0.5, test=0.5, seed=0)


# --- blocks ----------------------------------------------------------------------------------------------


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 20), st.integers(0, 5))
def test_blocks_are_contiguous_in_order_and_apart(train, val, test, gap):
    sections = stack(train + val + test + 2 * gap)
    split = blocks(sections, val=val, test=test, gap=gap)
    held = range(train + gap, train + gap + val)
    assert places(split) == [list(range(train)), list(held), list(range(held.stop + gap, len(sections)))]


def test_sections_in_files_of_their_own_are_a_stack():
    """In whatever order they come; what has no neighbours stays where it is."""
    sections = [replace(sample(f"section {n}", group="block"), stack="block", place=n) for n in range(10)]
    mixed = random.Random(0).sample(sections, 10)
    assert mixed != sections
    split = blocks(mixed, val=2, test=3, gap=1)
    assert places(split) == [[0, 1, 2], [4, 5], [7, 8, 9]]
    assert found(mixed, val=0.2, test=0.2, seed=0) == blocks(sections, val=2, test=2, gap=1)
    assert found(mixed, val=0.2, test=0.3, seed=0) == blocks(sections, val=2, test=3, gap=0)  # too few for a gap
    assert places(blocks_folds(mixed, folds=5, fold=1, val=1, gap=0)) == [[0, 4, 5, 6, 7, 8, 9], [1], [2, 3]]
    two = [*mixed[:5], sample("alone"), *stack(3, "other"), *mixed[5:]]
    assert ids(blocks(two, val=1, test=3, gap=0).test) == ids(stack(3, "other"))
    assert ids(blocks(two, val=1, test=3, gap=0).val) == ["alone"]


def test_too_few_sections():
    sections = [sample(str(i)) for i in range(10)]
    assert len(blocks(sections, val=4, test=5, gap=0).train) == 1
    with pytest.raises(DataError, match=r"10 section\(s\) cannot give 6 for test, 4 for validation and one"):
        blocks(sections, val=4, test=6, gap=0)
    with pytest.raises(DataError, match=r"5 for test, 3 for validation and 1 twice in between and one"):
        blocks(sections, val=3, test=5, gap=1)


def test_blocks_cut_a_stack_but_no_group_of_several_files():
    pages = stack(6, group="stack")
    assert len(blocks(pages, val=1, test=2, gap=0).train) == 3
    files = [sample(str(i), group="left" if i < 3 else "right") for i in range(6)]
    assert len(blocks([*files[:3], sample("x"), sample("y")], val=1, test=1, gap=0).train) == 3
    with pytest.raises(DataError, match=r"the group right lies in val \(3\) and test \(4\)"):
        blocks(files, val=1, test=2, gap=0)
    with pytest.raises(DataError, match="the group specimen lies in"):  # two stacks of one specimen
        blocks(stack(3, "a.tif", "specimen") + stack(3, "b.tif", "specimen"), val=1, test=1, gap=0)
    with pytest.raises(DataError, match="the group stack lies in"):  # pages that are no neighbours
        blocks([replace(page, stack="", place=None) for page in pages], val=1, test=2, gap=0)


# --- found: what suits a folder --------------------------------------------------------------------------


def test_found_takes_published_parts_then_blocks_of_one_stack_then_the_hash():
    arguments = {"val": 0.15, "test": 0.2, "seed": 3}
    everything = samples("abcdef")
    assert found(everything, **arguments) == published(everything, val_fraction=0.15, seed=3)
    pages = stack(30, group="stack")
    assert found(pages, **arguments) == blocks(pages, val=4, test=6, gap=1)
    two = pages + stack(12, "two", group="two")
    assert found(two, **arguments) == blocks(two, val=6, test=8, gap=1)
    test = [replace(s, part="test") for s in samples("ab")]
    split = found([*test, *(replace(s, part="train") for s in pages)], **arguments)
    assert places(split)[:2] == [list(range(25)), list(range(26, 30))]
    assert split.test == tuple(test)
    with pytest.raises(DataError, match="0 test image"):
        found([replace(s, part="train") for s in pages], **arguments)
    assert found(stack(30), **arguments) == hashed(stack(30), **arguments)  # each page a group of its own
    stacks = [page for name in "abcdef" for page in stack(4, name, group=name)]
    assert found(stacks, **arguments) == hashed(stacks, **arguments)
    assert [len(part) for part in found(stack(3, group="s"), **arguments).parts.values()] == [1, 1, 1]
    with pytest.raises(DataError, match="belong to no published part"):
        found([*everything, sample("stray")], **arguments)
    with pytest.raises(DataError, match="too few"):
        found([sample("a")], **arguments)
    with pytest.raises(ConfigError, match="leave nothing"):
        found(pages, val=0.5, test=0.6, seed=0)


# --- folds ----------------------------------------------------------------------------------------------

named_groups = st.dictionaries(
    st.text("abcdef0123", min_size=1, max_size=6), st.integers(0, 15), min_size=6, max_size=40
)


def whole(split):
    where = {}
    return all(where.setdefault(s.group, name) == name for name in split.parts for s in split.parts[name])


def every(strategy, everything, count, **arguments):
    """The splits of all folds, or None where a fold is empty."""
    with contextlib.suppress(DataError):
        return [strategy(everything, folds=count, fold=n, **arguments) for n in range(count)]
    return None


@given(named_groups, st.integers(3, 5), seeds, st.randoms())
@settings(max_examples=60)
def test_hashed_folds_judge_each_sample_once(named, count, seed, random):
    everything = of(named)
    splits = every(hashed_folds, everything, count, seed=seed)
    assume(splits is not None)
    assert sorted(s.id for split in splits for s in split.test) == sorted(named)
    for fold, split in enumerate(splits):
        assert parts(split).keys() == named.keys()
        assert whole(split)
        assert split.train
        assert set(split.val) == set(splits[(fold + 1) % count].test)
    shuffled = random.sample(everything, len(everything))
    assert parts(hashed_folds(shuffled, folds=count, fold=1, seed=seed)) == parts(splits[1])


@given(named_groups, named_groups, st.integers(3, 4), seeds)
@settings(max_examples=60)
def test_hashed_folds_move_none_when_some_are_added(named, more, count, seed):
    before = every(hashed_folds, of(named), count, seed=seed)
    assume(before is not None)
    after = every(hashed_folds, of(more | named), count, seed=seed)
    for one, other in zip(before, after, strict=True):
        assert parts(one).items() <= parts(other).items()


@given(named_groups, st.integers(2, 4), seeds)
@settings(max_examples=60)
def test_published_folds_choose_by_each_training_sample_once(named, count, seed):
    everything = [*of(named, "train"), sample("t", "test")]
    splits = every(published_folds, everything, count, seed=seed)
    assume(splits is not None)
    assert sorted(s.id for split in splits for s in split.val) == sorted(named)
    for split in splits:
        assert [s.id for s in split.test] == ["t"]
        assert parts(split).keys() == {"t", *named}
        assert whole(split)
        assert split.train


def test_folds_are_about_equally_large():
    everything = [sample(f"{i:04d}") for i in range(1000)]
    sizes = [len(hashed_folds(everything, folds=5, fold=n, seed=0).test) for n in range(5)]
    assert sum(sizes) == 1000
    assert all(150 < size < 250 for size in sizes)
    assert sizes[2] == sum(0.4 <= draw(s.group, 0) < 0.6 for s in everything)


def test_an_empty_fold_is_refused_with_a_seed_that_fills_all():
    everything = [sample(c) for c in "abcdef"]
    with pytest.raises(DataError, match=r"fold \d of 5 is empty: 6 group\(s\) are few") as caught:
        [hashed_folds(everything, folds=5, fold=n, seed=0) for n in range(5)]
    seed = int(re.search(r"dataset\.split\.seed=(\d+)", caught.value.remedy)[1])
    assert every(hashed_folds, everything, 5, seed=seed) is not None
    with pytest.raises(DataError) as caught:  # no seed makes five folds of three
        hashed_folds(everything[:3], folds=5, fold=0, seed=0)
    assert "seed" not in caught.value.remedy


def test_folds_do_not_tear_a_group_that_is_published_in_train_and_test():
    everything = [*samples("abcdef"), sample("x", "train", "patient 7"), sample("y", "test", "patient 7")]
    with pytest.raises(DataError, match=r"the group patient 7 lies in .* and test \(y\)"):
        published_folds(everything, folds=2, fold=0, seed=0)


def test_folds_leave_a_published_validation_part_alone():
    everything = [*of({"a": 1, "b": 2, "c": 3}, "train"), sample("v", "val"), sample("t", "test")]
    with pytest.raises(DataError, match="such as v, are published for validation"):
        published_folds(everything, folds=2, fold=0, seed=0)
    with pytest.raises(DataError, match="belong to no published part"):
        published_folds([sample("a")], folds=2, fold=0, seed=0)


@given(st.integers(2, 60), st.integers(2, 6), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=100)
def test_runs_judge_each_section_once_and_stay_apart(count, number, val, gap):
    sections = stack(count, group="stack")
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
        assert places(split) == [rest, list(held), list(run)]
        tested += run
    assert tested == list(range(count))


def test_runs_of_a_block_of_thirty():
    split = blocks_folds(stack(30, group="stack"), folds=5, fold=4, val=4, gap=0)
    assert [part[0] for part in places(split)] == [0, 20, 24]
    first = blocks_folds(stack(30, group="stack"), folds=5, fold=0, val=4, gap=1)
    assert places(first) == [list(range(12, 30)), [7, 8, 9, 10], [0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(("count", "folds", "val"), [(30, 5, 4), (12, 5, 2), (5, 5, 1), (100, 5, 13), (6, 2, 2)])
def test_without_a_number_two_sections_choose_for_three_that_judge(count, folds, val):
    parts = [blocks_folds(stack(count, group="stack"), folds=folds, fold=n, val=None, gap=0) for n in range(folds)]
    assert [len(split.val) for split in parts] == [val] * folds
    assert sum(len(split.test) for split in parts) == count


def test_runs_that_do_not_fit():
    for arguments in (
        {"folds": 4, "fold": 0, "val": 1, "gap": 0},
        {"folds": 2, "fold": 0, "val": 2, "gap": 0},
        {"folds": 3, "fold": 1, "val": 1, "gap": 1},
    ):
        with pytest.raises(DataError, match=r"3 section\(s\) are too few for fold"):
            blocks_folds(stack(3, group="stack"), **arguments)
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
    everything = [sample(c, "train") for c in "abcdefghijklmnopqrstuvwxyz"] + [sample("last", "test")]
    assert strategy(everything, folds=3, fold=2, **more).train
    with pytest.raises(ConfigError, match=r"dataset\.split\.fold=3, but there are 3 folds") as caught:
        strategy(everything, folds=3, fold=3, **more)
    assert "fold=2" in caught.value.remedy


# --- file ------------------------------------------------------------------------------------------------


def written(tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@given(grouped, seeds)
@settings(max_examples=40)
def test_a_saved_split_comes_back(tmp_path_factory, groups, seed):
    assume(len(set(groups.values())) >= 3)
    everything = of(groups)
    split = hashed(everything, val=0.3, test=0.3, seed=seed)
    path = written(tmp_path_factory.mktemp("split"), split_ids(split))
    assert file(everything, path=path, allow_unused=False) == split


def test_a_saved_split_of_a_stack_comes_back(tmp_path):
    pages = stack(20, group="stack")
    split = blocks(pages, val=3, test=5, gap=1)
    path = written(tmp_path, split_ids(split))
    assert file(pages, path=path, allow_unused=True) == split
    with pytest.raises(DataError, match=r"names no part for stack.tif-010, stack.tif-014") as caught:  # the gaps
        file(pages, path=path, allow_unused=False)
    assert "allow_unused=true" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"train": ["a", "b"], "val": ["c"], "test": ["d", "e", "f", "g", "h"]}, "data set lacks: e, f, g and 1 more"),
        ({"train": ["a"], "val": ["c"], "test": ["d"]}, "names no part for b"),
        ({"train": ["a", "b"], "val": ["c", "a"], "test": ["d"]}, "names a twice, in train and in val"),
        ({"train": ["a", "b", "a"], "val": ["c"], "test": ["d"]}, "names a twice, in train and in train"),
        ({"train": ["a", "b", "c"], "val": [], "test": ["d"]}, "val in the split file .* is empty"),
        ({"train": ["a", "b", "c"], "test": ["d"]}, "does not hold exactly train, val and test"),
        ({"train": ["a"], "val": ["b"], "test": ["c"], "dev": ["d"]}, "does not hold exactly"),
        ({"train": ["a", "b"], "val": "c", "test": ["d"]}, "val in the split file .* is no list of image ids"),
        ({"train": ["a", "b"], "val": [3], "test": ["d"]}, "is no list of image ids"),
        ({"train": ["a"], "val": ["b"], "test": ["c"], "left": ["x"]}, "data set lacks: x"),
        ({"train": ["a"], "val": ["b"], "test": ["c"], "left": ["a"]}, "names a twice, in train and in left"),
        (["a", "b"], "does not hold exactly"),
        ("train: [a]", "is no JSON"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, content, problem):
    with pytest.raises(DataError, match=problem):
        file([sample(c) for c in "abcd"], path=written(tmp_path, content), allow_unused=False)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json is missing"):
        file([sample("a")], path=str(tmp_path / "nowhere.json"), allow_unused=False)
    with pytest.raises(DataError, match="cannot be read"):
        file([sample("a")], path=str(tmp_path), allow_unused=False)


def test_a_file_may_not_tear_a_group(tmp_path):
    everything = [sample("a"), sample("b", group="slide"), sample("c", group="slide"), sample("d")]
    path = written(tmp_path, {"train": ["a", "b"], "val": ["c"], "test": ["d"]})
    with pytest.raises(DataError, match=r"the group slide lies in train \(b\) and val \(c\)"):
        file(everything, path=path, allow_unused=False)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (("ab", "c", "ad"), "mine puts a into train and test"),
        (("aab", "c", "d"), "mine puts a into train and train"),
        (("ab", "", "c"), "mine leaves nothing for val"),
        (("ab", "c", "x"), "into test, which is no sample"),
        (("abe", "c", "df"), "mine tears a group: the group slide lies in train (e) and test (f)"),
    ],
)
def test_a_split_of_ones_own_is_looked_at(parts, says):
    everything = [*map(sample, "abcd"), sample("e", group="slide"), sample("f", group="slide")]
    by_id = {each.id: each for each in (*everything, sample("x"))}
    with pytest.raises(DataError) as caught:
        require_sound(Split(*(tuple(by_id[name] for name in part) for part in parts)), everything, "mine")
    assert says in caught.value.problem
    require_sound(Split(*((by_id[name],) for name in "abc")), everything, "mine")


def test_a_split_of_ones_own_may_cut_a_stack():
    pages = tuple(stack(6, group="stack"))
    require_sound(Split(pages[2:], pages[1:2], pages[:1]), pages, "mine")
    pages = tuple(stack(3, "a.tif", "patient") + stack(3, "b.tif", "patient"))
    with pytest.raises(DataError, match="mine tears a group: the group patient lies in"):
        require_sound(Split(pages[2:], pages[1:2], pages[:1]), pages, "mine")


def test_one_stack_is_no_set_of_groups():
    """A random split of one stack is refused, with what suits it; a patient with several stacks stays whole."""
    pages = stack(30, group="stack")
    with pytest.raises(DataError, match=r"30 image\(s\) of 1 group\(s\) are too few") as caught:
        hashed(pages, val=0.2, test=0.2, seed=0)
    assert "dataset/split=blocks" in caught.value.remedy
    with pytest.raises(DataError, match=r"is empty: 1 group\(s\) are few") as caught:
        hashed_folds(pages, folds=3, fold=0, seed=0)
    assert "dataset/split=blocks_folds" in caught.value.remedy
    patients = [page for name in "abcdef" for page in stack(4, name, group=f"patient {ord(name) // 2}")]
    split = hashed(patients, val=0.3, test=0.3, seed=0)
    assert [sorted({s.group for s in part}) for part in split.parts.values()] != [[]] * 3
    assert sum(len({s.group for s in part}) for part in split.parts.values()) == len({s.group for s in patients})


# --- as users choose them --------------------------------------------------------------------------------


def composed(*overrides):
    cli.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return check(hydra.compose("train", list(overrides))).dataset


def chosen(*overrides):
    return composed(*overrides).split


def test_the_default_splits_are_what_is_promised():
    sections = [replace(s, id=str(n)) for n, s in enumerate(stack(30))]
    assert split_ids(build(chosen("dataset=em"), sections)) == {
        "train": [str(n) for n in range(20)],
        "val": [str(n) for n in range(20, 24)],
        "test": [str(n) for n in range(24, 30)],
    }
    assert plain(chosen("dataset=blood")) == {"_target_": "lamella.splits.published", "val_fraction": 0.15, "seed": 7}
    smears = samples("abcdefghijklmnop", "xyz")
    held = [f"train-{c}" for c in "abcdefghijklmnop" if draw(f"train-{c}", 7) < 0.15]
    split = build(chosen("dataset=blood"), smears)
    assert held
    assert ids(split.val) == held
    assert ids(split.test) == ["test-x", "test-y", "test-z"]
    assert plain(chosen("dataset=phantom_blood")) == {
        "_target_": "lamella.splits.published",
        "val_fraction": 0.2,
        "seed": 3,
    }
    assert plain(chosen("dataset=phantom_em")) == {"_target_": "lamella.splits.blocks", "val": 2, "test": 3, "gap": 0}


def test_the_phantoms_are_split_as_ever(tmp_path):
    """What runs keep of their split; computed before stacks had places."""
    for name, sha256 in (
        ("phantom_em", "7c144a9bcbd1c4117f68508a0e1265c9d30148a878a751bf1d19b004899e8512"),
        ("phantom_blood", "d306c91bbd892cfcb96fc81f36f96f34f418642dd351b736ad9b5cd7276d1684"),
    ):
        dataset = composed(f"dataset={name}", f"paths.cache={tmp_path}")
        assert split_sha256(build(dataset.split, build(dataset).samples)) == sha256


def test_the_phantom_blood_is_split_as_ever():
    smears = []
    for part, count, stream, letters in (("train", 20, 2, "0123456789abcd"), ("test", 8, 3, "ef")):
        drawn = [phantom._uuid(np.random.default_rng((0, stream, index)), letters) for index in range(count)]
        smears += [sample(name, part) for name in sorted(drawn)]
    split = build(chosen("dataset=phantom_blood"), smears)
    assert ids(split.val) == [
        "0fb4c790-8b4e-4c2d-84f1-7424eb8e0be1",
        "4b89c56e-59e2-4339-8516-59c71734e7c4",
        "7c1b575e-3618-48a1-8369-353021c611d1",
        "c2f48764-9a0f-44b4-b166-98d15dbc653b",
    ]
    assert [len(split.train), len(split.test)] == [16, 8]


def test_blood_is_split_as_ever(lamella_data):
    known = blood(root=str(lamella_data / "blood")).samples if (lamella_data / "blood").is_dir() else []
    if len(known) != 60:
        pytest.skip(f"{len(known)} pairs, not the 60 that this test knows")
    split = build(chosen("dataset=blood"), known)
    assert [i[:8] for i in ids(split.val)] == [
        "002f20ad", "00a02700", "02ea7aa8", "0f26699f", "1a27ebe9", "2c4d72f1", "3ce76f1d",
    ]  # fmt: skip
    assert [len(split.train), len(split.test)] == [41, 12]


@pytest.mark.parametrize("choice", sorted(p.stem for p in (CONF / "dataset" / "split").glob("*.yaml")))
def test_any_data_set_may_be_split_in_any_way(choice, tmp_path):
    everything = [replace(s, part="test" if n > 25 else "train") for n, s in enumerate(stack(30))]
    named = {"train": everything[:10], "val": everything[10:20], "test": everything[20:]}
    path = written(tmp_path, {name: ids(part) for name, part in named.items()})
    needs = {
        "blocks": ["dataset.split.val=2", "dataset.split.test=3"],
        "file": [f"dataset.split.path={path}"],
    }
    dataset = "blood" if "blocks" in choice else "em"
    split = build(chosen(f"dataset={dataset}", f"dataset/split={choice}", *needs.get(choice, [])), everything)
    assert split.train
    assert split.val
    assert split.test


def test_what_a_choice_needs_is_asked_for():
    for choice, key in (("blocks", "val"), ("file", "path")):
        with pytest.raises(ConfigError, match=rf"dataset\.split\.{key} has no value"):
            chosen(f"dataset/split={choice}")
    with pytest.raises(ConfigError, match=r"dataset\.split\.val must be a number.*above 0 and at most 0\.9"):
        chosen("dataset/split=hashed", "dataset.split.val=0")


# --- a share of what would train -------------------------------------------------------------------------


@given(named_groups, st.lists(st.floats(0.001, 1), min_size=2, max_size=5), seeds)
@settings(max_examples=60)
def test_shares_are_nested_whole_groups_and_as_near_as_can_be(groups, some, seed):
    everything = [sample(f"{name}-{i}", group=name) for name, more in groups.items() for i in range(more + 1)]
    split = Split(tuple(everything), (sample("v"),), (sample("t"),))
    sizes = {name: more + 1 for name, more in groups.items()}
    before: set[str] = set()
    for share in sorted(some):
        part = taken(split, share, seed)
        chosen = set(ids(part.train))
        assert before <= chosen
        assert chosen
        before = chosen
        assert (part.val, part.test) == (split.val, split.test)
        assert {s.id for s in part.left} | chosen == set(ids(split.train))
        assert not {s.id for s in part.left} & chosen
        assert ids(part.train) == [s.id for s in split.train if s.id in chosen]  # in their order
        whole_groups(part)
        assert all(sum(s.group == name for s in part.train) in (0, size) for name, size in sizes.items())
        assert split_sha256(part) == split_sha256(split)
        # Another whole group more or less would be no nearer, but for what the order decides.
        off = abs(len(chosen) - share * len(everything))
        assert off <= max(sizes.values()) / 2 or len({s.group for s in part.train}) == 1
    assert taken(split, 1.0, seed) is split


def test_a_share_by_hand():
    split = Split(tuple(map(sample, "abcdefghij")), (sample("v"),), (sample("t"),))
    count = {share: len(taken(split, share, 3).train) for share in (0.01, 0.1, 0.14, 0.26, 0.5, 0.96, 0.999)}
    assert count == {0.01: 1, 0.1: 1, 0.14: 1, 0.26: 3, 0.5: 5, 0.96: 10, 0.999: 10}
    assert len({tuple(ids(taken(split, 0.3, seed).train)) for seed in range(8)}) > 4  # a seed takes others
    five = {i: len(taken(split, 0.1 * i, 3).train) for i in range(1, 10)}
    assert five == {i: i for i in range(1, 10)}


def test_a_stack_that_trains_is_taken_section_by_section_and_two_are_taken_whole():
    split = blocks(stack(30, group="stack"), val=4, test=6, gap=0)
    part = taken(split, 0.25, 1)
    assert len(part.train) == 5
    assert [s.place for s in part.train] == sorted(s.place for s in part.train)
    assert split_ids(part)["left"] == [s.id for s in split.train if s not in part.train]
    patient = tuple(page for name in "ab" for page in stack(5, name, group="patient"))
    assert len(taken(replace(split, train=patient), 0.2, 1).train) == 10  # one group: it comes to all
    two = tuple(page for name in "ab" for page in stack(5, name, group=name))
    assert {s.group for s in taken(replace(split, train=two), 0.2, 1).train} < {"a", "b"}


def test_the_split_file_of_a_share_trains_that_share(tmp_path):
    everything = [*map(sample, "abcdefgh")]
    whole = Split(tuple(everything[:6]), (everything[6],), (everything[7],))
    part = taken(whole, 0.5, 1)
    path = written(tmp_path, split_ids(part))
    again = file(everything, path=path, allow_unused=False)
    assert again.parts == part.parts
    assert again.left == ()
    assert split_sha256(again) != split_sha256(whole)  # a split of its own
