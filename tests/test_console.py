"""Progress of bytes, as a log file and as a terminal get it; and the log that keeps what is printed."""

import io
import re
import sys
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from lamella.console import clock, console, log_file, logged, transfer


def test_a_log_file_gets_a_line_now_and_then():
    out = Console(file=io.StringIO(), width=160)
    with transfer(out, "fetching x.zip", every=0.05) as progress:
        progress(500_000, 2_000_000)  # came in an earlier call, so it is no speed
        time.sleep(0.1)
        progress(600_000, 2_000_000)
        progress(700_000, 2_000_000)
    (line,) = out.file.getvalue().splitlines()
    match = re.fullmatch(r"fetching x\.zip: 600\.0 kB of 2\.0 MB \(30 %\), (\d+)\.\d kB/s, left 0:01", line)
    assert match
    assert 300 < int(match[1]) <= 1000


def test_a_length_that_is_not_known_is_not_said():
    out = Console(file=io.StringIO(), width=160)
    with transfer(out, "fetching x.zip", every=0) as progress:
        progress(1000, None)
        progress(3000, None)
    first, second = out.file.getvalue().splitlines()
    assert first == "fetching x.zip: 1.0 kB, 0 bytes/s"
    assert second.startswith("fetching x.zip: 3.0 kB, ")
    assert "left" not in second


def test_a_terminal_gets_a_bar():
    out = Console(file=io.StringIO(), width=100, force_terminal=True)
    with transfer(out, "fetching x.zip") as progress:
        progress(500_000, 2_000_000)
    assert "fetching x.zip" in out.file.getvalue()
    assert "0.5/2.0 MB" in out.file.getvalue()


def test_clock():
    assert [clock(s) for s in (0, 59.9, 61, 3661)] == ["0:00", "0:59", "1:01", "1:01:01"]


# The log of a run


def _printed(tmp_path, *, terminal=False):
    """What a log has of all that prints, and what the screen got."""
    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        patch.setattr(sys, "stderr", screen)
        screen.isatty = lambda: terminal
        with logged("python train.py tracking.uri=http://me:secret@host"):
            out = console()
            out.print("before there is a folder", style="yellow")
            with log_file(tmp_path / "run" / "train.log"):
                with Progress(console=out, transient=True, disable=not terminal) as bar:
                    line = bar.add_task("training", total=3)
                    for number in range(3):
                        bar.update(line, completed=number, refresh=True)
                        out.print(f"epoch {number}")
                        sys.stderr.write(f"in between {number}\n")
                print("UserWarning: a library's [word]", file=sys.stderr)
                sys.stderr.write("\r 10 %\r 55 %")
                sys.stderr.write("\r100 %\nhttps://me:secret@host/x\n")
            out.print("when all is kept")
        assert sys.stdout is screen
    return (tmp_path / "run" / "train.log").read_text(), screen.getvalue()


def test_a_log_has_what_a_command_prints(tmp_path):
    log, screen = _printed(tmp_path)
    assert re.fullmatch(r"# [\d-]{10} [\d:]{8}  python train\.py tracking\.uri=http://host", log.splitlines()[0])
    expected = ["before there is a folder", *(f"{what} {n}" for n in range(3) for what in ("epoch", "in between"))]
    assert log.splitlines()[1:8] == expected
    assert "UserWarning: a library's [word]" in log
    assert log.splitlines()[-2:] == ["100 %", "https://host/x"]
    assert "secret@host/x" in screen  # what is shown stays as it is
    assert "when all is kept" in screen


def test_of_a_terminal_it_has_the_lines_alone(tmp_path):
    plain, terminal = (_printed(tmp_path / name, terminal=name == "b") for name in "ab")
    assert "\x1b" in terminal[1]
    assert "training" in terminal[1]  # the bar
    assert terminal[0].splitlines()[1:] == plain[0].splitlines()[1:]


def test_a_log_is_gone_on_with_and_has_what_ended_it(tmp_path):
    def fails(command):
        with logged(command), log_file(tmp_path / "train.log"):
            print("x\n" * 3_000_000 if command == "second" else "a line")
            print("one more")
            print(1 / 0)

    for command in ("first", "second"):
        with pytest.raises(ZeroDivisionError):
            fails(command)
    text = (tmp_path / "train.log").read_text()
    first, second = text.split("second\n")
    assert first.splitlines()[0].endswith("first")
    assert first.splitlines()[1:3] == ["a line", "one more"]
    assert first.count("ZeroDivisionError: division by zero") == 1
    assert "there was more, which is not kept" in second
    assert "one more" not in second
    assert second.endswith("ZeroDivisionError: division by zero\n")


def test_a_log_that_cannot_be_written_disturbs_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with logged("train"), log_file(tmp_path / "file" / "train.log"):
        console().print("printed all the same")
