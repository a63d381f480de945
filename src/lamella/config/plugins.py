"""A user's own code: modules that a `_target_` may name, because whoever typed the command named or installed them.

A module of an installed package needs no naming where the package says so itself, by an entry point of the group
`lamella.plugins`.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from lamella.errors import ConfigError

ENTRY_POINTS = "lamella.plugins"


def load(names: Sequence[str], key: str = "plugins") -> tuple[str, ...]:
    """The names of the modules that `names` stand for, each imported.

    Args:
        names: modules, or files that end in .py. What a user typed: relative to where they stand.
        key: where they were typed, for messages.

    Raises:
        ConfigError: one does not exist, does not import (its own traceback is in the message), or hides another.
    """
    names = [names] if isinstance(names, str) else names
    return tuple(_file(name, key) if name.endswith(".py") else _module(name, key) for name in names)


def owner(name: str, modules: Iterable[str]) -> str | None:
    """The module of `modules`, or of an entry point, that a dotted name lies in; None where it lies in none of them."""
    for some in (modules, _entry_points()):  # those of entry points take a look at every installed package
        if found := max((each for each in some if name.startswith(f"{each}.")), key=len, default=None):
            return found
    return None


def sources(module: str) -> dict[str, bytes]:
    """The Python files of a plug-in: their names, below its own folder -> their content.

    Of a file that is the file alone, of a package every .py in it, and nothing of what was installed by pip, whose
    version says as much.
    """
    file = _place(module)
    if _distribution(module, file):
        return {}
    if file.name != "__init__.py":
        return {file.name: file.read_bytes()}
    folder = file.parent
    return {str(each.relative_to(folder.parent)): each.read_bytes() for each in sorted(folder.rglob("*.py"))}


def fingerprints(modules: Iterable[str]) -> dict[str, str]:
    """What tells versions of plug-ins apart: module -> the SHA-256 of its files, or its installed package's version."""
    result = {}
    for module in sorted({*modules}):
        digest = hashlib.sha256()
        for name, content in sources(module).items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        result[module] = _distribution(module, _place(module)) or f"sha256:{digest.hexdigest()}"
    return result


def broken(name: str, key: str, error: BaseException) -> ConfigError:
    """The error for a plug-in that does not import, with the part of the traceback that is the plug-in's."""
    return _told(f"{key} names {name!r}, which cannot be imported", error)


def failed(name: str, error: BaseException) -> ConfigError:
    """The error for a function of a user's own that raised another, with the part of the traceback that is theirs."""
    return _told(f"{name} failed", error)


def is_exit(error: BaseException) -> bool:
    """Whether somebody's code called `sys.exit`, which would end the command as if all were well."""
    return type(error) is SystemExit  # not one of ours, by which a signal ends a run


def _told(problem: str, error: BaseException) -> ConfigError:
    told = traceback.TracebackException.from_exception(error)
    ours = str(Path(__file__).parents[1])
    outside = [f for f in told.stack if not f.filename.startswith((ours, "<frozen", importlib.__path__[0]))]
    told.stack = traceback.StackSummary.from_list(outside)
    told.__cause__ = told.__context__ = None
    *_, last = told.format_exception_only()
    return ConfigError(f"{problem}: {last.splitlines()[0]}", "".join(told.format()).rstrip())


def _module(name: str, key: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{key} names {name!r}, which is neither a module nor a file that ends in .py")
    # Where the user stands is looked at only for what is not installed, and only now: what else lies there stays out.
    installed = importlib.util.find_spec(name.partition(".")[0]) is not None
    try:
        with contextlib.nullcontext() if installed else _searched(Path.cwd()):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            problem = f"{key} names {name!r}, and there is no such module"
            raise ConfigError(problem, f"A file is named by its path: {key}=[path/to/{name}.py].") from error
        raise broken(name, key, error) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not is_exit(error):
            raise
        raise broken(name, key, error) from error
    return name


def _file(name: str, key: str) -> str:
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise ConfigError(f"{key} names {name!r}, and there is no such file", f"You stand in {Path.cwd()}.")
    module = path.stem
    if not module.isidentifier():
        better = "".join(letter if letter.isalnum() else "_" for letter in module)
        problem = f"{key} names {name!r}, and no `_target_` can begin with {module!r}"
        raise ConfigError(problem, f"Rename the file, for example to {better}.py.")
    there: ModuleType | None = sys.modules.get(module)
    spec = there.__spec__ if there else importlib.util.find_spec(module)
    if (there is not None and spec is None) or (
        spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path.resolve())
    ):
        problem = f"{key} names {name!r}, but {module} is {(spec and spec.origin) or 'another module'} already"
        raise ConfigError(problem, "Rename the file.")
    if there is None:
        spec = importlib.util.spec_from_file_location(module, path)
        assert spec is not None
        assert spec.loader is not None
        made = sys.modules[module] = importlib.util.module_from_spec(spec)
        try:
            with _searched(path.parent):  # for what it imports from beside it
                spec.loader.exec_module(made)
        except BaseException as error:
            del sys.modules[module]
            if isinstance(error, Exception) or is_exit(error):
                raise broken(name, key, error) from error
            raise
    return module


@contextlib.contextmanager
def _searched(folder: Path) -> Iterator[None]:
    """Lets Python import from a folder, after all else, for as long as a plug-in is imported.

    No longer: libraries try names that are not installed, and must not find them there.
    """
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _place(module: str) -> Path:
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:  # a folder without __init__.py
        raise ConfigError(
            f"the plug-in {module} has no file of its own, so that it cannot be kept with the run",
            "Give its folder an __init__.py, or name the module in it.",
        )
    return Path(file)


def _distribution(module: str, file: Path) -> str | None:
    """The installed package that a module belongs to, with its version; None for a user's own files."""
    installed = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")]
    if not any(file.resolve().is_relative_to(folder) for folder in installed):
        return None
    name = metadata.packages_distributions().get(module.partition(".")[0], [""])[0]
    return f"{name} {metadata.version(name)}" if name else f"python {sys.version.split()[0]}"


@cache
def _entry_points() -> tuple[str, ...]:
    return tuple(point.module for point in metadata.entry_points(group=ENTRY_POINTS))
