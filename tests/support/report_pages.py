"""Sections by hand, for tests of the report's page: two methods on four images."""

import base64
import io
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from lamella import reporting as report
from lamella.errors import StorageError
from lamella.plots.style import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Method, SeedRun
from lamella.reporting.cohorts.budget import Budget
from lamella.reporting.cohorts.types import Folding
from lamella.reporting.gallery import Case, Gallery, Layer, Panel
from lamella.reporting.parts.section import Section
from lamella.reporting.verdict import Verdict
from lamella.statistics.comparison import Comparison


def compared(first, second, difference, better=None, *, reach=0.02, **changes):
    """A pair of methods that was tested, as `changes` say otherwise; the ends of its interval lie so far away."""
    found = {"low": difference - reach, "high": difference + reach, "p_images": 0.02, "noise": 0.01, "p_runs": 0.09}
    found |= {"p": 0.01 if better else 0.13, "least": 0.021, "least_images": 0.015, "least_runs": 0.02}
    return Comparison(first, second, difference, better=better, **{**found, "p_equal": None, "equal": False, **changes})


def one_seed(first, second, difference):
    """A pair of which a trained method has one run."""
    nothing = dict.fromkeys(("low", "high", "noise", "p_runs", "p", "least", "least_images", "least_runs"))
    return compared(first, second, difference, **nothing)


IDS = ("image 1", "image 2", "image 3", "image 4")
OTSU = [0.5, 0.6, 0.7, 0.8]
UNET = ([0.9, 0.8, 0.9, 0.8], [0.9, 0.9, 0.9, 1.0])  # means 0.85 and 0.925


def missing(name):
    raise StorageError(f"no {name}", "Train again.")


def method(label, dice, *, deterministic=False, ids=IDS, groups=("a", "a", "b", "b")):
    """A method from Dice by seed and image; the count's error is +2 and -2 in turn, precision half of Dice."""
    repetitions = []
    for seed, values in enumerate(dice):
        cases = [str(place) for place in range(1, len(ids) + 1)]
        scores = pd.DataFrame({"id": ids, "group": groups, "case": cases, "dice": values})
        scores["precision"] = scores["dice"] / 2
        scores["count/error"] = [2.0 * (-1) ** place for place in range(len(ids))]
        run = (
            f"{label} seed {seed}",
            seed,
            {"seed": str(seed), "model.name": label},
            {},
            scores,
            pd.DataFrame(),
            missing,
        )
        repetitions.append(SeedRun(f"{seed}{label}", *run))
    return Method(label, tuple(repetitions), deterministic)


