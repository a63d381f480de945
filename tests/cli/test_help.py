"""A user's own choices beside their work: `--config-dir` lists and takes them, and hides none of them."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lamella.config.paths import CHECKOUT, CONF


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a user stands: beside a `conf` of theirs, in a folder with a space in its name."""
    folder = tmp_path / "my work"
    (folder / "conf/model").mkdir(parents=True)
    theirs = OmegaConf.load(CONF / "model/unet.yaml")
    theirs.name = "mine"
    OmegaConf.save(theirs, folder / "conf/model/mine.yaml")
    return folder


def train(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECKOUT / "train.py"), *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("flag", ["--config-dir=conf", "--config-dir={place}/conf", "-cd conf"])
def test_own_choices_are_taken(place: Path, flag: str) -> None:
    words = flag.split(" ") if flag.startswith("-cd") else [flag.replace("{place}", str(place))]
    done = train(place, *words, "--cfg", "job", "model=mine")
    assert (done.returncode, done.stderr) == (0, "")  # nor does Hydra warn
    assert OmegaConf.create(done.stdout).model.name == "mine"


def test_own_choices_are_listed(place: Path) -> None:
    (listed,) = [line for line in train(place, "--config-dir", "conf", "--help").stdout.splitlines()
                 if line.startswith("model: ")]  # fmt: skip
    assert {"mine", "unet"} <= set(listed.removeprefix("model: ").split(", "))
    misspelt = train(place, "--config-dir", "conf", "model=mien").stderr
    assert misspelt.startswith("error: there is no model 'mien'\n  Did you mean mine? Allowed: ")
    key = train(place, "--config-dir", "conf", "model=mine", "model.decoder_chanels=[8]").stderr
    assert key.startswith("error: there is no key 'model.decoder_chanels'\n  Did you mean decoder_channels? ")


def test_a_folder_that_was_not_named_is_not_taken(place: Path) -> None:
    assert train(place, "model=mine").stderr.startswith("error: there is no model 'mine'\n")
    assert "mine" not in train(place, "--help").stdout


@pytest.mark.parametrize("name", ["model/unet.yaml", "train.yaml"])
def test_own_files_with_names_of_ours_are_refused(place: Path, name: str) -> None:
    (place / "conf" / name).write_text("seed: 3\n")
    done = train(place, "--config-dir", "conf", "--cfg", "job")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {place}/conf/{name} has the name of a file of Lamella's own")
    assert len(done.stderr.splitlines()) == 2


def test_overrides_on_both_sides_of_a_flag_are_one_sentence(main):
    code, _, said = main("model=otsu", "--config-dir=conf", "seed=1")
    assert code == 1
    assert said.startswith("error: 'seed=1' stands apart from the other overrides, with a flag between them\n")
    assert "Traceback" not in said
