"""The command `export`: what it writes, and what it says where it writes nothing."""

from pathlib import Path

import pytest

from lamella.commands import export
from support.processes import run
from support.trained import kept

SCRIPT = Path(__file__).parents[2] / "scripts" / "export.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("kept") / "best.ckpt")


@pytest.mark.slow  # seconds to trace a network, and more to write and read it
@pytest.mark.parametrize("name", ["a.onnx", "a.pt2", "a.zip"])
def test_a_network_is_written_and_checked(checkpoint, tmp_path, name):
    arguments = [f"checkpoint={checkpoint}", f"output={tmp_path}/new/{name}"]
    for more in ([], ["overwrite=true"]):
        done = run(SCRIPT, *arguments, *more, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "takes levels as stored, uint8 (batch, 1, height, width)" in done.stdout
        assert "gives the probability of cell; the run takes it above 0.5" in done.stdout
        assert "checked against PyTorch at 2 sizes: at most" in done.stdout
        assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    done = run(SCRIPT, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("is there already\n  Choose another name, or add overwrite=true.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["output=a.tflite"], "does not say by its ending what to write\n  Write NAME.onnx, NAME.pt2, NAME.zip."),
        (["output=a.onnx"], "which trained network is meant is not said\n  Write one of run=ID"),
        (["output=a.onnx", "runs=[a,b]"], "runs=[...] is an ensemble, and a file holds one network"),
        (["output=a.onnx", "checkpoint=none.ckpt"], "error: the checkpoint none.ckpt is missing"),
        (["output=a.onnx", "model=cells", "tracking.uri=sqlite:///none.db"], "none.db: there is no such file"),
    ],
)
def test_mistakes_are_one_message(tmp_path, arguments, says):
    done = run(SCRIPT, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_not_installed_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch, capsys):
    kinds = {".onnx": ("export", ("onnx", "no_such_package")), ".zip": ("bioimageio", ("no.such.package",))}
    monkeypatch.setattr(export, "KINDS", kinds)
    wanted = type("Wanted", (), {"output": "", "overwrite": False})
    for name, extra in (("a.onnx", "export"), ("a.zip", "bioimageio")):
        with pytest.raises(export.ConfigError, match="which is not installed") as caught:
            export._require(tmp_path / name, wanted)
        assert caught.value.remedy == f"python -m pip install 'lamella[{extra}]'"
