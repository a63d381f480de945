"""Pictures in files, some rows at a time: the very numbers that a run's test gives, whatever pieces they come in."""

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from lamella import models
from lamella.data.cache.arrays import Store
from lamella.data.io.pieces import blocks, memory
from lamella.data.io.pieces.inputs import percentiles_of
from lamella.data.loaders.crops import whole
from lamella.data.types import DatasetCard, ImageRef, Sample
from lamella.errors import ConfigError, DataError
from lamella.hardware import Hardware
from lamella.inference import pictures
from lamella.inference.checkpoint import Trained
from lamella.inference.pictures import predict_rows
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.whole_images import predict_images
from support.tiny import CPU, inference

SIDES = 150, 131
DEVIATION = 60


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = models.unet_ronneberger(
        in_channels=3, num_classes=2, width=2, dropout=0.0, batch_norm=True, encoder_weights=None
    )
    return made.eval().to(memory_format=torch.channels_last)


def trained(network, *, classes=2, dtype="uint8", channels=3, scale=1.0, percentiles=None, context=5, **settings):
    high = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[dtype]
    normalise = Normalise([120.0] * channels, [DEVIATION] * channels, 0.0, 65535.0 if percentiles else high)
    how = inference(**{"tile": 64, "overlap": None} | settings)
    names = tuple(map(str, range(classes)))
    segmenter = Segmenter.of(network, normalise, how, context)
    return Trained(segmenter, names, dtype, channels, scale, percentiles, None, "32-true", {}, (), "", 0, None)


def written(folder, dtype="uint8", sides=SIDES):
    """A picture as a tiled TIFF, and its mask."""
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.normal(size=(*sides, 3)), (2, 2, 0))
    image = (image - image.min()) / np.ptp(image) * {"uint8": 255, "uint16": 60000, "float32": 1}[dtype]
    tifffile.imwrite(folder / "i.tif", image.astype(dtype), tile=(16, 32), compression="zlib", photometric="rgb")
    tifffile.imwrite(folder / "m.tif", np.zeros(sides, np.uint8))
    return Sample("a", ImageRef(folder / "i.tif"), ImageRef(folder / "m.tif"), "a")


def in_pieces(monkeypatch):
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setattr(blocks, "PIECE", 5_000)


def joined(bands):
    assert [each.top for each in bands] == [0, *np.cumsum([each.image.shape[1] for each in bands])[:-1]]
    spread = None if bands[0].spread is None else np.concatenate([each.spread for each in bands])
    return *(
        np.concatenate([getattr(each, name) for each in bands], axis=1) for name in ("image", "probability")
    ), spread


