"""What one configuration key means and allows, written beside the argument or field that takes it."""

import math
import typing
from dataclasses import dataclass
from typing import Any

from lamella.errors import ConfigError

ALLOWABLE = ("hidden", "mixed", "swapped", "turned", "inverted", "conflict", "leak", "neighbours", "class")
"""The kinds of faults that `dataset.allow` may name; `lamella.data.audit` finds them."""

Texts = str | list[str] | None
"""The type of a key that takes one text or several in brackets, each as it is typed."""


@dataclass(frozen=True)
class Key:
    """The meaning and the bounds of one value, written as `Annotated[type, Key(...)]` where its type stands.

    That is at a dataclass field or a keyword-only argument. `lamella.config.check` holds values to the bounds before
    anything starts; `--help` shows the meaning.

    Attributes:
        meaning: one line, shown by `--help`.
        above: numbers must be greater than this.
        least: numbers must be at least this.
        most: numbers must be at most this.
        choices: the only values allowed.
        length: how many items a list must have.
        path: it is where a file or folder is: `~` is the home folder, and nothing is no place.
    """

    meaning: str
    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    length: int | None = None
    path: bool = False

    def allowed(self) -> str:
        """The bounds in words; "" where there are none."""
        parts = [] if self.length is None else [f"{self.length} of them"]
        if self.choices:
            parts.append("one of " + ", ".join(self.choices))
        for words, bound in (("above", self.above), ("at least", self.least), ("at most", self.most)):
            if math.isfinite(bound):
                parts.append(f"{words} {bound!r}".removesuffix(".0"))
        return " and ".join(parts)

    def allows(self, value: object) -> bool:
        """Whether `value` (or each item of a list) keeps the bounds; None always does."""
        if value is None:
            return True
        if isinstance(value, (list, tuple)):
            return self.length in (None, len(value)) and all(self.allows(item) for item in value)
        if self.choices and value not in self.choices:
            return False
        if self.path and value == "":  # Python would take it for the folder one stands in
            return False
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return math.isfinite(value) and self.above < value and self.least <= value <= self.most
        return True


def hold(instance: Any) -> None:
    """Refuses a dataclass with a value out of its key's bounds: for those who build one without a configuration.

    Raises:
        ConfigError: names the first field whose value is out of bounds.
    """
    for name, hint in typing.get_type_hints(type(instance), include_extras=True).items():
        key = typing.get_args(hint)[1]
        value = getattr(instance, name)
        if not key.allows(value):
            allowed = key.allowed() or "a finite number"
            raise ConfigError(f"{type(instance).__name__}.{name} must be {allowed}; got {value!r}")
