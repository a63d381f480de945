"""What a command line asks of Hydra, known before Hydra itself reads it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

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
class Typed:
    """What somebody typed.

    Attributes:
        overrides: all that is no flag.
        folders: where they keep YAML of their own, absolute.
        config_name: the file that Hydra begins with; None for the command's own.
        sweep: whether it asks for a sweep.
    """

    overrides: list[str]
    folders: list[str]
    config_name: str | None
    sweep: bool


def read(arguments: Sequence[str]) -> Typed:
    """What these arguments ask for.

    Raises:
        ConfigError: they would have Hydra read what may run code, or leave Lamella's own files out.
        OverrideParseException: an override is no override.
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
    folders = [] if flags.config_dir is None else [flags.config_dir]
    said = [(each.key_or_group, each.value()) for each in OverridesParser.create().parse_overrides(flags.overrides)]
    for place in [place for key, places in said if key == "hydra.searchpath" for place in _each(places)]:
        scheme, found, path = str(place).partition("://")
        if scheme == "file" or not found:  # a package is code, which to name here is to trust
            folders.append(path if found else scheme)
    runs = not any((flags.help, flags.hydra_help, flags.version, flags.shell_completion, flags.cfg, flags.info))
    sweep = runs and not unknown and (flags.multirun or ("hydra.mode", "MULTIRUN") in said)
    return Typed(flags.overrides, [str(Path(each).absolute()) for each in folders], flags.config_name, sweep)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
