"""Where what Lamella makes goes, and how its commands are typed, in a checkout; tests/test_package.py has the wheel."""

import sys
from pathlib import Path

import pytest

from lamella.config import paths


def test_home_is_the_checkout_or_what_lamella_home_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for said, home in (
        ("", Path(__file__).parents[2]),
        ("here", tmp_path / "here"),
        ("~/my runs", tmp_path / "me" / "my runs"),
        (str(tmp_path / "there"), tmp_path / "there"),
    ):
        monkeypatch.setenv("LAMELLA_HOME", said)
        assert paths.home() == home
        assert paths.store_file() == home / "mlflow" / "lamella.db"


def test_without_a_checkout_home_is_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMELLA_HOME", raising=False)
    monkeypatch.setattr(paths, "CHECKOUT", None)
    monkeypatch.chdir(tmp_path)
    assert paths.home() == tmp_path / "lamella-runs"


def test_a_command_is_named_as_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "model=unet"])
    assert paths.typed("train") == "python train.py"
    assert paths.typed("compare") == "python scripts/compare.py"
    assert paths.typed("ui") == "make ui"
    monkeypatch.setattr(sys, "argv", ["lamella train", "model=unet"])
    assert {paths.typed(name) for name in ("train", "ui")} == {"lamella train", "lamella ui"}
    monkeypatch.setattr(sys, "argv", ["a notebook"])
    monkeypatch.setattr(paths, "CHECKOUT", None)
    assert paths.typed("prepare_data") == "lamella prepare_data"


def test_data_lie_where_lamella_data_says_and_an_empty_one_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("LAMELLA_HOME", str(tmp_path))
    for said, folder in (("", tmp_path / "data"), ("~/d", tmp_path / "me" / "d"), ("d", Path("d").absolute())):
        monkeypatch.setenv("LAMELLA_DATA", said)
        assert paths.data() == folder


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/me")
    assert paths.at_home("~/a") == "/me/a"
    assert paths.at_home("sqlite:///~/runs.db") == "sqlite:////me/runs.db"
    assert paths.at_home("a/~/b") == "a/~/b"
    assert paths.at_home("http://host/~b") == "http://host/~b"
