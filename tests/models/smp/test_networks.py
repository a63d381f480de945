"""Networks on encoders of segmentation_models.pytorch and timm, and encoders by name."""

import pytest
import torch
from torch import nn

from lamella.errors import ConfigError
from lamella.models.contract import AnySize
from lamella.models.smp import encoders
from lamella.models.smp import networks as smp
from lamella.models.smp.networks import SingleValueNorm
from support.network_tester import ExportedTester, NetworkTester

from segmentation_models_pytorch import Unet  # isort: skip - after lamella.models.smp, which prepares torchvision

SMALL = "tu-test_efficientnet"  # timm's own, for tests: 0.1 M parameters


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- The contract ---------------------------------------------------------------------------------------


class TestUnet(ExportedTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.unet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="resnet18",
            encoder_weights=None,
            decoder_channels=[64, 64, 32, 32, 16],
        )


class TestUnetOfThreeBlocks(NetworkTester):
    """Two of the encoder's stages are not used."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.unet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="resnet18",
            encoder_weights=None,
            decoder_channels=[64, 32, 16],
        )


class TestUnetOnTimm(NetworkTester):
    """An encoder whose first features are a quarter of the image, not a half."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.unet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="tu-convnextv2_atto",
            encoder_weights=None,
            decoder_channels=[64, 64, 32, 32, 16],
        )


class CoarseTester(ExportedTester):
    """For networks that see the image at a fraction of its size, around a small encoder."""

    side = 64
    grain = 25
    rate = 3e-3


