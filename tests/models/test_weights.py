"""Where weights come from: files, the network, other runs; and that what is asked for is what happens."""

import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lamella.errors import WeightsError
from lamella.models import pretrained, weights
from lamella.models.classical.methods import otsu
from lamella.models.contract import AnySize
from lamella.models.papers.attention_unet import attention_unet
from lamella.models.papers.fcn import fcn
from lamella.models.papers.r2unet import attention_r2unet, r2unet
from lamella.models.papers.ternausnet import TernausNet, ternausnet
from lamella.models.papers.unet import unet_ronneberger
from lamella.models.papers.unetplusplus import unetplusplus
from lamella.models.smp import encoders
from lamella.models.smp import networks as smp


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _unet(encoder: str, encoder_weights: str | None = None, in_channels: int = 3, num_classes: int = 2) -> nn.Module:
    return smp.unet(
        in_channels=in_channels,
        num_classes=num_classes,
        encoder=encoder,
        encoder_weights=encoder_weights,
        decoder_channels=[64, 32, 32, 16, 16],
    )


def _ternausnet(
    encoder_weights: str | None, in_channels: int = 3, batch_norm: bool = True, encoder: str = "vgg11"
) -> nn.Module:
    return ternausnet(
        in_channels=in_channels,
        num_classes=2,
        encoder=encoder,  # type: ignore[arg-type]
        encoder_weights=encoder_weights,
        batch_norm=batch_norm,
    )


OWN: dict[str, Callable[[str | None], nn.Module]] = {
    "unet_ronneberger": lambda w: unet_ronneberger(
        in_channels=3, num_classes=2, width=4, dropout=0, batch_norm=True, encoder_weights=w
    ),
    "unetplusplus": lambda w: unetplusplus(
        in_channels=3, num_classes=2, width=4, deep_supervision=True, batch_norm=True, encoder_weights=w
    ),
    "attention_unet": lambda w: attention_unet(
        in_channels=3, num_classes=2, width=4, batch_norm=True, encoder_weights=w
    ),
    "r2unet": lambda w: r2unet(in_channels=3, num_classes=2, width=4, steps=1, batch_norm=True, encoder_weights=w),
    "attention_r2unet": lambda w: attention_r2unet(
        in_channels=3, num_classes=2, width=4, steps=1, batch_norm=True, encoder_weights=w
    ),
}


# --- From a file -------------------------------------------------------------------------------


def _encoder(network: nn.Module) -> nn.Module:
    assert isinstance(network, AnySize)
    encoder = network.network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder


def _assert_same(one: nn.Module, other: nn.Module) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


BUILDS = [_ternausnet, lambda w: _unet("resnet18", w), lambda w: _unet("tu-test_resnet", w), *OWN.values()]


@pytest.mark.parametrize(
    ("build", "suffix"),
    [*((build, suffix) for build in BUILDS for suffix in (".pt", ".ckpt")), (OWN["r2unet"], ".safetensors")],
)
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
        OWN["r2unet"](str(file))


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}])
def test_a_file_without_a_state_dict_is_a_weights_error(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt holds"):
        OWN["r2unet"](str(tmp_path / "other.pt"))


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(WeightsError):
        OWN["r2unet"](str(tmp_path / "trap.pt"))
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


# --- A whole network from another -----------------------------------------------------------------------


def _checkpoint(network: nn.Module, file: Path) -> Path:
    """Saves a network as a run's checkpoint holds it, among other things."""
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    state |= {"normalise.mean": torch.zeros(3, 1, 1), "train_loss.value": torch.zeros(())}
    torch.save({"epoch": 3, "state_dict": state, "lamella": {"class_names": ["a", "b"]}}, file)
    return file


def _start(network: nn.Module, file: Path, part: str = "whole") -> None:
    state = weights.read_state_dict(file, "model.init_from")
    weights.initialise(network, state, f"model.init_from={file.name}", part)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [_ternausnet, lambda w: _unet("tu-test_resnet", w), *OWN.values()])
def test_a_whole_network_starts_from_a_checkpoint(build: Callable[..., nn.Module], tmp_path: Path) -> None:
    source, network = build(None), build(None)
    _start(network, _checkpoint(source, tmp_path / "best.ckpt"))
    _assert_same(source, network)


