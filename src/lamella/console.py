"""The console; while bytes move, a bar with speed and time left on a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.control import Control
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from lamella.data.download.unpack import Progress as Report
from lamella.data.download.unpack import in_bytes
from lamella.plaintext import printable


class Plain(Console):
    """A console to which text is text: no [markup], :emoji: or control character is obeyed. Style is given beside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

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
        hold: whether text waits at all.
    """

    def __init__(self, out: Console, hold: bool) -> None:
        super().__init__(file=out.file, width=None if out.is_terminal else out.width, soft_wrap=True)
        self._hold = hold
        self._said: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints, now or when it is wanted."""
        if self._hold and not any(isinstance(each, Control) for each in objects):
            self._said.append((objects, options))
        else:
            super().print(*objects, **options)

    def tell(self) -> None:
        """Prints what waits, and from now on at once."""
        self._hold = False
        while self._said:
            objects, options = self._said.pop(0)
            self.print(*objects, **options)


def console() -> Console:
    """Standard output; as wide as a log file needs where it is no terminal."""
    return Plain(file=sys.stdout, width=None if sys.stdout.isatty() else 160, soft_wrap=True)


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
