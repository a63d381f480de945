"""Somebody else's files: whatever they say, none of it runs, and each gets one sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.cli.sources import Folder
from lamella.config.paths import CHECKOUT
from lamella.errors import ConfigError

MARK = "ran"  # a file that every payload below would make
RUNS = f"_target_: builtins.open, file: {MARK}, mode: w"  # what Hydra calls where it builds a node
LOGS = f"handlers: {{x: {{class: logging.FileHandler, filename: {MARK}}}}}, root: {{level: INFO, handlers: [x]}}"


def logging_of(text):
    return f"{{version: 1, disable_existing_loggers: false, {text}}}"


HYDRAS_OWN = {
    "callbacks": f"callbacks: {{x: {{{RUNS}}}}}",
    "callbacks of arguments": f"callbacks: {{x: {{_target_: builtins.open, _args_: [{MARK}, w]}}}}",
    "callbacks of half a call": f"callbacks: {{x: {{{RUNS}, _partial_: true}}}}",
    "callbacks below callbacks": f"callbacks: {{x: {{_target_: builtins.dict, y: {{{RUNS}}}}}}}",
    "callbacks by interpolation": "callbacks: ${literature}",
    "launcher": f"launcher: {{{RUNS}}}",
    "sweeper": f"sweeper: {{{RUNS}}}",
    "sweeper, in its params": f"sweeper: {{params: {{seed: {{{RUNS}}}}}}}",
    "sweeper, its params": f"sweeper: {{params: {{{RUNS}}}}}",
    "sweeper, params by interpolation": "sweeper: {params: {seed: '${literature}'}}",
    "sweeper, params of Hydra": "sweeper: {params: {hydra.job_logging: none}}",
    "sweeper, params of plugins": "sweeper: {params: {plugins: '[mynet]'}}",
    "sweeper, params that add": "sweeper: {params: {+seed: 1}}",
    "job_logging": f"job_logging: {logging_of(LOGS)}",
    "job_logging by a factory": f"job_logging: {logging_of(f'handlers: {{x: {{(): builtins.open, file: {MARK}}}}}')}",
    "job_logging by ext": f"job_logging: {logging_of('handlers: {x: {(): ext://os.getcwd}}')}",
    "hydra_logging": f"hydra_logging: {logging_of(LOGS)}",
    "job.env_set": "job: {env_set: {PATH: /nowhere}}",
    "job.chdir": "job: {chdir: true}",
    "searchpath": "searchpath: ['pkg://antigravity']",
    "mode": "mode: MULTIRUN",
    "run.dir": f"run: {{dir: {MARK}}}",
    "sweep.dir": f"sweep: {{dir: {MARK}}}",
    "overrides": "overrides: {task: ['seed=1']}",
    "help": "help: {template: '$FLAGS_HELP'}",
    "hydra_help": "hydra_help: {template: x}",
}
SAID = {  # the whole file, and what the message names
    "nothing but an interpolation": ("hydra: ${literature}", "hydra"),
    "nothing": ("hydra: null", "hydra"),
    "plugins": ("plugins: [evil]", "plugins"),
    "trust": ("trust: [evil]", "trust"),
    "defaults that choose a launcher": ("defaults: [{override /hydra/launcher: basic}]", "hydra/launcher"),
    "defaults that put a network there": ("defaults: [{/model@hydra.callbacks.x: unet}]", "model@hydra.callbacks.x"),
    "defaults in brackets": ("defaults: [{'/model@[hydra].x': unet}]", "model@[hydra].x"),
    "defaults that are cut": ("defaults: [{/model@_global_xhydra: unet}]", "model@_global_xhydra"),
    "defaults that are put together": ("defaults: [{/ra@hyd_group_: it}]", "ra@hyd_group_"),
    "defaults from elsewhere in the file": ("x: [{/model@hydra.x: unet}]\ndefaults: ${x}", "defaults"),
}


@pytest.fixture
def sent(main, tmp_path):
    """Calls train.py with flags and a file that somebody sent, chosen as the experiment."""

    def call(content, *flags, package="_global_", file="experiment/it.yaml"):
        path = tmp_path / "sent" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# @package {package}\n{content}\n")
        group, _, name = file.removesuffix(".yaml").rpartition("/")
        mode, *more = flags or ("run",)
        mode = {"run": [], "cfg": ["--cfg", "job"], "info": ["--info", "all"]}.get(mode, [mode])
        never = "tracking.uri=nowhere"  # what is not refused must not train for minutes
        code, stdout, stderr = main(*mode, f"--config-dir={tmp_path}/sent", f"{group}={name}", never, *more)
        return path, code, stdout, stderr

    return call


def refused(code, stderr, folder=Path()):
    """The sentence; nothing has run."""
    assert code == 1, stderr
    assert stderr.startswith("error: "), stderr
    assert len(stderr.splitlines()) <= 2, stderr
    assert not list(folder.rglob(MARK))
    assert "antigravity" not in sys.modules
    return stderr


def loaded(folder, content, package="_global_"):
    """A file as Hydra is given it."""
    (folder / "it.yaml").write_text(f"# @package {package}\n{content}\n")
    return Folder("test", f"lamella://{folder}").load_config("it")


@pytest.mark.parametrize("name", HYDRAS_OWN)
def test_a_file_says_nothing_of_what_hydra_runs(tmp_path, name):
    node = re.match(r"\w+", HYDRAS_OWN[name])[0]
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, f"hydra:\n  {HYDRAS_OWN[name]}\nliterature: {{x: {{{RUNS}}}}}")
    assert (
        error.value.problem == f"{tmp_path}/it.yaml sets hydra.{node}: what runs code is said on the command line alone"
    )
    assert error.value.remedy.startswith("Delete it there.")


@pytest.mark.parametrize("name", SAID)
def test_a_file_says_nothing_of_whose_code_runs(tmp_path, name):
    content, said = SAID[name]
    with pytest.raises(ConfigError, match=re.escape(f"it.yaml sets {said}: what runs code")):
        loaded(tmp_path, content)


@pytest.mark.parametrize("package", ["hydra", "hydra.callbacks", "_global_.hydra", "[hydra].callbacks"])
def test_a_file_is_not_put_among_what_hydra_runs(tmp_path, package):
    with pytest.raises(ConfigError, match=re.escape(f"it.yaml sets {package}: what runs code")):
        loaded(tmp_path, f"x: {{{RUNS}}}", package)


@pytest.mark.parametrize("flag", ["run", "--help", "cfg", "info", "-m"])
@pytest.mark.parametrize("name", ["callbacks", "job_logging", "hydra_logging", "sweeper"])
def test_whatever_is_asked_for(sent, flag, name):
    path, code, _, stderr = sent(f"hydra:\n  {HYDRAS_OWN[name]}", flag)
    assert refused(code, stderr).startswith(f"error: {path} sets hydra.{name}:")


@pytest.mark.parametrize("file", ["hydra/launcher/basic.yaml", "hydra/callbacks/it.yaml", "hydra/job_logging/it.yaml"])
def test_a_file_does_not_stand_in_for_one_of_hydras(sent, file):
    _, code, _, stderr = sent(f"x: {{{RUNS}}}", "run", package="hydra.callbacks", file=file)
    refused(code, stderr)


def test_hydras_first_file_is_not_replaced(main, tmp_path):
    (tmp_path / "sent/hydra").mkdir(parents=True)
    (tmp_path / "sent/hydra/config.yaml").write_text(f"callbacks: {{x: {{{RUNS}}}}}\n")
    code, _, stderr = main(f"--config-dir={tmp_path}/sent", "--help")
    assert "sent/hydra/config.yaml sets hydra: " in refused(code, stderr)


@pytest.mark.parametrize("way", ["- /{up}{payload}", "- override /model: {up}{payload}", "- /{payload}"])
def test_a_file_leads_to_no_other_place(sent, tmp_path, way):
    payload = tmp_path / "elsewhere.yaml"
    payload.write_text(f"# @package _global_\nhydra: {{callbacks: {{x: {{{RUNS}}}}}}}\n")
    text = way.format(up="../" * 30, payload=str(payload).removesuffix(".yaml"))
    _, code, _, stderr = sent(f"defaults:\n  {text}")
    assert "leads out of its folder" in refused(code, stderr)


@pytest.mark.parametrize("group", ["model", "loss", "dataset", "dataset/split", "optimizer", "scheduler", "inference"])
def test_a_foreign_target_is_not_built(sent, group):
    content = f"{{{RUNS}}}"
    for name in reversed(group.split("/")):
        content = f"{{{name}: {content}}}"
    _, code, _, stderr = sent(content)
    assert group.replace("/", ".") in refused(code, stderr)


@pytest.mark.parametrize(
    "content",
    [
        f"loss: {{_partial_: true, {RUNS}}}",
        f"model: {{_args_: [{MARK}], _target_: lamella.models.unet}}",
        f"model: {{encoder: {{{RUNS}}}}}",
        f"trainer: {{precision: {{{RUNS}}}}}",
        f"trainer: {{callbacks: [{{{RUNS}}}]}}",
        f"defaults: [{{override /loss: weighted_sum}}]\nloss: {{terms: {{x: {{{RUNS}}}}}}}",
        "seed: ${oc.nosuch:touch}",
        "seed: ${python:open}",
        f"seed: ${{oc.create:{{{RUNS}}}}}",
        f"seed: !!python/object/apply:os.mkdir [{MARK}]",
        f"seed: !!python/object/new:os.mkdir [{MARK}]",
        "seed: !!python/name:os.system",
        "seed: {",
        "- 1",
        "5",
    ],
)
def test_a_hostile_or_broken_file_is_one_sentence(sent, content):
    _, code, _, stderr = sent(content)
    refused(code, stderr)


def test_a_file_named_as_the_first_is_read_alike(sent, main, tmp_path):
    path, *_ = sent("seed: 1", "cfg")
    path.write_text(
        f"defaults: [train, _self_]\nhydra: {{searchpath: ['pkg://antigravity'], callbacks: {{x: {{{RUNS}}}}}}}\n"
    )
    for flags in ([], ["--help"], ["-m"], ["--cfg", "job"], ["--info", "searchpath"]):
        code, _, stderr = main(*flags, f"--config-dir={tmp_path}/sent", "--config-name=experiment/it")
        assert f"{path} sets hydra.searchpath" in refused(code, stderr)


def test_a_folder_of_the_typed_search_path_is_read_alike(sent, main, tmp_path):
    path, *_ = sent(f"hydra: {{callbacks: {{x: {{{RUNS}}}}}}}")
    for place in (f"file://{tmp_path}/sent", f"{tmp_path}/sent", "sent"):
        code, _, stderr = main(f"hydra.searchpath=[{place}]", "experiment=it")
        assert f"{path} sets hydra.callbacks" in refused(code, stderr)


@pytest.mark.parametrize("flags", [["--experimental-rerun=it.pickle"], ["--config-path=sent"]])
def test_what_would_go_round_it_is_not_taken(main, tmp_path, flags):
    (tmp_path / "it.pickle").write_bytes(b"cposix\nmkdir\n(S'ran'\ntR.")
    code, _, stderr = main(*flags)
    refused(code, stderr)


def test_a_file_may_say_what_a_sweep_runs_through(sent):
    lists = "{seed: '1,2', model: 'unet,otsu', optimizer.lr: 0.1}"
    _, code, stdout, _ = sent(f"hydra: {{sweeper: {{params: {lists}}}}}", "--cfg=all")
    assert code == 0
    assert "    seed: 1,2\n" in stdout


def test_what_is_typed_is_done(main):
    code, stdout, _ = main("--cfg", "hydra", "+hydra.callbacks.x._target_=builtins.dict", "hydra.job.chdir=true")
    assert code == 0
    assert "_target_: builtins.dict" in stdout


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_in_a_process_of_its_own(tmp_path, flags):
    (tmp_path / "experiment").mkdir()
    text = f"# @package _global_\nhydra:\n  {HYDRAS_OWN['callbacks']}\n  {HYDRAS_OWN['hydra_logging']}\n"
    (tmp_path / "experiment/it.yaml").write_text(text)
    command = [sys.executable, CHECKOUT / "train.py", *flags, f"--config-dir={tmp_path}", "experiment=it"]
    result = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert "it.yaml sets hydra.callbacks" in refused(result.returncode, result.stderr, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"experiment"}
