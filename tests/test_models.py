"""Networks: the contract each keeps, equality with the original TernausNet, where weights come from."""

import importlib
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import lamella.torchvision_ops as torchvision_ops
from lamella.errors import ConfigError, WeightsError
from lamella.models import smp, weights
from lamella.models.padding import AnySize, pad_to_multiple
from lamella.models.ternausnet import TernausNet, ternausnet


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- The contract ---------------------------------------------------------------------------------------


class NetworkTester:
    """What every network must do. A subclass says how to build one."""

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        raise NotImplementedError

    @pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 2), (3, 4), (5, 2)])
    def test_logits_for_any_channels_and_an_odd_size(self, in_channels: int, num_classes: int) -> None:
        network = self.build(in_channels, num_classes).eval()
        with torch.no_grad():
            logits = network(torch.randn(1, in_channels, 97, 131))
        assert logits.shape == (1, 1 if num_classes == 2 else num_classes, 97, 131)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        assert logits.std() > 0

    def test_batching_changes_nothing_in_eval(self) -> None:
        network = self.build(3, 4).eval()
        images = torch.randn(3, 3, 45, 70)
        with torch.no_grad():
            together = network(images)
            alone = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)

    def test_backward_reaches_every_parameter(self) -> None:
        network = self.build(3, 4)
        network(torch.randn(2, 3, 64, 64)).square().mean().backward()
        trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
        assert len(trainable) > 10
        for name, parameter in trainable.items():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if parameter.ndim > 1:  # a bias before a normalisation has none, rightly
                assert parameter.grad.any(), name

    def test_overfits_one_batch(self) -> None:
        images = torch.randn(2, 1, 32, 32)
        target = F.avg_pool2d(images, 5, stride=1, padding=2) > 0  # something to be seen in the image
        network = self.build(1, 2)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        losses: list[float] = []
        while not losses or losses[-1] > 0.3:  # 0.69 is a guess
            assert len(losses) < 50, losses
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(network(images), target.float())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    def test_state_dict_round_trip(self) -> None:
        network, other = self.build(3, 2).eval(), self.build(3, 2).eval()
        images = torch.randn(1, 3, 40, 40)
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        with torch.no_grad():
            assert not torch.equal(network(images), other(images))
            other.load_state_dict(torch.load(file, weights_only=True))
            assert torch.equal(network(images), other(images))

    def test_bfloat16_is_close_to_float32(self) -> None:
        network = self.build(3, 2).eval()
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            exact = network(images)
            with torch.autocast("cpu", torch.bfloat16):
                rounded = network(images)
        assert rounded.dtype == torch.bfloat16
        assert (rounded.float() - exact).norm() < 0.05 * exact.norm()

    def test_a_seed_fixes_the_network(self) -> None:
        torch.manual_seed(7)
        one = self.build(3, 2)
        torch.manual_seed(7)
        other = self.build(3, 2)
        images = torch.randn(2, 3, 64, 64)
        assert torch.equal(one(images), other(images))
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key


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


class TestTernausNet16BatchNorm(NetworkTester):
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        return ternausnet(
            in_channels=in_channels,
            num_classes=num_classes,
            encoder="vgg16",
            encoder_weights=None,
            batch_norm=True,
        )


class TestUnet(NetworkTester):
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
    network = TestUnet().build(3, 2).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, *size)).shape == (1, 1, *size)


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


# --- Encoders by name -----------------------------------------------------------------------------------


def _unet(encoder: str, encoder_weights: str | None = None, in_channels: int = 3) -> nn.Module:
    return smp.unet(
        in_channels=in_channels,
        num_classes=2,
        encoder=encoder,
        encoder_weights=encoder_weights,
        decoder_channels=[64, 32, 32, 16, 16],
    )


