"""Splits: disjoint, covering, the same everywhere, and steady when images are added."""

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamella.data.split import _draw, blocks, published
from lamella.data.types import ImageRef, Sample
from lamella.errors import DataError

names = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=2, max_size=30)
fractions = st.floats(0.05, 0.9)
seeds = st.integers(0, 1000)


def sample(name, part="", group=None):
    ref = ImageRef(Path(name))
    return Sample(name, ref, ref, group or name, part)


def samples(train, test=("t",)):
    return [sample(f"train-{n}", "train") for n in sorted(train)] + [sample(f"test-{n}", "test") for n in sorted(test)]


def ids(part):
    return [s.id for s in part]


# --- published -------------------------------------------------------------------------------------------


@given(names, fractions, seeds)
@settings(max_examples=100)
def test_parts_are_disjoint_cover_all_and_none_is_empty(train, fraction, seed):
    everything = samples(train)
    split = published(everything, val_fraction=fraction, seed=seed)
    parts = [*split.train, *split.val, *split.test]
    assert sorted(ids(parts)) == sorted(ids(everything))
    assert split.train
    assert split.val
    assert ids(split.test) == ["test-t"]
    assert all(ids(part) == sorted(ids(part)) for part in (split.train, split.val))  # in the data set's order


@given(names, names, fractions, seeds)
@settings(max_examples=100)
def test_added_images_move_none(train, more, fraction, seed):
    first, later = samples(train), samples(train | more)
    drawn = [_draw(s.group, seed) < fraction for s in first if s.part == "train"]
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
    assert _draw("a", 0) == int("9df3c5fab8ef8fe7", 16) / 2**64
    assert _draw("a", 0) != _draw("a", 1) != _draw("b", 1)


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


# --- blocks ----------------------------------------------------------------------------------------------


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 20))
def test_blocks_are_contiguous_and_in_order(train, val, test):
    sections = [sample(f"{i:03d}") for i in range(train + val + test)]
    split = blocks(sections, val=val, test=test)
    assert [*split.train, *split.val, *split.test] == sections
    assert [len(part) for part in (split.train, split.val, split.test)] == [train, val, test]


def test_too_few_sections():
    sections = [sample(str(i)) for i in range(10)]
    assert len(blocks(sections, val=4, test=5).train) == 1
    with pytest.raises(DataError, match=r"10 section\(s\) cannot give 6 for test, 4 for validation"):
        blocks(sections, val=4, test=6)
