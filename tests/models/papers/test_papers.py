"""The networks that Lamella writes itself, each against its publication."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lamella.models.contract import AnySize
from lamella.models.papers import vgg
from lamella.models.papers.attention_unet import AttentionGate, attention_unet
from lamella.models.papers.fcn import FCN, fcn
from lamella.models.papers.r2unet import RecurrentConvolution, RecurrentResidual, attention_r2unet, r2unet
from lamella.models.papers.ternausnet import TernausNet, ternausnet
from lamella.models.papers.unet import UNet, twice, unet_ronneberger
from lamella.models.papers.unetplusplus import UNetPlusPlus, unetplusplus
from lamella.models.papers.vgg import VGG
from support.network_tester import ExportedTester, NetworkTester


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- The contract ---------------------------------------------------------------------------------------


class TestUnetRonneberger(ExportedTester):
    """The network of the paper, narrow."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return unet_ronneberger(
            in_channels=in_channels,
            num_classes=num_classes,
            width=16,
            dropout=0.5,
            batch_norm=False,
            encoder_weights=None,
        )


class TestUnetRonnebergerBatchNorm(NetworkTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return unet_ronneberger(
            in_channels=in_channels,
            num_classes=num_classes,
            width=16,
            dropout=0,
            batch_norm=True,
            encoder_weights=None,
        )


class TestUnetPlusPlus(NetworkTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return unetplusplus(
            in_channels=in_channels,
            num_classes=num_classes,
            width=16,
            deep_supervision=False,
            batch_norm=True,
            encoder_weights=None,
        )


class TestUnetPlusPlusDeeplySupervised(ExportedTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return unetplusplus(
            in_channels=in_channels,
            num_classes=num_classes,
            width=16,
            deep_supervision=True,
            batch_norm=True,
            encoder_weights=None,
        )


class TestAttentionUnet(ExportedTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return attention_unet(
            in_channels=in_channels, num_classes=num_classes, width=16, batch_norm=True, encoder_weights=None
        )


class TestR2Unet(NetworkTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return r2unet(
            in_channels=in_channels, num_classes=num_classes, width=16, steps=2, batch_norm=True, encoder_weights=None
        )


class TestAttentionR2Unet(ExportedTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return attention_r2unet(
            in_channels=in_channels, num_classes=num_classes, width=16, steps=2, batch_norm=True, encoder_weights=None
        )


class TestFcn8s(ExportedTester):
    grain = 17

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return fcn(
            in_channels=in_channels,
            num_classes=num_classes,
            variant="8s",
            hidden=64,
            batch_norm=True,
            encoder_weights=None,
        )


class TestTernausNet11(NetworkTester):
    """The network of the paper."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return ternausnet(
            in_channels=in_channels, num_classes=num_classes, encoder="vgg11", encoder_weights=None, batch_norm=False
        )


class TestTernausNet16BatchNorm(ExportedTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return ternausnet(
            in_channels=in_channels, num_classes=num_classes, encoder="vgg16", encoder_weights=None, batch_norm=True
        )


# --- Parameters, by the publications --------------------------------------------------------------------


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture
def on_meta() -> Iterator[None]:
    """Networks have shapes and no numbers: enough to count parameters."""
    with torch.device("meta"):
        yield


@pytest.mark.usefixtures("on_meta")
def test_unet_has_the_parameters_of_the_papers_figure() -> None:
    # Figure 1: (channels in, channels out, side of the kernel) of all layers, weights and biases, for one channel
    # and two outputs. Its convolutions are not padded, which has no parameters.
    contracting = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    bottom = [(512, 1024), (1024, 1024)]
    expanding = [(1024, 512), (512, 512), (512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64)]
    layers = [(*channels, 3) for channels in contracting + bottom + expanding]
    layers += [(1024, 512, 2), (512, 256, 2), (256, 128, 2), (128, 64, 2), (64, 2, 1)]
    assert len(layers) == 23  # "In total the network has 23 convolutional layers."
    by_hand = sum(before * after * side**2 + after for before, after, side in layers)
    assert by_hand == 31_030_658

    network = UNet(in_channels=1, out_channels=2, width=64, block=twice(batch_norm=False))
    assert _count(network) == by_hand
    assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in network.modules()) == 23


@pytest.mark.usefixtures("on_meta")
def test_unet_and_unetplusplus_have_the_parameters_that_the_unetplusplus_paper_gives() -> None:
    # The results' table of arXiv:1807.10165: 7.76 M and 9.04 M. To the last one in the authors' release
    # (MrGiovanni/UNetPlusPlus, keras/helper_functions.py), for one channel and one output.
    assert _count(UNet(1, 1, width=32, block=twice(batch_norm=False))) == 7_759_521
    assert _count(UNetPlusPlus(1, 1, width=32, batch_norm=False, deep_supervision=False)) == 9_041_601
    assert _count(UNetPlusPlus(1, 1, width=32, batch_norm=False, deep_supervision=True)) == 9_041_601 + 3 * 33


@pytest.mark.usefixtures("on_meta")
def test_fcn_has_the_parameters_that_the_paper_gives() -> None:
    # Table 1 of arXiv:1411.4038: 134 M for FCN-VGG16, with 21 classes.
    assert round(_count(FCN(3, 21, "32s", hidden=4096, batch_norm=False)) / 1e6) == 134


@pytest.mark.usefixtures("on_meta")
@pytest.mark.parametrize(("encoder", "count"), [("vgg11", 22_927_393), ("vgg16", 32_202_337)])
def test_ternausnet_has_as_many_parameters_as_the_original(encoder: VGG, count: int) -> None:
    # sum(p.numel() for p in net.parameters()) of UNet11() and of UNet16(is_deconv=True), ternausnet 0.0.1
    assert _count(TernausNet(in_channels=3, out_channels=1, encoder=encoder, batch_norm=False)) == count


@pytest.mark.usefixtures("on_meta")
def test_r2unet_has_about_as_many_parameters_as_unet() -> None:
    # "... with same number of network parameters": abstract of arXiv:1802.06955
    r2unet_parameters = _count(UNet(1, 1, 64, lambda before, after: RecurrentResidual(before, after, 2, False)))
    assert r2unet_parameters / _count(UNet(1, 1, 64, twice(batch_norm=False))) == pytest.approx(1, abs=0.15)


# --- What is particular to each -------------------------------------------------------------------------


def test_a_pixel_far_away_is_seen_by_the_unet_but_not_by_its_top_level() -> None:
    network = UNet(1, 1, width=4, block=twice(batch_norm=False)).eval()
    image = torch.randn(1, 1, 96, 96, requires_grad=True)
    network(image)[0, 0, 48, 48].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].nonzero()
    assert (seen - 48).abs().max() > 32  # through four halvings


def test_dropout_is_for_training_alone() -> None:
    network = UNet(1, 1, width=4, block=twice(batch_norm=False), dropout=0.5)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network(image), network(image))
        assert torch.equal(network.eval()(image), network(image))


def test_a_gate_weighs_each_pixel_by_one_number_between_0_and_1() -> None:
    gate = AttentionGate(channels=3, below=5)
    skip, below = torch.randn(2, 3, 8, 12), torch.randn(2, 5, 4, 6)
    weight = gate(skip, below) / skip  # (B, 3, 8, 12): the same in all three channels
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight))
    assert ((weight > 0) & (weight < 1)).all()
    assert weight.std() > 0
    with torch.no_grad():
        gate.score.bias.fill_(100.0)
    assert torch.equal(gate(skip, below), skip)  # wide open


def test_all_skips_but_the_first_are_gated() -> None:
    network = UNet(1, 1, width=4, block=twice(batch_norm=False), gate=AttentionGate).eval()
    assert network.gates is not None
    assert [gate.score.in_channels for gate in network.gates] == [8, 16, 32]
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        before = network(image)
        for gate in network.gates:
            gate.score.bias.fill_(-100.0)
        assert not torch.allclose(network(image), before)


def test_a_recurrent_convolution_is_its_equation() -> None:
    layer = RecurrentConvolution(channels=2, steps=2, batch_norm=False)
    u = torch.randn(1, 2, 6, 7)
    weight, bias = layer.convolve.weight, layer.convolve.bias
    x = F.relu(F.conv2d(u, weight, bias, padding=1))
    for _ in range(2):
        x = F.relu(F.conv2d(u + x, weight, bias, padding=1))
    torch.testing.assert_close(layer(u), x)


def test_more_steps_need_no_more_parameters() -> None:
    counts = {steps: _count(RecurrentConvolution(4, steps, batch_norm=False)) for steps in (1, 2, 5)}
    assert len(set(counts.values())) == 1


def test_deep_supervision_averages_four_heads() -> None:
    network = UNetPlusPlus(1, 1, width=4, batch_norm=False, deep_supervision=True).eval()
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        whole = network(image)
        for head in network.head:
            head.bias += 4  # type: ignore[operator, assignment]
        torch.testing.assert_close(network(image), whole + 4)
        network.head[3].bias += 4  # type: ignore[operator, assignment]
        torch.testing.assert_close(network(image), whole + 5)


@pytest.mark.parametrize(("variant", "fused"), [("32s", 0), ("16s", 1), ("8s", 2)])
def test_an_fcn_fuses_as_many_poolings_as_its_name_says(variant: str, fused: int) -> None:
    network = fcn(
        in_channels=1, num_classes=4, variant=variant, hidden=8, batch_norm=False, encoder_weights=None  # type: ignore[arg-type]
    )  # fmt: skip
    assert isinstance(network, AnySize)
    assert len(network.network.scores) == fused  # type: ignore[arg-type]
    assert network.eval()(torch.randn(1, 1, 40, 70)).shape == (1, 4, 40, 70)


def test_an_fcn_doubles_scores_by_bilinear_interpolation_at_first() -> None:
    network = FCN(3, 2, "16s", hidden=8, batch_norm=False)
    scores = torch.randn(1, 2, 5, 6)
    twice_as_large = F.interpolate(scores, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(network.ups[0](scores)[..., 1:-1, 1:-1], twice_as_large[..., 1:-1, 1:-1])


def test_an_fcn_starts_from_the_whole_of_vgg16(tmp_path: object) -> None:
    features = vgg.features("vgg16", 3, batch_norm=False)
    linear = nn.Sequential(
        nn.Linear(512 * 49, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5)
    )
    file = f"{tmp_path}/vgg16.pth"
    torch.save(nn.ModuleDict({"features": features, "classifier": linear}).state_dict(), file)
    network = fcn(in_channels=3, num_classes=2, variant="8s", hidden=8, batch_norm=False, encoder_weights=file)
    assert isinstance(network, AnySize)
    classifier = network.network.classifier
    assert isinstance(classifier, nn.Module)
    seven = torch.randn(1, 512, 7, 7)
    with torch.no_grad():
        wanted = linear[:6].eval()(seven.flatten(1))
        torch.testing.assert_close(classifier.eval()(seven)[:, :, 3, 3], wanted, atol=1e-5, rtol=1e-4)
    for key, value in network.network.encoder.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, features.state_dict()[key]), key
