"""A store of three small runs that several tests of commands read: training them takes most of the time."""

import hydra
import pytest

from lamella import tracking
from lamella.cli import main as cli
from lamella.commands import train
from lamella.config.paths import CONF
from support.stores import empty_store

TINY = [
    *(
        "dataset.train=8",
        "dataset.test=4",
        "dataset.height=64",
        "dataset.width=96",
        "augment=none",
        "score.min_cell_size=5",
    ),
    *("data.crop=48", "data.context=0", "data.steps=8", "data.workers=0", "trainer=cpu", "trainer.precision=32-true"),
    *("trainer.max_epochs=2", "trainer.progress=false", "tracking.figures=1", "tracking.experiment=smears"),
]
UNET = ["model=unet", "model.decoder_channels=[32,16]", "optimizer.lr=0.003"]


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smears")
    empty_store(folder / "runs.db")
    return folder


@pytest.fixture(scope="session")
def composed(root):
    """A command and overrides -> configuration, with everything read and written below `root`."""
    cli.register()
    places = {
        "train": [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.artifacts={root}/artifacts"],
        "evaluate": [f"paths.cache={root}/cache", f"paths.output={root}/outputs"],
        "prepare_data": [f"paths.cache={root}/cache", f"paths.output={root}/outputs"],
        "score": [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.artifacts={root}/artifacts"],
        "review": [f"paths.cache={root}/cache", f"paths.output={root}/outputs"],
        "compare": [f"output={root}/reports"],
        "reproduce": [f"paths.cache={root}/cache", f"paths.output={root}/outputs"],
        "tidy": [f"paths.cache={root}/cache", f"paths.output={root}/outputs"],
        "predict": [f"paths.cache={root}/cache", "accelerator=cpu"],
    }

    def compose(command, *overrides):
        place = {} if command in cli.WITHOUT_CHOICES else {"config_dir": str(CONF)}  # as the command itself
        begin = hydra.initialize_config_dir if place else hydra.initialize
        with begin(**place or {"config_path": None}, version_base="1.3"):
            store = [] if command == "prepare_data" else [f"tracking.uri=sqlite:///{root}/runs.db"]
            return hydra.compose(command, [*overrides, *places[command], *store])

    return compose


@pytest.fixture(scope="session")
def uri(root, composed):
    """A store with two seeds of a network, whose threshold validation chose, and one run of Otsu's method."""
    for seed in (1, 2):
        train.run(composed("train", *TINY, *UNET, f"seed={seed}", "score.choose_threshold=true"))
    train.run(composed("train", *TINY, "model=otsu", "seed=1", "score.choose_threshold=true"))
    return f"sqlite:///{root}/runs.db"


@pytest.fixture(scope="session")
def runs(uri):
    return [run for run in tracking.finished(uri, experiment="smears") if "lamella.kind" not in run.tags]
