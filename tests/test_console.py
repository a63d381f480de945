"""Progress of bytes, as a log file and as a terminal get it."""

import io
import re
import time

from rich.console import Console

from lamella.console import clock, transfer


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
