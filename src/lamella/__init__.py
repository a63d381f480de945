"""Lamella: run, score and compare segmentation experiments on microscopy images.

From Python, `lamella.load(run_id_or_path)` gives a trained model. The package itself is imported at once.

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
