"""Which training cannot repeat on a GPU: found without one, before it begins."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lamella import models
from lamella.errors import ConfigError
from lamella.hardware import Hardware
from lamella.training.repeatable import refuse_unrepeatable
from support.tiny import CPU, prepared, task

CUDA = Hardware(torch.device("cuda"), "32-true")
SMP = {"in_channels": 1, "num_classes": 2, "encoder": "resnet18", "encoder_weights": None}


class Only(nn.Module):
    """A network of one convolution and what is given."""

    def __init__(self, what):
        super().__init__()
        self.convolution, self.what = nn.Conv2d(1, 1, 3, padding=1), what

    def forward(self, image):
        return self.what(self.convolution(image))


def refused(folder, network, hardware=CUDA, loss=None):
    """What the refusal says; None without one."""
    what = task(prepared(folder), network, loss=loss)
    before = {name: value.clone() for name, value in what.network.state_dict().items()}
    state = torch.get_rng_state()
    try:
        refuse_unrepeatable(what, hardware, batch_size=2, name="mine")
    except ConfigError as error:
        return f"{error.problem} {error.remedy}"
    finally:
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in what.network.state_dict().items())
    return None


def test_the_operation_is_named(tmp_path):
    found = refused(tmp_path, Only(lambda x: x + F.adaptive_avg_pool2d(x, 2).repeat(1, 1, 8, 8)))
    assert found == (
        "trainer.deterministic=true, but model=mine cannot repeat exactly on a GPU: adaptive average pooling "
        "Use trainer.deterministic=false or trainer=cpu."
    )


@pytest.mark.parametrize(
    "what",
    [
        lambda x: F.interpolate(x[..., ::2, ::2], scale_factor=2, mode="bilinear"),  # torch takes another way
        lambda x: F.interpolate(x[..., ::2, ::2], scale_factor=2, mode="nearest"),
        lambda x: x * F.adaptive_avg_pool2d(x, 1),  # a mean
        lambda x: F.max_pool2d(x, 3, 1, 1),
        lambda x: x if x.mean() > 0 else -x,  # cannot be rehearsed
    ],
    ids=["bilinear", "nearest", "mean", "max", "looks"],
)
def test_what_repeats_is_let_through(tmp_path, what):
    assert refused(tmp_path, Only(what)) is None


def test_nothing_is_refused_on_a_cpu(tmp_path):
    assert refused(tmp_path, Only(lambda x: x + F.adaptive_avg_pool2d(x, 2).repeat(1, 1, 8, 8)), CPU) is None


def test_a_loss_is_rehearsed_too(tmp_path):
    def loss(logits, target, valid):
        return F.pad(logits, (1, 1, 1, 1), mode="reflect").mean()

    assert "padding by reflection" in refused(tmp_path, Only(nn.Identity()), loss=loss)


def test_networks_of_ours(tmp_path):
    folders = iter([tmp_path / str(number) for number in range(9)])

    def found(network):
        folder = next(folders)
        folder.mkdir()
        return refused(folder, network)

    assert found(models.unet(**SMP, decoder_channels=[32, 16, 8, 8, 8])) is None
    assert (
        found(models.deeplabv3plus(**SMP, output_stride=16, atrous_rates=[6, 12, 18], decoder_channels=32, dropout=0.5))
        is None
    )
    pooling = "adaptive average pooling"
    assert pooling in found(models.pspnet(**SMP, stages=3, decoder_channels=32, dropout=0.2))
    assert pooling in found(models.upernet(**SMP, decoder_channels=32))