@pytest.mark.parametrize("prefix", ["network.", "", "module."])
def test_a_whole_network_starts_from_a_state_dict(prefix: str, tmp_path: Path) -> None:
    source, network = OWN["attention_unet"](None), OWN["attention_unet"](None)
    assert isinstance(source, AnySize)
    torch.save({f"{prefix}{k}": v for k, v in source.network.state_dict().items()}, tmp_path / "weights.pt")
    _start(network, tmp_path / "weights.pt")
    _assert_same(source, network)


@pytest.mark.parametrize("given", [1, 3, 5])
@pytest.mark.parametrize("wanted", [1, 3, 4])
@pytest.mark.parametrize("part", ["whole", "encoder"])
def test_only_the_first_layer_is_adapted_to_the_channels(given: int, wanted: int, part: str, tmp_path: Path) -> None:
    source, network = (
        unet_ronneberger(
            in_channels=channels, num_classes=2, width=4, dropout=0, batch_norm=False, encoder_weights=None
        )
        for channels in (given, wanted)
    )
    _start(network, _checkpoint(source, tmp_path / "best.ckpt"), part)
    old, new = (_encoder(n).state_dict() for n in (source, network))
    first = next(iter(old))
    torch.testing.assert_close(
        new[first], old[first] if given == wanted else weights.adapt_input_channels(old[first], wanted)
    )
    assert all(torch.equal(old[key], new[key]) for key in old if key != first)
    # An image alike in all channels gives what it gave.
    image = torch.randn(1, 1, 32, 32)
    if wanted in (1, given) or given == 1:
        with torch.no_grad():
            answers = [_encoder(n)[0](image.expand(-1, c, -1, -1)) for n, c in ((source, given), (network, wanted))]  # type: ignore[index]
        torch.testing.assert_close(answers[1], answers[0], atol=1e-5, rtol=1e-4)


def test_an_encoder_serves_another_architecture(tmp_path: Path) -> None:
    source = _unet("resnet18", num_classes=5)
    network = smp.fpn(
        in_channels=3, num_classes=2, encoder="resnet18", encoder_weights=None,
        pyramid_channels=8, segmentation_channels=64, merge="add", dropout=0,
    )  # fmt: skip
    _start(network, _checkpoint(source, tmp_path / "best.ckpt"), "encoder")
    _assert_same(_encoder(source), _encoder(network))

    vgg = _ternausnet(None, encoder="vgg16")
    network = fcn(in_channels=3, num_classes=2, variant="8s", hidden=8, batch_norm=True, encoder_weights=None)
    _start(network, _checkpoint(vgg, tmp_path / "vgg.ckpt"), "encoder")
    _assert_same(_encoder(vgg), _encoder(network))


def test_another_number_of_classes_is_refused_and_the_encoder_offered(tmp_path: Path) -> None:
    file = _checkpoint(_unet("resnet18", num_classes=4), tmp_path / "best.ckpt")
    with pytest.raises(
        WeightsError, match=r"init_from=best\.ckpt: that model gives 4 logit\(s\) a pixel, this one 1"
    ) as e:
        _start(_unet("resnet18"), file)
    assert "model.init_part=encoder" in e.value.remedy
    assert "segmentation_head.0.weight (4, 16, 3, 3), not (1, 16, 3, 3)" in e.value.remedy
    _start(_unet("resnet18"), file, "encoder")


@pytest.mark.parametrize("part", ["whole", "encoder"])
def test_weights_of_another_network_are_refused_with_a_list(part: str, tmp_path: Path) -> None:
    file = _checkpoint(OWN["unet_ronneberger"](None), tmp_path / "best.ckpt")
    network = OWN["r2unet"](None)
    with pytest.raises(WeightsError, match="not fit") as caught:
        _start(network, file, part)
    assert "missing: " in caught.value.remedy
    assert "0.fit.weight" in caught.value.remedy


def test_what_has_no_encoder_says_so(tmp_path: Path) -> None:
    method = otsu(in_channels=1, num_classes=2, channel="grey", foreground="dark")
    with pytest.raises(WeightsError, match="has no encoder"):
        _start(method, _checkpoint(_unet("resnet18"), tmp_path / "best.ckpt"), "encoder")
    with pytest.raises(WeightsError, match="do not fit"):
        _start(method, _checkpoint(_unet("resnet18"), tmp_path / "best.ckpt"))


