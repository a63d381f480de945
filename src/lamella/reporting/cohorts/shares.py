"""Methods that differ only by the share of the training images that trained them: one learning curve."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from lamella.errors import StorageError
from lamella.reporting.cohorts.types import Method, SeedRun

TAKE = "dataset.take"
"""The key of the share; runs of older versions lack it, and were trained on all."""

Curves = Mapping[str, tuple[Method, ...]]


def named(share: str) -> str:
    """What a share adds to a method's label: nothing where it is all."""
    return "" if float(share) == 1 else f" {TAKE}={float(share):g}"


def share_of(method: Method) -> float:
    """The share of the training images that a method was trained on."""
    return float(method.runs[0].params.get(TAKE, "1"))


def by_share(methods: Sequence[Method]) -> tuple[tuple[Method, ...], Curves, list[str]]:
    """The methods to be compared, the learning curves of those that were trained on several shares, and notes.

    Compared are methods at the largest share that all of them have; where there is none, each at its own largest.

    Args:
        methods: of a cohort, with the share in their labels (`named`).
    """
    families: dict[str, dict[float, Method]] = {}
    for method in methods:
        share = share_of(method)
        families.setdefault(method.label.removesuffix(named(str(share))), {})[share] = method
    notes: list[str] = []
    curves: dict[str, tuple[Method, ...]] = {}
    for label, shares in families.items():
        if len(shares) > 1:
            known = [replace(method, labelled=labelled(method)) for _, method in sorted(shares.items())]
            curve = _distinct(known, notes)
            shares |= {share_of(method): method for method in curve}
            if len(curve) > 1:
                curves[label] = curve
    common = max(set.intersection(*map(set, families.values())), default=None)
    at = {label: max(shares) if common is None else common for label, shares in families.items()}
    compared = {label: shares[at[label]] for label, shares in families.items()}
    if common is None:
        some = ", ".join(f"{label} at {share:g}" for label, share in at.items())
        notes.append(f"Methods were trained on unlike shares of the training images ({TAKE}), which tells: {some}.")
    else:
        compared = {label: replace(method, label=label) for label, method in compared.items()}
        if common != 1:
            more = ", the largest share that all have" if any(len(shares) > 1 for shares in families.values()) else ""
            notes.append(f"What is compared was trained on a share of the training images: {TAKE}={common:g}{more}.")
    curves = {
        label: tuple(compared[label] if share_of(each) == at[label] else each for each in curve)
        for label, curve in curves.items()
    }
    return tuple(compared.values()), curves, notes


def labelled(method: Method) -> float:
    """On how many images a method was trained: mean over runs, and over folds; NaN where that is not known."""
    return float(np.mean([_labelled(each) for run in method.runs for each in run.each]))


def _labelled(run: SeedRun) -> float:
    if np.isnan(run.labelled):  # of an older version
        with suppress(StorageError):
            return float(len(json.loads(run.fetch("data/split.json").read_text())["train"]))
    return run.labelled


def _distinct(curve: Sequence[Method], notes: list[str]) -> tuple[Method, ...]:
    """Without shares that came to no more images than the next larger one: its networks are the same."""
    kept = [curve[-1]]
    for method in reversed(curve[:-1]):
        if method.labelled < kept[0].labelled or np.isnan(method.labelled):
            kept.insert(0, method)
        else:
            notes.append(
                f"{method.label} came to {method.labelled:g} training images, as many as {kept[0].label}: "
                "the learning curve leaves it out."
            )
    return tuple(kept)
