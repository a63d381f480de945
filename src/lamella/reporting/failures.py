"""The images on which methods fail: how many, how badly and which, for no interval of a mean tells of rare ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lamella.reporting.cohorts import Values
from lamella.reporting.numbers import UNKNOWN, percent, score_text
from lamella.statistics import share

FAILED = 0.5
"""The Dice below which an image failed, where neither a run nor the user says otherwise."""

_NAMED = 3  # worst images


def failures(dice: Values, ids: Sequence[str], below: float, *, grouped: bool) -> dict[str, Any]:
    """The columns of a `summary` that tell of failures.

    Args:
        dice: (images,) mean over seeds; NaN where an image has none.
        ids: of the images.
        below: an image with less Dice failed.
        grouped: images come in groups, in which they may fail together: then there are no bounds.

    Returns:
        `failed_below`, the limit; `failed`, how many images; `failure_rate`, their share of those that have a Dice,
        with its exact 95 % bounds `failure_low` and `failure_high` (NaN: not known); `worst_tenth`, the mean Dice of
        the worst tenth, at least one image; `worst_images`, the ids of the worst three with their Dice.
    """
    order = [int(place) for place in np.argsort(dice, kind="stable") if not np.isnan(dice[place])]
    said: dict[str, Any] = {"failed_below": below, "failed": int((dice[order] < below).sum())}
    rate = share(said["failed"], len(order))
    if grouped:
        rate = rate._replace(low=np.nan, high=np.nan)
    said |= dict(zip(("failure_rate", "failure_low", "failure_high"), rate, strict=True))
    said["worst_tenth"] = float(dice[order[: max(1, len(order) // 10)]].mean()) if order else np.nan
    return said | {"worst_images": ", ".join(f"{ids[i]} ({score_text(dice[i], 'dice')})" for i in order[:_NAMED])}


def failure_head(summary: pd.DataFrame) -> tuple[str, str, str, str]:
    """The headings above `failure_rows`."""
    limit = f"{summary['failed_below'][0]:g}"
    return (
        "method",
        f"images with a Dice below {limit}",
        "mean Dice of the worst tenth",
        "worst images, with their Dice",
    )


def failure_rows(summary: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """A row a method, below `failure_head`; none where no Dice was measured."""
    if "failed" not in summary.columns:
        return []
    return [
        (row["method"], failure_text(row), score_text(row["worst_tenth"], "dice"), row["worst_images"] or UNKNOWN)
        for row in summary.to_dict("records")
    ]


def failure_text(row: Any) -> str:
    """How many images of a method failed, and what that says of others: "0 of 12: up to 26 %"."""
    failed, of = int(row["failed"]), int(row["dice_images"])
    if not of:
        return UNKNOWN
    bounds = failure_bounds(row)
    return f"{failed} of {of}{f': {bounds}' if bounds else ''}"


def failure_bounds(row: Any) -> str:
    """Between what shares of all such images a method's failures may lie: "up to 26 %"; empty where not known."""
    if np.isnan(row["failure_low"]):
        return ""
    low, high = percent(row["failure_low"]), percent(row["failure_high"])
    if row["failed"] == 0:
        return f"up to {high}"
    return f"at least {low}" if row["failed"] == row["dice_images"] else f"{low} to {high}"


def failure_words(summary: pd.DataFrame, *, grouped: bool) -> str:
    """How to read the table of failures."""
    limit, images = f"{summary['failed_below'][0]:g}", int(summary["dice_images"][0])
    tenth = max(1, images // 10)
    bounds = "Behind the colon: between what shares of all such images the failures may lie (95 %, exact). "
    if grouped:
        bounds = "How many of all such images may fail is not known, for those of a group may fail together. "
    return (
        f"An image failed where its Dice, mean over seeds, is below {limit}. {bounds}"
        f"The worst tenth: {'one image' if tenth == 1 else f'{tenth} images'}. "
        "Rare failures are not in the intervals of means."
    )
