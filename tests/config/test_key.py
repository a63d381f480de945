"""Bounds of values, also for those who build things without a configuration."""

import dataclasses
import math
from typing import Annotated, Any

import pytest

from lamella.config.key import Key, hold
from lamella.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        (Key("", least=1), [1, 5, None, [1, 2]], [0, -1, math.nan, math.inf, [1, 0]]),
        (Key("", above=0, most=1), [0.001, 1], [0, 1.001]),
        (Key("", choices=("a", "b")), ["a", None, ["a", "b"]], ["c", "", ["a", "c"]]),
        (Key(""), [0, "x", True, -1.5], [math.nan, -math.inf]),
        (Key("", least=1), [True, False], []),  # a truth value is no number
        (Key("", least=0, length=2), [[1, 2], None], [[], [1], [1, 2, 3], [1, -1]]),
    ],
)
def test_bounds(key: Key, good: list[Any], bad: list[Any]) -> None:
    assert all(key.allows(value) for value in good)
    assert not any(key.allows(value) for value in bad)


def test_bounds_in_words() -> None:
    assert Key("", above=0, most=2**32 - 1).allowed() == "above 0 and at most 4294967295"
    assert Key("", least=0.25).allowed() == "at least 0.25"
    assert Key("").allowed() == ""
    assert Key("", least=0, length=2).allowed() == "2 of them and at least 0"


def test_hold_names_the_field() -> None:
    @dataclasses.dataclass
    class Thing:
        share: Annotated[float, Key("a share", least=0, most=1)]
        size: Annotated[float, Key("no bounds")] = 0

    hold(Thing(1))
    with pytest.raises(ConfigError, match=r"^Thing\.share must be at least 0 and at most 1; got 2"):
        hold(Thing(2))
    with pytest.raises(ConfigError, match=r"^Thing\.size must be a finite number; got nan"):
        hold(Thing(1, math.nan))
