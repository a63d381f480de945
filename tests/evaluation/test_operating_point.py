"""What validation chooses, by hand: pictures whose probabilities are known, because the network repeats its input."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lamella.data.types import Batch
from lamella.errors import DataError
from lamella.evaluation.operating_point import select
from lamella.inference.settings import OperatingPoint
from lamella.metrics.neurites import scores_at
from lamella.models.classical.base import Choice, Classical
from support.tiny import CPU, as_logits, batch


def chosen(batches, *, objects="", choose_threshold=True, segmenter=None):
    return select(segmenter or as_logits(), batches, CPU, objects=objects, choose_threshold=choose_threshold)


def two_levels(foreground, background):
    """An image whose foreground has one probability and its ground another."""
    truth = np.zeros((4, 6), np.uint8)
    truth[1:3, 1:4] = 1
    return batch(np.where(truth, foreground, background), truth)


# The threshold


def test_the_threshold_is_the_one_with_the_best_mean_dice():
    # The first image is all right from 0.10 to 0.30, the second from 0.26 to 0.60: both from 0.26 to 0.30, of which
    # 0.30 lies nearest to a half.
    point, values = chosen([two_levels(0.305, 0.095), two_levels(0.605, 0.255)])
    assert point.threshold == 0.3
    assert point.neurite_threshold is None
    assert values == {}


def test_it_is_a_mean_over_images_not_over_pixels():
    # One large image is best above 0.2 alone, two small ones above 0.7 alone. Pixels would be outvoted by the large.
    truth = np.zeros((40, 40), np.uint8)
    truth[:20] = 1
    large = batch(np.where(truth, 0.305, 0.195), truth)
    small = np.zeros((2, 2), np.uint8)
    small[0, 0] = 1
    few = batch(np.where(small, 0.905, 0.695), small)
    point, _ = chosen([large, few, few])
    assert point.threshold == 0.7


def test_where_it_is_not_to_be_chosen_it_stays():
    image = two_levels(0.305, 0.095)
    for threshold in (0.5, 0.85):
        point, _ = chosen([image], choose_threshold=False, segmenter=as_logits(threshold=threshold))
        assert point.threshold == threshold


def test_pixels_that_do_not_count_choose_nothing():
    truth = np.array([[1, 1, 0, 0, 0]], np.uint8)
    probability = np.array([[0.405, 0.405, 0.105, 0.995, 0.995]])
    point, _ = chosen([batch(probability, truth, np.array([[True, True, True, False, False]]))])
    assert point.threshold == 0.4


def test_images_without_foreground_choose_no_threshold():
    # Their background would be right above 0.9 alone.
    empty = batch(np.full((4, 6), 0.9), np.zeros((4, 6), np.uint8))
    point, _ = chosen([two_levels(0.405, 0.105), empty, empty, empty])
    assert point.threshold == 0.4
    with pytest.raises(DataError, match="no validation image has a pixel of foreground"):
        chosen([empty])
    assert chosen([empty], choose_threshold=False)[0].threshold == 0.5


def test_images_are_predicted_with_the_views_of_the_test():
    class Leftmost(nn.Module):
        """Foreground with 0.9 in the first column as it is turned, 0.1 elsewhere."""

        def forward(self, image):
            logit = math.log(9)
            return torch.where(torch.arange(image.shape[-1]) == 0, logit, -logit).expand_as(image)

    truth = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]], np.uint8)
    blank = batch(np.full((3, 3), 0.5), truth)
    plain, _ = chosen([blank], segmenter=as_logits(Leftmost()))
    turned, _ = chosen([blank], segmenter=as_logits(Leftmost(), tta=True))
    # Averaged, corners have 0.5, edges 0.3, the middle 0.1: the left column is best told by what lies above 0.1 or
    # above 0.3, and neither is right.
    assert plain.threshold == 0.5
    assert turned.threshold < 0.5


# The temperature


def test_the_temperature_makes_the_probabilities_as_often_right_as_they_say():
    # Said with a logit of 2 everywhere, true in three of four pixels: it should have been log(3).
    truth = np.array([[1, 1, 1, 0]], np.uint8)
    point, _ = chosen([batch(np.full((1, 4), 1 / (1 + math.exp(-2))), truth)], choose_threshold=False)
    assert point.temperature == pytest.approx(2 / math.log(3), rel=1e-4)


def test_of_several_classes_there_is_a_temperature_and_no_threshold():
    # Softmax of (0, 3, 0) is right in three of four pixels: exp(3 / T) / (exp(3 / T) + 2) = 3/4 where T = 3 / log(6).
    logits = torch.tensor([0.0, 3.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    mask = torch.tensor([[[1, 1, 1, 2]]], dtype=torch.uint8)
    image = Batch(logits, mask, torch.ones_like(mask, dtype=torch.bool), [""])
    point, _ = chosen([image], choose_threshold=False)
    assert point == OperatingPoint(0.5, pytest.approx(3 / math.log(6), rel=1e-4), None)


# Neurites


def test_the_neurites_threshold_is_the_one_with_the_best_v_rand():
    # Two neurites and the membrane between them, whose interior's probability is 0.65: only above that are they two.
    truth = np.zeros((9, 21), np.uint8)
    truth[:, 10] = 1
    membrane = np.where(truth, 0.35, 0.05)
    point, values = chosen([batch(membrane, truth)], objects="neurites", choose_threshold=False)
    assert point.neurite_threshold == 0.7  # of 0.7, 0.8 and 0.9 the nearest to a half
    assert values == {"val/v_rand": 1.0}
    joined = scores_at((1 - membrane).astype(np.float32), truth == 0, (0.6, 0.7))
    assert joined[0].v_rand < joined[1].v_rand == 1


def test_of_several_sections_the_mean_decides():
    # The membrane shows above 0.4 in one section and above 0.8 in the other, both only up to 0.9.
    truth = np.zeros((9, 21), np.uint8)
    truth[:, 10] = 1
    sections = [batch(np.where(truth, share, 0.05), truth) for share in (0.65, 0.25)]
    point, values = chosen(sections, objects="neurites", choose_threshold=False)
    assert point.neurite_threshold == 0.8
    assert values == {"val/v_rand": 1.0}


def test_sections_without_a_neurite_have_no_say():
    truth = np.zeros((9, 21), np.uint8)
    truth[:, 10] = 1
    good = batch(np.where(truth, 0.35, 0.05), truth)
    full = batch(np.full((9, 21), 0.9), np.ones((9, 21), np.uint8))
    # Of the last one only ignored pixels are no membrane.
    ignored = batch(np.where(truth, 0.9, 0.1), truth, truth.astype(bool))
    point, values = chosen([good, full, ignored], objects="neurites", choose_threshold=False)
    assert (point.neurite_threshold, values) == (0.7, {"val/v_rand": 1.0})
    with pytest.raises(DataError, match="no validation image has a neurite"):
        chosen([full], objects="neurites", choose_threshold=False)


# A method without training


class Bright(Classical):
    """Foreground where the picture lies above 0."""

    def segment(self, image, choice, known):
        return choice.plane(image)


def test_a_method_without_training_keeps_its_threshold_and_has_no_temperature():
    method = Bright("bright", [Choice(0, 1, 0, 0, 0)])
    # However far from the truth its masks lie.
    point, values = chosen([two_levels(0.1, 0.9)], segmenter=as_logits(method))
    assert point == OperatingPoint(0.5, 1.0, None)
    assert values == {}
    truth = np.zeros((9, 21), np.uint8)
    truth[:, 10] = 1
    point, values = chosen([batch(np.where(truth, 0.9, 0.1), truth)], segmenter=as_logits(method), objects="neurites")
    assert point == OperatingPoint(0.5, 1.0, 0.5)  # any threshold parts 0 from 1
    assert values == {"val/v_rand": 1.0}
