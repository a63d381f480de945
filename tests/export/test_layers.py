"""Layers written anew for exporters give what those gave that they stand for."""

import pytest
import torch
from torch import nn

from lamella.errors import ConfigError
from lamella.export.layers import Padded, Pooled, exportable
from lamella.models.contract import AnySize


@pytest.mark.parametrize(("multiple", "least"), [(32, 1), (8, 1), (16, 128)])
@pytest.mark.parametrize("size", [(1, 1), (5, 64), (31, 33), (64, 96), (130, 17), (127, 2)])
def test_padding_is_that_of_any_size(multiple, least, size):
    class Seen(nn.Module):
        def forward(self, image):
            seen.append(image)
            return image

    seen = []
    image = torch.rand(2, 3, *size)
    network = AnySize(Seen(), multiple, least)
    assert torch.equal(Padded(network)(image), network(image))
    assert torch.equal(*seen)


@pytest.mark.parametrize("output", [1, 2, 3, 6, (2, 5)])
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (6, 6), (31, 4)])
def test_pooling_is_torchs(output, size):
    features = torch.rand(2, 4, *size)
    torch.testing.assert_close(Pooled(output)(features), nn.AdaptiveAvgPool2d(output)(features), atol=1e-6, rtol=1e-6)


def test_a_copy_is_changed_and_the_network_is_not():
    network = AnySize(nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(2)), 8)
    copy = exportable(network)
    assert type(copy) is Padded
    assert type(copy.network[1]) is Pooled
    assert type(network.network[1]) is nn.AdaptiveAvgPool2d
    assert copy.network[0].weight is not network.network[0].weight
    with pytest.raises(ConfigError, match="leaves one side as it is"):
        exportable(nn.Sequential(nn.AdaptiveAvgPool2d((None, 2))))
