"""Lamella installed from a wheel, without a checkout: built, unpacked, and run from a folder of the user's own."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import tifffile
from mlflow import MlflowClient
from omegaconf import OmegaConf

from lamella.version import __version__

ROOT = Path(__file__).parents[1]
EXTRAS = ("zarr", "export", "bioimageio", "test", "lint", "ui")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What the user's shell says must not reach the tests.
ENVIRONMENT = {
    k: v for k, v in os.environ.items() if not k.startswith(("LAMELLA_", "MLFLOW_", "HYDRA_", "PYTHONPATH"))
} | {"OMP_NUM_THREADS": "1"}
SMALLEST = ["dataset.train=4", "dataset.test=2", "dataset.height=64", "dataset.width=96", "data.crop=32",
            "data.context=8", "data.steps=2", "trainer.max_epochs=1", "trainer=cpu", "tracking.figures=1",
            "inference.tta=false", "model=unet", "model.decoder_channels=[16,8]"]  # fmt: skip
HEAVY = {"torch", "mlflow", "pytorch_lightning", "numpy", "scipy", "matplotlib"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of the sources as `pip install .` builds it."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("src", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, place / "tree" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / "tree" / name)
    (place / "tree/build/lib/lamella/conf").mkdir(parents=True)
    (place / "tree/build/lib/lamella/conf/old.yaml").write_text("an earlier build left it")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(place), str(place / "tree"))
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def lamella(wheel: Path) -> list[str]:
    """The command `lamella` of the wheel, beside the dependencies of the Python that runs the tests."""
    folder = wheel.parent / "site"
    pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], "
    return [sys.executable, "-c", code + "run_name='__main__')", str(folder), str(folder / "bin" / "lamella")]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a user stands: outside the checkout, in a folder with a space in its name."""
    folder = tmp_path / "my work"
    folder.mkdir()
    return folder


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


def run(command: list[str], *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=ENVIRONMENT | env, capture_output=True, text=True, check=False
    )


