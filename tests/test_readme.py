"""The README's commands, run as they stand: only made short, on tiny data, into a store of their own."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lamella import tracking
from lamella.data.datasets.phantom import write_blood, write_em
from support import processes
from support.processes import ENVIRONMENT
from support.stores import empty_store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SCORES = (ROOT / "docs" / "scores.md").read_text()
FORMATS = (ROOT / "docs" / "formats.md").read_text()
USING = (ROOT / "docs" / "using.md").read_text()
COMMANDS = [line.strip() for line in re.findall(r"^    (\S.*)$", README, re.MULTILINE)]
TRAIN = [c.split("#")[0].strip() for c in COMMANDS if "train.py" in c and not c.startswith("$") and "resume=" not in c]
RESUMING = [c.split("#")[0].strip() for c in COMMANDS if "resume=" in c]
OTHERS = [c.split("#")[0].strip() for c in COMMANDS if "scripts/" in c]
# What each command says of a finished run.
SAID = {
    "compare": "report.html",
    "evaluate": "to the last bit",
    "score": "255 cell",
    "review": "review.html",
    "predict": "index.html",
    "export": "model.onnx",
    "reproduce": "was reproduced",
    "sync": "nothing waits",
    "tidy": "What runs take",
}
JUDGING = [c for c in OTHERS if re.search(r"scripts/(\w+)", c)[1] in SAID]
# In a new interpreter, with all its imports; so run train.py and prepare_data.py in the tests of those commands.
FRESH = [next(c for c in OTHERS if "tiff_to_png.py" in c)]
# What tests of the commands themselves do in full, on images as small.
ELSEWHERE = (
    "model=ternausnet",
    "model.encoder=resnet34",
    "export.py",
    "reproduce.py",
    "prepare_data.py dataset=em",
)
MAKE = sorted({m for c in COMMANDS for m in re.findall(r"^make ([a-z-]+)", c)})
# A protocol has its own methods and seeds: some of them stand for all.
FEWER = ["model=otsu,unet", "seed=1"]
# Where the README's own seeds or the built-in phantom are all that is long.
ONE_SEED = ["seed=1"]
SMALL = ["dataset.train=8", "dataset.test=2", "dataset.height=96", "dataset.width=128"]
# What makes a run short, and nothing else.
SHORT = [
    "data.context=8",
    "data.steps=1",
    "data.batch_size=2",
    "data.crop=32",
    "trainer.max_epochs=1",
    "inference.tta=false",
    "tracking.figures=1",
]


def marked(commands: list[str]) -> list[Any]:
    """Commands as cases of a test, the long ones slow: whole comparisons, which take a minute each, and the rest."""
    long = (*(" -m ", "experiment=depto", "experiment=isbi"), *ELSEWHERE)
    return [pytest.param(c, marks=pytest.mark.slow) if any(map(c.__contains__, long)) else c for c in commands]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both real layouts and somebody's own images, filled with small phantoms."""
    folder = tmp_path_factory.mktemp("readme")
    write_blood(folder / "my", seed=1, train=8, test=1, height=64, width=64)
    (folder / "my/train/original").rename(folder / "my/images")
    (folder / "my/train/mask").rename(folder / "my/masks")
    write_em(folder / "data" / "em", seed=0, sections=12, size=64)
    write_blood(folder / "data" / "blood", seed=0, train=6, test=2, height=128, width=128)
    empty_store(folder / "runs.db")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> str:
    """Where the run of `python train.py dataset=blood model=unet` is kept, and one of Otsu's method on sections."""
    store = [f"tracking.uri=sqlite:///{place}/one.db", f"tracking.artifacts={place}/one", f"paths.cache={place}/cache"]
    done = run("python train.py dataset=blood model=unet", place, *SHORT, *store, f"paths.output={place}/outputs")
    assert done.returncode == 0, done.stderr
    other = run("python train.py dataset=em model=otsu", place, *SHORT, *store, f"paths.output={place}/outputs")
    assert other.returncode == 0, other.stderr
    return f"sqlite:///{place}/one.db"


