"""Methods without training: equality with references, and the choice of channel and polarity."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.draw import disk
from skimage.filters import threshold_otsu
from sklearn.cluster import KMeans

from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.io.read import read_image, read_mask
from lamella.errors import ConfigError
from lamella.inference.segmenter import Normalise
from lamella.models.classical import methods as classical
from lamella.models.classical.base import Choice, Classical
from lamella.models.classical.methods import balance, balanced_threshold, otsu_threshold
from lamella.splits import published

METHODS = {
    "otsu": {},
    "bht": {},
    "kmeans": {"clusters": [2, 3], "seed": 0},
    "watershed": {"fill_holes": "auto", "depth": 2.0},
}
each = pytest.mark.parametrize("name", METHODS)


def method(name, channels=1, channel="auto", foreground="auto", num_classes=2, **other) -> Classical:
    keys = METHODS[name] | other
    make = getattr(classical, name)
    built = make(in_channels=channels, num_classes=num_classes, channel=channel, foreground=foreground, **keys)
    assert isinstance(built, Classical)
    return built


def discs(centres, radius, shape=(60, 80)):
    """A mask of discs, uint8 0 and 1."""
    mask = np.zeros(shape, np.uint8)
    for centre in centres:
        mask[disk(centre, radius, shape=shape)] = 1
    return mask


MASK = discs([(20, 20), (40, 55)], 12)


def phantom(mask=MASK, level=60, ground=160, channels=1, seen_in=0, seed=0):
    """A noisy image uint8 (C, H, W): cells at `level` on `ground` in one channel, noise in the others."""
    rng = np.random.default_rng(seed)
    image = rng.normal(120, 20, (channels, *mask.shape))
    image[seen_in] = np.where(mask == 1, level, ground) + rng.normal(0, 12, mask.shape)
    return image.clip(0, 255).round().astype(np.uint8)


def normalised(image):
    """As a network is given it: float32, mean 0 and deviation 1 in each channel."""
    floats = torch.from_numpy(image.astype(np.float32))
    mean, std = floats.mean((1, 2)), floats.std((1, 2))
    return Normalise(mean.tolist(), std.tolist())(floats[None])[0]


def answer(built, image):
    """Class ids (H, W) of one image."""
    with torch.inference_mode():
        return (built(normalised(image)[None])[0, 0] > 0).numpy().astype(np.uint8)


def dice(predicted, truth):
    return 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())


# Otsu


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_otsu_equals_scikit_images(dtype):
    for seed in range(5):
        image = phantom(seed=seed, level=40 + 20 * seed).astype(dtype) * (1 if dtype == np.uint8 else 201)
        threshold = threshold_otsu(image[0])
        bright = method("otsu", channel="0", foreground="bright")
        dark = method("otsu", channel="0", foreground="dark")
        np.testing.assert_array_equal(answer(bright, image), image[0] > threshold)
        np.testing.assert_array_equal(answer(dark, image), image[0] <= threshold)


def test_otsu_lies_between_two_levels():
    assert otsu_threshold(np.array([[10, 10, 12, 90, 90, 95]], np.uint8)) == (12 + 90) / 2


def test_otsu_of_floats_is_the_best_of_all_thresholds():
    plane = np.random.default_rng(0).normal(0, 1, (20, 20)) ** 3
    levels = np.sort(plane.ravel())

    def between(t):
        low, high = plane[plane <= t], plane[plane > t]
        return low.size * high.size * (low.mean() - high.mean()) ** 2

    assert between(otsu_threshold(plane)) == pytest.approx(max(between(t) for t in levels[:-1]))


# The balanced histogram


@pytest.mark.parametrize(
    ("histogram", "expected"),
    [
        # Weighed left | right, of the bins that are left:
        ([5, 1, 0, 2, 8], 2),  # 5 1 0 | 2 8 -> 5 1 | 0 2 -> 1 0 | 2 -> 1 | 0 -> bin 2
        ([1, 1, 1, 1], 3),  # 1 1 | 1 1, equal, so the left goes -> 1 1 | 1 -> 1 | 1 -> bin 3
        ([9], 0),
        ([1, 9], 0),  # 1 | 9 -> bin 0
        ([9, 1], 1),  # 9 | 1 -> bin 1
    ],
)
def test_the_balance_by_hand(histogram, expected):
    assert balance(np.array(histogram)) == expected


def test_the_balance_equals_one_that_weighs_anew():
    rng = np.random.default_rng(1)
    for _ in range(50):
        histogram = rng.integers(0, 100, rng.integers(1, 60))
        bins = list(enumerate(histogram.tolist()))
        while len(bins) > 1:
            pivot = (bins[0][0] + bins[-1][0]) // 2
            left = sum(count for place, count in bins if place <= pivot)
            right = sum(count for place, count in bins if place > pivot)
            bins.pop(0 if left >= right else -1)
        assert balance(histogram) == bins[0][0]


def test_the_balanced_threshold_by_hand():
    # The histogram above, from level 100 on: bin 2 is level 102, the last one of the dark side.
    plane = np.repeat([100, 101, 103, 104], [5, 1, 2, 8]).reshape(4, 4).astype(np.uint8)
    assert balanced_threshold(plane) == 102.5
    image = plane[None]
    np.testing.assert_array_equal(answer(method("bht", channel="0", foreground="bright"), image), plane >= 103)
    np.testing.assert_array_equal(answer(method("bht", channel="0", foreground="dark"), image), plane <= 102)


def test_the_balanced_threshold_of_floats_uses_256_bins():
    plane = np.random.default_rng(0).random((50, 50))
    width = np.ptp(plane) / 255
    histogram = np.bincount(np.rint((plane - plane.min()) / width).astype(int).ravel())
    assert balanced_threshold(plane) == pytest.approx(plane.min() + (balance(histogram) + 0.5) * width)


# k-means


def colours(seed=0):
    """Three colours well apart, and which pixel has which."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 3, (30, 40))
    centres = np.array([[200, 190, 210], [160, 140, 180], [40, 20, 90]])
    image = np.moveaxis(centres[ids], -1, 0) + rng.normal(0, 4, (3, 30, 40))
    return image.clip(0, 255).round().astype(np.uint8), ids


