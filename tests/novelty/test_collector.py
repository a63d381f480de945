"""One image while it is predicted -> whether it is like the training images, and why not, in words."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from lamella.inference.checkpoint import Trained
from lamella.inference.pictures import Band
from lamella.novelty.collector import Collector
from lamella.novelty.reference import Reference, learn
from support import discs


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return discs.reference(tmp_path_factory.mktemp("discs"))


def trained(novelty, **changed):
    kept = {"scale": 1.0, "percentiles": None, "channels": 1, "dtype": "uint8", "class_names": ("a", "b")}
    rest = {"operating_point": None, "precision": "32-true", "config": {}, "changed": (), "objects": "", "border": 0}
    return Trained(segmenter=discs.segmenter(), novelty=novelty, **kept | rest | changed)


def judge(novelty, image, cuts=None, spread=None, networks=1):
    collector, top, height = Collector([trained(novelty)] * networks), 0, image.shape[1]
    for rows in cuts or [height]:
        here = slice(top, top + rows)
        shown = np.zeros((1, rows, image.shape[2]), np.float32)
        collector.add(Band(top, height, image[:, here], shown, None if spread is None else spread[here]))
        top += rows
    return collector.judgement()


def resized(image, times):
    size = round(image.shape[2] * times), round(image.shape[1] * times)
    return np.asarray(Image.fromarray(image[0]).resize(size, Image.Resampling.BICUBIC))[None]


def lighter(image, by):
    return (image.astype(int) + by).clip(0, 255).astype(np.uint8)


def test_images_of_the_same_kind_are_rarely_flagged(reference):
    judged = [judge(reference.plain(), discs.picture(seed)) for seed in range(1000, 1060)]
    assert sum(each.unlike for each in judged) <= 8  # 5 % of 60 are 3; more than 8 in 1 of 250 cases
    fine = next(each for each in judged if not each.unlike)
    assert fine.reasons == ()
    assert 0 < fine.score <= 1
    assert fine.basis == "Held against 40 training images; of images like the 30 validation images 5% are flagged."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: lighter(image, 40), "brighter than any training image: mean 2"),
        (lambda image: lighter(image, -60), "darker than any training image: mean 1"),
        (lambda image: (170 + 0.4 * (image - 170.0)).astype(np.uint8), "less contrast than any training image"),
        (lambda image: 255 - image, "inverted: what is dark in the training images is light here"),
        (lambda image: ndimage.gaussian_filter(image, (0, 2, 2)), "blurred: the finest detail is"),
        (lambda image: resized(image, 2), "coarser texture: objects about twice as large as in the training images"),
        (
            lambda image: resized(discs.picture(7, sides=(400, 400)), 0.5),
            "finer texture: objects about half as large as in the training images",
        ),
        (
            lambda image: lighter(image, np.random.default_rng(0).normal(0, 12, image.shape).round().astype(int)),
            "more noise than any training image: 1",
        ),
    ],
    ids=["brighter", "darker", "less contrast", "inverted", "blurred", "twice", "half", "noise"],
)  # fmt: skip
def test_what_was_changed_is_named(reference, change, reason):
    found = judge(reference.plain(), change(discs.picture(1000)))
    assert found.unlike
    assert found.score > 1
    assert any(each.startswith(reason) for each in found.reasons), found.reasons


def test_levels_are_said_as_they_are_stored(reference):
    found = judge(reference.plain(), lighter(discs.picture(1000), 40))
    mean = lighter(discs.picture(1000), 40).mean()
    assert f"mean {mean:.3g}, training" in found.reasons[0]


def test_a_judgement_does_not_depend_on_how_rows_are_cut(reference):
    image, rng = discs.picture(1001), np.random.default_rng(0)
    spread = rng.random(image.shape[1:]).astype(np.float32)
    whole = judge(reference.plain(), image, spread=spread)
    assert judge(reference.plain(), image, [1] * 160, spread) == whole
    assert judge(reference.plain(), image, [100, 3, 57], spread) == whole
    assert whole.uncertainty == pytest.approx(spread.mean())


def test_of_an_ensemble_it_is_said_how_far_the_networks_differ(reference):
    image = discs.picture(1001)
    found = judge(reference.plain(), image, spread=np.full(image.shape[1:], 0.25, np.float32), networks=3)
    assert found.basis.endswith(
        "The 3 networks' probabilities differ by 0.25 (standard deviation, mean over the pixels); "
        "how much is usual for them is not known."
    )


def test_19_validation_images_are_too_few(tmp_path):
    found = judge(discs.reference(tmp_path, val=19).plain(), 255 - discs.picture(1000))
    assert found.unlike is None
    assert found.reasons[0] == ("cannot be said: 19 validation images, of which 20 are needed to know what is unusual")
    assert any(each.startswith("inverted") for each in found.reasons)  # so much so that it is said all the same


def test_of_few_groups_it_is_said(reference):
    found = judge(reference._replace(groups=2).plain(), discs.picture(1002))
    assert "these are of 2 group(s): images of others may be flagged more often" in found.basis


def test_older_and_damaged_checkpoints_say_nothing(reference):
    older = judge(None, discs.picture(1000))
    assert (older.unlike, older.score) == (None, None)
    assert older.reasons == (
        "cannot be said: the network was trained by an older version, which kept nothing to hold images against",
    )
    for damage in (
        {"format": 2},
        {"criteria": {"levels": {}}},
        {"inner": {"layer": ["9", 0]}},
        {"trained": "x"},
        {"threshold": float("nan")},
    ):
        found = judge(reference.plain() | damage, discs.picture(1000))
        assert found.unlike is None
        assert found.reasons[0].startswith("cannot be said: what the checkpoint keeps of its training images is not")


def test_a_reference_is_small_and_comes_back_from_a_file(reference, tmp_path):
    path = tmp_path / "novelty.pt"
    torch.save(reference.plain(), path)
    assert path.stat().st_size < 200_000
    again = Reference.of(torch.load(path, weights_only=True))
    assert judge(again.plain(), discs.picture(1003)) == judge(reference.plain(), discs.picture(1003))


def test_one_training_image_says_nothing_of_how_they_differ(tmp_path):
    assert learn(discs.segmenter(), discs.samples(tmp_path, 0, 1), discs.samples(tmp_path, 1, 3), channels=1) is None