def _ternausnet(encoder_weights: str | None, in_channels: int = 3, batch_norm: bool = True) -> nn.Module:
    return ternausnet(
        in_channels=in_channels,
        num_classes=2,
        encoder="vgg11",
        encoder_weights=encoder_weights,
        batch_norm=batch_norm,
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
    assert "smp.encoder_names()" in caught.value.remedy
    assert "resnet34" in smp.encoder_names()


def test_an_encoder_for_one_size_only_is_refused() -> None:
    with pytest.raises(ConfigError, match="any size"):
        _unet("tu-swin_tiny_patch4_window7_224")


@pytest.mark.parametrize("channels", [[], [8] * 6])
def test_a_decoder_has_one_to_five_blocks(channels: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"model\.decoder_channels"):
        smp.unet(in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None, decoder_channels=channels)


# --- Weights: from a file -------------------------------------------------------------------------------


def _encoder(network: nn.Module) -> nn.Module:
    assert isinstance(network, AnySize)
    encoder = network.network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder


def _assert_same(one: nn.Module, other: nn.Module) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("build", [_ternausnet, lambda w: _unet("resnet18", w), lambda w: _unet("tu-resnet18", w)])
def test_an_encoder_is_loaded_from_its_file(
    build: Callable[[str | None], nn.Module], suffix: str, tmp_path: Path
) -> None:
    source = build(None)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(_encoder(source).state_dict(), file)
    elif suffix == ".ckpt":  # as Lightning saves a whole network
        torch.save({"state_dict": {f"network.{k}": v for k, v in source.state_dict().items()}}, file)
    else:
        torch.save(_encoder(source).state_dict(), file)
    assert not torch.equal(*(next(n.parameters()) for n in (source, build(None))))
    _assert_same(_encoder(source), _encoder(build(str(file))))


def _torchvision_file(folder: Path, name: str) -> nn.Sequential:
    """Saves a VGG11 as torchvision does: `features`, and a classifier (small here). Returns features."""
    features = TernausNet(in_channels=3, out_channels=1, encoder="vgg11", batch_norm="_bn" in name).encoder
    whole = nn.ModuleDict({"features": features, "classifier": nn.Sequential(nn.Linear(8, 4))})
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(whole.state_dict(), folder / name)
    return features


def test_a_downloaded_file_of_torchvision_is_loaded(tmp_path: Path) -> None:
    features = _torchvision_file(tmp_path, "vgg11_bn.pth")
    _assert_same(features, _encoder(_ternausnet(str(tmp_path / "vgg11_bn.pth"))))


@pytest.mark.parametrize("build", [_ternausnet, lambda w, c=3: _unet("resnet18", w, c)])
def test_rgb_weights_answer_to_grey_as_to_three_equal_channels(build: Callable[..., nn.Module], tmp_path: Path) -> None:
    rgb = _encoder(build(None)).eval()
    torch.save(rgb.state_dict(), tmp_path / "rgb.pt")
    grey = _encoder(build(str(tmp_path / "rgb.pt"), 1)).eval()
    six = _encoder(build(str(tmp_path / "rgb.pt"), 6)).eval()
    image = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        wanted, one, of_six = (_last(e(image.repeat(1, c, 1, 1))) for e, c in ((rgb, 3), (grey, 1), (six, 6)))
    torch.testing.assert_close(one, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(of_six, wanted, atol=1e-4, rtol=1e-4)


def _last(features: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    return features if isinstance(features, torch.Tensor) else features[-1]


def test_channels_are_taken_in_turn() -> None:
    weight = torch.randn(4, 3, 3, 3)
    five = weights.adapt_input_channels(weight, 5)
    torch.testing.assert_close(five, weight[:, [0, 1, 2, 0, 1]] * 0.6)
    torch.testing.assert_close(weights.adapt_input_channels(weight, 1), weight.sum(1, keepdim=True))


@pytest.mark.parametrize("build", [_ternausnet, lambda w: _unet("resnet18", w)])
def test_a_missing_file_is_a_weights_error(build: Callable[[str], nn.Module], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file") as caught:
        build(str(tmp_path / "none.pth"))
    assert "model.encoder_weights=null" in caught.value.remedy


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", "cut"])
def test_a_damaged_file_is_a_weights_error(suffix: str, content: bytes | str, tmp_path: Path) -> None:
    file = tmp_path / f"damaged{suffix}"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        state = {"weight": torch.randn(1000)}
        save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
        file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match=r"damaged.* cannot be read as weights"):
        _ternausnet(str(file))


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}])
def test_a_file_without_a_state_dict_is_a_weights_error(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt holds"):
        _ternausnet(str(tmp_path / "other.pt"))


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(WeightsError):
        _ternausnet(str(tmp_path / "trap.pt"))
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_encoder_are_refused_with_a_list(tmp_path: Path) -> None:
    file = str(tmp_path / "other.pt")
    torch.save(_encoder(_ternausnet(None, batch_norm=False)).state_dict(), file)
    with pytest.raises(WeightsError, match=r"other\.pt do not fit") as caught:
        _ternausnet(file, batch_norm=True)
    assert "missing: 1.weight, 1.bias, 1.running_mean" in caught.value.remedy
    assert "more" in caught.value.remedy
    assert "unexpected: 3.weight, 3.bias" in caught.value.remedy

    torch.save(_encoder(_unet("resnet18")).state_dict(), file)
    with pytest.raises(WeightsError, match="do not fit"):
        _ternausnet(file)
    with pytest.raises(WeightsError, match="do not fit") as caught:
        _unet("resnet50", file)
    assert "of another shape: layer1.0.conv1.weight (64, 64, 3, 3), not (64, 64, 1, 1)" in caught.value.remedy

    state = _encoder(_unet("resnet18")).state_dict()
    del state["layer3.0.conv1.weight"]
    torch.save(state, file)
    with pytest.raises(WeightsError) as caught:
        _unet("resnet18", file)
    assert "1 missing: layer3.0.conv1.weight" in caught.value.remedy


# --- Weights: from the network --------------------------------------------------------------------------

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's and Hugging Face's caches are empty folders."""
    from huggingface_hub import constants

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


def _use_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.fixture
def no_network(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection is refused, on a machine with a network, too."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        _use_proxy(monkeypatch, closed.getsockname()[1])
        yield


@pytest.fixture
def silent_network(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection is taken, and no question answered."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        _use_proxy(monkeypatch, silent.getsockname()[1])
        yield


FETCHED = {
    "vgg11_bn": _ternausnet,
    "resnet18": lambda w: _unet("resnet18", w),
    "tu-resnet18": lambda w: _unet("tu-resnet18", w),
}


@pytest.mark.parametrize("name", FETCHED)
def test_without_a_network_imagenet_is_a_weights_error_at_once(no_network: None, name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(WeightsError, match=f"{name} cannot be fetched") as caught:
        FETCHED[name]("imagenet")
    assert time.perf_counter() - start < 10
    assert "model.encoder_weights=null" in caught.value.remedy
    assert "model.encoder_weights=/path/to/" in caught.value.remedy


def test_where_to_put_a_downloaded_file_is_said(no_network: None, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        _ternausnet("imagenet")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    url = "https://download.pytorch.org/models/vgg11_bn-6002323d.pth"
    assert f"download {url} where there is a network and put the file into {folder}" in caught.value.remedy
    features = _torchvision_file(folder, "vgg11_bn-6002323d.pth")
    _assert_same(features, _encoder(_ternausnet("imagenet")))


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18"])
def test_a_network_that_never_answers_is_given_up(
    silent_network: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "CONNECT_SECONDS", 1.0)
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="cannot be reached"):
        FETCHED[name]("imagenet")
    assert time.perf_counter() - start < 5


def test_a_damaged_cache_is_a_weights_error(no_network: None, tmp_path: Path) -> None:
    file = tmp_path / "torch" / "hub" / "checkpoints" / "vgg11_bn-6002323d.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a file")
    with pytest.raises(WeightsError, match=r"vgg11_bn-6002323d\.pth cannot be read"):
        _ternausnet("imagenet")


def _put_into_hub_cache(cache: Path, repo: str, revision: str, state: dict[str, torch.Tensor]) -> Path:
    """Lays down what Hugging Face's client would after a download."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    (snapshot / "config.json").write_text(json.dumps({}))
    save_file(state, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_weights_in_the_hub_cache_need_no_network(no_network: None, encoder: str, tmp_path: Path) -> None:
    url = smp._home_of_weights(encoder)
    assert url is not None
    repo = "/".join(url.split("/")[3:5])
    revision = url.split("/")[6] if encoder == "resnet18" else "0" * 40
    source = _encoder(_unet(encoder))
    state = {key.removeprefix("model."): value for key, value in source.state_dict().items()}
    file = _put_into_hub_cache(tmp_path / "hub", repo, revision, state)

    _assert_same(source, _encoder(_unet(encoder, "imagenet")))
    grey = _encoder(_unet(encoder, "imagenet", in_channels=1)).state_dict()
    first = next(key for key in grey if key.endswith("conv1.weight"))
    torch.testing.assert_close(grey[first], source.state_dict()[first].sum(1, keepdim=True))

    file.write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="cannot be read"):
        _unet(encoder, "imagenet")


def test_offline_by_wish_is_offline(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        _unet("resnet18", "imagenet")
    assert constants.HF_HUB_OFFLINE is True


def test_an_encoder_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsError, match=r"no ImageNet weights for model\.encoder=dpn68b"):
        _unet("dpn68b", "imagenet")


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
