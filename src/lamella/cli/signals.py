"""Signals that ask the program to end: heard from its first line on, and obeyed within seconds whatever it does.

A handler raises `Stopped`, or leaves a request where a network trains (`lamella.training.stopping`). It is only called
between two steps of Python, and what it raises may be lost. So a thread, which the system itself wakes, watches: it
ends the process where that takes too long, and at once where somebody asks again.
"""

import contextlib
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lamella.errors import report
from lamella.training.stopping import REQUEST, Stopped

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK")
ASKING = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""Ctrl-C; what `kill`, `timeout` and batch systems send, Slurm's warnings among it; a terminal that closes."""

_SAME_S = 0.5  # `timeout` and others send one signal twice, to a process and to its group
_SAVED_S = 6.5  # what a network that trains may take until it has saved its state
_LATEST_S = 9.0


class _Ears:
    """What one process has heard. See `listen`."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.asked: int | None = None
        self._raise_again = False
        self._sent_again = 0
        self._hook = sys.unraisablehook
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def open(self) -> None:
        """Takes over all signals that are not ignored: a shell's background job is deaf to Ctrl-C, and stays so."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in ASKING}
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, self._hear)
        sys.unraisablehook = self._swallowed
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def close(self) -> None:
        """Gives all signals back."""
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)  # None: not set from Python
        sys.unraisablehook = self._hook
        os.close(self._write)  # which `_watch` notices

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a fork, which has inherited this: its parent ends it, with SIGTERM
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.asked is not None and not self._raise_again:
            return  # `_watch` ends it
        self.asked, self._raise_again = self.asked or number, False
        if hasattr(signal, "SIGCHLD"):  # torch raises where a loader ends; from now on that is as it should be
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        REQUEST.hear(self.asked)

    def _swallowed(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Python drops what a finalizer raises, and a signal may be heard in one: it is sent once more."""
        if not isinstance(unraisable.exc_value, Stopped):
            self._hook(unraisable)
            return
        again = threading.Timer(0.05, self._send_again, [unraisable.exc_value.number])
        again.daemon = True
        again.start()

    def _send_again(self, number: int) -> None:
        """Sends a signal to the thread that hears signals, so that it wakes where it waits."""
        self._raise_again = True
        self._sent_again += 1
        main_thread = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main_thread is not None:
            signal.pthread_kill(main_thread, number)
        else:  # Windows
            signal.raise_signal(number)

    def _watch(self) -> None:
        """Ends the process where nothing else does. Runs in a thread of its own."""
        first, number, pushed = 0.0, 0, False
        while True:
            wait = None if not number else _LATEST_S if pushed else _SAVED_S
            ready = wait is None or select.select([self._read], [], [], max(0, first + wait - time.monotonic()))[0]
            news = os.read(self._read, 64) if ready else b""
            if ready and not news:
                os.close(self._read)
                return
            for heard in news:
                if heard not in ASKING:
                    continue
                if self._sent_again:
                    self._sent_again -= 1
                elif not number:
                    first, number = time.monotonic(), heard
                    if hasattr(signal, "setitimer"):  # the system's own, should no thread run any more
                        signal.setitimer(signal.ITIMER_REAL, _LATEST_S + 0.5)
                elif time.monotonic() > first + _SAME_S and heard != getattr(signal, "SIGXCPU", None):
                    self._leave(heard, "at once: a second signal")
            if number and not pushed and time.monotonic() > first + _SAVED_S:
                pushed = True
                if REQUEST.active:  # a step that takes too long
                    REQUEST.active = False
                    self._send_again(number)
            if number and time.monotonic() > first + _LATEST_S:
                self._leave(number, f"and after {_LATEST_S:g} s still at work")

    def _leave(self, number: int, how: str) -> None:
        """Ends the process as it is."""

        def say() -> None:
            with contextlib.suppress(Exception):
                report((f"stopped by {signal.Signals(number).name}, {how}", REQUEST.remedy), None)
                sys.stderr.flush()

        saying = threading.Thread(target=say, daemon=True)  # a full pipe takes no line
        saying.start()
        saying.join(0.4)
        os._exit(128 + number)


_ears: _Ears | None = None


def listen() -> None:
    """Takes over the signals that ask this process to end, from its main thread; a second time nothing happens."""
    global _ears
    if _ears is None or _ears.process != os.getpid():
        _ears = _Ears()
        _ears.open()


def asked() -> int | None:
    """The number of the signal that has asked this process to end; None: nobody did."""
    return _ears.asked if _ears is not None else None


@contextmanager
def heard() -> Iterator[None]:
    """What runs meanwhile ends with one line and the exit code 128 + number where a signal asks for it."""
    global _ears
    listen()
    assert _ears is not None
    try:
        yield
    except Stopped as stop:
        with contextlib.suppress(OSError):  # the terminal is gone
            report((stop.problem, REQUEST.remedy), None)
        raise
    finally:
        if _ears.asked is None:
            _ears.close()
            _ears = None


def _leave_terminal() -> None:
    """Writes to nowhere from now on, where the terminal was closed: an error of writing must not be why a run ends."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _deaf() -> None:
    """In a fork: what it hears is not its parent's."""
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _deaf() if _ears is not None else None)
