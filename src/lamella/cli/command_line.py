"""What a command line asks of Hydra, known before Hydra itself reads it."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from lamella.cli.quoting import quoted
from lamella.config.paths import CONF
from lamella.errors import ConfigError

# Hydra's flags, all of them: argparse takes shortened ones, too, and must find the same here.
_SWITCHES = (
    ("--help", "-h"), ("--hydra-help",), ("--version",), ("--resolve",), ("--run", "-r"), ("--multirun", "-m"),
    ("--shell-completion", "-sc"),
)  # fmt: skip
_VALUES = (
    ("--cfg", "-c"), ("--package", "-p"), ("--config-path", "-cp"), ("--config-name", "-cn"), ("--config-dir", "-cd"),
    ("--experimental-rerun",),
)  # fmt: skip


@dataclass(frozen=True)
class Only:
    """A key that is set in some jobs of a sweep: `KEY@CHOICE=VALUE`.

    Attributes:
        override: the key and its values, as Hydra reads them.
        choice: the jobs that chose it are meant: `unet` those with model=unet.
    """

    override: str
    choice: str


@dataclass(frozen=True)
class Typed:
    """What somebody typed.

    Attributes:
        arguments: all of it, as Hydra is to read it; `only` is left out.
        overrides: what of it is no flag.
        only: what is set in some jobs alone.
        folders: where they keep YAML of their own, absolute.
        config_name: the file that Hydra begins with; None for the command's own.
        sweep: whether it asks for a sweep.
    """

    arguments: list[str]
    overrides: list[str]
    only: list[Only]
    folders: list[str]
    config_name: str | None
    sweep: bool


def read(arguments: Sequence[str], schema: type | None = None) -> Typed:
    """What these arguments ask for; with the schema of a command, its texts are quoted as Hydra needs it.

    Raises:
        ConfigError: they would have Hydra read what may run code, or leave Lamella's own files out; or they give a key
            twice.
        OverrideParseException: what is said of Hydra itself is no override.
    """
    parser = argparse.ArgumentParser(add_help=False)
    for names in _SWITCHES:
        parser.add_argument(*names, action="store_true")
    for names in _VALUES:
        parser.add_argument(*names)
    parser.add_argument("--info", "-i", nargs="?", const="all")
    parser.add_argument("overrides", nargs="*")
    flags, unknown = parser.parse_known_args(arguments)  # unknown flags Hydra will refuse
    if apart := [word for word in unknown if not word.startswith("-")]:
        raise ConfigError(
            f"{apart[0]!r} stands apart from the other overrides, with a flag between them",
            "Write all overrides in one block, the flags before or behind it.",
        )
    if flags.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun reads a pickle, which may run anything", "Type the overrides again.")
    if flags.config_path is not None:
        raise ConfigError("--config-path would leave Lamella's own conf/ out", "Add yours to it: --config-dir=FOLDER.")
    of_hydra = [quoted(each, object, sweep=False) for each in flags.overrides if each.lstrip("+").startswith("hydra.")]
    said = [(each.key_or_group, each.value()) for each in OverridesParser.create().parse_overrides(of_hydra)]
    folders = [] if flags.config_dir is None else [flags.config_dir]
    for place in [place for key, places in said if key == "hydra.searchpath" for place in _each(places)]:
        scheme, found, path = str(place).partition("://")
        if scheme == "file" or not found:  # a package is code, which to name here is to trust
            folders.append(path if found else scheme)
    folders = [str(Path(each).absolute()) for each in folders]
    runs = not any((flags.help, flags.hydra_help, flags.version, flags.shell_completion, flags.cfg, flags.info))
    several = flags.multirun or ("hydra.mode", "MULTIRUN") in said
    written, overrides, only = [*arguments], [*flags.overrides], []
    if schema is not None:
        _require_once(overrides)
        places = [CONF, *map(Path, folders)]
        ready = {each: quoted(each, schema, sweep=several, folders=places) for each in overrides}
        for each in overrides:
            key, _, choice = each.partition("=")[0].partition("@")
            of_group = any((folder / key.lstrip("+")).is_dir() for folder in places)  # then it names a package
            if choice and not of_group:
                only.append(Only(ready.pop(each).replace(f"@{choice}", "", 1), choice))
        if only and not several:
            raise ConfigError(
                f"{only[0].override} is to be set in the jobs of {only[0].choice} alone, and this is no sweep",
                f"Write {only[0].override}; or put -m before it.",
            )
        written = [ready.get(each, each) for each in arguments if each in ready or each not in overrides]
        overrides = [ready[each] for each in overrides if each in ready]
    sweep = runs and not unknown and several
    return Typed(written, overrides, only, folders, flags.config_name, sweep)


def _require_once(overrides: Sequence[str]) -> None:
    """Raises ConfigError where a key is given twice: the last would count, in silence."""
    given: dict[str, str] = {}
    for each in overrides:
        key, _, value = each.partition("=")
        name = re.sub(r"^\+{0,2}", "", key)
        if name in given:
            raise ConfigError(f"{name} is given twice: {given[name]!r} and {value!r}", "Leave one of them out.")
        given[name] = value


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
