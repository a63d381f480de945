"""The ranking of doubted labels, by hand."""

from pathlib import Path

import numpy as np
import pytest

from lamella.data.types import Dataset, DatasetCard, ImageRef, Sample
from lamella.evaluation.disagreements import Disagreement, Looked
from lamella.reporting.review import reviewed

CARD = DatasetCard("set", "a set", ("ground", "cell"), {0: 0, 255: 1}, 1, "made here")


def doubted(*weights):
    found = [Disagreement("missing", weight, 90, 5, 7, (1, 2, 11, 22), 0, 1) for weight in weights]
    return Looked(found, np.array([80, 100, 120]), b"")


def test_a_network_that_disagrees_everywhere_says_little_of_one_object():
    samples = [Sample(id_, ImageRef(Path(f"{id_}.png")), ImageRef(Path(f"{id_}-mask.png")), id_) for id_ in "abc"]
    looked = {"a": doubted(60.0), "b": doubted(100.0, 100.0, 50.0), "c": doubted()}
    found = reviewed(Dataset(CARD, samples), samples, looked, dict.fromkeys("abc", ("run",)), store=None)
    ranked = [(each.id, each.disagreement, each.score) for each in found.objects]
    assert ranked == [
        ("a", 0.6, 0.6),
        ("b", 1.0, pytest.approx(100 / 250)),
        ("b", 1.0, pytest.approx(100 / 250)),
        ("b", 0.5, pytest.approx(50 / 300)),
    ]
    assert [(each.id, each.disagreement, each.objects) for each in found.images] == [
        *(("b", 2.5, 3), ("a", 0.6, 1), ("c", 0.0, 0)),
    ]
    first = found.objects[0]
    assert (first.x, first.y, first.left, first.top, first.width, first.height) == (7, 5, 2, 1, 20, 10)
    assert (first.label, first.network, first.mask) == ("ground", "cell", "a-mask.png")
