"""Words and choices that tables, figures and sentences of a report share, by hand."""

import pandas as pd
import pytest

from lamella.errors import ConfigError
from lamella.reporting.summary import counted, listed, of, require, scores_in, scores_of
from support.report_pages import section


def test_words_by_hand():
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [listed(parts) for parts in (["a"], ["a", "b"], iter("abc"))] == ["a", "a and b", "a, b and c"]


def test_methods_are_compared_by_scores_and_errors_and_never_by_counts():
    cohort = section().cohort
    for method in cohort.methods:
        for run in method.runs:
            run.scores["count/true"] = run.scores["tp"] = 7
    assert scores_of(cohort) == ["dice", "count/error", "precision"]
    assert of(cohort.methods[0], "count/error").tolist() == [[2] * 4] * 2  # the sizes of +2 and -2


def test_a_score_that_is_not_there_is_said_with_those_that_are():
    require("dice", ["dice"])
    with pytest.raises(ConfigError, match="metric=nosuch is no score") as caught:
        require("nosuch", ["iou", "dice"])
    assert caught.value.remedy == "They share: dice, iou."


def test_scores_of_a_summary_are_those_with_an_interval():
    names = ["method", "dice", "dice_low", "dice_high", "parameters", "boundary/hd95", "boundary/hd95_low"]
    assert scores_in(pd.DataFrame(columns=names)) == ["dice", "boundary/hd95"]
