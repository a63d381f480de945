"""The commands wherever a user may be: in folders of any name, with sources they may not write, by any umask."""

import os
import re
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from mlflow import MlflowClient

from lamella.config.paths import CHECKOUT
from support import processes
from support.processes import ENVIRONMENT, IMPORTS, Warm

NAME = "my wörk & co's #1 %20"
TINY = [
    *("dataset.train=4", "dataset.test=2", "dataset.height=64", "dataset.width=96", "data.crop=32", "data.steps=2"),
    *("data.context=8", "trainer=cpu", "trainer.max_epochs=1", "tracking.figures=1", "model=unet"),
    *("model.decoder_channels=[16,8]", "data.workers=0"),
]
NOBODY = 65534


class Place:
    """A home of runs, and the commands of a source tree as somebody types them who stands beside it.

    Args:
        root: is made.
        sources: the tree with train.py and scripts/.
        env: of the commands, beside where their home is.
        how: options of `support.processes.start`.
    """

    def __init__(self, root, sources=CHECKOUT, env=ENVIRONMENT, **how):
        self.home, self.stands = root / "home", root / "elsewhere"
        for folder in (self.home, self.stands):
            folder.mkdir(parents=True)
        self.sources, self.env, self.how = sources, {**env, "LAMELLA_HOME": str(self.home)}, how

    def start(self, name, *overrides, **how):
        script = self.sources / ("train.py" if name == "train" else f"scripts/{name}.py")
        return processes.start(script, *overrides, cwd=self.stands, env=self.env, **self.how, **how)

    def __call__(self, name, *overrides, **how):
        """What a command printed, which ended well."""
        done = processes.end(self.start(name, *overrides, **how))
        assert done.returncode == 0, f"{name}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, name
        return done.stdout

    def runs(self):
        """All runs by their states."""
        client = MlflowClient(f"sqlite:///{str(self.home).replace('%', '%25')}/mlflow/lamella.db")
        experiments = [each.experiment_id for each in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))

    def interrupted(self):
        """The id of a run that was stopped by a signal in its training."""
        few = [each for each in TINY if not each.startswith("trainer.max_epochs")]
        process = self.start("train", *few, "seed=7", "trainer.max_epochs=30", "trainer.patience=null")
        while not re.match(r"epoch +2/", line := process.stdout.readline()):
            assert line, process.stderr.read()
        os.kill(process.pid, signal.SIGTERM)
        process.stdout.read()
        assert process.wait(60) == 143, process.stderr.read()
        return re.search("resume=([0-9a-f]{32})", process.stderr.read())[1]


def files_of(run):
    """The folder of a run's files."""
    return Path(url2pathname(urlparse(run.info.artifact_uri).path))


def every_command(place):
    """Runs the commands one after the other, each on what the ones before have left."""
    trained = place("train", *TINY)
    run_id = re.search("^run ([0-9a-f]{32})$", trained, re.MULTILINE)[1]
    place("train", "-m", *TINY, "seed=1,2")
    assert "report " in place("compare", "experiment=phantom_blood")
    data = next(place.home.glob(".cache/phantom_blood-*")) / "test" / "original"
    place("predict", f"run={run_id}", f"input={quoted(data)}", f"output={quoted(place.stands / 'found')}")
    assert len(list((place.stands / "found").glob("*_labels.tif"))) == 2
    stopped = place.interrupted()
    assert stopped[:12] in place("tidy")
    place("train", f"resume={stopped}")
    assert f"Run {run_id} was reproduced" in place("reproduce", f"run={run_id}")
    place("evaluate", f"run={run_id}")
    place("sync")
    assert "There are no leftovers." in place("tidy", "remove=true")
    runs = place.runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 8  # with two comparisons
    for run in runs:
        assert files_of(run).is_relative_to(place.home)
        if run.data.tags.get("lamella.kind") != "comparison":
            assert "Test scores" in (files_of(run) / "train.log").read_text()
    log = next(files_of(run) for run in runs if run.info.run_id == stopped) / "train.log"
    first, second = [line for line in log.read_text().splitlines() if line.startswith("# ")]
    assert "seed=7" in first
    assert first.endswith("trainer.patience=null")
    assert second.endswith(f"train.py resume={stopped}")
    assert "stopped by SIGTERM" in log.read_text()


def quoted(path):
    """A path as a value of Hydra's."""
    return "'" + str(path).replace("'", "\\'") + "'"


@pytest.mark.slow
def test_folders_may_have_any_name(tmp_path):
    """Eleven commands, one after the other: a minute."""
    every_command(Place(tmp_path / NAME))


# With sources of somebody else's


def modes(folder):
    """The modes of all files and folders below one, without links."""
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*") if not path.is_symlink()}


def _open_folder():
    """A folder that any user may look into, as pytest's own are not; the tests remove what they put there."""
    folder = Path(tempfile.mkdtemp(prefix="lamella-test-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def sources():
    """A copy of all that a checkout needs to run, which nobody may write."""
    place = _open_folder() / NAME
    place.mkdir()
    for name in ("src", "conf", "scripts"):
        shutil.copytree(CHECKOUT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "train.py", place)
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield place
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(place.parent)


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o077, 0o000], ids=oct)
def test_another_user_with_sources_that_none_may_write(sources, umask):
    """Without rights, with a home of their own: two minutes, most of them imports."""
    if os.geteuid():
        pytest.skip("only root may become another user")
    if not all(folder.stat().st_mode & 0o001 for folder in Path(sys.executable).resolve().parents):
        pytest.skip("Python lies where another user may not look")
    root = _open_folder() / NAME
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    before = {path: path.stat().st_mtime_ns for path in sources.rglob("*")}
    env = ENVIRONMENT | {"HOME": str(root), "PYTHONPATH": str(sources / "src")}
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "umask": umask}
    warm = Warm(*IMPORTS, env=env, **who)
    try:
        place = Place(root / "of mine", sources, env, warm=warm)
        for folder in (root / "of mine", place.home, place.stands):
            os.chown(folder, NOBODY, NOBODY)
        every_command(place)
    finally:
        warm.end()
    assert {path: path.stat().st_mtime_ns for path in sources.rglob("*")} == before
    made = modes(place.home)
    assert len(made) > 100
    if umask == 0o077:
        assert not [path for path, mode in made.items() if mode & 0o077]
    else:  # whoever shares a group or a folder can go on with what is there
        assert not [path for path, mode in made.items() if mode & 0o666 != 0o666]
