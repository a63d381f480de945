"""The errors a user can cause. Each message says what is wrong, where, and what to do about it."""

import contextlib
import re
import sys
import traceback

from lamella.plaintext import printable


class LamellaError(Exception):
    """Base of all errors that are shown as one `error: ...` message, exit code 1, without a traceback.

    Args:
        problem: what is wrong, naming the file or the key. One line.
        remedy: what to do about it. One line or a few; shown below the problem.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem


class ConfigError(LamellaError):
    """A key, a value or a combination of them that the configuration does not allow."""


class DataError(LamellaError):
    """A file or a data set that cannot be used as it is."""


class WeightsError(LamellaError):
    """Weights that were asked for and cannot be had."""


class StorageError(LamellaError):
    """A folder, a disk or a tracking store that cannot be read or written."""


def report(message: tuple[str, str], error: BaseException | None) -> int:
    """Writes a problem and its remedy, and the traceback of `error`, to stderr; returns the exit code."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    problem, remedy = printable(message[0]), printable(message[1], lines=True)
    text = f"error: {problem}\n" + (f"  {remedy}\n" if remedy else "")
    if error is not None:
        text += "".join(traceback.format_exception(error))
    sys.stderr.write(without_secrets(text))
    return 1


def without_secrets(text: str) -> str:
    """A text with *** in place of what stands before the @ of an address in it: a user's name and password."""
    return re.sub(r"(\w://)[^\s'\"]+@", r"\1***@", text)
