"""Comparisons of all with all: what is planted among very many is found, and nothing else; and quickly."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lamella.data.audit.sample_stats import CELLS, REACH, SampleStats
from lamella.data.audit.similarity import Misfit, Twins, alike, misfits, polarity, twins

MANY = 1328


def pattern(noise):
    """(N, CELLS, CELLS) of blobs a few cells wide, in the steps of 1/32 deviation that stats are kept in."""
    smooth = ndimage.gaussian_filter(noise, (0, 1.2, 1.2))
    fine = smooth - ndimage.gaussian_filter(smooth, (0, 2, 2))
    return np.clip(32 * fine / fine.std(axis=(1, 2), keepdims=True), -127, 127).astype(np.int8)


def measured(count, fit=0.8, seed=0):
    """Samples whose masks explain `fit` of their images."""
    rng = np.random.default_rng(seed)
    image, other = rng.standard_normal((2, count, CELLS, CELLS))
    textures, layouts = pattern(image), pattern(-fit * image + np.sqrt(1 - fit**2) * other)
    return [
        SampleStats(
            image=f"image {number}",
            mask=f"mask {number}",
            image_size=(90, 120),
            mask_size=(90, 120),
            dtype="uint8",
            classes={0: 1, 1: 1},
            objects=None,
            lost=[],
            mean=100,
            low=0,
            high=255,
            at_low=0,
            at_high=0,
            histogram=[1],
            levels=np.zeros((1, 256), np.int64),
            texture=texture,
            layout=layout[None],
            shifts=np.zeros((2 * REACH + 1, 2 * REACH + 1), np.float32),
        )
        for number, (texture, layout) in enumerate(zip(textures, layouts, strict=True))
    ]


@pytest.fixture(scope="module")
def many():
    return measured(MANY)


def exchanged(stats, pairs):
    changed = list(stats)
    for to, of in pairs:
        changed[to] = replace(stats[to], layout=stats[of].layout)
    return changed


def test_among_many_nothing_is_found_where_nothing_is(many):
    start = time.process_time()
    assert misfits(many) == []
    assert twins(many) == []
    assert time.process_time() - start < 3  # a third of that when the machine is idle


def test_among_many_the_swapped_ones_are_found(many):
    found = misfits(exchanged(many, [(3, 700), (700, 3), (10, 11), (11, 12), (12, 10)]))
    assert {m.sample: m.better for m in found} == {3: 700, 700: 3, 10: 12, 12: 11, 11: 10}
    assert all(m.fit < 0.2 and m.better_fit > 0.7 for m in found)


@pytest.mark.parametrize("fit", [0.5, 0.65, 0.95])
def test_swapped_ones_are_found_however_well_masks_fit(fit):
    stats = measured(20, fit)
    assert misfits(stats) == []
    assert {m.sample: m.better for m in misfits(exchanged(stats, [(3, 7), (7, 3)]))} == {3: 7, 7: 3}


@pytest.mark.parametrize("fit", [0.0, 0.15])
def test_where_masks_hardly_fit_nothing_is_said(fit):
    stats = measured(60, fit)
    assert misfits(exchanged(stats, [(3, 7), (7, 3)])) == []


def test_where_all_are_alike_nothing_is_said():
    """As with slices through one organ, each in the middle of the picture."""
    stats = measured(20)
    common = pattern(np.random.default_rng(9).standard_normal((1, CELLS, CELLS)))[0].astype(float)

    def mixed(own):
        return np.clip(0.9 * common + 0.43 * own, -127, 127).astype(np.int8)

    stats = [replace(m, texture=mixed(m.texture), layout=-mixed(-m.layout.astype(float))) for m in stats]
    assert misfits(stats) == []
    assert misfits(exchanged(stats, [(3, 7), (7, 3)])) == []


def test_a_foreign_mask_has_no_better():
    stats = measured(20)
    foreign = measured(1, seed=5)[0]
    stats[4] = replace(stats[4], layout=foreign.layout)
    (found,) = misfits(stats)
    assert found == Misfit(4, pytest.approx(0, abs=0.2))


def test_what_is_blank_is_not_judged():
    stats = measured(20)
    blank = np.zeros((CELLS, CELLS), np.int8)
    stats[4] = replace(stats[4], layout=blank[None])
    stats[5] = replace(stats[5], texture=blank)
    stats[6] = replace(stats[6], texture=blank)
    assert misfits(stats) == []
    assert twins(stats) == []
    assert not alike(stats[5], stats[6])
    assert misfits([replace(m, texture=blank) for m in stats]) == []


def test_polarity():
    stats = measured(20, 0.9)
    stats[3] = replace(stats[3], layout=-stats[3].layout)
    sign = polarity(stats)
    assert sign[3] > 0.8
    assert (np.delete(sign, 3) < -0.8).all()


def moved(texture, turn):
    return [
        texture,
        np.rot90(texture),
        np.rot90(texture, 2),
        np.rot90(texture, 3),
        texture[:, ::-1],
        texture[::-1],
        texture.T,
        np.rot90(texture, 2).T,
    ][turn]


@pytest.mark.parametrize("turn", range(8))
def test_among_many_a_turned_copy_is_found(many, turn):
    changed = list(many)
    noisy = moved(many[40].texture, turn) * 0.5 + np.random.default_rng(0).normal(0, 4, (CELLS, CELLS))
    changed[1200] = replace(many[1200], texture=noisy.round().astype(np.int8))
    assert twins(changed) == [Twins(40, 1200, same=False, turned=turn > 0)]
    assert alike(changed[40], changed[1200]) == (turn == 0)


def test_copies_to_the_pixel_are_paired_with_the_first():
    stats = measured(6)
    for place in (3, 5):
        stats[place] = stats[1]
    assert twins(stats) == [Twins(1, 3, same=True), Twins(1, 5, same=True)]


def test_one_sample_has_nothing_to_be_compared_with():
    assert misfits(measured(1)) == []
    assert twins(measured(1)) == []