class TestUnetPlusPlusSmp(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.unetplusplus_smp(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder=SMALL,
            encoder_weights=None,
            decoder_channels=[32, 32, 16, 16, 16],
        )


class TestDeepLabV3Plus(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.deeplabv3plus(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder=SMALL,
            encoder_weights=None,
            output_stride=16,
            atrous_rates=[1, 2, 3],
            decoder_channels=32,
            dropout=0.1,
        )


class TestFpn(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.fpn(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder=SMALL,
            encoder_weights=None,
            pyramid_channels=32,
            segmentation_channels=64,
            merge="add",
            dropout=0.1,
        )


class TestMaNet(CoarseTester):
    """Around a wider encoder: it squeezes channels to a sixteenth, and a few ReLUs may all be dead at the start."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.manet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="resnet18",
            encoder_weights=None,
            decoder_channels=[64] * 4,
            attention_channels=16,
        )


class TestLinkNet(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.linknet(in_channels=in_channels, num_classes=num_classes, encoder=SMALL, encoder_weights=None)


class TestPspNet(CoarseTester):
    grain = 41

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.pspnet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder=SMALL,
            encoder_weights=None,
            stages=5,
            decoder_channels=64,
            dropout=0.1,
        )


class TestPan(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.pan(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder=SMALL,
            encoder_weights=None,
            output_stride=16,
            decoder_channels=32,
        )


class TestUperNet(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.upernet(
            in_channels=in_channels, num_classes=num_classes, encoder=SMALL, encoder_weights=None, decoder_channels=32
        )


class TestSegFormer(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.segformer(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="mit_b0",
            encoder_weights=None,
            decoder_channels=32,
        )


class TestDpt(CoarseTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return smp.dpt(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="tu-test_vit",
            encoder_weights=None,
            readout="cat",
            stage_channels=[16, 16, 32, 32],
            decoder_channels=32,
        )


# --- What is particular to each -------------------------------------------------------------------------


def test_segformer_has_the_parameters_that_the_paper_gives() -> None:
    # Table 1 of arXiv:2105.15203: 3.8 M for B0, with the 150 classes of ADE20K.
    network = smp.segformer(
        in_channels=3, num_classes=150, encoder="mit_b0", encoder_weights=None, decoder_channels=256
    )
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == 3.8


@pytest.mark.parametrize("readout", ["add", "ignore"])
def test_a_dpt_reads_the_class_token_as_told(readout: str) -> None:
    network = smp.dpt(
        in_channels=1, num_classes=2, encoder="tu-test_vit", encoder_weights=None,
        readout=readout, stage_channels=[8] * 4, decoder_channels=8,  # type: ignore[arg-type]
    )  # fmt: skip
    assert network.eval()(torch.randn(1, 1, 70, 40)).shape == (1, 1, 70, 40)


def test_a_pspnet_of_three_stages_freezes_what_it_leaves_out() -> None:
    network = smp.pspnet(
        in_channels=1, num_classes=2, encoder="resnet18", encoder_weights=None, stages=3, decoder_channels=8, dropout=0
    )
    frozen = {name.split(".")[2] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"layer3", "layer4"}
    assert network.eval()(torch.randn(1, 1, 70, 40)).shape == (1, 1, 70, 40)


def test_a_pan_takes_images_smaller_than_its_pyramid() -> None:
    network = TestPan().build(1, 2)
    assert isinstance(network, AnySize)
    assert network.least == 128
    assert network.eval()(torch.randn(1, 1, 9, 200)).shape == (1, 1, 9, 200)


def test_an_fpn_refuses_channels_that_it_cannot_group() -> None:
    with pytest.raises(ConfigError, match=r"segmentation_channels must be a multiple of 32; got 100"):
        smp.fpn(
            in_channels=1, num_classes=2, encoder=SMALL, encoder_weights=None,
            pyramid_channels=8, segmentation_channels=100, merge="add", dropout=0,
        )  # fmt: skip


def test_a_single_value_a_channel_is_normalised_by_the_running_statistics() -> None:
    norm, plain = SingleValueNorm(3), nn.BatchNorm2d(3)
    images = torch.randn(2, 3, 4, 4) * 5 + 1
    torch.testing.assert_close(norm(images), plain(images))  # many values: as ever, and both remember them
    single = torch.randn(1, 3, 1, 1)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    torch.testing.assert_close(norm(single), plain.eval()(single))
    for key, value in norm.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_too_small_a_batch_is_said_to_be_one() -> None:
    network = smp.unet(in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None, decoder_channels=[8] * 5)
    with pytest.raises(ConfigError, match="1 crop a step, of 20 x 32 pixels, is too little") as caught:
        network(torch.randn(1, 3, 20, 32))
    assert "data.batch_size" in caught.value.remedy
    assert network(torch.randn(2, 3, 20, 32)).shape == (2, 1, 20, 32)


# --- Encoders by name -----------------------------------------------------------------------------------


def _unet(encoder: str) -> nn.Module:
    return smp.unet(
        in_channels=3, num_classes=2, encoder=encoder, encoder_weights=None, decoder_channels=[64, 32, 32, 16, 16]
    )


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("resnet43", "resnet34"),
        ("convnext_tiny", "tu-convnext_tiny"),
        ("timm-efficientnet-b0", "tu-efficientnet_b0"),
        ("tu-resnet18.a9_in1k", "tu-resnet18.a1_in1k"),
    ],
)
def test_an_unknown_encoder_is_refused_with_the_names_near_it(asked: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.encoder={asked}") as caught:
        _unet(asked)
    assert meant in caught.value.remedy
    assert "python scripts/methods.py encoders" in caught.value.remedy
    assert "resnet34" in encoders.encoder_names()


def test_an_encoder_for_one_size_only_is_refused() -> None:
    with pytest.raises(ConfigError, match="any size"):
        _unet("tu-swin_tiny_patch4_window7_224")


REFUSED = {
    "a vision transformer in a U-Net": (lambda: _unet("tu-test_vit"), "resnet34"),
    "no transformer in a DPT": (
        lambda: smp.dpt(
            in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None,
            readout="cat", stage_channels=[8] * 4, decoder_channels=8,
        ),
        "tu-vit_small_patch16_224",
    ),
    "patches of 14 pixels in a DPT": (
        lambda: smp.dpt(
            in_channels=3, num_classes=2, encoder="tu-vit_small_patch14_dinov2", encoder_weights=None,
            readout="cat", stage_channels=[8] * 4, decoder_channels=8,
        ),
        "patches of 8, 16 or 32",
    ),
    "no class token in a DPT that reads it": (
        lambda: smp.dpt(
            in_channels=3, num_classes=2, encoder="tu-vit_relpos_small_patch16_224",
            encoder_weights=None, readout="cat", stage_channels=[8] * 4, decoder_channels=8,
        ),
        "model.readout=ignore",
    ),
    "MiT in a LinkNet": (
        lambda: smp.linknet(in_channels=3, num_classes=2, encoder="mit_b0", encoder_weights=None),
        "resnet34",
    ),
    "an encoder that cannot be dilated in a PAN": (
        lambda: smp.pan(
            in_channels=3, num_classes=2, encoder="densenet121", encoder_weights=None,
            output_stride=16, decoder_channels=8,
        ),
        "model.output_stride=32",
    ),
    "an encoder that cannot be dilated in a PSPNet": (
        lambda: smp.pspnet(
            in_channels=3, num_classes=2, encoder="tu-ghostnet_050", encoder_weights=None,
            stages=5, decoder_channels=8, dropout=0,
        ),
        "model.stages=3",
    ),
    "a stride between 8 and 16 in DeepLab": (
        lambda: smp.deeplabv3plus(
            in_channels=3, num_classes=2, encoder=SMALL, encoder_weights=None,
            output_stride=12, atrous_rates=[1, 2, 3], decoder_channels=8, dropout=0,
        ),
        "model.output_stride=8 or 16",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_encoder_that_an_architecture_cannot_use_is_refused(case: str) -> None:
    build, remedy = REFUSED[case]
    with pytest.raises(ConfigError, match=r"model\.encoder=.* cannot serve") as caught:
        build()
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("channels", [[], [8] * 6])
@pytest.mark.parametrize("build", [smp.unet, smp.unetplusplus_smp])
def test_a_decoder_has_one_to_five_blocks(build: object, channels: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"model\.decoder_channels"):
        build(in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None, decoder_channels=channels)  # type: ignore[operator]


def test_a_misspelt_argument_of_an_architecture_is_refused() -> None:
    """SMP's own classes would build the network without it."""
    with pytest.raises(TypeError, match="a U-Net takes no decoder_chanels"):
        smp.assemble(Unet, "a U-Net", smp.Common(1, 2, SMALL, None), decoder_chanels=[8] * 5)


def test_published_weights_are_known_by_name() -> None:
    assert encoders.has_imagenet_weights("resnet18")
    assert encoders.has_imagenet_weights("tu-convnext_tiny")
    assert not encoders.has_imagenet_weights("dpn68b")
