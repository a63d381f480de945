"""Labels with known faults against a prediction that is sure: which object, what is wrong with it, how much."""

import numpy as np
import pytest

from lamella.evaluation.disagreements import Settings, disagreements

SETTINGS = Settings(tolerance=2, cells=False, split_neck=4, smallest=5)
SIZE = 60


def squares(*places, side=20, into=None, class_id=1):
    mask = np.zeros((SIZE, 2 * SIZE), np.uint8) if into is None else into
    for top, left in places:
        mask[top : top + side, left : left + side] = class_id
    return mask


def look(label, network, *, sure=1.0, valid=None, objects=None, **changed):
    share = np.where(network, sure, 1 - sure).astype(np.float32)[None]
    everywhere = np.ones(label.shape, bool) if valid is None else valid
    return disagreements(share, network, label, everywhere, objects, SETTINGS._replace(**changed))


TWO = squares((10, 10), (10, 60))


def test_the_same_is_no_disagreement_nor_is_what_lies_within_the_tolerance():
    assert look(TWO, TWO).disagreements == []
    assert look(TWO, squares((12, 10), (10, 61))).disagreements == []
    assert look(TWO, TWO).sizes.tolist() == [400, 400]


@pytest.mark.parametrize(
    ("kind", "label", "network"),
    [("missing", squares((10, 10)), TWO), ("extra", TWO, squares((10, 10)))],
)
def test_a_whole_object(kind, label, network):
    (found,) = look(label, network, sure=0.9).disagreements
    assert found.kind == kind
    assert found.weight == pytest.approx(400 * 0.8)
    assert found.pixels == 400
    assert found.box == (10, 60, 30, 80)
    assert 18 <= found.y <= 21
    assert 68 <= found.x <= 71
    assert (found.label, found.predicted) == ((0, 1) if kind == "missing" else (1, 0))


def test_both_sides_of_a_shift_are_one_object():
    (found,) = look(TWO, squares((10, 10), (16, 60))).disagreements
    assert found.kind == "shifted"
    assert found.pixels == 2 * 6 * 20
    assert found.box == (10, 60, 36, 80)


def test_what_is_joined_and_what_is_parted():
    joined = squares((10, 10), (10, 60))
    joined[12:28, 30:60] = 1
    (found,) = look(joined, TWO).disagreements
    assert found.kind == "merged"
    assert found.pixels == 30 * 16
    (found,) = look(TWO, joined).disagreements
    assert found.kind == "split"


def test_another_class():
    label, network = squares((10, 10), (10, 60)), squares((10, 60), into=squares((10, 10)), class_id=2)
    share = np.stack([network == each for each in range(3)]).astype(np.float32)
    everywhere = np.ones(label.shape, bool)
    (found,) = disagreements(share, network, label, everywhere, None, SETTINGS).disagreements
    assert (found.kind, found.label, found.predicted, found.pixels) == ("class", 1, 2, 400)


def test_what_is_ignored_or_unsure_counts_for_nothing():
    valid = np.ones(TWO.shape, bool)
    valid[:, 50:90] = False
    assert look(squares((10, 10)), TWO, valid=valid).disagreements == []
    assert look(squares((10, 10)), TWO, sure=0.5).disagreements == []


def test_numbered_objects_are_the_labels_own():
    """Two that touch: of one the network sees nothing. Of the mask alone both are one object, found by half."""
    label, network = squares((10, 10), (10, 30)), squares((10, 10))
    ids = np.zeros(label.shape, np.int32)
    ids[10:30, 10:30], ids[10:30, 30:50] = 4, 9
    (found,) = look(label, network, objects=ids).disagreements
    assert found.kind == "extra"
    assert look(label, network, objects=ids).sizes.tolist() == [400, 400]
    (found,) = look(label, network).disagreements
    assert (found.kind, found.pixels) == ("extra", 400)


def test_the_gravest_comes_first():
    found = look(squares((10, 10)), squares((10, 60), (40, 100), side=20)).disagreements
    assert [each.pixels for each in found] == sorted((each.pixels for each in found), reverse=True)
    assert {each.kind for each in found} == {"missing", "extra"}


def test_cells_that_the_frame_cuts_are_left_out():
    network = squares((10, 10), (10, 100), (0, 60))
    found = look(squares((10, 10)), network).disagreements
    assert [each.kind for each in found] == ["missing", "missing"]
    assert look(squares((10, 10)), network, cells=True).disagreements == []
    (whole,) = look(squares((10, 10)), squares((10, 10), (10, 90)), cells=True).disagreements
    assert whole.kind == "missing"


def test_regions_too_small_to_be_objects_stay_apart():
    network = squares((10, 10))
    places = [(45, left) for left in range(5, 115, 8)]
    for top, left in places:
        network[top : top + 2, left : left + 2] = 1
    found = look(squares((10, 10)), network).disagreements
    assert len(found) == len(places)
    assert {(each.box, each.pixels, each.kind) for each in found} == {
        ((top, left, top + 2, left + 2), 4, "shifted") for top, left in places
    }
