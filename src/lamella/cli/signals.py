"""SIGINT and SIGTERM: the program ends in order, with its run marked KILLED."""

import os
import signal
from types import FrameType


class Stopped(SystemExit):
    """Raised where SIGINT or SIGTERM asks the program to end.

    No KeyboardInterrupt: Lightning swallows those, and this one ends a run in the same way.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.problem = f"stopped by {signal.Signals(number).name}"


def stop_on_signals() -> None:
    """Makes SIGINT and SIGTERM raise `Stopped` from now on, so that a run can be marked KILLED and closed."""
    process = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:  # a loader, which has inherited this: its parent ends it, with SIGTERM
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if hasattr(signal, "SIGCHLD"):  # torch raises where a loader ends; from now on that is as it should be
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background job is deaf to Ctrl-C, and stays so
            signal.signal(number, stop)
