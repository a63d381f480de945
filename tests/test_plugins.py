"""docs/plugins.md, run as it stands: its files in somebody's folder, with a blank in its name; its commands there."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lamella import tracking
from lamella.config import plugins
from lamella.data.datasets.phantom import write_blood
from lamella.errors import StorageError
from lamella.model import Model
from support import processes
from support.stores import empty_store

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
FILES = dict(re.findall(r"^`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^    (lamella .*)$", PAGE.replace("\\\n", ""), re.MULTILINE)
SHORT = [
    *("data.crop=32", "data.steps=1", "data.batch_size=2", "data.workers=0", "data.context=8", "inference.tta=false"),
    *("trainer=cpu", "trainer.max_epochs=1", "tracking.figures=1"),
]
SMALL = ["dataset.train=4", "dataset.test=2", "dataset.height=64", "dataset.width=80"]


def called(folder: Path, commands: list[list[str]]) -> list[str]:
    """Commands of the page run by somebody who stands in `folder`: what each printed, errors among it."""
    said = []
    for name, *words in commands:
        script = ROOT / ("train.py" if name == "train" else f"scripts/{name}.py")
        done = processes.run(script, *words, cwd=folder)
        said.append(f"{done.stdout}{done.stderr}exit code {done.returncode}\n")
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's folder, with the files of the page and images of their own."""
    folder = tmp_path_factory.mktemp("page") / "my work"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_blood(folder / "made", seed=1, train=8, test=1, height=64, width=80)
    (folder / "my").mkdir()
    (folder / "made/train").rename(folder / "my/wells")
    for new, old in (("images", "original"), ("masks", "mask")):
        (folder / "my/wells" / old).rename(folder / "my/wells" / new)
    empty_store(folder / "runs.db")
    return folder


@pytest.fixture(scope="module")
def places(folder: Path) -> list[str]:
    store = [f"tracking.uri=sqlite:///{folder}/runs.db", f"tracking.artifacts={folder}/artifacts"]
    return [*store, f"paths.cache={folder}/cache", f"paths.output={folder}/outputs"]


def run(commands: list[str], folder: Path, places: list[str]) -> dict[str, str]:
    """What training commands of the page printed, made short."""
    short = [[*shlex.split(c)[1:], *([] if "dataset=" in c else SMALL), *SHORT, *places] for c in commands]
    return dict(zip(commands, called(folder, short), strict=True))


@pytest.fixture(scope="module")
def said(folder: Path, places: list[str]) -> dict[str, str]:
    """What the page's experiments printed."""
    return run([c for c in COMMANDS if c.startswith("lamella train") and " -m " not in c], folder, places)


def test_the_page_has_what_it_says() -> None:
    assert {"my_net.py", "my_loss.py", "my_data.py", "my_callback.py", "conf/model/my_net.yaml"} <= set(FILES)
    assert len(COMMANDS) == 6


def test_every_experiment_of_the_page_trains(said: dict[str, str]) -> None:
    for text in said.values():
        assert "test/dice " in text, text
        assert "Traceback" not in text


@pytest.mark.slow
def test_the_sweep_of_the_page_compares(folder: Path, places: list[str]) -> None:
    ((_, text),) = run([c for c in COMMANDS if " -m " in c], folder, places).items()
    assert text.count("test/dice ") == 2, text
    assert "report.html" in text


def test_a_callback_is_called(said: dict[str, str], folder: Path) -> None:
    epoch, dice = (folder / "diary.txt").read_text().split()
    assert epoch == "0"
    assert 0 <= float(dice) <= 1


def test_the_source_is_kept_and_loads_back(said: dict[str, str], folder: Path, places: list[str]) -> None:
    command = next(command for command in said if "model=my_net plugins" in command)
    run_id = re.findall(r"^run ([0-9a-f]{32})$", said[command], re.MULTILINE)[0]
    run = tracking.read(places[0].removeprefix("tracking.uri="), run_id)
    assert run.fetch("code/my_net.py").read_text() == FILES["my_net.py"]
    assert run.params["model.width"] == "16"  # the function's own default
    (code,) = json.loads(run.tags["lamella.code"]).values()
    assert code.startswith("sha256:")
    file = run.fetch("checkpoints/best.ckpt")
    with pytest.raises(StorageError, match=r"names 'my_net\.net', which is not Lamella's own") as caught:
        Model(file)
    assert "trust=[my_net]" in caught.value.remedy
    store = [place for place in places if "artifacts" not in place]
    evaluated, refused = called(
        folder, [["evaluate", f"run={run_id}", *trust, *store] for trust in (["trust=[my_net.py]"], [])]
    )
    assert "to the last bit" in evaluated
    assert "error:" in refused
    assert "exit code 1" in refused
    mask = Model(file, trust=[str(folder / "my_net.py")]).segment(np.zeros((50, 61, 3), np.uint8))
    assert mask.shape == (50, 61)
    assert plugins.fingerprints(["my_net"]) == {"my_net": code}


def test_what_does_not_fit_is_said_before_a_run_is_opened(folder: Path, tmp_path: Path) -> None:
    text = "import torch\ndef net(in_channels, num_classes): return torch.nn.Conv2d(in_channels, 1, 2, stride=2)\n"
    (folder / "bad.py").write_text(text)
    (folder / "broken.py").write_text("1 / 0\n")
    wells = FILES["my_data.py"].replace("ImageRef(image)", "image").replace("Path(root)", "Path('my/wells')")
    (folder / "bad_data.py").write_text(wells)
    (folder / "conf/dataset/bad.yaml").write_text(FILES["conf/dataset/wells.yaml"].replace("my_data", "bad_data"))
    keys = FILES["conf/model/my_net.yaml"].replace("my_net", "bad")
    (folder / "conf/model/bad.yaml").write_text(keys)
    store = f"tracking.uri=sqlite:///{tmp_path}/runs.db"
    small = ["--config-dir", "conf", "model=bad", *SMALL, *SHORT, f"paths.cache={tmp_path}/cache", store]
    data = ["--config-dir", "conf", "dataset=bad", "recipe=folder", "augment=folder", *SHORT, store]
    bad, broken, untold, odd = called(
        folder,
        [
            *(["train", *small, *plugin] for plugin in (["plugins=[bad.py]"], ["plugins=[broken.py]"], [])),
            ["train", *data, "plugins=[bad_data.py]"],
        ],
    )
    for text, says in (
        (bad, "error: bad.net must return logits of the shape (1, 1, 32, 32) for an image of 3 x 32 x 32; it returned"),
        (broken, "error: plugins names 'broken.py', which cannot be imported: ZeroDivisionError: division by zero"),
        (untold, "error: model._target_ names 'bad.net', which is not Lamella's own"),
        (odd, "error: bad_data.wells must put Samples with ImageRef(Path(...)) into its Dataset; one is Sample("),
    ):
        assert says in text
        assert "exit code 1" in text
        assert ("Traceback" in text) == (text is broken)
    assert not (tmp_path / "runs.db").exists()