def run(command: str, place: Path, *extra: str, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    for name in ("my/", "data/em/", "output=pictures"):  # what stands in the user's folder stands in `place` here
        command = command.replace(name, name.replace("my/", f"{place}/my/").replace("data/em/", f"{place}/data/em/")
                                  .replace("pictures", f"{place}/pictures"))  # fmt: skip
    _, script, *words = shlex.split(command)
    said = {each.partition("=")[0] for each in extra}  # a key given twice is refused
    words = [word for word in words if word.partition("=")[0] not in said]
    environment = {**ENVIRONMENT, "LAMELLA_DATA": str(place / "data")}
    return processes.run(Path(script), *words, *extra, cwd=ROOT, env=environment, fresh=fresh)


def test_the_readme_has_the_commands_this_file_runs() -> None:
    assert len(TRAIN) >= 8
    assert len(OTHERS) >= 4
    assert {"demo", "ui", "test", "lint", "docs", "test-ui"} <= set(MAKE)


@pytest.mark.parametrize("command", marked(TRAIN))
def test_train_commands(command: str, place: Path) -> None:
    shows = "--help" in command or "--cfg" in command
    store = f"tracking.uri=sqlite:///{place}/runs.db tracking.artifacts={place}/artifacts paths.cache={place}/cache"
    kept = f"paths.output={place}/outputs"
    if re.search("experiment=(depto2021|isbi2012)", command):
        fewer = FEWER
    elif " -m " in command:
        fewer = ONE_SEED
    else:
        fewer = [] if "dataset=" in command else SMALL
    done = run(command, place, *([] if shows else [*fewer, *SHORT, *store.split(), kept]), fresh=shows)
    assert done.returncode == 0, done.stderr
    if not shows:
        runs = re.findall(r"^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE)
        jobs = 1
        asked = dict(word.split("=", 1) for word in [*shlex.split(command), *fewer] if "=" in word)
        for values in asked.values() if " -m " in command else []:
            jobs *= len(values.split(","))
        assert len(set(runs)) == jobs
        assert done.stdout.count("test/dice ") == jobs
        assert ("report.html" in done.stdout) == (jobs > 1)
        for run_id in set(runs):
            all_that_a_run_leaves_is_explained(run_id, place)


@pytest.mark.slow  # three trainings whose state is written every step; what goes on is tested with the command itself
def test_a_run_that_was_interrupted_goes_on(place: Path) -> None:
    store = f"tracking.uri=sqlite:///{place}/on.db tracking.artifacts={place}/on paths.cache={place}/cache"
    places = [*store.split(), f"paths.output={place}/on-outputs"]
    short = [each for each in SHORT if "max_epochs" not in each]
    long = [*SMALL, *short, "model=unet", "trainer.max_epochs=1000", "tracking.keep_last=true"]
    process = processes.start(ROOT / "train.py", *long, *places, cwd=place)
    while "epoch " not in process.stdout.readline():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    stopped = processes.end(process)
    assert stopped.returncode == 128 + signal.SIGTERM
    (run_id,) = re.findall("resume=([0-9a-f]{32})", stopped.stderr)
    (begun,) = (command for command in RESUMING if "max_epochs" not in command)
    (longer,) = (command for command in RESUMING if "max_epochs" in command)
    for command, end in ((begun, 10), (longer, 12)):  # fewer than it says
        command = command.replace("resume=ID", f"resume={run_id}")
        done = run(command, place, f"trainer.max_epochs={end}", *places)
        assert done.returncode == 0, done.stderr
        assert f"epoch  {end}/{end}" in done.stdout
    assert [each.run_id for each in tracking.finished(f"sqlite:///{place}/on.db")] == [run_id]


def all_that_a_run_leaves_is_explained(run_id: str, place: Path) -> None:
    """Every metric and every column of a run stands in docs/scores.md, every file and every tag in docs/formats.md."""
    kept = tracking.read(f"sqlite:///{place}/runs.db", run_id)
    (folder,) = place.glob(f"artifacts/*/{run_id}/artifacts")
    tables = {path: pd.read_csv(path, nrows=1) for path in folder.glob("scores/*.csv")}
    for name in {*kept.metrics, *(column for table in tables.values() for column in table.columns)}:
        plain = re.sub(r"^(test/)?(pooled/)?(watershed/)?|/(low|high)$|(?<!/absent)/images$", "", name)
        plain = re.sub(r"^class/[^/]+/", "class/NAME/", plain)
        assert f"`{plain}`" in SCORES or f"`test/{plain}`" in SCORES, name
    for path in (path for path in folder.rglob("*") if path.is_file()):
        file = re.sub(r"^model/.*", "model/", path.relative_to(folder).as_posix())
        first = re.sub(r"prediction_\d+", "prediction_1", re.sub(r"/\d{4}\.", "/0000.", file))
        assert f"`{first}`" in FORMATS, file
    for tag in kept.tags:
        assert not tag.startswith("lamella.") or f"`{tag}`" in FORMATS, tag


@pytest.mark.parametrize("command", marked(JUDGING))
def test_commands_for_finished_runs(command: str, place: Path, trained: str) -> None:
    run_id = tracking.finished(trained)[0].run_id
    script = re.search(r"scripts/(\w+)", command)[1]
    places = [f"paths.{kind}={place}/{kind}" for kind in ("cache", "output")]
    if script == "compare":
        places = [f"output={place}/reports"]
    typed = command.replace("run=ID", f"run={run_id}").replace("=DIR", f"={place}/data/blood/test/mask")
    typed = typed.replace("output=found", f"output={place}/found").replace("output=model", f"output={place}/model")
    done = run(typed, place, f"tracking.uri={trained}", *places, fresh=command in FRESH)
    assert done.returncode == 0, done.stderr
    assert SAID[script] in done.stdout


@pytest.mark.parametrize("command", marked([c for c in OTHERS if c not in JUDGING]))
def test_other_commands(command: str, place: Path, request: pytest.FixtureRequest) -> None:
    extra: list[str] = []
    if "dataset=em" in command:  # nothing but the published volume will do
        extra = [f"paths.data={request.getfixturevalue('lamella_data')}"]
    elif "dataset=blood" in command:
        extra = ["partial=true"]
    fetches = "prepare_data" in command
    places = [f"paths.cache={place}/cache", f"html={place}/audit.html"]
    done = run(command, place, *([*extra, *places] if fetches else []), fresh=command in FRESH)
    assert done.returncode == 0, done.stderr
    made = place / ("audit.html" if fetches else "pictures/train-volume_011.png")
    assert made.stat().st_size > 1000


@pytest.mark.parametrize("target", MAKE)
def test_make_targets_exist_and_explain_themselves(target: str) -> None:
    dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"make {target} " in told


def test_the_python_it_shows(place: Path, trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the snippets of README.md and docs/ on the runs, the checkpoint and an image of a run above."""
    import numpy as np
    from PIL import Image

    checkpoint = next((place / "one").rglob("checkpoints/best.ckpt"))
    image = np.asarray(Image.open(next((place / "data/blood/test/original").glob("*.png"))))
    (short,), (longer,), (comparing,) = (
        re.findall(r"```python\n(.*?)```", page, re.DOTALL) for page in (README, USING, SCORES)
    )
    names: dict[str, Any] = {"image": image, "images": np.stack([image, image[::-1]])}
    for predicting in (longer, short):
        exec(predicting.replace("best.ckpt", str(checkpoint)), names)
        mask = names["mask"]
        assert mask.shape == image.shape[:2]
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        assert names["share"].shape == (1, *image.shape[:2])
    assert np.array_equal(names["stack"][0], names["share"])
    monkeypatch.chdir(place)
    exec(comparing.replace('report("blood")', f'report("blood", uri="{trained}", output="out")'), names)
    assert names["page"].stat().st_size > 10_000
    assert names["page"].parent.parent == Path("out")
    assert {"method", "dice", "dice_low"} <= {*names["table"]}
    assert "verdict" in names["pairs"]
    assert "dice" in names["images"]