def test_a_missing_file_to_start_from_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.init_from=.*none\.pt: there is no such file"):
        weights.read_state_dict(tmp_path / "none.pt", "model.init_from")


@pytest.fixture(scope="module")
def original() -> ModuleType:
    return pytest.importorskip(
        "ternausnet.models", reason="the authors' network comes with the extra [test]: ternausnet==0.0.1"
    )


def _authors(original: ModuleType, encoder: str, is_deconv: bool = True) -> nn.Module:
    with torch.device("meta"):  # or most of the time goes into torchvision's classifier, which is not used
        theirs = original.UNet11() if encoder == "vgg11" else original.UNet16(is_deconv=is_deconv)
    theirs = theirs.to_empty(device="cpu").eval()
    assert isinstance(theirs, nn.Module)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1)
    return theirs


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained':UserWarning", "ignore:Arguments other than a weight")
@pytest.mark.parametrize(("encoder", "form"), [("vgg11", "plain"), ("vgg16", "as published")])
def test_ternausnet_starts_from_its_authors_weights(
    original: ModuleType, encoder: str, form: str, tmp_path: Path
) -> None:
    theirs = _authors(original, encoder)
    file = tmp_path / "TernausNet.pt"
    state = theirs.state_dict()
    if form == "as published":  # their TernausNet.pt, trained on Carvana: in DataParallel, beside other things
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}, "epoch": 1}, file)
    else:
        torch.save(state, file)
    ours = _ternausnet(None, batch_norm=False, encoder=encoder).eval()
    _start(ours, file)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained':UserWarning", "ignore:Arguments other than a weight")
def test_authors_weights_that_are_not_of_the_papers_network_are_refused(original: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "UNet16.pt"
    torch.save(_authors(original, "vgg16", is_deconv=False).state_dict(), file)
    network = _ternausnet(None, batch_norm=False, encoder="vgg16")
    with pytest.raises(WeightsError, match="is_deconv=False") as caught:
        _start(network, file)
    assert "model.init_part=encoder" in caught.value.remedy
    _start(network, file, "encoder")
    with pytest.raises(WeightsError, match="no batch normalisation") as caught:
        _start(_ternausnet(None, encoder="vgg16"), file)
    assert "model.batch_norm=false" in caught.value.remedy


@pytest.mark.parametrize("model", OWN)
def test_imagenet_is_refused_where_nothing_is_published(model: str) -> None:
    with pytest.raises(WeightsError, match=f"no ImageNet weights for model={model}") as caught:
        OWN[model]("imagenet")
    assert "model.encoder_weights=null" in caught.value.remedy


# --- From the network --------------------------------------------------------------------------

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
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first request
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
    monkeypatch.setattr(pretrained, "CONNECT_SECONDS", 1.0)
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
    url = encoders._home_of_weights(encoder)
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


def test_weights_of_a_vision_transformer_come_from_the_hub_cache(no_network: None, tmp_path: Path) -> None:
    def build(encoder_weights: str | None, in_channels: int = 3) -> nn.Module:
        return smp.dpt(
            in_channels=in_channels, num_classes=2, encoder="tu-test_vit", encoder_weights=encoder_weights,
            readout="cat", stage_channels=[8] * 4, decoder_channels=8,
        )  # fmt: skip

    url = encoders._home_of_weights("tu-test_vit")
    assert url is not None
    source = _encoder(build(None))
    state = {key.removeprefix("model."): value for key, value in source.state_dict().items()}
    _put_into_hub_cache(tmp_path / "hub", "/".join(url.split("/")[3:5]), "0" * 40, state)
    _assert_same(source, _encoder(build("imagenet")))
    grey = _encoder(build("imagenet", 1)).state_dict()
    first = "model.patch_embed.proj.weight"
    torch.testing.assert_close(grey[first], source.state_dict()[first].sum(1, keepdim=True))


def test_offline_by_wish_is_offline(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        _unet("resnet18", "imagenet")
    assert constants.HF_HUB_OFFLINE is True


def test_an_encoder_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsError, match=r"no ImageNet weights for model\.encoder=dpn68b"):
        _unet("dpn68b", "imagenet")
