"""Every command by its name, as `lamella NAME ...` runs it, and `train.py` and `scripts/` do.

Heavy imports stay inside the functions, so that `--help` answers at once.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lamella.cli.signals import heard
from lamella.config.paths import typed
from lamella.errors import LamellaError, report
from lamella.version import __version__

if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def _at_once() -> Iterator[None]:
    """Imports without the garbage collector, which would look through all that is imported again and again.

    Of 10.7 s of importing for `train` 8.9 are left (processor time, medians of three).
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def train(cfg: "DictConfig") -> float:
    from hydra.core.hydra_config import HydraConfig

    from lamella.cli import jobs

    with _at_once():
        from lamella import tracking
        from lamella.commands import train as experiment

    own, overrides = jobs.at_work(), HydraConfig.get().overrides.task
    if own is None:
        return experiment.run(cfg, None, overrides).score

    def opened(run_id: str, resumed: bool) -> None:
        tracking.let_go()
        own.opened(run_id, resumed)

    outcome = experiment.run(cfg, own.sweep, overrides, opened)
    own.ended(outcome.run_id, outcome.state, outcome.score, outcome.remark)
    return outcome.score


def demo(cfg: "DictConfig") -> float:
    dice = train(cfg)
    sys.stdout.write(f"\nThat was training on generated images. Look at the run and its pictures: {typed('ui')}\n")
    return dice


def evaluate(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import evaluate as evaluation

    evaluation.run(cfg)


def score(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import score as scoring

    scoring.run(cfg)


def compare(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import compare as comparing

    comparing.run(cfg)


def review(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import review as reviewing

    reviewing.run(cfg)


def predict(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import predict as predicting

    predicting.run(cfg)


def export(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import export as exporting

    exporting.run(cfg)


def look(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import look as looking

    looking.run(cfg)


def reproduce(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import reproduce as reproducing

    if not reproducing.run(cfg):
        sys.exit(1)


def sync(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import sync as syncing

    syncing.run(cfg)


def tidy(cfg: "DictConfig") -> None:
    with _at_once():
        from lamella.commands import tidy as tidying

    tidying.run(cfg)


def prepare_data(cfg: "DictConfig") -> None:
    from lamella.commands import prepare_data as prepare

    prepare.run(cfg)


def tiff_to_png(cfg: "DictConfig") -> None:
    from lamella.commands import tiff_to_png as convert

    convert.run(cfg)


def methods(arguments: list[str]) -> int:
    from lamella.commands import methods as catalogue

    return catalogue.run(arguments)


def ui(arguments: list[str]) -> int:
    from lamella.commands import ui as pages

    return pages.run(arguments)


COMPOSED: dict[str, tuple[Callable[["DictConfig"], Any], str, str]] = {
    "train": (train, "train", "one experiment: data, network, scores, an MLflow run; -m for a sweep"),
    "evaluate": (evaluate, "evaluate", "a finished run's best checkpoint scored again, there or on other data"),
    "score": (score, "score", "masks that were made elsewhere, scored as any method's"),
    "compare": (compare, "compare", "finished runs side by side: table, statistics, one HTML report"),
    "review": (review, "review", "labels to look at again: where networks doubt them that never saw the image"),
    "predict": (predict, "predict", "new images segmented by what was trained: masks, objects, tables, outlines"),
    "export": (export, "export", "a trained network for other programs: ONNX, torch.export, bioimage.io"),
    "look": (look, "look", "a page on this machine to try a trained network on"),
    "reproduce": (reproduce, "reproduce", "a finished run run again, and whether it came out the same"),
    "sync": (sync, "sync", "what could not be sent to the store, sent now"),
    "tidy": (tidy, "tidy", "what runs take on disk, and leftovers of dead ones removed"),
    "prepare_data": (prepare_data, "prepare_data", "a data set fetched, verified, unpacked and audited"),
    "tiff_to_png": (tiff_to_png, "tiff_to_png", "TIFF images and stacks as PNG files, without loss"),
    "demo": (demo, "train", "the first experiment, on images that the program makes; minutes, no download"),
}
"""Commands that Hydra gives a configuration: what runs, the file of `conf/` it starts from, what it does."""

PLAIN: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "methods": (methods, "every method with its size and source; or every encoder"),
    "ui": (ui, "MLflow's pages over the runs, on this machine"),
}
"""Commands that read their few arguments themselves: what runs, what it does."""


def run(command: str) -> None:
    """Runs a command with the arguments of this process, and exits where it failed."""
    with heard():
        if command in PLAIN:
            sys.exit(_plain(PLAIN[command][0], sys.argv[1:]))
        from lamella.cli.main import main

        job, config_name, _ = COMPOSED[command]
        main(config_name, job)


def _plain(job: Callable[[list[str]], int], arguments: list[str]) -> int:
    """The exit code of a command that reads its arguments itself. A user's mistake is one message and 1."""
    debug = "debug=true" in arguments
    try:
        return job([each for each in arguments if each not in ("debug=true", "debug=false")])
    except LamellaError as error:
        return report((error.problem, error.remedy), error if debug else None)


def lamella() -> None:
    """The program `lamella`: its first argument names the command, the rest is the command's."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    command = name.replace("-", "_")
    if command in COMPOSED or command in PLAIN:
        sys.argv[:2] = [f"lamella {command}"]  # what `--help` and messages call it, see `lamella.config.paths.typed`
        run(command)
    elif name in ("--help", "-h"):
        sys.stdout.write(_usage())
    elif name == "--version":
        sys.stdout.write(f"lamella {__version__}\n")
    else:
        from lamella.config.words import suggestion

        remedy = suggestion(command, [*COMPOSED, *PLAIN])
        sys.exit(f"error: there is no command {name!r}\n  {remedy}")


def _usage() -> str:
    says = {name: says for name, (*_, says) in (COMPOSED | PLAIN).items()}
    lines = "\n".join(f"  {name:<13} {text}" for name, text in says.items())
    return f"""Lamella: run, score and compare segmentation experiments on microscopy images.

  lamella COMMAND group=choice key=value ...

{lines}

`lamella COMMAND --help` lists what a command takes, `lamella --version` says which Lamella this is.
"""
