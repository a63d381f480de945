"""Whole experiments in this process, on phantoms: they learn, repeat, and leave checkpoints that mean what they say."""

import csv
import gc
import json
from pathlib import Path

import hydra
import mlflow.pyfunc
import numpy as np
import pytest
import tifffile
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image
from scipy.ndimage import label

from lamella import hardware, tracking
from lamella.cli import main as cli
from lamella.commands import setup as loading
from lamella.commands import train as experiment
from lamella.config.check import check, plain
from lamella.config.paths import CHECKOUT
from lamella.console import console
from lamella.errors import ConfigError, StorageError
from lamella.inference import checkpoint
from lamella.inference.pictures import Band
from lamella.novelty.collector import Collector
from lamella.novelty.reference import Reference
from lamella.training.fit import FitSettings, fit
from support.stores import empty_store
from support.touching import write_touching

PACKAGE = CHECKOUT / "src" / "lamella"
# Smears of three by three cells, a network that learns them in seconds, arithmetic that repeats exactly.
BLOOD = [
    *("dataset.train=8", "dataset.test=3", "dataset.height=64", "dataset.width=96", "augment=none"),
    *("model=unet", "model.decoder_channels=[32,16]", "optimizer.lr=0.003", "data.crop=48", "data.context=0"),
    *("data.steps=30", "trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=2", "trainer.progress=false"),
    "tracking.keep_last=true",
]
EM = [
    *("dataset=phantom_em", "dataset.sections=6", "dataset.size=64", "dataset.split.val=1", "dataset.split.test=2"),
    *("model=ternausnet", "data.crop=32", "data.steps=2", "data.batch_size=2", "data.workers=1", "tracking.figures=0"),
    *("trainer=cpu", "trainer.max_epochs=3", "trainer.ema=0.5", "trainer.patience=1", "trainer.progress=false"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments")
    empty_store(folder / "runs.db")
    return folder


@pytest.fixture(scope="module")
def configured(root):
    """Overrides -> configuration, with everything written below `root`."""
    cli.register()

    def compose(*overrides):
        places = (
            *(f"paths.cache={root}/cache", f"paths.output={root}/outputs"),
            *(f"tracking.uri=sqlite:///{root}/runs.db", f"tracking.artifacts={root}/artifacts"),
        )
        with hydra.initialize_config_dir(str(CHECKOUT / "conf"), version_base="1.3"):
            return hydra.compose("train", [*overrides, *places])

    return compose


@pytest.fixture(scope="module")
def client(root):
    return MlflowClient(f"sqlite:///{root}/runs.db")


@pytest.fixture(scope="module")
def runs(configured, client):
    """Four runs on the phantom of blood: seeds 1, 1 and 2, and one on the phantom of EM."""
    for seed in (1, 1, 2):
        experiment.run(configured(*BLOOD, f"seed={seed}"))
    experiment.run(configured(*EM))
    found = {}
    for name in ("phantom_blood", "phantom_em"):
        ids = [client.get_experiment_by_name(name).experiment_id]
        found[name] = list(client.search_runs(ids, order_by=["attributes.start_time ASC"]))
    return found


def artifacts(run):
    return Path(run.info.artifact_uri.removeprefix("file://"))


def rows(run):
    with (artifacts(run) / "scores/test.csv").open() as file:
        return list(csv.DictReader(file))


def history(client, run, name):
    return [metric.value for metric in client.get_metric_history(run.info.run_id, name)]


# Learning


def test_training_beats_every_constant_answer(runs, client):
    run = runs["phantom_blood"][0]
    counts = [{name: int(row[name]) for name in ("tp", "fp", "fn", "tn")} for row in rows(run)]
    # The best constant answer calls all of an image foreground: Dice 2p / (1 + p) for a share p of foreground.
    shares = [(c["tp"] + c["fn"]) / sum(c.values()) for c in counts]
    constant = sum(2 * p / (1 + p) for p in shares) / len(shares)
    assert run.data.metrics["test/dice"] > constant + 0.2
    losses = history(client, run, "train/loss")
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_scores_come_from_the_best_epoch(runs, client):
    run = runs["phantom_blood"][0]
    saved = torch.load(artifacts(run) / "checkpoints/last.ckpt", weights_only=True)
    assert saved["callbacks"]["Keeper"]["best"] == pytest.approx(max(history(client, run, "val/dice")))


# Repeating


def test_the_same_seed_gives_the_same_bits(runs, client):
    first, second, other = runs["phantom_blood"]
    changes = ("time/train_s", "time/images_per_s", "time/test_images_per_s")
    for name in first.data.metrics.keys() - set(changes):
        assert history(client, first, name) == history(client, second, name), name
    assert (artifacts(first) / "scores/test.csv").read_bytes() == (artifacts(second) / "scores/test.csv").read_bytes()
    assert first.data.metrics["train/loss"] != other.data.metrics["train/loss"]


def test_tags_tell_what_is_comparable(runs):
    first, second, other = (run.data.tags for run in runs["phantom_blood"])
    for name in ("config", "data", "split"):
        assert first[f"lamella.{name}_sha256"] == second[f"lamella.{name}_sha256"]
    assert first["lamella.config_sha256"] != other["lamella.config_sha256"]
    assert first["lamella.protocol"] == other["lamella.protocol"]
    assert first["lamella.protocol"] != runs["phantom_em"][0].data.tags["lamella.protocol"]


# Checkpoints


def test_a_checkpoint_gives_the_test_scores_again(runs, configured):
    """From the file alone: network, normalisation, scale and inference."""
    run = runs["phantom_blood"][0]
    data = loading.load(check(configured(*BLOOD, "seed=1")), console())
    model = mlflow.pyfunc.load_model(str(artifacts(run) / "model"))
    for sample, row in zip(data.split.test, rows(run), strict=True):
        assert sample.id == row["id"]
        found = model.predict(np.moveaxis(data.store.full_image(sample), 0, -1))
        truth = data.store.truth(sample)
        assert found.shape == truth.shape
        counts = [np.sum((found == a) & (truth == b)) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
        assert counts == [int(row[name]) for name in ("tp", "fp", "fn", "tn")]


def test_a_run_keeps_what_its_images_are_like(runs):
    trained = checkpoint.load(artifacts(runs["phantom_blood"][0]) / "checkpoints/best.ckpt")
    assert trained.novelty is not None
    reference = Reference.of(trained.novelty)
    assert set(reference.criteria) == {"levels", "texture", "features"}
    assert reference.threshold is None  # there are few validation images
    collector, image = Collector([trained]), np.full((3, 64, 64), 255, np.uint8)
    collector.add(Band(0, 64, image, np.zeros((1, 64, 64), np.float32), None))
    judged = collector.judgement()
    assert judged.unlike is None
    assert f"cannot be said: {reference.validated} validation images" in judged.reasons[0]
    assert any("less contrast than any training image" in reason for reason in judged.reasons)


def test_a_model_asks_for_nothing_that_no_index_has(runs):
    text = (artifacts(runs["phantom_blood"][0]) / "model/requirements.txt").read_text()
    assert "torch==" in text
    assert "+" not in text


@pytest.mark.parametrize("overrides", [BLOOD, EM], ids=["unet", "ternausnet, averaged"])
def test_a_checkpoint_is_the_trained_task(configured, root, tmp_path, overrides):
    cfg = check(configured(*overrides, "data.steps=2", "trainer.max_epochs=1", "trainer.precision=32-true"))
    machine = hardware.resolve(cfg.trainer.accelerator, cfg.trainer.precision)
    data = loading.load(cfg, console())
    task, datamodule = loading.assemble(cfg, data, machine)
    where = {"uri": cfg.tracking.uri, "artifacts": cfg.tracking.artifacts, "experiment": "checkpoints"}
    with tracking.start(**where, run_name="", params={}, tags={}, output=root) as tracked:
        settings = FitSettings(
            max_epochs=1, patience=1, gradient_clip=1.0, ema=cfg.trainer.ema, deterministic=False, devices=1
        )
        fit(task, datamodule, machine, settings, tracked=tracked, checkpoints=tmp_path, progress=None)
    task.eval()
    trained = checkpoint.load(tmp_path / "best.ckpt")
    assert trained.class_names == data.dataset.card.class_names
    assert trained.config == plain(cfg)
    image = next(iter(datamodule.val_dataloader())).image
    with torch.inference_mode():
        assert torch.equal(trained.segmenter.logits(image.float()), task.segmenter.logits(image.float()))


def test_what_a_gpu_cannot_repeat_is_refused_before_the_run_is_opened(configured, monkeypatch):
    gpu = hardware.Hardware(torch.device("cuda"), "32-true")  # nothing is done with it
    monkeypatch.setattr(hardware, "resolve", lambda *_: gpu)
    asked = [override for override in BLOOD if not override.startswith("model")]
    asked += ["model=pspnet", "trainer.deterministic=true", "tracking.experiment=never"]
    with pytest.raises(ConfigError, match="model=pspnet cannot repeat exactly on a GPU: adaptive average pooling"):
        experiment.run(configured(*asked))
    assert MlflowClient(configured().tracking.uri).get_experiment_by_name("never") is None


def test_weights_that_do_not_fit_are_said_so(runs, tmp_path):
    saved = torch.load(artifacts(runs["phantom_blood"][0]) / "checkpoints/best.ckpt", weights_only=True)
    saved["state_dict"].popitem()
    torch.save(saved, tmp_path / "short.ckpt")
    with pytest.raises(StorageError, match=r"the weights in .*short\.ckpt do not fit unet"):
        checkpoint.load(tmp_path / "short.ckpt")


# Electron microscopy


def test_sections_are_scored_by_their_neurites(runs):
    (run,) = runs["phantom_em"]
    metrics = run.data.metrics
    assert run.info.status == "FINISHED"
    for name in ("test/v_rand", "test/v_info", "test/pixel_error", "test/interior/dice"):
        assert 0 <= metrics[name] <= 1
        assert not {f"{name}/low", f"{name}/high"} & metrics.keys()  # of one specimen no interval is known
    assert metrics["test/pixel_error"] == pytest.approx(1 - metrics["test/accuracy"])
    table = rows(run)
    assert [row["id"] for row in table] == ["section-004", "section-005"]
    assert {row["group"] for row in table} == {"train-volume"}
    card = json.loads((artifacts(run) / "data/card.json").read_text())
    assert card["groups in the test"] == "1 stack (specimen)"
    assert sum(float(row["v_rand"]) for row in table) / 2 == pytest.approx(metrics["test/v_rand"])


def test_a_run_leaves_nothing_but_its_artifacts(runs, root):
    assert list((root / "outputs").iterdir()) == []
    (run,) = runs["phantom_em"]
    assert not list((artifacts(run) / "figures").glob("prediction_*.png"))  # tracking.figures=0


# The user's own images


def test_a_folder_of_16_bit_images_with_three_classes_and_pixels_to_ignore(root, configured, client):
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for number in range(8):
        mask = np.zeros((64, 80), np.uint8)
        mask[8:40, 8:32], mask[20:56, 44:72] = 1, 2
        image = np.array([400, 1500, 3000])[mask] + random.normal(0, 150, mask.shape)
        mask[:4] = 9  # nobody looked there
        tifffile.imwrite(root / f"images/field {number}.tif", image.round().astype(np.uint16))
        Image.fromarray(mask).save(root / f"masks/field {number}.png")
    experiment.run(configured(
        *("dataset=folder", f"dataset.images={root}/images", f"dataset.masks={root}/masks", "dataset.ignore=9"),
        "dataset.classes={background: 0, class 1: 1, class 2: 2}",
        *("model=unet", "model.decoder_channels=[32,16]", "optimizer.lr=0.003", "data.crop=48", "augment=none"),
        *("data.steps=30", "trainer=cpu", "trainer.max_epochs=2", "trainer.progress=false", "tracking.figures=1"),
    ))  # fmt: skip
    (run,) = client.search_runs([client.get_experiment_by_name("folder").experiment_id])
    scores = run.data.metrics
    one, two = scores["test/class/class 1/dice"], scores["test/class/class 2/dice"]
    assert min(one, two) > 0.9
    assert scores["test/dice"] == pytest.approx((one + two) / 2)
    for row in rows(run):  # ignored pixels count nowhere
        assert sum(int(row[f"{kind}_1"]) for kind in ("tp", "fp", "fn", "tn")) == 60 * 80
    assert run.data.params["model.num_classes"] == "3"
    assert (artifacts(run) / "figures/prediction_1.png").stat().st_size > 10_000
    model = mlflow.pyfunc.load_model(str(artifacts(run) / "model"))
    image = tifffile.imread(root / "images/field 0.tif")
    predicted = model.predict(image)
    assert (predicted[4:] == np.array(Image.open(root / "masks/field 0.png"))[4:]).mean() > 0.95
    with pytest.raises(MlflowException, match="the levels are not uint16"):
        model.predict((image // 16).astype(np.uint8))


# Starting from another run


def test_a_run_starts_from_another(configured, runs, client):
    first = runs["phantom_blood"][0]
    file = artifacts(first) / "checkpoints/best.ckpt"
    expected = checkpoint.load(file).segmenter.network.state_dict()
    for source in (first.info.run_id, str(file)):
        network = loading.started(check(configured(*BLOOD, f"model.init_from={source}")))
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    encoder = loading.started(check(configured(*BLOOD, f"model.init_from={file}", "model.init_part=encoder")))
    same = {name for name, value in encoder.state_dict().items() if torch.equal(value, expected[name])}
    assert {name for name in expected if ".encoder." in name} <= same
    assert not {name for name in expected if "segmentation_head" in name} <= same
    with pytest.raises(ConfigError, match="both set"):
        loading.started(check(configured(*BLOOD, "model.init_from=x", "model.encoder_weights=imagenet")))
    with pytest.raises(StorageError, match="has no checkpoints"):
        loading.started(check(configured(*BLOOD, f"model.init_from={'0' * 32}")))


def test_a_method_without_training_goes_the_same_way(configured, client):
    overrides = ("dataset.train=8", "dataset.test=3", "dataset.height=96", "dataset.width=128", "model=otsu")
    more = ("tracking.figures=1", "tracking.experiment=classical", "score.resized=32")
    dice = experiment.run(configured(*overrides, *more)).score
    (run,) = client.search_runs([client.get_experiment_by_name("classical").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["lamella.chosen"].startswith("dark foreground in ")
    assert {"val/dice", "test/dice", "test/iou", "time/train_s", "time/images_per_s"} <= run.data.metrics.keys()
    assert run.data.metrics["test/dice"] == dice > 0.7
    model = mlflow.pyfunc.load_model(str(artifacts(run) / "model"))
    data = loading.load(check(configured(*overrides)), console())
    for sample, row in zip(data.split.test, rows(run), strict=True):
        found = model.predict(np.moveaxis(data.store.full_image(sample), 0, -1))
        # 96 x 128 pixels to 32 x 32: means of the mask over 3 x 4 pixels, against every third and fourth truth.
        share = (found == 1).reshape(32, 3, 32, 4).mean((1, 3))
        there = data.store.truth(sample)[::3, ::4] == 1
        assert float(row["resized/soft_dice"]) == pytest.approx(2 * share[there].sum() / (share.sum() + there.sum()))
        assert int(((found == 1) & (data.store.truth(sample) == 1)).sum()) == int(row["tp"])


def test_nothing_of_a_run_stays_in_memory(configured):
    """Else a sweep in one process grows by weights, gradients and optimizer with every job."""

    def weights():
        return sum(isinstance(each, torch.nn.Parameter) for each in gc.get_objects())

    gc.collect()
    before = weights()
    gc.disable()  # it must not depend on when Python happens to collect
    try:
        experiment.run(configured(*BLOOD, "data.steps=1", "trainer.max_epochs=1", "tracking.experiment=memory"))
        assert weights() == before
    finally:
        gc.enable()


def touching(root, configured, *overrides):
    """A run on numbered cells of which most touch, and how many cells connected regions alone would count."""
    folder = root / "touching"
    images, masks = write_touching(folder, 16) if not folder.exists() else (folder / "images", folder / "masks")
    cfg = configured(
        *("dataset=folder", f"dataset.images={images}", f"dataset.masks={masks}", "dataset.instances=true"),
        *(
            "dataset.split.test=0.4",
            "augment=none",
            "model=unet",
            "data.crop=64",
            "data.batch_size=4",
            "data.context=0",
        ),
        *("data.context=0", "trainer=cpu", "trainer.progress=false", "inference.tta=false", "tracking.figures=1"),
        *overrides,
    )
    experiment.run(cfg)
    run = tracking.finished(cfg.tracking.uri)[-1]
    ids = [row["id"] for row in csv.DictReader(run.fetch("scores/test.csv").open())]
    truth = [tifffile.imread(masks / f"{id_}.tif") for id_ in ids]
    there = sum(len(np.unique(each)) - 1 for each in truth)
    regions = sum(label(each > 0, np.ones((3, 3)))[1] for each in truth)
    return run, there, regions


def test_numbered_cells_are_scored_by_their_numbers(root, configured):
    run, there, regions = touching(root, configured, "trainer.max_epochs=1", "data.steps=2", "dataset.border=ignore")
    rows = list(csv.DictReader(run.fetch("scores/test.csv").open()))
    assert sum(float(row["count/true"]) for row in rows) == there > 1.3 * regions
    assert {"test/count/mae", "test/cells/pq", "test/watershed/count/mae"} <= set(run.metrics)


@pytest.mark.slow  # two minutes
def test_touching_cells_are_counted(root, configured):
    run, there, regions = touching(root, configured, "trainer.max_epochs=6", "data.steps=40")
    rows = list(csv.DictReader(run.fetch("scores/test.csv").open()))
    found = sum(float(row["count/found"]) for row in rows)
    assert regions < 0.75 * there
    assert abs(found - there) <= 0.05 * there
    assert run.metrics["test/count/mae"] <= 0.05 * there / len(rows)
