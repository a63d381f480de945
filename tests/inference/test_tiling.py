"""Whole images: tiles, blending, flips and turns, the context, the size asked for."""

from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lamella.errors import ConfigError
from lamella.inference.segmenter import Normalise
from lamella.inference.settings import Inference
from lamella.inference.tiling import VIEWS, _laid, _spans, _undo, classes, predict, tile_starts, to_probability

sides = st.integers(1, 120)
often = settings(max_examples=60, deadline=None)


def how(tile=1024, overlap=0, threshold=0.5):
    return Inference(tile=tile, overlap=overlap, tta=False, threshold=threshold)


def picture(height, width, channels=1, seed=0):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def same(image):
    return image


@st.composite
def tilings(draw):
    tile = draw(st.integers(32, 48))
    return how(tile, draw(st.integers(0, tile // 2)))


def local_network(radius, outputs=1, seed=0):
    """Convolutions that look `radius` pixels far, zeros beyond the edge, as real networks have."""
    torch.manual_seed(seed)
    first = nn.Conv2d(1, 4, 2 * radius - 1, padding=radius - 1)
    return nn.Sequential(first, nn.Tanh(), nn.Conv2d(4, outputs, 3, padding=1)).eval()


# --- tiles -----------------------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 299))
@example(101, 100, 99)
@example(101, 100, 0)
@example(100, 100, 50)
@example(250, 100, 50)
@settings(max_examples=300)
def test_tiles_cover_a_side(length, tile, overlap):
    overlap = min(overlap, tile - 1)
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile == max(length, tile)
    assert all(a < b for a, b in pairwise(starts))
    assert all(a + tile - b >= overlap for a, b in pairwise(starts))
    # One tile fewer could not do it.
    assert len(starts) == 1 or (len(starts) - 1) * (tile - overlap) + overlap < length


def test_tile_starts_by_hand():
    assert tile_starts(10, 10, 5) == [0]
    assert tile_starts(11, 10, 5) == [0, 1]
    assert tile_starts(15, 10, 5) == [0, 5]
    assert tile_starts(16, 10, 5) == [0, 3, 6]
    assert tile_starts(30, 10, 0) == [0, 10, 20]


@given(sides, sides, tilings())
@often
def test_stitching_what_was_cut_gives_it_back(height, width, tiling):
    image = picture(height, width)
    stitched = predict(same, image, (height, width), tiling, context=0, tta=False)
    torch.testing.assert_close(stitched, image.sigmoid())


@given(st.integers(1, 400), tilings())
@often
def test_every_pixel_weighs_something(length, tiling):
    weights = torch.zeros(length)
    for place, weight in _spans(length, tiling, torch.device("cpu")):
        assert 0 <= weight.min() <= weight.max() <= 1
        weights[place] += weight
    assert weights.min() > 0.2


@given(st.integers(33, 90), st.integers(1, 90), st.integers(16, 20))
@often
def test_tile_size_does_not_change_what_a_local_network_says(height, width, overlap):
    network = local_network(radius=4)  # no further than a quarter of the overlap
    image = picture(height, width)
    with torch.no_grad():
        whole = predict(network, image, (height, width), how(), context=0, tta=False)
        tiled = predict(network, image, (height, width), how(40, overlap), context=0, tta=False)
    torch.testing.assert_close(tiled, whole)


def test_nor_one_that_looks_a_little_further_by_much():
    image, network = picture(100, 130), local_network(radius=9)
    with torch.no_grad():
        whole = predict(network, image, (100, 130), how(), context=0, tta=False)
        tiled = predict(network, image, (100, 130), how(64, 20), context=0, tta=False)
    assert (tiled - whole).abs().max() < 0.05


def test_tiles_are_no_larger_than_asked():
    seen = []

    def network(image):
        seen.append(tuple(image.shape[-2:]))
        return image

    predict(network, picture(100, 20), (100, 20), how(48, 8), context=0, tta=False)
    assert seen == [(48, 20)] * 3


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (31, 33)])
@pytest.mark.parametrize("tta", [False, True])
def test_tiny_and_thin_pictures(size, tta):
    image = picture(*size)
    found = predict(same, image, size, how(32, 16), context=3, tta=tta)
    torch.testing.assert_close(found, image.sigmoid())


def test_overlap_beyond_half_a_tile_is_refused():
    assert how(64, 32).overlap == 32
    with pytest.raises(ConfigError, match=r"inference\.overlap.*33 of 64"):
        how(64, 33)


# --- classes ---------------------------------------------------------------------------------------------


def test_more_classes_sum_to_1():
    image, network = picture(50, 70), local_network(3, outputs=4)
    with torch.no_grad():
        found = predict(network, image, (100, 133), how(32, 12), context=5, tta=True)
    assert found.shape == (1, 4, 100, 133)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 100, 133))
    assert (classes(found, 0.9) == found.argmax(1)).all()  # a threshold is for two classes


