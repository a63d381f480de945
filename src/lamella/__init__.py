"""Lamella: run, score and compare segmentation experiments on microscopy images.

From Python, `lamella.load(run_id_or_path)` gives a trained model, and `lamella.report("blood")` compares the finished
runs of an experiment. The package itself is imported at once.

A sample flows one way, and so do imports:

    files -> Samples -> audit -> split -> store -> crop -> batch -> augment -> network -> loss / counts
          -> per-image scores -> MLflow run -> report

`data`, `models`, `metrics` and `losses` know nothing of each other; `training.task` joins a network, a loss and counts
for one batch, `evaluation` a segmenter and every measure for whole images, which `inference.whole_images` predicts.
Each file of `commands` is a command that a user types; `commands.setup` turns its configuration into objects, and
nothing below it takes one. `reporting` makes tables and a page of finished runs; only `tracking` knows MLflow.
`docs/house.md` shows the rooms on one page, and a test walks all imports: they go one way.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamella.model import Model
    from lamella.reporting import Report


def load(
    source: "str | Path | Sequence[str | Path]",
    *,
    uri: str | None = None,
    device: str = "cpu",
    precision: str | None = None,
    trust: "Sequence[str]" = (),
) -> "Model":
    """A trained model, ready to segment arrays: see `lamella.model.Model`.

    Args:
        source: the id of a run; a checkpoint, or the folder of a run's `checkpoints` or `model`; a registered model,
            "models:/NAME@champion". Several of them are an ensemble, whose probabilities are averaged.
        uri: where runs are kept (`tracking.uri`); None: where commands keep them.
        device: `cpu`; `cuda` or `cuda:1`; `auto`, which is a GPU where one works.
        precision: `32-true` (float32), `bf16-mixed` (bfloat16) or `auto`; None: that of its run's test.
        trust: modules or .py files of your own that the network may come from; no other code is run.

    Raises:
        StorageError: there is no such run, file or model, or it is no checkpoint of Lamella.
        ConfigError: there is no such device or precision here, or an ensemble's networks do not belong together.
    """
    from lamella.model import Model  # torch and all the rest take seconds

    return Model(source, uri=uri, device=device, precision=precision, trust=trust)


def report(
    experiment: "str | Sequence[str] | None" = None,
    *,
    runs: "Sequence[str] | None" = None,
    filter: str | None = None,
    metric: str = "dice",
    margin: float | None = None,
    leader: bool = False,
    failure: float | None = None,
    cases: int = 3,
    output: "str | Path | None" = None,
    uri: str | None = None,
    keep: bool = False,
) -> "Report":
    """Finished runs compared: verdict, tables, and the page of `compare`, see `lamella.reporting.Report`.

    Args:
        experiment: the MLflow experiment whose runs are compared, or several.
        runs: or these runs, by their ids.
        filter: of an experiment only runs that MLflow's filter language says; None: all.
        metric: the score of `scores/test.csv` that methods are compared by.
        margin: a difference up to it counts as equality, in units of the score; None: not tested.
        leader: only ask whether the best method is better than all others.
        failure: the Dice below which an image failed; None: as the runs have it.
        cases: worst, typical and best images shown, each.
        output: where a folder for the files is made; None: where the command makes it.
        uri: where runs are kept (`tracking.uri`); None: where commands keep them.
        keep: whether the comparison is kept in the store, too, as a run of its own.

    Raises:
        ConfigError: it is not said what to compare, or the runs do not share such a score.
        StorageError: there is no such experiment or run, or its files cannot be read.
    """
    from lamella.commands import compare  # pandas, matplotlib and all the rest take seconds

    return compare.report(
        experiment,
        runs=runs,
        filter=filter,
        metric=metric,
        margin=margin,
        leader=leader,
        failure=failure,
        cases=cases,
        output=output,
        uri=uri,
        keep=keep,
    )
