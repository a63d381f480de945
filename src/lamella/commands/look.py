"""The command `look`: a page on this machine to try a trained network on, until Ctrl-C."""

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from lamella.commands.evaluate import UNUSED, configuration
from lamella.commands.predict import predictor_of
from lamella.commands.setup import parted, read
from lamella.commands.trained import chosen
from lamella.config.check import check
from lamella.config.paths import typed
from lamella.config.schema import Look
from lamella.console import console
from lamella.data.types import ImageRef
from lamella.errors import ConfigError, DataError
from lamella.inference.checkpoint import Trained
from lamella.inference.pictures import require_alike
from lamella.prediction.settings import Predictor
from lamella.viewer.desk import Desk
from lamella.viewer.server import application, serve

_HOST = "127.0.0.1"


def run(cfg: DictConfig) -> None:
    """Serves the page until the process is asked to end.

    Raises:
        LamellaError: anything a user can mend.
    """
    out = console()
    wanted = check(cfg, Look)
    with _door(wanted.port) as door:
        port = door.getsockname()[1]
        trained = chosen(wanted, out)
        predictor = predictor_of(wanted, trained, out, tta=None)
        require_alike(trained)
        with (
            tempfile.TemporaryDirectory(prefix="lamella-look-", ignore_cleanup_errors=True) as folder,
            Desk(predictor, Path(folder), _examples(wanted, predictor.first)) as desk,
        ):
            title, facts = _title(trained), _facts(wanted, predictor)
            app = application(desk, title, facts, upload_mb=wanted.upload_mb, port=port)
            out.print(f"Open http://{_HOST}:{port} in a browser on this machine. Ctrl-C stops.")
            serve(app, door)


def _door(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone. Raises ConfigError where the port is another program's."""
    door = socket.socket()
    if os.name == "posix":  # a port that was just left counts as free
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((_HOST, port or 0))
        door.listen()
    except OSError as error:
        door.close()
        raise ConfigError(
            f"port {port} cannot be used: {error.strerror}",
            f"Leave port out, and a free one is taken: {typed('look')} run=ID.",
        ) from error
    return door


def _title(trained: Sequence[Trained]) -> str:
    config = trained[0].config
    names = [str(each.config["model"].get("name", "network")) for each in trained]
    many = f"{len(names)} networks" if len(names) > 1 else names[0]
    return f"{many} on {config['dataset'].get('name', 'its data')}"


def _facts(wanted: Look, predictor: Predictor) -> dict[str, str]:
    """What the page says below its title."""
    first = predictor.first
    source = {
        "run": wanted.run or "",
        "runs": ", ".join(wanted.runs or ()),
        "checkpoint": wanted.checkpoint or "",
        "model": wanted.model or "",
    }
    channels = f"{first.channels} channel{'s' if first.channels > 1 else ''}, {first.dtype}"
    return {name: value for name, value in source.items() if value} | {
        "classes": ", ".join(first.class_names),
        "takes": channels if first.percentiles is None else f"{channels} or others, stretched",
        "computes on": predictor.hardware.name,
    }


def _examples(wanted: Look, trained: Trained) -> Callable[[], Sequence[tuple[str, ImageRef]]]:
    """What gives the run's own test images, read when they are first asked for."""
    found: list[tuple[str, ImageRef]] = []

    def examples() -> Sequence[tuple[str, ImageRef]]:
        if not found:
            config = check(configuration(wanted, trained), unused=UNUSED)
            dataset = read(config)
            samples = parted(config, dataset).test
            if not samples:
                raise DataError("the run has no test images", "Drop an image of your own.")
            found.extend((sample.id, sample.image) for sample in samples)
        return found

    return examples
