"""`ui`: what it refuses before a server starts. tests/tracking/test_ui.py looks at the pages it serves."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamella.cli import commands
from lamella.commands import ui
from support.processes import ENVIRONMENT


def test_help_says_how_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.run(["--help"]) == 0
    assert "\n  make ui STORE=sqlite:///file.db " in capsys.readouterr().out


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["ui.py", *arguments])
    with pytest.raises(SystemExit) as end:
        commands.run("ui")
    return end.value.code


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("prt=5001", "there is no key 'prt'\n  Did you mean port? Allowed: port, tracking.uri."),
        ("port=http", "port must be a whole number, at least 1 and at most 65535; got 'http'"),
        ("port=0", "port must be a whole number"),
        ("port=65536", "port must be a whole number"),
        ("tracking.uri=no.db", "there is no store {folder}/no.db\n  Write tracking.uri=sqlite:///FILE.db"),
        ("tracking.uri=sqlite:///no.db", "there is no store {folder}/no.db\n"),
        ("store=no.db", "there is no store {folder}/no.db\n"),
        ("tracking.uri=http://host:5000", "http://host:5000 is a server, which shows its runs itself"),
    ],
)
def test_a_mistake_is_one_message(
    argument: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(monkeypatch, argument) == 1
    assert capsys.readouterr().err.startswith("error: " + message.replace("{folder}", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_busy_port_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert ended(monkeypatch, f"port={port}") == 1
    message = f"error: port {port} cannot be used: Address already in use\n  Choose another: make ui PORT="
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_server_does_not_outlive_a_command_that_is_killed() -> None:
    script = (
        "import os, signal, subprocess\nfrom lamella.commands import ui\n"
        "server = subprocess.Popen(['sleep', '600'], process_group=0)\nui._end_after_this(server.pid)\n"
        "print(server.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    stat = Path(f"/proc/{int(killed.stdout)}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.05)
