"""The console, and a copy of all that a command prints; while bytes move, a bar with speed and time left on a
terminal, a line now and then in a log file."""

import contextlib
import io
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, NewLine, RenderableType
from rich.control import Control
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from lamella.data.download.unpack import Progress as Report
from lamella.data.download.unpack import in_bytes
from lamella.plaintext import printable

_WIDTH = 160  # of what no terminal shows
_MOST = 4_000_000  # characters of a log: of what prints without end the rest is left out
_LINE = 10_000  # of one that never ends
_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")  # a terminal's own
_SECRET = re.compile(r"(?<=://)[^/\s@]+@")  # user and password in front of a server's name


class Log:
    """What a command has printed: in memory until it is told a file, from then on there, without a terminal's codes."""

    def __init__(self, command: str) -> None:
        self._waiting = [f"# {datetime.now():%Y-%m-%d %H:%M:%S}  {_SECRET.sub('', command)}\n"]
        self._length = 0
        self._file: TextIO | None = None

    def write(self, lines: str, *, always: bool = False) -> None:
        """Adds whole lines, also where there are too many of them already (`always`)."""
        if self._length > _MOST and not always:
            return
        self._length += len(lines)
        if self._length > _MOST and not always:
            lines = "... from here on there was more, which is not kept\n"
        self._waiting.append(_SECRET.sub("", _CODES.sub("", lines)))
        self._pass_on()

    @contextmanager
    def into(self, path: Path) -> Iterator[None]:
        """Appends all that was printed, and is printed meanwhile, to a file, and what ends the block with an error.

        A file that cannot be written is done without: it must not end what it tells of.
        """
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._pass_on()
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            self.write(f"{getattr(stop, 'problem', 'stopped')}\n", always=True)
            raise
        except BaseException as error:
            self.write("".join(traceback.format_exception(error)), always=True)
            raise
        finally:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
            self._file = None

    def _pass_on(self) -> None:
        if self._file is not None:
            text = "".join(self._waiting)
            self._waiting.clear()
            with contextlib.suppress(OSError, ValueError):
                self._file.write(text)
                self._file.flush()


_log: Log | None = None  # of the command, or the job of a sweep, that runs


@contextmanager
def logged(command: str) -> Iterator[None]:
    """Keeps all that is printed meanwhile, to stdout or stderr by whatever part of this process, for `log_file`.

    Args:
        command: stands above it, with the time.
    """
    global _log
    before = _log, sys.stdout, sys.stderr
    _log = Log(command)
    sys.stdout, sys.stderr = (cast(TextIO, _Copied(_own(stream), _log)) for stream in (sys.stdout, sys.stderr))
    try:
        yield
    finally:
        _log, sys.stdout, sys.stderr = before


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Appends to a file what was printed since `logged` began, and what is printed meanwhile; see `Log.into`."""
    with _log.into(path) if _log is not None else contextlib.nullcontext():
        yield


class _Copied:
    """A stream whose lines a log gets, too: of one that was overwritten, as by a bar of progress, what stood last."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self.stream, self._kept, self._line = stream, log, ""

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's own: whether it is a terminal, its encoding."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        written = self.stream.write(text)
        ended, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._kept.write("".join(f"{_last(line)}\n" for line in ended.split("\n")))
        if len(self._line) > _LINE:
            self._line = _last(self._line)[-_LINE:]
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)


def _last(line: str) -> str:
    """What is to be seen of a line that was written over."""
    return line.rstrip("\r").rpartition("\r")[2]


def _own(stream: TextIO) -> TextIO:
    """A stream without the copy that `logged` has made of it."""
    return stream.stream if isinstance(stream, _Copied) else stream


class Plain(Console):
    """A console to which text is text: no [markup], :emoji: or control character is obeyed. Style is given beside."""

    def __init__(self, log: Log | None = None, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        self._log = log

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints, and gives the log what a file would have got: no bar of progress, no colour."""
        super().print(*objects, **options)
        if self._log is not None and not (objects and all(isinstance(each, Control | NewLine) for each in objects)):
            copy = Plain(file=io.StringIO(), width=_WIDTH, color_system=None, soft_wrap=self.soft_wrap)
            copy.print(*objects, **options)
            self._log.write(copy.file.getvalue())  # type: ignore[attr-defined]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of anything that is shown; all that is printed passes here."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else piece._replace(text=printable(piece.text, lines=True))

    def render_str(self, text: str, **options: Any) -> Text:
        """The same for a cell of a table, which is made as wide as what is shown."""
        return super().render_str(printable(text, lines=True), **options)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """A line with a spinner, which takes even a plain console's text for markup."""
        return super().status(Text(status) if isinstance(status, str) else status, **options)


class Held(Plain):
    """A console whose text waits to be wanted; spinners turn at once.

    Args:
        out: where all is shown.
    """

    def __init__(self, out: Console) -> None:
        super().__init__(file=out.file, width=None if out.is_terminal else out.width, soft_wrap=True)
        self._out, self._wanted = out, False
        self._said: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints, now or when it is wanted."""
        if any(isinstance(each, Control) for each in objects):
            super().print(*objects, **options)
        elif self._wanted:
            self._out.print(*objects, **options)
        else:
            self._said.append((objects, options))

    def tell(self) -> None:
        """Prints what waits, and from now on at once."""
        self._wanted = True
        while self._said:
            objects, options = self._said.pop(0)
            self._out.print(*objects, **options)


def console() -> Console:
    """Standard output; as wide as a log file needs where it is no terminal."""
    return Plain(_log, file=_own(sys.stdout), width=None if sys.stdout.isatty() else _WIDTH, soft_wrap=True)


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def counting(out: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many things are done, on a terminal; gives the function to call with (things done, things in all)."""
    with out.status(what) as status:
        yield lambda done, total: status.update(Text(f"{what}: {done} of {total}"))


@contextmanager
def transfer(out: Console, what: str, every: float = 10) -> Iterator[Report]:
    """Shows how far something has come; gives the function to call with (bytes done, bytes in all or None).

    Where `out` is no terminal, `every` seconds lie between two lines.
    """
    if not out.is_terminal:
        yield _Lines(out, what, every)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=out, transient=True) as bar:
        line = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(line, completed=done, total=total)


class _Lines:
    """A line every few seconds."""

    def __init__(self, out: Console, what: str, every: float) -> None:
        self.out, self.what, self.every = out, what, every
        self.shown = self.began = time.monotonic()
        self.first = self.last = -1  # nothing yet

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self.first < 0 or done < self.last:  # what came in earlier calls is no speed; begun anew
            self.first, self.began = done, now
        self.last = done
        if now - self.shown < self.every:
            return
        self.shown = now
        speed = (done - self.first) / max(now - self.began, 1e-9)
        share = "" if total is None else f" of {in_bytes(total)} ({100 * done / max(total, 1):.0f} %)"
        line = f"{self.what}: {in_bytes(done)}{share}, {in_bytes(speed)}/s"
        if total is not None and speed > 0:
            line += f", left {clock((total - done) / speed)}"
        self.out.print(line)
