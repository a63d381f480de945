"""`make test-gpu`. LAMELLA_TEST_DEVICE=cpu runs the same code without a GPU, where it makes sense."""

import os

import hydra
import pytest
import torch

from lamella import hardware, tracking
from lamella.cli import main as cli
from lamella.commands import evaluate, reproduce, setup, train
from lamella.config.check import check
from lamella.config.paths import CONF
from lamella.console import console
from lamella.errors import ConfigError

# Smears of three by three cells, and as little as shows anything.
TINY = [
    *("dataset.train=8", "dataset.test=4", "dataset.height=64", "dataset.width=96", "score.min_cell_size=5"),
    *("data.crop=48", "data.context=0", "data.batch_size=4", "data.workers=0", "trainer.progress=false"),
    *("trainer.max_epochs=1", "tracking.figures=0"),
]


@pytest.fixture(scope="session")
def device():
    """What `trainer` and `accelerator` are told: "gpu", or "cpu" where LAMELLA_TEST_DEVICE says so."""
    chosen = os.environ.get("LAMELLA_TEST_DEVICE", "gpu")
    if chosen == "gpu":
        try:
            hardware.resolve("gpu", "auto")
        except ConfigError as error:
            pytest.skip(error.problem)
    return chosen


@pytest.fixture
def gpu(device):
    """Skips what makes sense on a GPU alone."""
    if device != "gpu":
        pytest.skip("needs a GPU")


@pytest.fixture(autouse=True)
def _left_as_it_was():
    yield
    torch.use_deterministic_algorithms(False)  # Lightning leaves it on
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


class Place:
    """A store below a folder, and commands that read and write there."""

    def __init__(self, root):
        cli.register()
        self.uri = f"sqlite:///{root}/runs.db"
        self.places = [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.uri={self.uri}"]
        self.artifacts = f"tracking.artifacts={root}/artifacts"

    def configured(self, command, *overrides):
        found = {} if command in cli.WITHOUT_CHOICES else {"config_dir": str(CONF)}  # as the command itself
        begin = hydra.initialize_config_dir if found else hydra.initialize
        with begin(**found or {"config_path": None}, version_base="1.3"):
            return hydra.compose(command, [*overrides, *self.places])

    def data(self):
        """What runs are trained and tested on."""
        return setup.load(check(self.configured("train", *TINY)), console())

    def train(self, *overrides):
        """The finished run that training left."""
        train.run(self.configured("train", *TINY, *overrides, self.artifacts))
        return tracking.finished(self.uri)[-1]

    def go_on(self, run_id, *typed):
        """The run that was interrupted, when it is over."""
        train.run(self.configured("train", f"resume={run_id}", *typed, self.artifacts), typed=typed)
        return tracking.read(self.uri, run_id)

    def reproduce(self, run):
        """Whether a run comes out the same when it is run again."""
        return reproduce.run(self.configured("reproduce", f"run={run.run_id}"))

    def evaluate(self, run, *overrides):
        """The finished run that scoring a run again left."""
        evaluate.run(self.configured("evaluate", f"run={run.run_id}", *overrides))
        return tracking.finished(self.uri)[-1]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="session")
def learned(place, device):
    """A run that was trained on the device until it knows what a cell is."""
    unet = ("model=unet", "model.decoder_channels=[32,16]", "optimizer.lr=0.003")
    return place.train(*unet, f"trainer={device}", "trainer.precision=bf16-mixed", "data.steps=60", "augment=none")