def imported(command: list[str], *arguments: str, cwd: Path) -> tuple[str, set[str]]:
    """What a command prints, and the packages it imports."""
    done = run([command[0], "-X", "importtime", *command[1:]], *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.stdout, {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


# What is in it


def test_the_wheel_has_every_module_choice_and_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".j2", ".css", ".js", ".typed")}
    sources |= set((ROOT / "src/lamella").glob("py.typed"))
    expected = {path.relative_to(ROOT / "src").as_posix() for path in sources}
    expected |= {f"lamella/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert names == expected
    assert all(path.suffix == ".yaml" for path in (ROOT / "conf").rglob("*") if path.is_file())


def test_every_import_is_a_declared_dependency() -> None:
    used: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add((node.module or "").partition(".")[0])
    extras = PROJECT["optional-dependencies"]
    declared = [*PROJECT["dependencies"], *extras["zarr"], *extras["export"], *extras["bioimageio"]]
    plain = {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-") for each in declared}
    owners = packages_distributions()
    for name in used - set(sys.stdlib_module_names) - {"lamella"}:
        assert plain & {owner.lower().replace("_", "-") for owner in owners[name]}, name


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    from packaging.requirements import Requirement

    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    extras = [each for extra in EXTRAS for each in PROJECT["optional-dependencies"][extra]]
    extras = [each for each in extras if not each.startswith("lamella[")]
    for text in [*PROJECT["dependencies"], *extras]:
        requirement = Requirement(text)
        assert pins[requirement.name.lower()] in requirement.specifier, text


# The program


def test_the_program_lists_its_commands_at_once(lamella: list[str], place: Path) -> None:
    listed, packages = imported(lamella, "--help", cwd=place)
    assert packages.isdisjoint(HEAVY | {"hydra", "omegaconf"})
    for name in ("train", "evaluate", "compare", "prepare_data", "tiff_to_png", "methods", "demo", "ui"):
        assert len(re.findall(rf"^  {name} +\w", listed, re.MULTILINE)) == 1
    assert max(map(len, listed.splitlines())) <= 100
    assert run(lamella, cwd=place).stdout == listed
    assert run(lamella, "--version", cwd=place).stdout == f"lamella {__version__}\n"


def test_an_unknown_command_is_one_message(lamella: list[str], place: Path) -> None:
    done = run(lamella, "trian", "model=unet", cwd=place)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no command 'trian'\n  Did you mean train? Allowed: compare, ")
    assert run(lamella, "prepare-data", "--help", cwd=place).stdout.startswith("Lamella: fetch, verify")


def test_help_of_a_command_is_at_once_and_as_it_was_typed(lamella: list[str], place: Path) -> None:
    told, packages = imported(lamella, "train", "--help", cwd=place)
    assert packages.isdisjoint(HEAVY)
    assert "\n  lamella train dataset=blood model=ternausnet " in told
    assert "unet_ronneberger" in told
    assert "train.py" not in told
    assert list(place.iterdir()) == []


# Where things live


@pytest.mark.parametrize(
    ("said", "home"),
    [(None, "lamella-runs"), ("other place", "other place"), ("{place}/a", "a"), ("", "lamella-runs")],
)
def test_all_that_is_made_lies_below_one_folder(lamella: list[str], place: Path, said: str | None, home: str) -> None:
    env = {} if said is None else {"LAMELLA_HOME": said.replace("{place}", str(place))}
    done = run(lamella, "train", "--cfg", "job", "--resolve", "dataset=em", cwd=place, **env)
    assert done.returncode == 0, done.stderr
    cfg = OmegaConf.create(done.stdout)
    folder = place / home
    assert dict(cfg.paths) == {"data": f"{folder}/data", "cache": f"{folder}/.cache", "output": f"{folder}/outputs"}
    assert cfg.dataset.root == f"{folder}/data/em"
    assert cfg.tracking.uri == f"sqlite:///{folder}/mlflow/lamella.db"
    assert cfg.tracking.artifacts == f"{folder}/mlflow/artifacts"
    assert list(place.iterdir()) == []  # nothing is made for showing


def test_a_home_that_cannot_be_made_is_one_message(lamella: list[str], place: Path) -> None:
    (place / "file").write_text("in the way")
    done = run(lamella, "train", *SMALLEST, cwd=place, LAMELLA_HOME="file/home")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {place}/file/home/outputs: Not a directory\n")
    assert "LAMELLA_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.slow  # seconds by the dozen
def test_the_demo_runs_where_the_user_stands(lamella: list[str], place: Path) -> None:
    done = run(lamella, "demo", *SMALLEST, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "test/dice" in done.stdout
    assert done.stdout.endswith("Look at the run and its pictures: lamella ui\n")
    assert [path.name for path in place.iterdir()] == ["lamella-runs"]
    assert {path.name for path in (place / "lamella-runs").iterdir()} == {".cache", "mlflow", "outputs"}
    client = MlflowClient(f"sqlite:///{place}/lamella-runs/mlflow/lamella.db")
    (kept,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert kept.data.tags["lamella.version"] == __version__
    assert kept.data.tags["lamella.git_commit"] == "none"  # of a checkout the tests may stand in, nothing is said
    assert kept.data.tags["lamella.git_dirty"] == "false"


# An environment of its own


@pytest.mark.slow
def test_a_fresh_environment_does_all_of_it(wheel: Path, place: Path) -> None:
    """`pip install` with the pinned dependencies, then every command once, from a folder with a space in its name."""
    venv = place / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    command = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    every_command(["/bin/sh", "-c", 'exec "$0" "$@"', str(venv / "bin/lamella")], place)


def every_command(lamella: list[str], place: Path) -> None:
    """Runs what `lamella` lists, each on what the one before has left."""
    tifffile.imwrite(place / "stack.tif", np.arange(2 * 40 * 50, dtype=np.uint16).reshape(2, 40, 50))
    run_id = ""
    for arguments in (
        ["demo", *SMALLEST],
        ["train", "-m", *SMALLEST, "seed=1,2"],
        ["compare", "experiment=phantom_blood"],
        ["evaluate", "run=ID"],
        ["prepare_data", *[each for each in SMALLEST if each.startswith("dataset.")]],
        ["tiff_to_png", "input=stack.tif", "output=pictures"],
        ["methods", "model=unet,otsu"],
        ["train", "--help"],
        ["ui", "--help"],
    ):
        done = run(lamella, *[each.replace("ID", run_id) for each in arguments], cwd=place)
        assert done.returncode == 0, (arguments, done.stderr)
        assert "Traceback" not in done.stderr, arguments
        if arguments[0] == "demo":
            run_id = re.findall("^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE)[0]
    assert len(list((place / "pictures").glob("*.png"))) == 2
    assert len(list(place.glob("lamella-runs/outputs/reports/*/report.html"))) == 2
    process = subprocess.Popen([*lamella, "ui", "port=5837"], cwd=place, env=ENVIRONMENT, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not answers("http://127.0.0.1:5837/health"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Traceback" not in stderr


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
