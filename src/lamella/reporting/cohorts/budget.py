"""What each method was given: how many settings were tried, for how long it trained, and who chose its settings."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lamella.reporting.cohorts.gather import APART, settings_of
from lamella.reporting.cohorts.origin import MASKS
from lamella.reporting.cohorts.shares import TAKE
from lamella.reporting.cohorts.types import Cohort, Method
from lamella.reporting.summary import listed as in_words
from lamella.tracking import Listed

_NOT_TRAINED = (*APART, "evaluation")  # kinds of runs that try no setting
# What was typed and is no setting of a method: what is compared, on which data, how it is scored.
_DATA = ("dataset=", "dataset/split", "dataset.split", "dataset.root", "dataset.take", "dataset.group")
_OTHER = ("model=", *_DATA, "recipe=", "score.", "literature", "data.workers", "trainer.progress")


class Budget(NamedTuple):
    """What a method was given.

    Attributes:
        settings: how many settings of this model were tried on this data, as the store knows them, whatever became of
            them.
        runs: how many runs of these there are, and how many of them finished.
        epochs: epochs of a run, mean; NaN without training.
        chosen: who chose what, in words: the recipe of the data set, and what was typed for this method alone.
    """

    settings: int
    runs: tuple[int, int]
    epochs: float
    chosen: str


class Tried(NamedTuple):
    """What the runs of an experiment tell of the methods of a cohort.

    Attributes:
        budgets: of each method, by its label.
        remarks: sentences: what was typed for all methods alike, and whom the comparison favours.
    """

    budgets: Mapping[str, Budget]
    remarks: Sequence[str]


def tried(cohort: Cohort, listed: Sequence[Listed]) -> Tried:
    """What each method of a cohort was given, and what a reader must know of it.

    Args:
        cohort: the methods.
        listed: all runs of its experiments, whatever became of them (`lamella.tracking.listed`); methods whose runs are
            not among them are left out.
    """
    by_id = {run.run_id: run for run in listed}
    known = {method.label: runs for method in cohort.methods if (runs := _trained(method, by_id))}
    typed = {label: None if _is_masks(runs) else _typed(runs) for label, runs in known.items()}
    asked = [keys for label, keys in typed.items() if not _is_masks(known[label])]
    common = (
        [] if None in asked else [key for key in (asked or [[]])[0] or [] if all(key in (each or []) for each in asked)]
    )
    found, by_model = dict[str, Budget](), dict[str, int]()
    for method in cohort.methods:
        if method.label not in known:
            continue
        runs = known[method.label]
        same = _same(runs[0], listed)
        settings = len({frozenset(_setting(run)) for run in same})
        epochs = [part.metrics.get("time/epochs", np.nan) for run in method.runs for part in run.each]
        found[method.label] = Budget(
            settings,
            (len(same), sum(run.status == "FINISHED" for run in same)),
            float(np.mean(epochs)),
            _chosen(cohort, runs, typed[method.label], common),
        )
        by_model[runs[0].params["model.name"]] = settings
    said = [f"Typed for all methods alike: {', '.join(common)}."] if common else []
    return Tried(found, [*said, *_favoured(by_model)])


def _trained(method: Method, by_id: Mapping[str, Listed]) -> list[Listed]:
    """The runs that trained a method: its own, or those that it evaluates."""
    own = [by_id[part.run_id] for run in method.runs for part in run.each if part.run_id in by_id]
    ids = [run.tags.get("lamella.evaluates", run.run_id) for run in own]
    return [by_id[id_] for id_ in ids if id_ in by_id]


def _same(run: Listed, listed: Sequence[Listed]) -> list[Listed]:
    """All runs that tried the same model on the same data; whatever share of it and whatever fold trained."""

    def what(each: Listed) -> tuple[str | None, object]:
        return each.params.get("model.name"), json.loads(each.tags.get("lamella.protocol", "{}")).get("data")

    return [each for each in listed if each.tags.get("lamella.kind") not in _NOT_TRAINED and what(each) == what(run)]


def _setting(run: Listed) -> list[tuple[str, str]]:
    return [(key, value) for key, value in settings_of(run).items() if key != TAKE]


def _typed(runs: Sequence[Listed]) -> list[str] | None:
    """The settings that were typed for all runs of a method; None where that of one is not known."""
    if any("lamella.typed" not in run.tags for run in runs):
        return None
    of_each = [json.loads(run.tags["lamella.typed"]) for run in runs]
    return [
        key for key in of_each[0] if not key.lstrip("+~").startswith(_OTHER) and all(key in each for each in of_each)
    ]


def _is_masks(runs: Sequence[Listed]) -> bool:
    return all(run.tags.get("lamella.kind") == MASKS for run in runs)


def _chosen(cohort: Cohort, runs: Sequence[Listed], typed: Sequence[str] | None, common: Sequence[str]) -> str:
    if _is_masks(runs):
        return "made elsewhere"
    first = runs[0]
    if "lamella.chosen" in first.tags:
        number = re.search(r"(\d+(?: to \d+)?) to choose by", cohort.card.get("images", ""))
        words = f"its setting chosen by {f'{number[1]} ' if number else 'the '}validation images of each run"
    else:
        words = f"recipe of {_recipe(first)}"
    own = [key for key in typed or [] if key not in common]
    if typed is None:
        return f"{words}; what was typed is not known"
    if own:
        return f"{words}; typed: {', '.join(own)}"
    return words if common or "lamella.chosen" in first.tags else f"{words}, as it comes"


def _recipe(run: Listed) -> str:
    """The recipe that a run was trained by: what was typed, else that of its data set."""
    given = dict(key.lstrip("+").split("=", 1) for key in json.loads(run.tags.get("lamella.typed", "[]")) if "=" in key)
    return given.get("recipe") or given.get("dataset") or run.params["dataset.name"]


def _favoured(by_model: Mapping[str, int]) -> list[str]:
    """A sentence where some models were tried with more settings than others."""
    counts = sorted(set(by_model.values()), reverse=True)
    if len(counts) < 2:
        return []
    names = {count: [model for model, tried in by_model.items() if tried == count] for count in counts}
    parts = [f"{in_words(names[count])} with {count}" for count in counts]
    most = names[counts[0]]
    tail = "the comparison favours " + (in_words(most) if len(counts) == 2 else "what was tried more often")
    noun = " setting" if counts[0] == 1 else " settings"
    first = f"{in_words(most)} {'was' if len(most) == 1 else 'were'} tried with {counts[0]}{noun}"
    return [f"{', '.join([first, *parts[1:]])}: {tail}."]
