"""The command in this process, for the sake of time: what is refused before anything runs."""

import logging
import runpy
import signal
import sys

import pytest

from lamella.config.paths import CHECKOUT

TRAIN = CHECKOUT / "train.py"


@pytest.fixture
def main(monkeypatch, capsys, tmp_path):
    """Calls train.py, or another script, with arguments: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # so that what the command sets is taken back
    monkeypatch.setattr("lamella.cli.sources._Folders.names", ())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    logs = logging.root.handlers[:], logging.root.level
    hook = sys.unraisablehook

    def call(*arguments, script=TRAIN):
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        try:
            runpy.run_path(str(script), run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.root.handlers[:], logging.root.level = logs
    sys.unraisablehook = hook
