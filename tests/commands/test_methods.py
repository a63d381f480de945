"""The table of models: what it counts, where it takes the source from, and that every model's file serves."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from lamella.commands import methods
from lamella.config.paths import CHECKOUT
from lamella.errors import ConfigError
from support.processes import run

SCRIPT = CHECKOUT / "scripts" / "methods.py"
NAMES = methods.model_names()


@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_built_as_its_file_says_and_runs(name: str) -> None:
    row = methods.measure(name)
    assert row.name == name
    if name in ("otsu", "bht", "kmeans", "watershed"):
        assert row.parameters == row.flops == 0
    else:
        assert row.parameters > 1e6
        assert row.flops > 1e9
        assert re.search(r"\b(19|20)\d\d\b", row.source), "the first line of the file names the publication"


def test_the_numbers_of_ternausnet_are_those_of_its_layers() -> None:
    row = methods.measure("ternausnet")
    # The paper's 22,927,393, and two parameters a channel of normalisation for one bias in the decoder.
    encoder = 2 * (64 + 128 + 2 * 256 + 4 * 512)
    decoder = 512 + 256 + 512 + 256 + 512 + 128 + 256 + 64 + 128 + 32 + 32
    assert row.parameters == 22_927_393 + encoder + decoder


def test_flops_are_two_a_multiply_add() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(5, 7, 2, stride=2))
    convolution, transposed = 256 * 256 * 3 * 5 * 9, 256 * 256 * 5 * 7 * 4
    assert methods.forward_flops(network) == 2 * (convolution + transposed)


def test_an_unknown_model_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match="there is no model 'fpm'") as caught:
        methods.measure("fpm")
    assert "Did you mean fpn? Allowed: attention_r2unet" in caught.value.remedy


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["model=linknet"], ["linknet", "11.66", "GFLOPs", "arXiv:1707.03718"]),
        (["encoders=convnext_atto"], ["tu-convnext_atto", "yes"]),
        (["--help"], ["python scripts/methods.py encoders=resnet"]),
    ],
)
def test_what_is_asked_for_is_printed(
    arguments: list[str], wanted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert methods.run(arguments) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in wanted)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["modle=unet"], "there is no key 'modle'\n  Did you mean model?"),
        (["model=unett"], "there is no model 'unett'\n  Did you mean unet?"),
        (["encoders=nothing"], "no encoder has 'nothing' in its name"),
    ],
)
def test_a_mistake_is_one_message(arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        methods.run(arguments)
    assert str(caught.value).startswith(problem)


def test_the_command_runs_from_any_folder(tmp_path: Path) -> None:
    done = run(SCRIPT, "encoders=mit_b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mit_b5" in done.stdout


def test_meta_tensors_do_the_counting() -> None:
    class Seen(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert image.is_meta
            return image

    assert methods.forward_flops(Seen()) == 0