@cache
def picture(title="Distributions", text="Dice"):
    figure = Figure(figsize=(6, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set(xlabel=text, title=title)
    return Picture(title, svg_of(figure), f"A line: {text}", f"How to read {text}.")


def layer(alt):
    """A picture of a gallery, of one grey."""
    file = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(file, "PNG")
    return Layer(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", alt, (48, 64))


def panel(label, text="Dice 0.9123"):
    return Panel(label, text, *(layer(f"image 1 by {label}: {kind}") for kind in ("predicted", "wrong", "wrong")))


def gallery(labels, count=6):
    cases = (
        Case(f"worst {n + 1} of 9", f"image_{n}_of_a_slide_with_a_name_of_many_letters", "mean Dice 0.9", (48, 64),
             layer("image"), layer("truth"), tuple(map(panel, labels)), n > 0)
        for n in range(count)
    )  # fmt: skip
    return Gallery(("What is shown.",), (((200, 0, 30), "not there"), ((255, 176, 0), "missed")), tuple(cases))


def section(labels=("unet", "otsu"), **changes):
    """Two methods, one of them without chance."""
    unet, otsu = labels
    methods = (method(unet, UNET), method(otsu, [OTSU], deterministic=True))
    protocol = {"test images": "4, of 2 groups", "threshold": "0.5"}
    cohort = Cohort("blood", False, methods, protocol, {"title": "Blood cells", "licence": "CC0"})
    summary = pd.DataFrame(
        {
            "method": [unet, otsu],
            "seeds": [2, 1],
            "deterministic": [False, True],
            "images": [4, 4],
            "dice": [0.8875, 0.65],
            "dice_images": [4, 4],
            "dice_interval": ["Student's t", "Student's t"],
            "dice_low": [0.86, 0.5],
            "dice_high": [0.9, 0.8],
            "dice_seed_sd": [0.053, np.nan],
            "dice_published": [0.9, np.nan],
            "dice_difference": [-0.0125, np.nan],
            "failed_below": [0.5, 0.5],
            "failed": [0, 1],
            "failure_rate": [0.0, 0.25],
            "failure_low": [0.0, 0.006],
            "failure_high": [0.602, 0.806],
            "worst_tenth": [0.85, 0.5],
            "worst_images": ["image 2 (0.8500), image 1 (0.9000)", "image 1 (0.5000)"],
            "parameters": [7_760_000.0, 0.0],
            "train_s": [5400.0, np.nan],
            "images_per_s": [np.nan, np.nan],
            "test_images_per_s": [12.5, 2000.0],
        }
    )
    p = {"p_images": 0.0002, "noise": 0.05, "p_runs": 0.004, "p": 0.012}
    pair = compared(unet, otsu, 0.2375, unet, low=0.1, high=0.3, **p)
    shown = Section(
        cohort, "dice", summary, (pair,), Verdict("unet is better.", ("By 0.24.",)), ("A note.",),
        (picture("Means"), picture()),
        gallery((unet, otsu)), more=(picture("Training"),),
    )  # fmt: skip
    return replace(shown, **changes)


def changed(shown, **changes):
    return replace(shown, cohort=replace(shown.cohort, **changes))


LETTERS = ("ternausnet", "unet_ronneberger", "attention_unet", "unetplusplus", "fcn", "r2unet", "attention_r2unet",
           "otsu", "watershed", "kmeans", "bht")  # fmt: skip
SHARES = ("dice", "iou", "resized/soft_dice", "resized/soft_iou", "boundary/surface_dice", "precision", "recall", "mcc",
          "cells/f1", "cells/pq", "watershed/cells/f1")  # fmt: skip


def made_up(methods, folds=0, images=30):
    """A section as a comparison makes it, of methods with three seeds each, with published scores and budgets."""
    rng = np.random.default_rng(0)
    ids = tuple(f"{number:08x}-04b9-4520-b674-44a0ecd35688" for number in range(images))
    hard = rng.beta(2, 9, images)
    found = []
    for place, label in enumerate(LETTERS[:methods]):
        runs = []
        for seed in range(1, 4):
            dice = (0.96 - 0.01 * place - hard + rng.normal(0, 0.02, images)).clip(0, 1)
            scores = pd.DataFrame({"id": ids, "group": ids, "case": ids} | dict.fromkeys(SHARES, dice))
            scores["boundary/hd95"] = 300 * hard
            scores["count/true"] = scores["count/found"] = 50.0
            scores["count/error"] = 0.0
            costs = {"model/parameters": 7.8e6, "time/train_s": 5400.0, "time/images_per_s": 12.5}
            costs |= {"time/test_images_per_s": 2.5, "test/pooled/dice": 0.9, "test/pooled/iou": 0.8}
            name = f"{label} seed {seed}"
            params = {"seed": str(seed), "model.name": label}
            run = SeedRun(f"{place:x}{seed}".ljust(32, "a"), name, seed, params, costs, scores, pd.DataFrame, missing)
            parts = tuple(
                replace(run, fold=str(fold), scores=scores[fold::folds].reset_index(drop=True)) for fold in range(folds)
            )
            runs.append(replace(run, parts=parts))
        found.append(Method(label, tuple(runs), False))
    entries = {"data": "a" * 64, "split": "b" * 64, "resolution": "full", "threshold": "0.5", "device": "cpu"}
    entries |= {"soft scores, resized to pixels": "256", "smallest cell, pixels": "20", "precision": "32-true"}
    plan = Folding(
        "parted", tuple(map(str, range(folds))), folds, tuple(str(n % max(1, folds)) for n in range(images)), 0.25
    )
    card = {"data set": "Blood cells", "source": "Made by hand. " * 10, "images": "41 to train", "classes": "2"}
    cohort = Cohort("blood", False, tuple(found), entries, card, folds=plan if folds else None)
    said = dict.fromkeys(("dice", "resized/soft_dice", "resized/soft_iou"), 0.9)
    literature = {"dataset": "blood", "scores": dict.fromkeys(LETTERS, said), "notes": ["Published elsewhere. " * 9]}
    made = report.section(cohort, "dice", literature, notes=["A note."], k=3)
    chosen = "the recipe of the data set; typed beside it: optimizer.lr, loss"
    return replace(made, budgets={label: Budget(2, (6, 5), 50.0, f"{chosen} {label}") for label in LETTERS[:methods]})
