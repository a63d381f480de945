"""What a run says of where its scores come from, on files: the same data say the same, other data something else."""

import dataclasses
import json
import subprocess

import pytest
import torch

from lamella.tracking.provenance import card, code, describe, environment, identity
from support.tiny import CARD, CPU, prepared

SCORING = {"resolution": "full", "threshold": 0.5}


@pytest.fixture
def data(tmp_path):
    (tmp_path / "pictures").mkdir()
    return prepared(tmp_path / "pictures")


def tags(data, *, config="c", scoring=SCORING, hardware=CPU, sweep=None):
    return identity(data, config_sha256=config, scoring=scoring, hardware=hardware, sweep=sweep)


def test_the_protocol_is_data_split_scoring_and_hardware(data):
    found = tags(data)
    assert json.loads(found["lamella.protocol"]) == {
        "data": found["lamella.data_sha256"], "split": found["lamella.split_sha256"], **SCORING,
        "device": "cpu", "precision": "32-true",
    }  # fmt: skip
    assert list(json.loads(found["lamella.protocol"]))[:4] == ["data", "split", "resolution", "threshold"]
    assert (found["lamella.device"], found["lamella.precision"]) == ("cpu", "32-true")
    assert found["lamella.config_sha256"] == "c"
    assert found["lamella.phantom"] == "false"
    assert found["lamella.git_dirty"] in ("true", "false")
    assert int(found["lamella.data_warnings"]) == len(data.report.warnings)
    assert "lamella.sweep" not in found
    assert tags(data, sweep="s")["lamella.sweep"] == "s"


def test_another_threshold_split_or_mask_is_another_protocol(data, tmp_path):
    first = tags(data)["lamella.protocol"]
    assert tags(data)["lamella.protocol"] == first
    assert tags(data, config="another")["lamella.protocol"] == first
    assert tags(data, scoring=SCORING | {"threshold": 0.4})["lamella.protocol"] != first
    assert tags(data, hardware=CPU._replace(precision="bf16-mixed"))["lamella.protocol"] != first
    assert tags(data, hardware=CPU._replace(remark="no GPU"))["lamella.protocol"] == first
    split = data.split
    swapped = dataclasses.replace(data, split=dataclasses.replace(split, val=split.test, test=split.val))
    assert tags(swapped)["lamella.protocol"] != first
    assert tags(swapped)["lamella.data_sha256"] == tags(data)["lamella.data_sha256"]
    (tmp_path / "others").mkdir()
    others = prepared(tmp_path / "others", test=4)
    assert tags(others)["lamella.data_sha256"] != tags(data)["lamella.data_sha256"]


def test_a_run_is_described_by_files(data, tmp_path):
    folder = tmp_path / "run"
    describe(folder, "seed: 1\n", data)
    assert (folder / "config.yaml").read_text() == "seed: 1\n"
    assert (folder / "environment.txt").read_text().startswith("# python 3.")
    assert (folder / "git.diff").exists()
    parts = json.loads((folder / "data" / "split.json").read_text())
    assert parts["test"] == [sample.id for sample in data.split.test]
    roles = [entry["role"] for entry in json.loads((folder / "data" / "manifest.json").read_text())]
    assert sorted(roles) == ["test"] * 3 + ["train"] * 2 + ["val"] * 2
    assert json.loads((folder / "data" / "audit.json").read_text())["samples"] == 7
    assert json.loads((folder / "data" / "card.json").read_text()) == card(data)
    assert "<html" in (folder / "data" / "audit.html").read_text()
    describe(folder, "seed: 2\n", data)  # of a run that was killed while it was described, once more
    assert (folder / "config.yaml").read_text() == "seed: 2\n"


def test_the_card_says_what_a_reader_must_know(tmp_path):
    spaced = dataclasses.replace(CARD, spacing_nm=(4.0, 3.5), source="a paper")
    found = card(prepared(tmp_path, card=spaced))
    assert found["data set"] == "bright rectangles"
    assert found["source"] == "a paper"
    assert found["classes"] == "0 ground, 1 rectangle"
    assert found["channels"] == "1"
    assert found["size of a pixel"] == "4 x 3.5 nm"
    assert found["images"] == "2 to train, 2 to choose by, 3 to test"
    assert found["groups in the test"] == "3"


@pytest.mark.parametrize(
    ("groups", "stacks", "said"),
    [
        ("aaa", "sss", "1 stack (specimen)"),
        ("aab", "sst", "2 stacks (specimens)"),
        ("aaa", "sst", "1"),  # two stacks of one patient
        ("abc", "sss", "3"),
        ("aab", "ss ", "2"),
    ],
)
def test_the_card_counts_stacks_not_sections(data, groups, stacks, said):
    test = tuple(
        dataclasses.replace(sample, group=group, stack=stack.strip())
        for sample, group, stack in zip(data.split.test, groups, stacks, strict=True)
    )
    split = dataclasses.replace(data.split, test=test)
    assert card(dataclasses.replace(data, split=split))["groups in the test"] == said


def test_the_environment_names_machine_and_packages():
    text = environment()
    assert text.startswith("# python 3.")
    assert f"torch=={torch.__version__}" in text
    assert "None" not in text


def test_the_state_of_the_code_is_told(tmp_path):
    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e@x.y", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert code(tmp_path / "nowhere") == ("", "")
    git("init", "--quiet")
    (tmp_path / ".gitignore").write_text("data\n")
    assert code(tmp_path) == ("", "# new, not in git: .gitignore\n")  # no commit yet
    git("add", ".")
    git("commit", "--quiet", "-m", "m")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/image.png").write_text("x")
    assert code(tmp_path) == (git("rev-parse", "HEAD"), "")
    (tmp_path / ".gitignore").write_bytes(b"data\ncaf\xe9\n")  # not UTF-8
    (tmp_path / "new.py").write_text("x")
    _, diff = code(tmp_path)
    assert "+caf" in diff
    assert "# new, not in git: new.py" in diff
