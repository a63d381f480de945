"""Images of any size, for networks that halve them."""

import pytest
import torch
from torch import nn

from lamella.models.contract import AnySize, pad_to_multiple
from lamella.models.smp import networks as smp


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class _Seen(nn.Module):
    """Returns what it is given, and remembers it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.image = image
        return image


def test_a_size_that_divides_is_passed_on_untouched() -> None:
    image = torch.randn(2, 3, 64, 96)
    seen = _Seen()
    assert torch.equal(AnySize(seen, 32)(image), image)
    assert seen.image is image


@pytest.mark.parametrize("size", [(97, 131), (5, 7), (1, 1), (32, 33), (17, 16), (2, 64)])
def test_padding_is_cropped_back_exactly(size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    seen = _Seen()
    assert torch.equal(AnySize(seen, 32)(image), image)
    assert seen.image.shape[-2] % 32 == 0
    assert seen.image.shape[-1] % 32 == 0


def test_padding_reflects_where_it_can_and_repeats_where_it_cannot() -> None:
    row = torch.arange(6.0).reshape(1, 1, 1, 6)
    assert pad_to_multiple(row, 4)[0, 0].tolist() == [[0, 1, 2, 3, 4, 5, 4, 3]] * 4
    short = torch.arange(3.0).reshape(1, 1, 3, 1)
    assert pad_to_multiple(short, 8)[0, 0, :, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]


def test_padding_keeps_channels_last_and_dtype() -> None:
    image = torch.randn(2, 3, 40, 50).to(torch.bfloat16).to(memory_format=torch.channels_last)
    padded = pad_to_multiple(image, 32)
    assert padded.is_contiguous(memory_format=torch.channels_last)
    assert padded.dtype == torch.bfloat16


def test_a_network_takes_tiny_images() -> None:
    network = smp.unet(
        in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None, decoder_channels=[16] * 5
    ).eval()
    with torch.no_grad():
        for size in ((5, 7), (1, 1)):
            assert network(torch.randn(1, 3, *size)).shape == (1, 1, *size)


def test_an_image_below_the_least_size_is_padded_to_it() -> None:
    image = torch.randn(2, 3, 40, 150)
    seen = _Seen()
    assert torch.equal(AnySize(seen, 16, least=128)(image), image)
    assert seen.image.shape[-2:] == (128, 160)
