"""Where Lamella's own files are, where what it makes goes unless a key says otherwise, and how its commands are typed.

A wheel brings `conf/` along, inside the package; in a checkout it lies beside `src/`.
"""

import hashlib
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from lamella.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
_PACKED = _PACKAGE / "conf"

CHECKOUT = None if _PACKED.is_dir() else _PACKAGE.parents[1]
"""The checkout that Lamella runs from; None where it was installed from a wheel."""

CONF = _PACKED if CHECKOUT is None else CHECKOUT / "conf"
"""The folder with every choice and every value, as YAML."""


def home() -> Path:
    """The folder below which data, runs, caches and outputs lie unless a key says otherwise.

    It is what LAMELLA_HOME names, else the checkout, else `lamella-runs` where the user stands (no folder named
    `lamella`: Python would import it).
    """
    said = os.environ.get("LAMELLA_HOME")
    if said:
        return Path(said).expanduser().absolute()
    return CHECKOUT or Path("lamella-runs").absolute()


def store_file() -> Path:
    """The file that keeps the runs unless a key says otherwise: an SQLite store of MLflow."""
    return home() / "mlflow" / "lamella.db"


_SQLITE = "sqlite:///"


def sqlite_file(uri: str) -> Path | None:
    """The file that `sqlite:///PATH` names, with every character of it; None where a store is no such file."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def mlflow_address(uri: str) -> str:
    """How MLflow is told of a store. A path is written as SQLAlchemy reads it, so that no character is lost.

    The driver is named, too: MLflow makes the folder that an address without one seems to name, signs and all.

    Raises:
        ConfigError: the path has a character that SQLAlchemy cannot be told of.
    """
    file = sqlite_file(uri)
    if file is None:
        return uri
    from sqlalchemy.engine import make_url  # late: only who opens a store needs it

    # SQLAlchemy 2.1 reads %41 as A, 2.0 takes it as it is.
    for path in (str(file).replace("%", "%25").replace("?", "%3F"), str(file)):
        address = f"sqlite+pysqlite:///{path}"
        try:
            if make_url(str(make_url(address))).database == str(file):
                return address
        except UnicodeEncodeError:
            break
    wrong = sorted({sign for sign in str(file) if sign == "?" or "\ud800" <= sign <= "\udfff"})
    raise ConfigError(
        f"no store can lie at {file}: its address takes no {' and no '.join(map(ascii, wrong))}",
        "Choose another folder: `tracking.uri` names the file, LAMELLA_HOME the folder of everything.",
    )


def refuse_secrets(uri: str, key: str = "tracking.uri") -> None:
    """Raises ConfigError where an address holds a password, or a server's user; the message repeats neither.

    What an address says is kept with every run, and printed; what the environment says is not.
    """
    if uri.startswith(_SQLITE):
        return
    # A password may hold a / where it is not written as it should be; a port is none.
    found = re.match(r"(\w+)[\w+.-]*://(?:([^/@]*)@|[^/@]*:(?!\d*(?:/|$)).*@)", uri)
    asked = re.search(r"[?&]\w*(?:password|passwd|pwd|secret|token)=", uri, re.IGNORECASE)
    if not asked and (not found or (found[1] not in ("http", "https") and ":" not in (found[2] or ":"))):
        return  # a database's user alone tells nobody anything
    if uri.startswith(("http:", "https:")):
        raise ConfigError(
            f"{key} holds a user or a password, which would be kept with every run",
            "Leave them out of the address, and say them where no run keeps them: `export "
            "MLFLOW_TRACKING_USERNAME=USER MLFLOW_TRACKING_PASSWORD=PASSWORD`, or MLFLOW_TRACKING_TOKEN.",
        )
    raise ConfigError(
        f"{key} holds a password, which would be kept with every run",
        "Leave it out of the address, and say it where no run keeps it: for PostgreSQL in PGPASSWORD or ~/.pgpass, "
        "for MySQL in a file that ?read_default_file=FILE names.",
    )


@cache
def source() -> str:
    """One hash over the code and the choices of the Lamella that runs, in a checkout or out of a wheel."""
    files = {f"lamella/{path.relative_to(_PACKAGE).as_posix()}": path for path in _PACKAGE.rglob("*.py")}
    files |= {f"conf/{path.relative_to(CONF).as_posix()}": path for path in CONF.rglob("*.yaml")}
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def data() -> Path:
    """The folder of the data sets unless a key says otherwise: what LAMELLA_DATA names, else `data` below `home`."""
    said = os.environ.get("LAMELLA_DATA")
    return Path(said).expanduser().absolute() if said else home() / "data"


def at_home(path: str) -> str:
    """A path, or the address of an SQLite file, with the home folder in place of a `~` that it begins with."""
    scheme = _SQLITE if path.startswith(_SQLITE) else ""
    return scheme + os.path.expanduser(path.removeprefix(scheme))  # noqa: PTH111 - a Path would drop what ends in /


def typed(command: str) -> str:
    """How a command is typed where this one was: `lamella train`, or in a checkout `python train.py`."""
    if CHECKOUT is None or sys.argv[0].startswith("lamella "):  # see lamella.cli.commands
        return f"lamella {command}"
    if command in ("demo", "ui"):
        return f"make {command}"
    return "python train.py" if command == "train" else f"python scripts/{command}.py"


def resumed(run_id: str, uri: str, output: str | None = None) -> str:
    """The command that goes on with a run, as it is typed; it says where runs are kept if that is not the usual place.

    Args:
        run_id: of the run.
        uri: where it is kept.
        output: the folder of working folders; None: not known.
    """
    words = [f"resume={run_id}"]
    if uri != f"sqlite:///{store_file()}":
        words.append(f"tracking.uri={uri}")
    if output is not None and Path(output) != home() / "outputs":
        words.append(f"paths.output={output}")
    return " ".join([typed("train"), *map(shlex.quote, words)])
