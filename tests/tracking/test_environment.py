"""What a run ran on: packages and machine, and the state of the code."""

import subprocess

import torch

from lamella.tracking import environment


def test_the_environment_names_machine_and_packages():
    text = environment.describe()
    assert text.startswith("# python 3.")
    assert f"torch=={torch.__version__}" in text
    assert "None" not in text


def test_the_state_of_the_code_is_told(tmp_path):
    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e@x.y", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert environment.code(tmp_path / "nowhere") == environment.Code("", "")
    git("init", "--quiet")
    (tmp_path / ".gitignore").write_text("data\n")
    assert environment.code(tmp_path) == environment.Code("", "# new, not in git: .gitignore\n")  # no commit yet
    git("add", ".")
    git("commit", "--quiet", "-m", "m")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/image.png").write_text("x")
    assert environment.code(tmp_path) == environment.Code(git("rev-parse", "HEAD"), "")
    (tmp_path / ".gitignore").write_bytes(b"data\ncaf\xe9\n")  # not UTF-8
    (tmp_path / "new.py").write_text("x")
    diff = environment.code(tmp_path).diff
    assert "+caf" in diff
    assert "# new, not in git: new.py" in diff
