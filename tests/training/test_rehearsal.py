"""A user's own code, tried before a run is opened: what must not be returned is named, and nothing is left behind."""

import pytest
import torch
from torch import nn

from lamella.errors import ConfigError
from lamella.models.contract import AnySize
from lamella.training.rehearsal import rehearse
from support import tiny


class Given(nn.Module):
    """A network whose answer is made by a function of the image."""

    def __init__(self, answer):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, image):
        return self.answer(image)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.prepared(tmp_path_factory.mktemp("rehearsal"))


def tried(data, network, own=("model",), **changed):
    task = tiny.task(data, network, **changed)
    rehearse(task, {key: f"mine.{key}" for key in own}, channels=1)
    return task


def refusal(*arguments, **named):
    with pytest.raises(ConfigError) as caught:
        tried(*arguments, **named)
    assert "\n" not in caught.value.problem
    return str(caught.value)


IMAGE = "an image of 1 x 16 x 16"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: x[..., ::2, ::2], f"logits of the shape (1, 1, 16, 16) for {IMAGE}; it returned (1, 1, 8, 8)"),
        (lambda x: torch.cat([x, x], 1), "it returned (1, 2, 16, 16)\n  One logit a pixel stands for two classes"),
        (lambda x: x[:, 0], "it returned (1, 16, 16)"),
        (lambda x: [x], "it returned list"),
        (lambda x: x @ torch.zeros(3, 3), f"mine.model cannot take {IMAGE}: RuntimeError: "),
        (lambda x: x.nothing, f"mine.model cannot take {IMAGE}: AttributeError: "),
        (lambda x: nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(x, 2), 2),
         "mine.model cannot take an image of 1 x 17 x 19: RuntimeError"),
    ],
)  # fmt: skip
def test_a_network_that_returns_something_else_is_named(data, answer, says):
    assert says in refusal(data, Given(answer))


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda logits, target, valid: logits, "returned (2, 1, 16, 16)"),
        (lambda logits, target, valid: 3.0, "returned float"),
        (lambda logits, target, valid: logits.detach().mean(), "returned (), which no gradient leads to"),
        (lambda logits, target: logits.mean(), "mine.loss failed as a loss: TypeError"),
        (lambda logits, target, valid: (logits - target).nothing, "mine.loss failed as a loss: "),
    ],
)
def test_a_loss_that_returns_something_else_is_named(data, loss, says):
    assert says in refusal(data, Given(lambda x: x), own=("loss",), loss=loss)


def test_what_fits_passes_and_nothing_is_left_of_it(data):
    down, up = nn.Conv2d(1, 4, 2, stride=2), nn.Upsample(scale_factor=2)
    layers = (down, nn.BatchNorm2d(4), nn.Dropout(), up, nn.Conv2d(4, 1, 1))
    network = AnySize(nn.Sequential(*layers), multiple=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.random.get_rng_state()
    task = tried(data, network, own=("model", "loss", "optimizer", "scheduler"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert task.network.training
    assert all(p.grad is None for p in network.parameters())


def test_our_own_code_is_not_tried(data):
    tried(data, Given(lambda x: pytest.fail("called")), own=("optimizer",))