def test_classes_by_hand():
    assert classes(torch.tensor([[[[0.2, 0.5, 0.51]]]]), 0.5).tolist() == [[[0, 0, 1]]]
    assert classes(torch.tensor([[[[0.2, 0.5, 0.51]]]]), 0.1).tolist() == [[[1, 1, 1]]]
    assert classes(torch.tensor([[[[0.2]], [[0.5]], [[0.3]]]]), 0.5).tolist() == [[[1]]]


def test_half_precision_logits_give_full_precision():
    logits = torch.randn(1, 3, 4, 5).bfloat16()
    assert to_probability(logits).dtype == torch.float32
    torch.testing.assert_close(to_probability(logits[:, :1]), logits[:, :1].float().sigmoid())


# --- flips and turns -------------------------------------------------------------------------------------


def test_the_eight_views_differ_and_come_back():
    image = picture(5, 7, channels=2)
    views = [_laid(image, *view) for view in VIEWS]
    assert len({(v.shape, tuple(v.flatten().tolist())) for v in views}) == 8
    for laid, view in zip(views, VIEWS, strict=True):
        assert torch.equal(_undo(laid, *view), image)


@given(sides, sides, tilings(), st.integers(0, 5))
@often
def test_tta_of_an_equivariant_network_changes_nothing(height, width, tiling, context):
    image = picture(height, width)
    plain, averaged = (predict(same, image, (height, width), tiling, context=context, tta=tta) for tta in (False, True))
    torch.testing.assert_close(averaged, plain)


def test_tta_is_the_mean_over_views_by_hand():
    def column(image):  # says "foreground" in the first column alone
        return torch.where(torch.arange(image.shape[-1]) == 0, 100.0, -100.0).expand_as(image)

    found = predict(column, picture(3, 3), (3, 3), how(), context=0, tta=True)
    quarter = torch.tensor([[0.5, 0.25, 0.5], [0.25, 0.0, 0.25], [0.5, 0.25, 0.5]])
    torch.testing.assert_close(found[0, 0], quarter)


# --- context and size ------------------------------------------------------------------------------------


@given(sides, sides, st.integers(0, 40))
@often
def test_the_context_is_zeros_and_is_cut_off_again(height, width, context):
    seen = []

    def network(image):
        seen.append(image)
        return image

    image = picture(height, width)
    found = predict(network, image, (height, width), how(), context=context, tta=False)
    assert torch.equal(seen[0], F.pad(image, [context] * 4))
    torch.testing.assert_close(found, image.sigmoid())


def test_another_size_is_interpolated():
    ramp = torch.linspace(-2, 2, 16).expand(1, 1, 8, 16)
    found = predict(same, ramp, (32, 64), how(), context=2, tta=False)
    torch.testing.assert_close(found, F.interpolate(ramp.sigmoid(), (32, 64), mode="bilinear"))
    # Pixels are areas: four new ones lie over each old one, none is shifted.
    torch.testing.assert_close(F.avg_pool2d(found, 4)[..., 1:-1], ramp.sigmoid()[..., 1:-1], atol=1e-3, rtol=0)


# --- normalisation ---------------------------------------------------------------------------------------


def test_normalise_bytes_by_channel():
    normalise = Normalise([10.0, 20.0], [2.0, 5.0])
    image = torch.tensor([14, 30], dtype=torch.uint8).view(1, 2, 1, 1)
    grey = normalise.grey(image)
    assert torch.equal(grey, image.float())  # bytes are grey levels
    assert normalise(grey).flatten().tolist() == [2, 2]
    assert set(normalise.state_dict()) == {"mean", "std", "low", "high"}  # what travels in a checkpoint


def test_levels_of_other_cameras_are_brought_to_one_scale():
    normalise = Normalise([100.0], [50.0], low=1000, high=3550)
    levels = torch.tensor([1000, 2275, 3550]).view(1, 1, 1, 3).to(torch.uint16)
    assert normalise.grey(levels).flatten().tolist() == [0, 127.5, 255]
    assert normalise(normalise.grey(levels)).flatten().tolist() == pytest.approx([-2, 0.55, 3.1])
