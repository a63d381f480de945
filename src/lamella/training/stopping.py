"""How a signal ends a program: at once; while a network trains, when its state is saved.

It knows nothing of Lightning: the command line imports it before anything else.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(SystemExit):
    """Raised where a signal asks the program to end; no KeyboardInterrupt, which Lightning swallows."""

    def __init__(self, number: int) -> None:
        super().__init__(number)  # so that it can be sent from one process to another
        self.number, self.code = number, 128 + number
        self.problem = f"stopped by {signal.Signals(number).name}"


class StopRequest:
    """The signal that has asked a training to end, where one trains.

    Attributes:
        active: a network trains, which looks here after every batch.
        requested: the number of the signal; None: nobody asked.
        remedy: how to go on with what is being done, for who has stopped it; "" for nothing.
    """

    def __init__(self) -> None:
        self.active = False
        self.requested: int | None = None
        self.remedy = ""

    def hear(self, number: int) -> None:
        """What a signal's handler calls: notes the signal where a network trains, else raises `Stopped`."""
        if not self.active:
            raise Stopped(number)
        self.requested = number

    def obey(self) -> None:
        """Raises `Stopped` where somebody asked; called when all is saved."""
        if self.requested is not None:
            raise Stopped(self.requested)


REQUEST = StopRequest()
"""Of this process."""


@contextmanager
def graceful() -> Iterator[None]:
    """While it lasts, a signal is only noted in `REQUEST`; what is still asked for at the end is obeyed then."""
    REQUEST.active, REQUEST.requested = True, None
    try:
        yield
        REQUEST.obey()
    finally:
        REQUEST.active, REQUEST.requested = False, None
