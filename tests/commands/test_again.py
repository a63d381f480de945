"""The line that trains on is the one that a user would have typed."""

from pathlib import Path
from typing import Any

import hydra
import pytest

from lamella.cli import main as cli
from lamella.commands.again import again
from lamella.config.check import check, plain
from lamella.config.paths import CONF


def configuration(*typed: str) -> dict[str, Any]:
    cli.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        found = plain(check(hydra.compose("train", [*typed, "tracking.uri=sqlite:///runs.db"])))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ([], "dataset=phantom_blood model=ternausnet"),
        (["dataset=em", "model=unet"], "dataset=em model=unet"),
        (
            ["dataset=blood", "dataset.scale=0.5", "dataset.split.seed=3", "model=unet",
             "model.decoder_channels=[32,16]"],
            "dataset=blood dataset.scale=0.5 dataset.split.seed=3 model=unet 'model.decoder_channels=[32,16]'",
        ),
        (
            ["dataset=folder", "dataset.images=my images", "dataset.masks=masks", "dataset.instances=true",
             "dataset.classes={background: 0, cell: []}", "dataset/split=hashed_folds", "dataset.split.fold=1"],
            "dataset=folder 'dataset.images=my images' dataset.masks=masks 'dataset.classes={background: 0, cell: []}' "
            "dataset.instances=true dataset/split=hashed_folds dataset.split.fold=1 model=ternausnet",
        ),
    ],
)  # fmt: skip
def test_it_names_data_and_model_with_what_was_typed(typed: list[str], line: str) -> None:
    said = again(configuration(*typed), "0" * 32, Path("found"))
    assert said == f"python train.py {line} dataset.corrected=found model.init_from={'0' * 32}"
