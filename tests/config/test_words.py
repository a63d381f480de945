"""Keys, types and bounds as a user reads them."""

import re
from typing import Annotated, Literal

from lamella.config.key import Key
from lamella.config.schema import SCHEMAS, Config, Evaluate
from lamella.config.words import expected, in_words, kind_and_key, meanings, names_at, suggestion


def test_meanings_name_every_plain_key_with_its_bounds() -> None:
    text = meanings(Config)
    for node in ("data", "trainer", "tracking", "paths"):
        for name in names_at(node, Config):
            assert f"{node}.{name}" in text
    assert "seed" in text
    assert "(a whole number or null, at least 1)" in text
    assert all(len(line) < 150 for line in text.splitlines())


def test_names_and_expectations_follow_the_schema() -> None:
    assert "max_epochs" in names_at("trainer", Config)
    assert "trainer" in names_at("", Config)
    assert names_at("trainer.max_epochs", Config) == names_at("nosuch.key", Config) == []
    assert expected("trainer.max_epochs", Config) == "a whole number, at least 1"
    assert expected("trainer.patience", Config) == "a whole number or null, at least 1"
    assert expected("trainer", Config) == expected("model", Config) == "a group of keys"
    assert expected("model.encoder", Config) == expected("nosuch", Config) == ""


def test_suggestions_name_the_nearest_and_all() -> None:
    assert suggestion("modle", ["seed", "model"]) == "Did you mean model? Allowed: model, seed."
    assert suggestion("xyz", ["seed"]) == "Allowed: seed."
    assert suggestion("xyz", []) == ""


def test_choices_are_a_literal_or_in_the_key() -> None:
    for hint in (Annotated[Literal["a", "b"], Key("")], Annotated[str, Key("", choices=("a", "b"))], Literal["a", "b"]):
        assert in_words(*kind_and_key(hint)) == "one of a, b"
    assert in_words(*kind_and_key(Annotated[Literal["a", "b"] | None, Key("")])) == "one of a, b or null"
    assert expected("accelerator", Evaluate) == "one of auto, cpu, gpu or null"


def test_every_key_of_every_command_has_a_meaning() -> None:
    for schema in SCHEMAS.values():
        for line in meanings(schema).splitlines():
            assert not re.match(r"\s+\S+\s+\(", line), line
