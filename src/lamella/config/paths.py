"""Where Lamella's own files are, where what it makes goes unless a key says otherwise, and how its commands are typed.

A wheel brings `conf/` along, inside the package; in a checkout it lies beside `src/`.
"""

import os
import shlex
import sys
from pathlib import Path

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


def data() -> Path:
    """The folder of the data sets unless a key says otherwise: what LAMELLA_DATA names, else `data` below `home`."""
    said = os.environ.get("LAMELLA_DATA")
    return Path(said).expanduser().absolute() if said else home() / "data"


def at_home(path: str) -> str:
    """A path, or the address of an SQLite file, with the home folder in place of a `~` that it begins with."""
    scheme = "sqlite:///" if path.startswith("sqlite:///") else ""
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