@pytest.mark.parametrize(
    ("dtype", "scale", "percentiles", "tta"),
    [
        ("uint8", 1.0, None, True),
        ("uint8", 0.45, None, False),
        ("uint16", 0.5, (1.0, 99.0), False),
        ("float32", 1.0, (2.0, 98.5), False),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_the_numbers_are_those_of_the_test_to_the_last_bit(
    tmp_path, monkeypatch, network, dtype, scale, percentiles, tta, large
):
    if large:
        in_pieces(monkeypatch)
    sample = written(tmp_path, dtype)
    one = trained(network, dtype=dtype, scale=scale, percentiles=percentiles, tta=tta)
    card = DatasetCard("t", "t", ("0", "1"), {0: 0, 255: 1}, 3, "made for a test")
    store = Store(tmp_path / "cache", card, scale, percentiles=percentiles)
    ours = predict_images(one.segmenter, whole([sample], store), CPU, tta=tta)
    wanted = next(iter(ours)).probability[0].numpy()

    bands = list(predict_rows([one], sample.image, CPU, tta=None))
    assert len(bands) > 2 if scale > 0.9 else len(bands) >= 1
    assert all(each.height == SIDES[0] for each in bands)
    image, probability, spread = joined(bands)
    assert np.array_equal(probability, wanted)
    assert probability.std() > 0.01
    assert np.array_equal(image, store.full_image(sample))
    assert (spread is None) == (not tta)


def test_rows_are_read_when_they_are_needed(tmp_path, monkeypatch, network):
    in_pieces(monkeypatch)
    sample, most, read = written(tmp_path, sides=(800, 40)), 0, []
    given = pictures.image_blocks

    def counted(*args):
        for block in given(*args):
            read.append(block.top + block.pixels.shape[1])
            yield block

    monkeypatch.setattr(pictures, "image_blocks", counted)
    for band in predict_rows([trained(network)], sample.image, CPU, tta=False):
        most = max(most, read[-1] - band.top)
    assert read[-1] == 800
    assert most < 400


def test_networks_together_are_averaged_and_their_spread_is_known(tmp_path, network):
    torch.manual_seed(1)
    other = models.unet_ronneberger(
        in_channels=3, num_classes=2, width=2, dropout=0.0, batch_norm=True, encoder_weights=None
    ).eval()
    ref, members = written(tmp_path).image, [trained(network), trained(other)]
    alone = np.stack([joined(list(predict_rows([each], ref, CPU, tta=False)))[1] for each in members])
    _, mean, spread = joined(list(predict_rows(members, ref, CPU, tta=False)))
    np.testing.assert_allclose(mean, alone.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(spread, alone.std(axis=0)[0], atol=1e-6)
    assert spread.max() > 0.01


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"scale": 0.5}, "dataset.scale of the first is 1.0, of number 2 0.5"),
        ({"classes": 3}, "classes of the first is"),
        ({"percentiles": (1, 99)}, "dataset.percentiles of the first is None"),
        ({"context": 0}, "data.context of the first is 5, of number 2 0"),
        ({"dtype": "uint16"}, "type of levels of the first is uint8"),
    ],
)
def test_networks_that_do_not_go_together_are_refused(tmp_path, network, changed, says):
    with pytest.raises(ConfigError, match=says):
        next(predict_rows([trained(network), trained(network, **changed)], written(tmp_path).image, CPU, tta=None))


def test_other_channels_or_levels_than_it_learned_from_are_refused(tmp_path, network):
    ref = written(tmp_path, "uint16").image
    with pytest.raises(DataError, match="holds uint16 levels, and this model was trained on uint8"):
        next(predict_rows([trained(network)], ref, CPU, tta=None))
    with pytest.raises(DataError, match="has 3 channel"):
        next(predict_rows([trained(network, channels=1)], ref, CPU, tta=None))
    assert next(predict_rows([trained(network, percentiles=(1, 99))], ref, CPU, tta=None)).probability.shape[2] == 131


def test_a_method_without_training_gets_the_whole_picture_or_says_why_not(tmp_path, monkeypatch):
    in_pieces(monkeypatch)
    otsu = models.otsu(in_channels=3, num_classes=2, channel="grey", foreground="bright")
    one, ref = trained(otsu, tta=True), written(tmp_path).image
    bands = list(predict_rows([one], ref, CPU, tta=True))
    assert len(bands) == 1
    assert bands[0].spread is None
    grey = bands[0].image.mean(axis=0)
    above = bands[0].probability[0] > 0.5
    assert grey[above].min() > grey[~above].max()
    monkeypatch.setattr(memory, "LARGE", 100)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(DataError, match="does not fit into memory"):
        next(predict_rows([one], ref, CPU, tta=None))


def test_torch_is_left_as_it_was_between_bands(tmp_path, network):
    for _ in predict_rows([trained(network)], written(tmp_path).image, Hardware(CPU.device, "bf16-mixed"), tta=False):
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_percentiles_of_pieces_are_those_of_the_whole(dtype):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, 97, 31)) * [[[1e-3]], [[50]]] + [[[0]], [[20]]]
    image[:, :20] = image[:, 20:21]  # many alike
    if dtype != "float32":
        image = np.clip(image * 7, 0, 250)
    image = image.astype(dtype)
    pieces = [blocks.Block(image[:, top : top + 10], top, 97) for top in range(0, 97, 10)]
    asked = [0, 0.1, 1, 33.3, 50, 99, 99.97, 100]
    found = percentiles_of(lambda: (each for each in pieces), asked)
    assert np.array_equal(found, np.percentile(image, asked, (1, 2), keepdims=True))