@pytest.mark.parametrize("k", [2, 3])
def test_kmeans_equals_scikit_learns(k):
    image, _ = colours()
    pixels = normalised(image).reshape(3, -1).T.numpy()
    theirs = KMeans(k, n_init=10, random_state=5).fit(pixels)
    darkest = theirs.cluster_centers_.mean(axis=1).argmin()
    built = method("kmeans", 3, "grey", "dark", clusters=[k])
    truth = (theirs.labels_ == darkest).reshape(30, 40)
    built.fit_on_validation([(normalised(image).numpy(), truth.astype(np.uint8))])
    np.testing.assert_array_equal(answer(built, image), truth)


def test_kmeans_takes_as_many_clusters_as_fit_the_truth():
    image, ids = colours()
    built = method("kmeans", 3)
    said = built.fit_on_validation([(normalised(image).numpy(), (ids > 0).astype(np.uint8))])
    assert "dark foreground" in said
    assert "2 of 3 clusters" in said
    np.testing.assert_array_equal(answer(built, image), ids > 0)
    assert "1 of 3 clusters" in built.fit_on_validation([(normalised(image).numpy(), (ids == 0).astype(np.uint8))])
    np.testing.assert_array_equal(answer(built, image), ids == 0)


def test_kmeans_repeats_under_a_seed():
    image = np.random.default_rng(0).integers(0, 256, (3, 300, 300), np.uint8)  # more than it draws, no clusters
    keys = {"channels": 3, "channel": "grey", "foreground": "dark", "clusters": [2]}
    one, same, other = (method("kmeans", **keys, seed=seed)(normalised(image)[None]) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_kmeans_needs_a_number_of_clusters():
    with pytest.raises(ConfigError, match=r"model\.clusters is empty"):
        method("kmeans", clusters=[])


# Watershed


def cells_in(mask):
    return ndimage.label(mask)[1]


def test_watershed_parts_two_discs_that_touch():
    touching = discs([(30, 25), (30, 45)], 12)
    image = phantom(touching)
    together = answer(method("otsu", channel="0", foreground="dark"), image)
    apart = answer(method("watershed", channel="0", foreground="dark", fill_holes="never"), image)
    assert (cells_in(together), cells_in(apart)) == (1, 2)
    assert (apart <= together).all()  # basins within Otsu's mask
    line = (together == 1) & (apart == 0)
    assert 1 <= line.sum() <= 16  # one pixel wide, where the discs meet
    assert (abs(np.argwhere(line)[:, 1] - 35) <= 2).all()
    assert ndimage.label(apart)[0][30, 25] != ndimage.label(apart)[0][30, 45]


def test_watershed_drops_specks_and_keeps_lone_cells():
    mask = discs([(20, 20)], 10)
    speck = mask.copy()
    speck[50, 60:62] = 1
    image = phantom(speck, level=20)
    found = answer(method("watershed", channel="0", foreground="dark", fill_holes="never"), image)
    np.testing.assert_array_equal(found, mask)


def test_watershed_fills_holes_where_that_is_better():
    whole = discs([(30, 30)], 16)
    ring = whole.copy()
    ring[disk((30, 30), 6)] = 0
    pair = normalised(phantom(ring)).numpy()
    for truth, filled in ((whole, True), (ring, False)):
        built = method("watershed", depth=1.0)
        said = built.fit_on_validation([(pair, truth)])
        assert ("holes filled" in said) == filled
        assert dice(answer(built, phantom(ring)), truth) > 0.93


def test_watershed_with_a_deeper_neck_cuts_less():
    touching = phantom(discs([(30, 22), (30, 38)], 12))  # a wide neck
    shallow, deep = (
        answer(method("watershed", channel="0", foreground="dark", fill_holes="never", depth=d), touching)
        for d in (1.0, 8.0)
    )
    assert (cells_in(shallow), cells_in(deep)) == (2, 1)


# The choice


@each
@pytest.mark.parametrize(("level", "ground", "side"), [(60, 160, "dark"), (190, 80, "bright")])
def test_the_side_is_chosen_by_labelled_images(name, level, ground, side):
    if name == "bht":  # which balances an image of two equal halves
        mask = np.zeros((60, 80), np.uint8)
        mask[:, :40] = 1
    else:
        mask = MASK
    built = method(name)
    said = built.fit_on_validation([(normalised(phantom(mask, level, ground, seed=s)).numpy(), mask) for s in range(2)])
    assert said.startswith(f"{side} foreground in channel 0")
    assert "2 image(s)" in said
    assert dice(answer(built, phantom(mask, level, ground, seed=9)), mask) > 0.95


@pytest.mark.parametrize("name", ["otsu", "watershed"])  # k-means looks at all channels anyway
def test_the_channel_is_chosen_by_labelled_images(name):
    for seen_in in range(3):
        built = method(name, 3)
        built.fit_on_validation([(normalised(phantom(channels=3, seen_in=seen_in, level=30)).numpy(), MASK)])
        assert Choice(*built.choice.tolist()).channel == seen_in
        assert dice(answer(built, phantom(channels=3, seen_in=seen_in, level=30, seed=1)), MASK) > 0.9


def test_grey_is_the_mean_of_all_channels():
    image = phantom(channels=3)
    image[1], image[2] = image[0], image[0]  # in one alone the noise is as strong
    rng = np.random.default_rng(0)
    noisy = (image + rng.normal(0, 40, image.shape)).clip(0, 255).round().astype(np.uint8)
    built = method("otsu", 3)
    said = built.fit_on_validation([(normalised(noisy).numpy(), MASK)])
    assert said.startswith("dark foreground in grey (the mean of all")
    grey = normalised(noisy).mean(0).numpy()
    np.testing.assert_array_equal(answer(built, noisy), grey <= otsu_threshold(grey))


def test_the_first_of_equals_is_chosen():
    image = np.repeat(phantom(), 3, axis=0)
    built = method("otsu", 3)
    built.fit_on_validation([(normalised(image).numpy(), MASK)])
    assert Choice(*built.choice.tolist()) == built.candidates[0]


def test_pixels_to_ignore_do_not_choose():
    truth = np.full_like(MASK, 255)
    truth[20, :] = MASK[20, :]
    image = phantom()
    image[0, 30:] = 255 - image[0, 30:]  # the other way round where nothing counts
    built = method("otsu")
    said = built.fit_on_validation([(normalised(image).numpy(), truth)])
    expected = image[0] <= threshold_otsu(image[0])
    counted = dice(expected[20].astype(np.uint8), MASK[20])
    assert f"mean Dice {counted:.4f}" in said
    assert said.startswith("dark")


@each
def test_a_checkpoint_carries_the_choice(name):
    image = phantom(level=200, ground=90)
    built = method(name)
    with pytest.raises(RuntimeError, match="fit"):
        answer(built, image)
    built.fit_on_validation([(normalised(image).numpy(), MASK)])
    fresh = method(name)
    fresh.load_state_dict(built.state_dict())
    np.testing.assert_array_equal(answer(fresh, image), answer(built, image))
    assert built.state_dict().keys() == {"choice"}


def test_images_without_foreground_do_not_choose():
    image, empty = normalised(phantom()).numpy(), np.zeros_like(MASK)
    # Of the bright side little would be found in the empty images, were that a merit.
    said = method("otsu").fit_on_validation([(image, MASK), (image, empty), (image, empty)])
    assert said == method("otsu").fit_on_validation([(image, MASK)])
    assert "1 image(s)" in said


def test_without_an_image_there_is_no_choice():
    for none in ([], [(normalised(phantom()).numpy(), np.zeros_like(MASK))]):
        with pytest.raises(ValueError, match="no image with foreground"):
            method("otsu").fit_on_validation(none)


@pytest.mark.parametrize("name", ["otsu", "bht"])
def test_what_is_configured_needs_no_fit(name):
    built = method(name, 3, "1", "bright")
    assert built.fit_on_validation([]) == "bright foreground in channel 1, as configured"
    assert answer(built, phantom(channels=3)).shape == MASK.shape


@each
def test_only_two_classes(name):
    with pytest.raises(ConfigError, match=f"model={name} tells two classes apart; the data set has 3"):
        method(name, num_classes=3)


@each
@pytest.mark.parametrize("channel", ["3", "-1", "green", ""])
def test_a_wrong_channel_lists_the_right_ones(name, channel):
    with pytest.raises(ConfigError, match="auto, grey, 0, 1, 2"):
        method(name, 3, channel)


# The form of a network


@each
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_images_of_any_size_one_by_one(name, channels):
    built = method(name, channels)
    images = [normalised(phantom(channels=channels, seed=s, mask=MASK[:57, :71])) for s in range(3)]
    built.fit_on_validation([(images[0].numpy(), MASK[:57, :71])])
    batch = torch.stack(images).to(memory_format=torch.channels_last)
    together = built(batch)
    assert together.shape == (3, 1, 57, 71)
    assert together.dtype == torch.float32
    assert (together != 0).all()
    torch.testing.assert_close(together, torch.cat([built(image[None]) for image in images]), rtol=0, atol=0)
    assert list(built.parameters()) == []


@each
def test_the_sign_survives_the_sigmoid(name):
    """Also where a pixel is next to the threshold: an answer must not hang on rounding."""
    built = method(name)
    image = normalised(phantom()) * 1e-6
    built.fit_on_validation([(image.numpy(), MASK)])
    logits = built(image[None])
    assert ((logits.sigmoid() > 0.5) == (logits > 0)).all()
    assert (logits.abs() >= 9e-4).all()


@each
@pytest.mark.parametrize("side", ["dark", "bright"])
def test_a_flat_image_is_ground(name, side):
    other = {"clusters": [2]} if name == "kmeans" else {"fill_holes": "never"} if name == "watershed" else {}
    built = method(name, 2, "0", side, **other)
    assert (built(torch.full((1, 2, 20, 30), 0.7)) < 0).all()


# Real images


def chosen_and_scored(built, choose_by, judge_by, card):
    """Fits on some samples, returns what it said and the Dice of each of the others, at full size."""

    def pair(sample):
        image = read_image(sample.image, card.channels)
        return image, read_mask(sample.mask, card.mask_values)

    fit_on = [pair(sample) for sample in choose_by]
    levels = np.concatenate([image.reshape(len(image), -1) for image, _ in fit_on], axis=1).astype(np.float64)
    normalise = Normalise(levels.mean(axis=1).tolist(), levels.std(axis=1).tolist())

    def ready(image):
        return normalise(torch.from_numpy(image).float()[None])

    said = built.fit_on_validation((ready(image)[0].numpy(), truth) for image, truth in fit_on)
    scores = []
    for sample in judge_by:
        image, truth = pair(sample)
        scores.append(dice((built(ready(image))[0, 0] > 0).numpy(), truth == 1))
    return said, scores


def test_otsu_on_blood(lamella_data):
    dataset = blood(root=str(lamella_data / "blood"))
    split = published(dataset.samples, val_fraction=0.15, seed=7)
    if len(split.test) != 12:
        pytest.skip(f"{len(split.test)} test images, not the 12 that this test knows")
    said, scores = chosen_and_scored(method("otsu", 3), split.val, split.test, dataset.card)
    assert said.startswith("dark foreground in channel 1")  # stained cells take green light
    assert np.mean(scores) >= 0.91


def test_otsu_on_em(lamella_data):
    dataset = em(root=str(lamella_data / "em"))
    sections = list(dataset.samples)
    said, scores = chosen_and_scored(method("otsu"), sections[20:24], sections[24:], dataset.card)
    assert said.startswith("dark foreground")  # membranes are
    assert len(scores) == 6
    assert 0.45 < np.mean(scores) < 0.6  # mitochondria and vesicles are dark, too
