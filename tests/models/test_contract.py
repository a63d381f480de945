"""TernausNet, images of any size, torchvision beside a CPU torch."""

import importlib
from types import ModuleType

import pytest
import torch
from torch import nn

import lamella.torchvision_ops as torchvision_ops
from lamella.models.contract import AnySize, pad_to_multiple
from lamella.models.papers.ternausnet import TernausNet, ternausnet
from lamella.models.smp import networks as smp
from support.network_tester import ExportedTester, NetworkTester


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- The contract ---------------------------------------------------------------------------------------


class TestTernausNet11(NetworkTester):
    """The network of the paper."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return ternausnet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="vgg11",
            encoder_weights=None,
            batch_norm=False,
        )


class TestTernausNet11BatchNorm(NetworkTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return ternausnet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="vgg11",
            encoder_weights=None,
            batch_norm=True,
        )


class TestTernausNet16BatchNorm(ExportedTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return ternausnet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="vgg16",
            encoder_weights=None,
            batch_norm=True,
        )


# --- Any size -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("size", [(5, 7), (1, 1)])
def test_a_network_takes_tiny_images(size: tuple[int, int]) -> None:
    network = smp.unet(
        in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None, decoder_channels=[16] * 5
    ).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, *size)).shape == (1, 1, *size)


def test_an_image_below_the_least_size_is_padded_to_it() -> None:
    image = torch.randn(2, 3, 40, 150)
    seen = _Seen()
    assert torch.equal(AnySize(seen, 16, least=128)(image), image)
    assert seen.image.shape[-2:] == (128, 160)


# --- Equality with the original -------------------------------------------------------------------------


@pytest.mark.parametrize(("encoder", "count"), [("vgg11", 22_927_393), ("vgg16", 32_202_337)])
def test_ternausnet_has_as_many_parameters_as_the_original(encoder: str, count: int) -> None:
    # sum(p.numel() for p in net.parameters()) of UNet11() and of UNet16(is_deconv=True), ternausnet 0.0.1
    network = TernausNet(in_channels=3, out_channels=1, encoder=encoder, batch_norm=False)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.fixture(scope="module")
def original() -> ModuleType:
    return pytest.importorskip(
        "ternausnet.models", reason="the authors' network comes with the extra [test]: ternausnet==0.0.1"
    )


def _our_name(key: str) -> str:
    """A name in the original's state dict -> the name in ours.

    encoder.3.weight -> the same; dec5.block.0.conv.weight (3x3) and dec5.block.1.weight (transposed) ->
    decoder.0.0.weight and decoder.0.2.weight (ours counts the ReLU between); dec1.conv.weight ->
    decoder.4.0.weight; final.weight -> head.weight.
    """
    first, *_, last = key.split(".")
    if first == "encoder":
        return key
    if first == "final":
        return f"head.{last}"
    block = "centre" if first == "center" else f"decoder.{5 - int(first.removeprefix('dec'))}"
    return f"{block}.{2 if '.block.1.' in key else 0}.{last}"


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained':UserWarning", "ignore:Arguments other than a weight")
@pytest.mark.parametrize("encoder", ["vgg11", "vgg16"])
def test_ternausnet_gives_what_the_original_gives(original: ModuleType, encoder: str) -> None:
    with torch.device("meta"):  # or most of the time goes into torchvision's classifier, which is not used
        theirs = original.UNet11() if encoder == "vgg11" else original.UNet16(is_deconv=True)
    theirs = theirs.to_empty(device="cpu").eval()
    ours = TernausNet(in_channels=3, out_channels=1, encoder=encoder, batch_norm=False).eval()
    for name, parameter in ours.named_parameters():
        if name.endswith("bias"):  # zeros would hide a mistake
            nn.init.normal_(parameter, std=0.1)
    state = ours.state_dict()
    # The original lists its encoder twice: conv1, conv2, ... are the same tensors again.
    names = {key: _our_name(key) for key in theirs.state_dict() if not key.startswith("conv")}
    assert sorted(names.values()) == sorted(state)
    theirs.load_state_dict({key: state[name] for key, name in names.items()}, strict=False)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-5, rtol=1e-5)


# --- torchvision beside a CPU torch ---------------------------------------------------------------------


def test_torchvision_is_imported_whether_or_not_its_operators_load() -> None:
    torchvision_ops.ensure_torchvision()
    models = importlib.import_module("torchvision.models")
    assert models.get_model_weights("vgg11") is not None
    assert hasattr(torch.ops.torchvision, "nms")


def test_other_errors_of_an_import_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_ops.ensure_torchvision()
