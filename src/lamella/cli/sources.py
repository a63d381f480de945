"""Where Hydra finds YAML, and what somebody else's file may not say there: whose code runs."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from lamella.config.paths import CONF
from lamella.errors import ConfigError

_TYPED_ALONE = ("hydra", "plugins", "trust")
"""Top-level keys that decide whose code runs: Hydra builds what stands below its own, Lamella what the others name."""


def search(folders: Sequence[str]) -> None:
    """Makes Hydra read YAML from these folders, the first before the others, whatever it composes from now on."""
    _Folders.names = tuple(folders)
    for kind in (Folder, _Folders):
        Plugins.instance().register(kind)


class Folder(ConfigSource):
    """A folder of YAML files as Hydra reads it. Only Lamella's own may say what Hydra itself runs.

    All reading passes here, also for `--help` and in the processes of a sweep, so that no way to compose goes round
    the check. The first folder is asked for every file before Hydra looks elsewhere: none gets out by `..`.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        kinds: list[Any] = list(Plugins.instance().discover(ConfigSource))
        (files,) = [kind for kind in kinds if kind.scheme() == "file"]
        self._files: ConfigSource = files(provider, self.path)

    @staticmethod
    def scheme() -> str:
        """What stands before the path of such a folder."""
        return "lamella"

    def load_config(self, config_path: str) -> ConfigResult:
        """One file.

        Raises:
            ConfigError: it says what only the command line may say.
        """
        loaded = self._files.load_config(_inside(config_path))
        if Path(self.path) != CONF:
            said = _said(config_path, loaded)
            if said is not None:
                file = Path(self.path) / self._normalize_file_name(config_path)
                raise ConfigError(
                    f"{file} sets {said}: what runs code is said on the command line alone",
                    f"Delete it there. If you mean it, type it: {said}=VALUE.",
                )
        return loaded

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder of choices."""
        return self._files.is_group(_inside(config_path))

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a file."""
        return self._files.is_config(_inside(config_path))

    def available(self) -> bool:
        """Whether the folder itself is there."""
        return self._files.available()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names in a folder of choices."""
        return self._files.list(_inside(config_path), results_filter)


class _Folders(SearchPathPlugin):
    """Hydra asks this for further places whenever it begins to compose."""

    names: ClassVar[tuple[str, ...]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for name in reversed(self.names):
            search_path.prepend("lamella", f"{Folder.scheme()}://{name}")


def _inside(config_path: str) -> str:
    """The same path, if it stays in its folder."""
    path = PurePath(config_path)
    if path.anchor or ".." in path.parts:
        raise ConfigError(f"{config_path!r} leads out of its folder", "Name a file of conf/ or of --config-dir.")
    return config_path


def _said(config_path: str, loaded: ConfigResult) -> str | None:
    """What of `_TYPED_ALONE` a file says: by a key, by the package or folder it is put in, or by its defaults."""
    content = OmegaConf.to_container(loaded.config)  # as written: an interpolation stays text
    if not isinstance(content, dict):
        return None
    for key in _TYPED_ALONE:
        if key in content and not (key == "hydra" and _only_lists(content[key])):
            below = content[key]
            return f"hydra.{next(iter(below), '')}" if key == "hydra" and isinstance(below, dict) else key
    defaults = content.get("defaults", [])
    if not isinstance(defaults, list):
        return "defaults"
    entries = [text for item in defaults for text in (item if isinstance(item, dict) else [item])]
    places = [loaded.header["package"], config_path.rpartition("/")[0], *entries]
    # Not by words: Hydra cuts a package behind its `_global_`, and puts the folder's name in place of a `_group_`.
    found = next((text for text in map(str, places) if "hydra" in text or "_group_" in text), None)
    return found and found.split(" ")[-1].lstrip("/")


def _only_lists(node: Any) -> bool:
    """Whether a file says no more of Hydra than `sweeper.params` with plain lists: what a sweep of it runs through."""
    params = node["sweeper"].get("params") if isinstance(node, dict) and isinstance(node.get("sweeper"), dict) else None
    if not isinstance(params, dict) or node != {"sweeper": {"params": params}}:
        return False
    # Hydra builds params, too: nothing there may be, or lead to, something with a `_target_`.
    plain = all(isinstance(value, str | int | float) and "${" not in str(value) for value in params.values())
    keys = r"(?!(hydra|plugins|trust)\b)[a-zA-Z]\w*([./][a-zA-Z]\w*)*"
    return plain and all(re.fullmatch(keys, str(key)) for key in params)
