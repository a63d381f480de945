"""Regions and borders in torch alone, as a GPU has them, against SciPy's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from lamella.losses import borders
from lamella.losses.borders import border, border_by_torch, border_weights, regions


def comb(size=24):
    """Teeth that hang together at one end alone, by turns: a snake."""
    ids = np.zeros((size, size), np.uint8)
    ids[::2] = 1
    ids[1::4, -1] = 1
    ids[3::4, 0] = 1
    return ids


def fork(size=33):
    """Two combs, one in the other, each one region; lowest numbers lie far from where rows meet."""
    ids = np.zeros((size, size), np.uint8)
    ids[:-2, ::4] = 1
    ids[0] = 1
    ids[2:, 2::4] = 1
    ids[-1] = 1
    return ids


def same(ids, w0=10.0, sigma=2.0, *, of_background):
    wanted = np.stack([border_weights(each, w0, sigma, of_background=of_background) for each in ids])
    found = border_by_torch(torch.from_numpy(ids), w0, sigma, of_background=of_background)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-8 * w0 + 1e-12)


@given(arrays(np.uint8, st.tuples(st.just(2), st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 2)))
@settings(max_examples=150, deadline=None)
def test_regions_are_scipys(ids):
    found = regions(torch.from_numpy(ids), torch.from_numpy(ids > 0)).numpy()
    assert ((found < 0) == (ids == 0)).all()
    for of_image, picture in zip(found, ids, strict=True):
        for class_id in range(1, 3):
            wanted, count = ndimage.label(picture == class_id)
            pairs = set(zip(of_image[wanted > 0].tolist(), wanted[wanted > 0].tolist(), strict=True))
            assert len(pairs) == len({a for a, _ in pairs}) == count


@given(
    arrays(np.uint8, st.tuples(st.just(2), st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2)),
    st.sampled_from([0.4, 1.5, 3.0]),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_weights_are_scipys(ids, sigma, of_background):
    same(ids, sigma=sigma, of_background=of_background)


@pytest.mark.parametrize("of_background", [False, True])
@pytest.mark.parametrize("shape", [comb, fork])
def test_regions_that_wind_are_one(shape, of_background):
    ids = np.stack([shape(), shape().T, np.rot90(shape(), 2)])
    same(ids, of_background=of_background)


def test_large_images_go_strip_by_strip(monkeypatch):
    ids = (ndimage.gaussian_filter(np.random.default_rng(0).random((1, 70, 50)), (0, 3, 3)) > 0.5).astype(np.uint8)
    monkeypatch.setattr(borders, "_AT_ONCE", 400)
    same(ids, of_background=False)


def test_on_the_cpu_it_is_scipys_to_the_bit():
    ids = np.random.default_rng(0).integers(0, 2, (2, 20, 30), np.uint8)
    found = border(torch.from_numpy(ids), 10.0, 2.0, of_background=False)
    assert torch.equal(found[1], torch.from_numpy(border_weights(ids[1], 10.0, 2.0, of_background=False)))
