"""What somebody typed -> what Hydra reads as exactly that: texts are quoted here, so that nobody needs to know how."""

import inspect
import os
import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse

from lamella.config.key import Texts
from lamella.config.paths import CONF
from lamella.config.words import hints_of, kind_and_key, plain_group, target_class
from lamella.errors import ConfigError

_ASSIGNMENT = re.compile(r"(\+{0,2})([\w./@:$-]+)=(.*)", re.DOTALL)
_NULL = object()


def quoted(argument: str, schema: type, *, sweep: bool, folders: Sequence[Path] = (CONF,)) -> str:
    """One argument of a command line as Hydra has to be given it; what Hydra reads as it was meant stays as it is.

    A key that takes text is given what was typed, but for quotes around the whole, `${...}`, and `null` where there may
    be none. In a sweep commas part values, unless they stand in quotes or behind a backslash; functions such as
    `choice(a,b)` are Hydra's. Of any other key, what Hydra cannot read is text.

    Args:
        argument: as the shell gave it; flags and what is no `key=value` are not touched.
        schema: of the command.
        sweep: whether the line asks for a sweep.
        folders: where the choices of groups lie.

    Raises:
        ConfigError: in a sweep, a path with a comma that is there.
    """
    match = _ASSIGNMENT.fullmatch(argument)
    if argument.startswith("-") or match is None:
        return argument
    plus, key, typed = match.groups()
    read = _read(argument)
    if (_is_quoted(typed) and read is not None) or (read == typed and not _half_interpolated(typed)):
        return argument
    kind = _kind_at(key.partition("@")[0], schema, folders)
    if kind == Texts:
        kind = list[str] | None if typed.startswith("[") and typed.endswith("]") else str | None
    if kind in (str, str | None):
        if sweep and isinstance(read, Sweep) and not (isinstance(read, ChoiceSweep) and read.simple_form):
            return argument
        pieces = _parted(typed) if sweep else [typed]
        if len(pieces) > 1 and os.path.exists(typed):  # noqa: PTH110 - of a name that is too long, Path raises
            raise ConfigError(
                f"{key}={typed}: in a sweep commas part values, and there is a file or folder of that whole name",
                f"Put it in quotes within quotes, \"{key}='{typed}'\", or write \\, for its commas.",
            )
        return f"{plus}{key}=" + ",".join(_text(piece, kind) for piece in pieces)
    if read is not None and not (isinstance(read, list) and any(isinstance(each, int | float) for each in read)):
        return argument
    if kind in (list[str], list[str] | None) and typed.startswith("[") and typed.endswith("]"):
        inner = typed[1:-1].strip()
        return f"{plus}{key}=[" + ",".join(_text(piece, str) for piece in (_parted(inner) if inner else [])) + "]"
    return argument if read is not None or typed[:1] in ("[", "{") else f"{plus}{key}={_text(typed, Any)}"


def _read(argument: str) -> Any:
    """What Hydra reads, lists and sweeps as such; None where it cannot read it. A null is _NULL."""
    try:
        value = OverridesParser.create().parse_override(argument).value()
    except (HydraException, ValueError):
        return None
    return _NULL if value is None else value


def _text(typed: str, kind: Any) -> str:
    """A text in quotes that stand for just it; null stays null where there may be none."""
    if _is_quoted(typed) and _read(f"k={typed}") is not None:
        return typed
    if kind == str | None and typed.casefold() == "null":
        return "null"
    if _half_interpolated(typed):
        typed = re.sub(r"(\\*)\$\{", r"\1\1\\${", typed)
    return QuotedString(typed, Quote.single).with_quotes()


def _is_quoted(typed: str) -> bool:
    return len(typed) > 1 and typed[0] == typed[-1] and typed[0] in "'\""


def _half_interpolated(typed: str) -> bool:
    """Whether a `${` in it begins no interpolation: then it is a part of the text."""
    if "${" not in typed:
        return False
    try:
        parse(typed)
    except GrammarParseError:
        return True
    return False


def _parted(typed: str) -> list[str]:
    """A text parted at its commas; not at those in quotes, in `${...}`, or behind a backslash, which goes."""
    pieces = re.findall(r"""\s*("(?:\\.|[^"\\])*"(?=\s*(?:,|$))|'(?:\\.|[^'\\])*'(?=\s*(?:,|$))|"""
                        r"""(?:\$\{[^}]*\}|\\,|[^,])*)\s*(?:,|$)""", typed, re.DOTALL)  # fmt: skip
    if not typed.endswith(","):
        pieces.pop()  # the empty one at the end
    return [piece if _is_quoted(piece) else piece.strip().replace("\\,", ",") for piece in pieces]


def _kind_at(key: str, schema: type, folders: Sequence[Path]) -> Any:
    """The type that a dotted key takes; None where it is not known, or not the same for all choices of its group."""
    hint: Any = schema
    names = key.split(".")
    for place, name in enumerate(names):
        if group := plain_group(hint):
            hint = hints_of(group).get(name)
        elif target := target_class(hint):
            hint = hints_of(target).get(name)
            if hint is None and place == len(names) - 1:
                return _kind_of_choices("/".join(names[:place]), name, folders)
        else:
            return None
    return None if hint is None or plain_group(hint) or target_class(hint) else kind_and_key(hint)[0]


def _kind_of_choices(group: str, name: str, folders: Sequence[Path]) -> Any:
    """The type of an argument of the functions that the files of a group name. Imports those that have it."""
    files = [file for folder in folders for file in sorted((folder / group).glob("*.yaml"))]
    nodes: list[Any] = [OmegaConf.to_container(OmegaConf.load(file)) for file in files]
    targets = {str(node.get("_target_")) for node in nodes if isinstance(node, dict) and name in node}
    kinds = set()
    for target in targets:
        try:
            function: Any = pkgutil.resolve_name(target) if target.startswith("lamella.") else None
            kinds.add(kind_and_key(inspect.signature(function).parameters[name].annotation)[0])
        except (ImportError, AttributeError, KeyError, TypeError, ValueError):
            return None
    return kinds.pop() if len(kinds) == 1 else None
