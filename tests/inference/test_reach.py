"""How far networks look, and that tiles therefore say what the whole picture does: for every network there is."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lamella.commands.methods import MODELS
from lamella.config.check import build, kept
from lamella.config.schema import ModelKeys
from lamella.inference.reach import reach, sides
from lamella.inference.segmenter import Normalise, Segmenter, tiling_of
from lamella.inference.tiling import predict, spans
from support.tiny import inference

# A little further than what is known to have a say: what lies beyond a stripe at the worst place of its cell.
FAR = {
    "attention_r2unet": 296, "attention_unet": 108, "fcn": 220, "linknet": 255, "r2unet": 282, "ternausnet": 158,
    "unet": 287, "unet_ronneberger": 94, "unetplusplus": 94, "unetplusplus_smp": 287,
}  # fmt: skip
EVERYWHERE = {
    "deeplabv3plus": "a mean of the whole picture",
    "dpt": "attention among all places",
    "fpn": "normalised by groups, over the whole picture",
    "manet": "attention among all places",
    "pan": "a mean of the whole picture",
    "pspnet": "means of the whole picture and its parts",
    "segformer": "attention among all places",
    "upernet": "means of the whole picture and its parts",
}
WITHOUT_TRAINING = {"bht", "kmeans", "otsu", "watershed"}  # take the whole picture, whatever the tile


def network_of(name):
    """A network of conf/model as narrow as it gets, with weights that were drawn."""
    torch.manual_seed(0)
    node = OmegaConf.load(MODELS / f"{name}.yaml")
    blocks = "decoder_channels" in node and OmegaConf.is_list(node.decoder_channels)
    narrow = {
        "width": 2, "hidden": 8, "decoder_channels": [8] * 5 if blocks else 8, "attention_channels": 4,
        "pyramid_channels": 8, "segmentation_channels": 64, "stage_channels": [8] * 4,
        "encoder": "tu-vit_tiny_patch16_224" if name == "dpt" else node.get("encoder"),
    }  # fmt: skip
    node.update({key: value for key, value in narrow.items() if key in node})
    around = {"dataset": {"in_channels": 1, "num_classes": 2}, "seed": 0, "model": node}
    made = build(kept(OmegaConf.to_container(OmegaConf.create(around), resolve=True)["model"], ModelKeys))
    return made.eval().to(memory_format=torch.channels_last)


def test_every_network_is_in_one_of_the_lists():
    assert {path.stem for path in MODELS.glob("*.yaml")} == {*FAR, *EVERYWHERE, *WITHOUT_TRAINING}


@pytest.mark.parametrize("name", FAR)
def test_tiles_say_what_the_whole_picture_says(name):
    network = network_of(name)
    looks = reach(network, 1, 320)
    assert looks == FAR[name]
    stride = sides(network).stride
    tile = (-(-2 * looks // stride) + 2) * stride  # as small as it may be, to be quick
    segmenter = Segmenter.of(network, Normalise([120.0], [60.0]), inference(tile=4096), 3)
    levels = torch.randint(0, 256, (1, 1, tile + 2 * stride + 5, 21), generator=torch.Generator().manual_seed(1))
    for image in (levels.to(torch.uint8), levels.to(torch.uint8).mT):
        size = image.shape[-2], image.shape[-1]
        whole = tiling_of([segmenter], size)
        cut = whole._replace(tile=tile, overlap=2 * looks, margin=looks)
        assert len(spans(max(size) + 6, whole)) == 1 < len(spans(max(size) + 6, cut))
        with torch.inference_mode():
            one, other = (predict([segmenter.member], image, size, how, tta=False) for how in (whole, cut))
        assert one.std() > 1e-3
        assert (one - other).abs().max() < 1e-4


def test_tiles_share_what_a_network_looks_far_unless_that_is_most_of_a_tile():
    network, size = network_of("unet_ronneberger"), (5000, 300)

    def cut(**settings):
        segmenter = Segmenter.of(network, Normalise([120.0], [60.0]), inference(**settings), 0)
        return tiling_of([segmenter], size)[:3]

    assert cut(tile=512, overlap=None) == (512, 188, 94)
    assert cut(tile=256, overlap=None) == (256, 32, 8)  # an eighth of the tile
    assert cut(tile=512, overlap=100) == (512, 100, 25)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_these_look_at_the_whole_picture(name):
    assert reach(network_of(name), 1, 320) is None


def test_reach_by_hand():
    assert reach(nn.Conv2d(1, 1, 5, padding=2), 1, 100) == 2
    assert reach(nn.Conv2d(1, 1, (1, 21), padding=(0, 10)), 1, 100) == 10
    assert reach(nn.Conv2d(1, 1, (21, 1), padding=(10, 0)), 1, 9) is None
    assert reach(nn.Identity(), 1, 100) == 0
