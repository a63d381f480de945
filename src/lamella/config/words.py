"""Keys, types and bounds in a user's words, for `--help` and for messages."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from lamella.config.key import Key
from lamella.config.schema import Target


def meanings(schema: type, path: str = "") -> str:
    """Every key of a schema's plain nodes with its meaning, type and bounds, one a line, for `--help`."""
    lines = []
    for name, hint in hints_of(schema).items():
        if group := plain_group(hint):
            lines.append(meanings(group, f"{path}{name}."))
        elif target_class(hint) is None:
            kind, key = kind_and_key(hint)
            lines.append(f"  {path + name:<23} {key.meaning} ({in_words(kind, key)})")
    return "\n".join(lines)


def suggestion(wrong: str, names: Iterable[str]) -> str:
    """The remedy for a misspelt name: the nearest one, then all."""
    allowed = sorted(names)
    near = difflib.get_close_matches(wrong, allowed, n=1)
    return (f"Did you mean {near[0]}? " if near else "") + (f"Allowed: {', '.join(allowed)}." if allowed else "")


def names_at(path: str, schema: type) -> list[str]:
    """The keys that a plain node holds, "" for the top; none where the schema ends."""
    group = plain_group(_hint(path, schema))
    return list(hints_of(group)) if group else []


def expected(path: str, schema: type) -> str:
    """What a plain key takes, in words; "" where the schema ends."""
    hint = _hint(path, schema)
    return "" if hint is None else in_words(*kind_and_key(hint))


def hints_of(node: type) -> dict[str, Any]:
    """The fields of a dataclass with their annotations, in order."""
    hints = typing.get_type_hints(node, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(node)}


def plain_group(hint: Any) -> type | None:
    """The dataclass of a plain node; None where an annotation is no such node."""
    return hint if dataclasses.is_dataclass(hint) and isinstance(hint, type) and not target_class(hint) else None


def target_class(hint: Any) -> type[Target] | None:
    """The `Target` that an annotation asks for, also where null may stand for it; None for all else."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Target)), None)


def kind_and_key(hint: Any) -> tuple[Any, Key]:
    """`Annotated[type, Key]` taken apart; a bare type has no bounds, a Literal is text with choices."""
    kind, key = hint, Key("")
    if typing.get_origin(hint) is Annotated:
        kind, *notes = typing.get_args(hint)
        key = next((note for note in notes if isinstance(note, Key)), key)
    for each in (kind, *typing.get_args(kind)):
        if typing.get_origin(each) is Literal:
            text = str if each is kind else str | None
            return text, dataclasses.replace(key, choices=typing.get_args(each))
    return kind, key


def in_words(kind: Any, key: Key) -> str:
    """Type and bounds in a user's words: "a whole number or null, at least 1"."""
    if key.choices:
        return key.allowed() + (" or null" if type(None) in typing.get_args(kind) else "")
    names = _type_name(kind).replace("text", "a path") if key.path else _type_name(kind)
    return ", ".join(filter(None, (names, key.allowed())))


def _hint(path: str, schema: type) -> Any:
    """The annotation of a dotted key of the plain nodes; None where there is none."""
    hint: Any = schema
    for name in path.split(".") if path else []:
        group = plain_group(hint)
        hint = hints_of(group).get(name) if group else None
    return hint


def _type_name(kind: Any) -> str:
    names = {Any: "any value", int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    many = {int: "whole numbers", float: "numbers", bool: "truth values", str: "texts"}
    arguments = typing.get_args(kind)
    if type(None) in arguments:
        return " or ".join([*(_type_name(a) for a in arguments if a is not type(None)), "null"])
    if typing.get_origin(kind) is list:
        return f"a list of {many[arguments[0]]}"
    return names.get(kind, "a group of keys")
