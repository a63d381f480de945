"""Counts that are written as rows: they must add up over images as their pool does."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def assert_rows_add_up(
    found: Sequence[Any], pool: Callable[[Sequence[Any]], Any], scores: Sequence[Callable[[Any], Any]]
) -> None:
    """Fails unless summed rows score as the pooled counts do, and a stack of rows as each image does."""
    kind = type(found[0])
    rows = np.stack([each.row() for each in found])
    whole, each = kind.of(rows.sum(axis=0)), kind.of(rows)
    for score in scores:
        np.testing.assert_allclose(score(whole), score(pool(found)), rtol=1e-12)
        np.testing.assert_array_equal(score(each), [score(one) for one in found])
