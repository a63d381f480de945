"""`ui`: what it refuses before a server starts. tests/tracking/test_ui.py looks at the pages it serves."""

import socket
from pathlib import Path

import pytest

from lamella.commands import ui


def test_help_says_how_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.run(["--help"]) == 0
    assert "\n  make ui STORE=file.db " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("prt=5001", "there is no key 'prt'\n  Did you mean port? Allowed: port, store."),
        ("port=http", "port must be a whole number, at least 1 and at most 65535; got 'http'"),
        ("port=0", "port must be a whole number"),
        ("port=65536", "port must be a whole number"),
        ("store=no.db", "there is no store {folder}/no.db\n  Write store=FILE.db"),
    ],
)
def test_a_mistake_is_one_message(
    argument: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ui.run([argument]) == 1
    assert capsys.readouterr().err.startswith("error: " + message.replace("{folder}", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_busy_port_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert ui.run([f"port={port}"]) == 1
    message = f"error: port {port} cannot be used: Address already in use\n  Choose another: make ui PORT="
    assert capsys.readouterr().err.startswith(message)
