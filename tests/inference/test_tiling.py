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
from lamella.inference.tiling import (
    VIEWS,
    Member,
    Tiling,
    _laid,
    _undo,
    classes,
    predict,
    spans,
    stream,
    to_probability,
    weights,
)

sides = st.integers(1, 120)
often = settings(max_examples=60, deadline=None)
CPU = torch.device("cpu")


def how(tile=1024, overlap=0, margin=None, stride=1, **other):
    return Tiling(tile, overlap, overlap // 4 if margin is None else margin, stride, **other)


def member(network):
    return Member(torch.Tensor.float, same, network)


def predicted(network, image, tiling, *, size=None, tta=False):
    return predict([member(network)], image, size or tuple(image.shape[-2:]), tiling, tta=tta)


def picture(height, width, channels=1, seed=0):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def same(image):
    return image


@st.composite
def tilings(draw, context=0):
    tile, stride = draw(st.integers(32, 48)), draw(st.sampled_from([1, 3, 8, 16]))
    overlap = draw(st.integers(0, tile // 2))
    return how(
        tile, overlap, draw(st.sampled_from([overlap // 4, overlap // 2])), stride, multiple=stride, context=context
    )


def local_network(radius, outputs=1, seed=0):
    """Convolutions that look `radius` pixels far, zeros beyond the edge, as real networks have."""
    torch.manual_seed(seed)
    first = nn.Conv2d(1, 4, 2 * radius - 1, padding=radius - 1)
    return nn.Sequential(first, nn.Tanh(), nn.Conv2d(4, outputs, 3, padding=1)).eval()


# --- tiles -----------------------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(2, 300), st.integers(0, 150), st.sampled_from([1, 8, 32]))
@example(101, 100, 50, 1)
@example(101, 100, 0, 1)
@example(100, 100, 50, 1)
@example(1024, 1000, 500, 32)
@settings(max_examples=300)
def test_tiles_cover_a_side(length, tile, overlap, stride):
    overlap = min(overlap, tile // 2)
    found = spans(length, how(tile, overlap, stride=stride))
    most = max(tile, 2 * stride, (-(-overlap // stride) + 1) * stride)
    assert found[0].start == 0
    assert found[-1].stop == length
    assert all(a.start < b.start and a.stop < b.stop for a, b in pairwise(found))
    assert all(a.stop - b.start >= overlap for a, b in pairwise(found))
    assert all(b.first <= a.last for a, b in pairwise(found))
    assert all(each.start % stride == 0 and each.stop - each.start <= most for each in found)
    assert len({each.stop - each.start for each in found[:-1]}) <= 1


def test_tiles_by_hand():
    def places(length, tile, overlap, stride=1):
        return [(each.start, each.stop) for each in spans(length, how(tile, overlap, stride=stride))]

    assert places(10, 10, 5) == [(0, 10)]
    assert places(11, 10, 5) == [(0, 8), (3, 11)]  # no larger than two take
    assert places(15, 10, 5) == [(0, 10), (5, 15)]
    assert places(16, 10, 5) == [(0, 9), (3, 12), (7, 16)]
    assert places(30, 10, 0) == [(0, 10), (10, 20), (20, 30)]
    assert places(100, 64, 20, 16) == [(0, 64), (16, 80), (48, 100)]  # begin at multiples of the stride
    assert places(100, 32, 34, 32) == [(0, 96), (32, 100)]  # two strides are shared, so a tile has three


@given(sides, sides, tilings())
@often
def test_stitching_what_was_cut_gives_it_back(height, width, tiling):
    image = picture(height, width)
    torch.testing.assert_close(predicted(same, image, tiling), image.sigmoid())


@given(st.integers(1, 400), tilings())
@often
def test_weights_of_all_tiles_at_a_place_are_one(length, tiling):
    side = spans(length, tiling)
    total = torch.zeros(length)
    for span, weight in zip(side, weights(side, tiling, CPU), strict=True):
        assert 0 <= weight.min() <= weight.max() <= 1.0001
        total[span.first : span.last] += weight
    torch.testing.assert_close(total, torch.ones(length))


@given(st.integers(33, 90), st.integers(1, 90), st.integers(16, 20))
@often
def test_tile_size_does_not_change_what_a_local_network_says(height, width, overlap):
    network = local_network(radius=4)  # no further than a quarter of the overlap
    image = picture(height, width)
    with torch.no_grad():
        whole = predicted(network, image, how())
        for tiling in (how(40, overlap), how(33, 8, margin=4), how(40, 16, stride=4)):
            torch.testing.assert_close(predicted(network, image, tiling), whole)


def test_nor_one_that_looks_a_little_further_by_much():
    image, network = picture(100, 130), local_network(radius=9)
    with torch.no_grad():
        whole, tiled = predicted(network, image, how()), predicted(network, image, how(64, 20))
    assert 1e-6 < (tiled - whole).abs().max() < 0.05


def test_tiles_of_a_size_go_through_together():
    seen = []

    def network(image):
        seen.append(tuple(image.shape))
        return image

    predicted(network, picture(100, 20), how(48, 8))
    assert seen == [(1, 1, 39, 20)] * 3
    seen.clear()
    predicted(network, picture(20, 100), how(48, 8))
    assert seen == [(3, 1, 20, 39)]


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (31, 33)])
@pytest.mark.parametrize("tta", [False, True])
def test_tiny_and_thin_pictures(size, tta):
    image = picture(*size)
    found = predicted(same, image, how(32, 16, multiple=8, stride=8, context=3), tta=tta)
    torch.testing.assert_close(found, image.sigmoid())


def test_overlap_beyond_half_a_tile_is_refused():
    def settings_of(tile, overlap):
        return Inference(tile=tile, overlap=overlap, tta=False, threshold=0.5)

    assert settings_of(64, 32).overlap == 32
    assert settings_of(64, None).overlap is None
    with pytest.raises(ConfigError, match=r"inference\.overlap.*33 of 64"):
        settings_of(64, 33)


# --- rows ------------------------------------------------------------------------------------------------


@given(st.data(), tilings(context=5), sides, sides, st.booleans())
@settings(max_examples=40, deadline=None)
def test_rows_give_the_same_bits_however_they_come(data, tiling, height, width, tta):
    image, network = picture(height, width), local_network(3)
    wanted = data.draw(st.sampled_from([(height, width), (2 * height, 2 * width), (3 * height + 1, 2 * width)]))
    cuts = data.draw(st.sets(st.integers(1, height)))
    edges = [0, *sorted(cuts - {height}), height]
    rows = (image[0, :, a:b] for a, b in pairwise(edges))
    with torch.no_grad():
        whole = predict([member(network)], image, wanted, tiling, tta=tta)
        found = list(stream([member(network)], rows, (height, width), wanted, tiling, tta=tta))
    assert torch.equal(torch.cat(found, dim=1)[None], whole)


def test_no_more_rows_are_asked_for_than_a_tile_is_high():
    asked = []

    def rows():
        for top in range(0, 1000, 10):
            asked.append(top)
            yield torch.zeros(1, 10, 20)

    given_out = 0
    for band in stream([member(same)], rows(), (1000, 20), (1000, 20), how(100, 20), tta=False):
        given_out += band.shape[1]
        assert asked[-1] + 10 <= given_out + 100 + 10
    assert given_out == 1000


def test_the_spread_over_views_and_networks_by_hand():
    image = picture(40, 50)
    networks = [lambda x: x + 1, lambda x: torch.cat([x, 2 * x, -x], dim=1), local_network(3, outputs=3)]
    with torch.no_grad():
        alone = [predicted(networks[0], image, how(32, 8)), predicted(same, image, how(32, 8))]
        both = [member(networks[0]), member(same)]
        found = next(stream(both, [image[0]], (40, 50), (40, 50), how(64), tta=False, spread=True))
        torch.testing.assert_close(found[:1], torch.stack(alone).mean(dim=0)[0])
        torch.testing.assert_close(found[1:], torch.stack(alone).std(dim=0, correction=0)[0])

        views = [_undo(to_probability(networks[2](_laid(image, *view))), *view)[0] for view in VIEWS]
        mean, deviation = torch.stack(views).mean(dim=0), torch.stack(views).std(dim=0, correction=0)
        found = next(stream([member(networks[2])], [image[0]], (40, 50), (40, 50), how(64), tta=True, spread=True))
        torch.testing.assert_close(found[:3], mean)
        torch.testing.assert_close(found[3:], deviation.gather(0, mean.argmax(dim=0, keepdim=True)), atol=1e-5, rtol=0)


# --- classes ---------------------------------------------------------------------------------------------


def test_more_classes_sum_to_1():
    image, network = picture(50, 70), local_network(3, outputs=4)
    with torch.no_grad():
        found = predicted(network, image, how(32, 12, context=5), size=(100, 133), tta=True)
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


@given(sides, sides, tilings(context=4))
@often
def test_tta_of_an_equivariant_network_changes_nothing(height, width, tiling):
    image = picture(height, width)
    plain, averaged = (predicted(same, image, tiling, tta=tta) for tta in (False, True))
    torch.testing.assert_close(averaged, plain)


def test_tta_is_the_mean_over_views_by_hand():
    def column(image):  # says "foreground" in the first column alone
        return torch.where(torch.arange(image.shape[-1]) == 0, 100.0, -100.0).expand_as(image)

    found = predicted(column, picture(3, 3), how(), tta=True)
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
    found = predicted(network, image, how(context=context))
    assert torch.equal(seen[0], F.pad(image, [context] * 4))
    torch.testing.assert_close(found, image.sigmoid())


def test_another_size_is_interpolated():
    ramp = torch.linspace(-2, 2, 16).expand(1, 1, 8, 16)
    found = predicted(same, ramp, how(context=2), size=(32, 64))
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
