"""Inner features of any network, and that taking them changes nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from lamella import models
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.novelty.features import Layer, deepest, features
from support import tiny


def of(network, channels=1):
    return Segmenter.of(network.eval(), Normalise([100.0] * channels, [50.0] * channels), tiny.inference(), 0)


def windows(count=3, channels=1, side=96):
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side)).astype(np.uint8)


class Twice(nn.Module):
    """Halves the image twice with the same layer, and ends in a summary and in what is no map at all."""

    def __init__(self) -> None:
        super().__init__()
        self.halve = nn.Conv2d(1, 1, 2, stride=2)
        self.summary = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.grow = nn.Upsample(scale_factor=4)

    def forward(self, image):
        small = self.halve(self.halve(image))
        return self.grow(small + self.flat(self.summary(small))[..., None, None])


def test_a_layer_that_is_called_twice_is_meant_at_its_second_call():
    segmenter = of(Twice())
    layer = deepest(segmenter, 1)
    assert layer == Layer("halve", 1)  # neither the summary nor what is flat
    image = windows()
    with torch.inference_mode():
        normal = segmenter.normalise(torch.from_numpy(image).float())
        inner = segmenter.network.halve(segmenter.network.halve(normal))
    assert np.allclose(features(segmenter, image, layer), inner.mean(dim=(2, 3)))


def test_what_follows_the_layer_is_not_computed_and_no_hook_stays():
    class Forbidden(nn.Module):
        def forward(self, image):
            raise AssertionError("computed")

    inner = nn.Conv2d(1, 4, 8, stride=8)
    segmenter = of(nn.Sequential(inner, Forbidden()))
    assert features(segmenter, windows(), Layer("0", 0)).shape == (3, 4)
    assert not inner._forward_hooks


def test_a_method_without_training_has_no_layers():
    otsu = models.otsu(in_channels=1, num_classes=2, channel="grey", foreground="dark")
    assert deepest(of(otsu), 1) is None


def test_a_layer_that_is_not_there_is_said():
    with pytest.raises(LookupError, match="no layer deep"):
        features(of(Twice()), windows(), Layer("deep", 0))
    with pytest.raises(LookupError, match="halve 3 times"):
        features(of(Twice()), windows(), Layer("halve", 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_windows_are_seen_as_the_network_is_given_them(dtype):
    network = models.unet_ronneberger(
        in_channels=2, num_classes=2, width=4, dropout=0.0, batch_norm=True, encoder_weights=None
    )
    segmenter = of(network, 2)
    layer = deepest(segmenter, 2)
    assert layer is not None
    found = features(segmenter, windows(5, 2).astype(dtype), layer)
    alone = features(segmenter, windows(5, 2).astype(dtype)[2:3], layer)
    assert found.shape == (5, 4 * 16)  # the deepest of four halvings
    assert found.dtype == np.float32
    assert np.allclose(found[2], alone[0], atol=1e-5)
