"""The schedule by hand; which parameters decay, and which are handed over at all."""

from math import cos, pi

import pytest
import torch
from torch import nn

from lamella.training.optim import adamw, cosine


def rates(steps, warmup, final, peak=1.0):
    """The learning rate of each step, as training would use it."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = cosine(optimizer, steps=steps, warmup=warmup, final=final)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return used


def test_schedule_by_hand():
    # Two steps up, the peak, then half a cosine over the seven that are left.
    fall = [0.1 + 0.9 * (1 + cos(pi * i / 7)) / 2 for i in range(8)]
    assert rates(10, 0.2, 0.1) == pytest.approx([1 / 3, 2 / 3, *fall])
    assert rates(10, 0.2, 0.1, peak=0.5) == pytest.approx([r / 2 for r in rates(10, 0.2, 0.1)])


@pytest.mark.parametrize(("warmup", "final"), [(0, 0), (0.05, 0.01), (0.5, 1), (0.33, 0.2)])
@pytest.mark.parametrize("steps", [2, 7, 100])
def test_rises_to_the_peak_and_falls_to_the_end(steps, warmup, final):
    used = rates(steps, warmup, final)
    top = round(warmup * steps)
    assert used[0] > 0
    assert used == sorted(used[: top + 1]) + sorted(used[top + 1 :], reverse=True)
    if top < steps - 1:
        assert max(used) == used[top] == 1
        assert used[-1] == pytest.approx(final)


@pytest.mark.parametrize("warmup", [0, 0.05, 1])
def test_a_single_step_learns_something(warmup):
    assert rates(1, warmup, 0)[0] >= 0.5


def test_all_warmup_only_rises():
    assert rates(3, 1, 0) == pytest.approx([1 / 4, 2 / 4, 3 / 4])


def test_steps_beyond_the_last_keep_the_final_rate():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = cosine(optimizer, steps=10, warmup=0.1, final=0.25)
    assert [schedule.lr_lambdas[0](step) for step in (9, 10, 50)] == pytest.approx([0.25] * 3)


def test_only_kernels_decay():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 1, 2))
    optimizer = adamw(network.parameters(), lr=0.1, weight_decay=0.5)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {name: decay[id(p)] for name, p in network.named_parameters()} == {
        "0.weight": 0.5, "0.bias": 0, "1.weight": 0, "1.bias": 0, "2.weight": 0.5, "2.bias": 0,
    }  # fmt: skip
    # With no gradient, one step multiplies what decays by 1 - lr * decay and moves nothing else.
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if decay[id(p)] else 1))


def test_frozen_parameters_are_left_out():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3))
    network[0].requires_grad_(False)
    optimizer = adamw(network.parameters(), lr=0.1, weight_decay=0.5)
    given = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert given == {id(p) for p in network[1].parameters()}


def test_no_biases_at_all():
    optimizer = adamw(nn.Conv2d(1, 1, 3, bias=False).parameters(), lr=0.1, weight_decay=0)
    optimizer.step()
