"""Losses by name, as a command line composes them."""

from typing import Any

import hydra
import pytest
import torch

from lamella.cli import main as cli
from lamella.config.check import build, check
from lamella.config.paths import CHECKOUT
from lamella.errors import ConfigError
from lamella.losses import Loss, cross_entropy, soft_dice

CONF = CHECKOUT / "conf"
NAMES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml"))


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    cli.register()


def configured(*overrides: str) -> Any:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return check(hydra.compose("train", list(overrides))).loss


def built(*overrides: str) -> Loss:
    loss: Loss = build(configured(*overrides))
    return loss


def value(loss: Loss, k: int = 1) -> float:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, k, 16, 16, generator=rng)
    target = torch.randint(max(k, 2), (2, 16, 16), generator=rng)
    return loss(logits, target, torch.ones_like(target, dtype=torch.bool)).item()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "weighted_sum"])
def test_every_loss_is_built_as_its_file_has_it(name: str) -> None:
    for k in (1, 4):
        assert 0 < value(built(f"loss={name}", f"dataset.num_classes={max(k, 2)}"), k) < 20


def test_a_weighted_sum_has_every_loss_but_sums() -> None:
    parts = set(configured("loss=weighted_sum", "loss.terms={bce:1}").arguments["parts"])
    assert parts == set(NAMES) - {"bce_dice", "weighted_sum"}
    for name in parts:
        one = built("loss=weighted_sum", f"loss.terms={{{name}:2}}")
        assert value(one) == pytest.approx(2 * value(built(f"loss={name}")))


def test_terms_replace_and_parts_have_their_own_keys() -> None:
    loss = built("loss=weighted_sum", "loss.terms={bce:1,tversky:0.5}", "loss.parts.tversky={alpha:0.5,beta:0.5}")
    assert value(loss) == pytest.approx(value(cross_entropy) + 0.5 * value(soft_dice))


def test_a_wrong_term_lists_the_right_ones() -> None:
    with pytest.raises(ConfigError, match="'bec', which is no loss here") as caught:
        built("loss=weighted_sum", "loss.terms={bec:1,cldice:0.5}")
    assert "Did you mean bce? Allowed: bce, boundary_weighted, cldice, dice, focal," in caught.value.remedy


def test_terms_must_be_given() -> None:
    with pytest.raises(ConfigError, match="nothing to minimise"):
        built("loss=weighted_sum")
    with pytest.raises(ConfigError, match=r"loss\.terms must be a group of keys or null; got 'bce'"):
        built("loss=weighted_sum", "loss.terms=bce")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("+loss.parts.tversky.gama=1", "there is no key 'loss.parts.tversky.gama'"),
        ("~loss.parts.tversky.beta", "loss.parts.tversky.beta has no value"),
        ("loss.parts.tversky.beta=0", "loss.parts.tversky.beta must be a number, above 0; got 0"),
        ("loss.parts.tversky.beta=x", "loss.parts.tversky.beta must be a number, above 0; got 'x'"),
        ("loss.parts.tversky.beta=true", "loss.parts.tversky.beta must be a number, above 0; got True"),
        ("loss.parts.tversky.alpha=null", "loss.parts.tversky.alpha must be a number, above 0; got None"),
        ("loss.parts.tversky=3", "loss.parts.tversky must be a group of keys; got 3"),
        (
            "loss.parts.tversky._target_=os.system",
            "loss.parts.tversky._target_ names 'os.system', which is not Lamella's",
        ),
        (
            "~loss.parts.tversky._target_",
            "loss.parts.tversky._target_ must name a function of lamella.losses, got None",
        ),
        (
            "loss.parts.bce._target_=lamella.losses.cross_entropy",
            "loss.parts.bce._target_ must name a function that makes a Loss, got 'lamella.losses.cross_entropy'",
        ),
        *(
            (f"loss.parts.weighted_bce.weights={wrong}", "loss.parts.weighted_bce.weights must be a list of numbers")
            for wrong in ("3.0", "'3'", "[x]", "[0.0]")
        ),
        ("loss.parts=3", "loss.parts must be a group of keys; got 3"),
    ],
)
def test_a_part_of_a_sum_is_held_to_its_keys(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("loss=weighted_sum", "loss.terms={bce:1}", override)
    assert caught.value.problem.startswith(says)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["loss=focal", "loss.gamma=-1"], "loss.gamma must be a number, at least 0; got -1"),
        (["loss=focal", "loss.alpha=1"], "loss.alpha must be a number or null, above 0 and at most 0.999; got 1"),
        (["loss=tversky", "loss.beta=0"], "loss.beta must be a number, above 0; got 0"),
        (["loss=weighted_bce", "loss.weights=[1,0]"], "loss.weights must be a list of numbers, above 0; got [1, 0]"),
        (["loss=weighted_bce", "loss.weights=[1,2,3]"], "loss.weights has 3 numbers for 2 classes"),
        (["loss=cldice", "loss.iterations=0"], "loss.iterations must be a whole number, at least 1; got 0"),
        (["loss=boundary_weighted", "loss.cells=dark"], "loss.cells must be one of foreground, background; got 'dark'"),
    ],
)
def test_values_out_of_bounds_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built(*overrides)
    assert caught.value.problem == says
