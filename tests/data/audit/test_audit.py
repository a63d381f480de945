"""Every kind of fault is found and named where it is, and nothing where it is not."""

import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from lamella.config.key import ALLOWABLE
from lamella.data.audit.audit import audit
from lamella.data.audit.report import raise_errors
from lamella.data.cache import arrays as store_module
from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.datasets.phantom import write_blood, write_em
from lamella.data.types import IGNORE, Dataset, DatasetCard, ImageRef, Labelling, Sample, Split
from lamella.errors import DataError, StorageError
from lamella.splits import blocks

CARD = DatasetCard("toy", "toy", ("ground", "cell"), {0: 0, 255: 1}, channels=1, source="made here")


# --- made data: dark cells on a bright ground -------------------------------------------------------------


def scene(seed, contrast=-80):
    """An image and its mask, (90, 120), 0 and 255."""
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.standard_normal((90, 120)), 4) > 0.04
    image = 170 + contrast * mask + rng.normal(0, 6, mask.shape)
    return image.clip(0, 255).astype(np.uint8), mask.astype(np.uint8) * 255


def scenes(count=12, **options):
    return [list(scene(seed, **options)) for seed in range(count)]


def thirds(samples):
    """The first two thirds train, then validation, then test."""
    first, second = 2 * len(samples) // 3, 5 * len(samples) // 6
    return Split(tuple(samples[:first]), tuple(samples[first:second]), tuple(samples[second:]))


def look(folder, pairs, *, card=CARD, split=thirds, scale=1.0, percentiles=None, **options):
    """Writes pairs of arrays, or of bytes of files, and audits them."""
    samples = []
    for number, pair in enumerate(pairs):
        refs = []
        for kind, content in zip(("image", "mask"), pair, strict=True):
            path = folder / f"{kind}-{number}.png"
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content.dtype == np.float32:
                tifffile.imwrite(path.with_suffix(".tif"), content, photometric="minisblack")
                path = path.with_suffix(".tif")
            else:
                Image.fromarray(content).save(path)
            refs.append(ImageRef(path))
        samples.append(Sample(str(number), *refs, group=str(number)))
    store = Store(folder / "cache", card, scale, percentiles=percentiles)
    return audit(Dataset(card, samples), split(samples), store, **options)


def kinds(report):
    return [(f.severity, f.kind) for f in report.findings]


def only(report, severity, kind):
    """The one finding there is, and it must name the files of its samples."""
    assert kinds(report) == [(severity, kind)]
    return report.findings[0]


def test_sound_samples_pass(tmp_path):
    report = look(tmp_path, scenes())
    assert report.findings == report.errors == report.warnings == ()
    assert len(report.looked) == 12
    raise_errors(report)


# --- which mask belongs to which image -------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_swapped_pair(tmp_path, scale):
    pairs = scenes()
    pairs[2][1], pairs[9][1] = pairs[9][1], pairs[2][1]
    found = only(look(tmp_path, pairs, scale=scale), "error", "swapped")
    assert found.samples == ("2", "9")
    assert all(f"{kind}-{n}.png" in found.message for kind in ("image", "mask") for n in (2, 9))


def test_two_images_alone_can_be_swapped(tmp_path):
    pairs = scenes(2)
    pairs[0][1], pairs[1][1] = pairs[1][1], pairs[0][1]
    only(look(tmp_path, pairs, split=lambda s: Split((s[0],), (), (s[1],))), "error", "swapped")


def test_masks_off_by_one(tmp_path):
    pairs = scenes()
    masks = [pair[1] for pair in pairs]
    for number, pair in enumerate(pairs):
        pair[1] = masks[(number + 1) % 12]
    report = look(tmp_path, pairs)
    assert kinds(report) == [("error", "swapped")] * 12
    assert "mask-2.png of" in report.findings[3].message
    assert "image-3.png" in report.findings[3].message


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda mask: mask[::-1], "mirrored top to bottom"),
        (lambda mask: mask[:, ::-1], "mirrored left to right"),
        (lambda mask: mask[::-1, ::-1], "turned upside down"),
        (lambda mask: mask.T, "with rows and columns exchanged"),
        (lambda mask: np.rot90(mask), "turned a quarter to the right"),
        (lambda mask: np.rot90(mask, 3), "turned a quarter to the left"),
    ],
)
def test_masks_that_are_all_turned(tmp_path, turn, words):
    pairs = [[image[:90, :90], np.ascontiguousarray(turn(mask[:90, :90]))] for image, mask in scenes()]
    found = only(look(tmp_path, pairs), "error", "turned")
    assert f"the masks fit their images {words} (0.9" in found.message
    assert not look(tmp_path, pairs, allow=["turned"]).errors


def test_a_mask_from_elsewhere_is_suspected(tmp_path):
    pairs = scenes()
    pairs[4][1] = scene(99)[1]
    found = only(look(tmp_path, pairs), "warning", "misfit")
    assert found.samples == ("4",)
    assert "mask-4.png" in found.message


def test_masks_that_say_nothing_of_brightness_are_not_judged(tmp_path):
    pairs = scenes(contrast=0)
    pairs[2][1], pairs[9][1] = pairs[9][1], pairs[2][1]
    assert look(tmp_path, pairs).findings == ()


def test_swapped_masks_of_several_classes(tmp_path):
    """One class is brighter than the ground, one darker: the foreground as a whole is neither."""
    card = DatasetCard("toy", "toy", ("ground", "a", "b"), {0: 0, 1: 1, 2: 2}, channels=1, source="made here")

    def three(seed):
        rng = np.random.default_rng(seed)
        smooth = ndimage.gaussian_filter(rng.standard_normal((90, 120)), 4)
        ids = np.where(smooth > 0.05, 1, np.where(smooth < -0.05, 2, 0)).astype(np.uint8)
        other = rng.random() < 0.5  # keeps the classes' brightness from being one ramp
        image = 120 + np.choose(ids, [0, 60, -50]) + rng.normal(0, 6, ids.shape) + other
        return [image.astype(np.uint8), ids]

    pairs = [three(seed) for seed in range(12)]
    assert look(tmp_path, pairs, card=card).findings == ()
    pairs[2][1], pairs[9][1] = pairs[9][1], pairs[2][1]
    assert only(look(tmp_path, pairs, card=card), "error", "swapped").samples == ("2", "9")


def test_an_inverted_mask(tmp_path):
    pairs = scenes()
    pairs[7][1] = 255 - pairs[7][1]
    found = only(look(tmp_path, pairs), "error", "inverted")
    assert "mask-7.png" in found.message
    assert found.samples == ("7",)


def test_images_of_another_kind_are_only_suspected(tmp_path):
    pairs = scenes()
    dark = scene(7, contrast=80)[0] // 2 - 60  # bright cells on black, among dark ones on bright
    pairs[7][0] = dark.clip(0, 255).astype(np.uint8)
    assert ("warning", "inverted") in kinds(look(tmp_path, pairs))
    assert not look(tmp_path, pairs).errors


def test_as_many_bright_as_dark_are_no_faults(tmp_path):
    pairs = [list(scene(seed, contrast=-80 if seed % 2 else 70)) for seed in range(12)]
    report = look(tmp_path, pairs)
    assert not report.errors
    (said,) = [f.message for f in report.findings if f.kind == "inverted"]
    assert re.fullmatch(r"foreground is bright in 6 images, such as .*image-0.png, and dark in 6, .*", said)


# --- the same picture twice ------------------------------------------------------------------------------


def jpeg(image, quality=70):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(io.BytesIO(file.getvalue())))


COPIES = {
    "to the pixel": lambda a: a,
    "compressed": jpeg,
    "brighter": lambda a: (a * 0.8 + 40).astype(np.uint8),
    "smaller": lambda a: np.array(Image.fromarray(a).resize((60, 45))),
    "mirrored": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "turned": lambda a: np.rot90(a),
    "turned and mirrored": lambda a: np.ascontiguousarray(a.T),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_picture_in_two_parts(tmp_path, copy):
    pairs = scenes()
    image, mask = pairs[1]
    moved = copy not in ("compressed", "brighter")
    pairs[11] = [COPIES[copy](image), np.where(COPIES[copy](mask) > 127, np.uint8(255), np.uint8(0)) if moved else mask]
    found = only(look(tmp_path, pairs), "error", "leak")
    assert "image-1.png (train)" in found.message
    assert "image-11.png (test)" in found.message
    assert ("to the pixel" in found.message) == (copy == "to the pixel")
    assert ("turned or mirrored" in found.message) == (copy in list(COPIES)[4:])


def test_a_picture_twice_in_one_part(tmp_path):
    pairs = scenes()
    pairs[3] = pairs[1]
    pairs[5] = [jpeg(pairs[4][0]), pairs[4][1]]
    found = only(look(tmp_path, pairs), "warning", "duplicate")
    assert found.samples == ("1", "3", "4", "5")


def test_copies_that_no_part_uses_leak_nothing(tmp_path):
    pairs = scenes()
    pairs[11] = pairs[1]
    report = look(tmp_path, pairs, split=lambda s: Split(tuple(s[:6]), tuple(s[6:8]), tuple(s[8:11])))
    only(report, "warning", "duplicate")


def test_one_image_with_two_masks(tmp_path):
    pairs = scenes()
    other = pairs[1][1].copy()
    other[:20] = 0
    pairs[3] = [pairs[1][0], other]
    report = look(tmp_path, pairs)
    assert ("error", "conflict") in kinds(report)
    assert all(name in report.errors[0].message for name in ("image-1", "image-3", "mask-1", "mask-3"))


def test_one_mask_for_two_images(tmp_path):
    pairs = scenes()
    pairs[3][1] = pairs[1][1]
    report = look(tmp_path, pairs)
    assert ("warning", "repeated") in kinds(report)
    assert any("mask-1.png" in f.message and "mask-3.png" in f.message for f in report.warnings)


def test_blank_images_are_no_copies_of_each_other(tmp_path):
    pairs = scenes()
    for number, level in ((1, 90), (11, 100)):
        pairs[number][0] = np.full((90, 120), level, np.uint8)
    assert "leak" not in [kind for _, kind in kinds(look(tmp_path, pairs))]


# --- samples by themselves -------------------------------------------------------------------------------


def test_empty_and_full_masks(tmp_path):
    pairs = scenes()
    pairs[1][1] = np.zeros_like(pairs[1][1])
    pairs[2][1] = np.full_like(pairs[2][1], 255)
    report = look(tmp_path, pairs)
    assert kinds(report) == [("warning", "empty"), ("warning", "full")]
    assert "mask-1.png" in report.findings[0].message
    assert "mask-2.png" in report.findings[1].message


def test_a_mask_that_ignores_all_is_unlabelled_not_empty(tmp_path):
    card = DatasetCard("toy", "toy", ("ground", "cell"), {0: 0, 255: 1, 9: IGNORE}, channels=1, source="made here")
    pairs = scenes()
    pairs[1][1] = np.full_like(pairs[1][1], 9)
    pairs[2][1][:10] = 9
    pairs[3][1] = np.where(np.arange(120) < 60, np.uint8(9), np.uint8(0)) + np.zeros_like(pairs[3][1])
    report = look(tmp_path, pairs, card=card)
    assert kinds(report) == [("warning", "unlabelled"), ("warning", "empty")]
    assert report.findings[0].samples == ("1",)
    assert "nothing in 1 image(s) is labelled" in report.findings[0].message
    assert report.findings[1].samples == ("3",)


@pytest.mark.parametrize(("part", "members"), [("training", range(8)), ("validation", (8, 9)), ("test", (10, 11))])
def test_a_part_of_which_nothing_is_labelled(tmp_path, part, members):
    card = DatasetCard("toy", "toy", ("ground", "cell"), {0: 0, 255: 1, 9: IGNORE}, channels=1, source="made here")
    pairs = scenes()
    for number in members:
        pairs[number][1] = np.full_like(pairs[number][1], 9)
    (found,) = look(tmp_path, pairs, card=card, allow=ALLOWABLE).errors  # allowed by nobody
    assert found.kind == "unlabelled"
    assert f"nothing of the {part} part is labelled" in found.message
    assert "dataset.split.seed" in found.remedy


@pytest.mark.parametrize(
    ("part", "lacking", "spread"),
    [
        ("training", range(8), "it is in 4 image(s): train 0, val 2, test 2, such as"),
        ("validation", (8, 9), "it is in 10 image(s): train 8, val 0, test 2, such as"),
        ("test", (10, 11), "it is in 10 image(s): train 8, val 2, test 0, such as"),
    ],
)
def test_of_two_classes_no_part_may_lack_the_foreground(tmp_path, part, lacking, spread):
    pairs = scenes()
    for number in lacking:
        pairs[number][1] = np.zeros_like(pairs[number][1])
    (found,) = look(tmp_path, pairs, allow=ALLOWABLE).errors
    assert found.kind == "foreground"
    assert f"no image of the {part} part has the class cell; {spread}" in found.message
    assert "dataset.split.seed" in found.remedy
    test_alone = look(tmp_path, pairs, parts=("test",))  # as an evaluation does: it neither trains nor chooses
    assert bool(test_alone.errors) == (part == "test")


def test_a_blank_image(tmp_path):
    pairs = scenes()
    pairs[1][0] = np.full_like(pairs[1][0], 150)
    assert only(look(tmp_path, pairs), "warning", "flat").samples == ("1",)


def test_an_image_in_another_light(tmp_path):
    pairs = scenes()
    pairs[5][0] = (pairs[5][0] * 0.3).astype(np.uint8)
    found = only(look(tmp_path, pairs), "warning", "light")
    assert "image-5.png" in found.message


def test_an_image_that_is_cut_off(tmp_path):
    pairs = scenes()
    pairs[5][0] = pairs[5][0].clip(95, 168)
    report = look(tmp_path, pairs)
    assert kinds(report) == [("warning", "saturated")] * 2  # at the dark end, and at the bright one
    assert all("image-5.png" in f.message for f in report.findings)


def test_a_class_that_a_part_lacks(tmp_path):
    """Of several: nothing can be learnt of it, or chosen by it, unless that is meant; without score it may be."""
    card = DatasetCard("toy", "toy", ("ground", "cell", "rare"), {0: 0, 255: 1, 9: 2}, channels=1, source="made here")
    pairs = scenes()
    pairs[1][1][:9, :9] = 9
    report = look(tmp_path, pairs, card=card)
    assert kinds(report) == [("error", "class"), ("warning", "class")]
    unchosen, unscored = report.findings
    assert "no image of the validation part has the class rare" in unchosen.message
    assert "it is in 1 image(s): train 1, val 0, test 0, such as" in unchosen.message
    assert "mask-1.png" in unchosen.message
    assert "No split can" in unchosen.remedy
    assert unchosen.remedy.endswith("`dataset.allow=[class]`.")
    assert "no image of the test part has the class rare" in unscored.message
    assert kinds(look(tmp_path, pairs, card=card, allow=["class"])) == [("warning", "class")] * 2
    pairs[8][1][:9, :9] = 9
    assert "dataset.split.seed" not in only(look(tmp_path, pairs, card=card), "warning", "class").remedy
    pairs[11][1][:9, :9] = 9
    assert look(tmp_path, pairs, card=card).findings == ()


def test_a_part_without_background_warns(tmp_path):
    pairs = scenes()
    for number in (10, 11):
        pairs[number][1] = np.full_like(pairs[number][1], 255)
    report = look(tmp_path, pairs)
    assert kinds(report) == [("warning", "full"), ("warning", "class")]
    assert "no mask of the test part holds ground, the background" in report.findings[1].message


def test_mixed_types(tmp_path):
    pairs = scenes()
    pairs[3][0] = pairs[3][0].astype(np.uint16) * 257
    found = only(look(tmp_path, pairs), "error", "mixed")
    assert "uint16" in found.message
    assert "image-3.png" in found.message
    assert look(tmp_path, pairs, percentiles=[1, 99]).findings == ()


def test_mixed_depths(tmp_path):
    pairs = [[image.astype(np.uint16) * 257, mask] for image, mask in scenes()]
    assert look(tmp_path, pairs).findings == ()
    pairs[3][0] //= 16  # 12 bits among 16
    report = look(tmp_path, pairs)
    assert ("warning", "depth") in kinds(report)
    assert not report.errors
    assert "image-3.png" in report.findings[0].message


def test_fractions(tmp_path):
    pairs = [[image.astype(np.float32) / 255, mask] for image, mask in scenes()]
    pairs[2][1], pairs[9][1] = pairs[9][1], pairs[2][1]
    assert only(look(tmp_path, pairs), "error", "swapped").samples == ("2", "9")


def test_labels_beside_what_they_outline(tmp_path):
    pairs = [[image, np.roll(mask, (1, -2), (0, 1))] for image, mask in scenes()]
    report = look(tmp_path, pairs)
    found = only(report, "warning", "offset")
    assert "px below and" in found.message
    assert "px to the left of what" in found.message
    down, right = json.loads(found.remedy.split("dataset.offset=")[1].split("`")[0])
    assert (down, right) == pytest.approx((1, -2), abs=0.1)
    store = Store(tmp_path / "cache", CARD, 1.0, (down, right))
    assert audit(report.dataset, report.split, store).findings == ()


# --- neighbouring sections -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    write_em(folder / "em", seed=0, sections=12, size=96)
    return em(root=str(folder / "em"))


def loose(dataset):
    """The same, its pages said to be no neighbours."""
    return Dataset(dataset.card, [replace(sample, stack="", place=None) for sample in dataset.samples])


def parts(dataset, letters):
    """A split spelt out: t(rain), v(al), T(est), - for none."""
    chosen = [[s for s, x in zip(dataset.samples, letters, strict=True) if x == letter] for letter in "tvT"]
    return Split(*map(tuple, chosen))


@pytest.mark.parametrize(
    ("letters", "severity", "borders"),
    [
        ("ttttttvvvTTT", "warning", ["5 and 6 (train and val)", "8 and 9 (val and test)"]),
        ("tttt-vvv-TTT", None, []),
        ("TTTvvttttttt", "warning", ["2 and 3 (test and val)", "4 and 5 (val and train)"]),
        ("tttTTvvttttt", "warning", ["2 and 3", "4 and 5", "6 and 7"]),  # a fold in the middle
        ("tTTTtttvvTTT", "warning", ["0 and 1", "3 and 4", "6 and 7", "8 and 9"]),  # runs of three
        ("ttTtttvvvTTT", "error", ["1 and 2 (train and test)", "2 and 3 (test and train)"]),
        ("tTtvtTttvTtT", "error", ["0 and 1", "1 and 2", "2 and 3", "3 and 4", "4 and 5", "5 and 6", "7 and 8"]),
        ("t-T-ttvv-TTT", "warning", ["5 and 6"]),  # a single one, but parted by gaps
    ],
)
def test_sections_on_either_side_of_a_split(stack, tmp_path, letters, severity, borders):
    report = audit(stack, parts(stack, letters), Store(tmp_path, stack.card, 1.0))
    found = [f for f in report.findings if f.kind in ("neighbours", "border")]
    assert [f for f in report.errors if f.kind != "neighbours"] == []
    if severity is None:
        assert found == []
        return
    assert found[0].severity == severity
    assert found[0].kind == {"error": "neighbours", "warning": "border"}[severity]
    assert all(border in found[0].message for border in borders)
    assert "train-volume.tif pages " in found[0].message


def test_pages_that_are_no_neighbours_may_be_split_anyhow(stack, tmp_path):
    split = parts(stack, "tTtvtTttvTtT")
    assert audit(loose(stack), split, Store(tmp_path, stack.card, 1.0)).findings == ()


def test_sections_in_files_of_their_own_are_neighbours_too(stack, tmp_path):
    samples = []
    for sample in stack.samples:
        refs = [ImageRef(tmp_path / f"{kind}-{sample.place}.tif") for kind in ("image", "mask")]
        for ref, of in zip(refs, (sample.image, sample.mask), strict=True):
            tifffile.imwrite(ref.path, tifffile.imread(of.path, key=of.page), photometric="minisblack")
        samples.append(replace(sample, image=refs[0], mask=refs[1], stack="block"))
    split = parts(Dataset(stack.card, samples), "ttTtttvvvTTT")
    report = audit(Dataset(stack.card, samples[::-1]), split, Store(tmp_path / "cache", stack.card, 1.0))
    assert [f.kind for f in report.errors] == ["neighbours"]
    assert "block sections 1 and 2 (train and test), 2 and 3 (test and train)" in report.errors[0].message
    report = audit(loose(report.dataset), split, report.store)
    assert "neighbours" not in [f.kind for f in report.errors]


def test_sections_that_hardly_differ_are_neighbours_not_copies(stack, tmp_path):
    """As in blocks cut more finely than their pixels are wide."""
    volume, labels = (tifffile.imread(getattr(stack.samples[0], kind).path) for kind in ("image", "mask"))
    rng = np.random.default_rng(0)
    for page in range(1, 12):
        volume[page] = (volume[0] + rng.normal(0, 8, volume[0].shape)).clip(0, 255)
        labels[page] = labels[0]
    for name, pages in (("train-volume.tif", volume), ("train-labels.tif", labels)):
        tifffile.imwrite(tmp_path / name, pages, photometric="minisblack")
    dataset = em(root=str(tmp_path))
    report = audit(dataset, parts(dataset, "ttttttvvvTTT"), Store(tmp_path / "cache", dataset.card, 1.0))
    assert not report.errors
    report = audit(loose(dataset), report.split, report.store)
    assert [f.kind for f in report.errors] == ["leak"]
    volume[11] = volume[2]  # but a page that is another to the pixel is a copy
    tifffile.imwrite(tmp_path / "train-volume.tif", volume, photometric="minisblack")
    report = audit(dataset, parts(dataset, "ttttttvvvTTT"), Store(tmp_path / "cache", dataset.card, 1.0))
    assert [f.kind for f in report.errors] == ["leak"]


# --- files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small phantom of each kind, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    write_blood(folder / "blood", seed=0, train=4, test=2, height=48, width=64)
    write_em(folder / "em", seed=0, sections=5, size=64)
    return folder


@pytest.fixture
def smears(made, tmp_path):
    return shutil.copytree(made / "blood", tmp_path / "blood")


@pytest.fixture
def sections(made, tmp_path):
    return shutil.copytree(made / "em", tmp_path / "em")


def audited(folder, scale=1.0):
    """The report on a folder in the layout of the blood set, its errors raised."""
    dataset = blood(root=str(folder))
    split = Split(*(tuple(s for s in dataset.samples if s.part == part) for part in ("train", "val", "test")))
    report = audit(dataset, split, Store(folder.parent / "cache", dataset.card, scale))
    raise_errors(report)
    return report


def files(folder, kind, part="train"):
    return sorted((folder / part / kind).iterdir())


def change(path, function):
    with Image.open(path) as picture:
        changed = Image.fromarray(function(np.array(picture)))
    changed.save(path)


def paint(value, count=5):
    def painted(array):
        array[0, :count] = value
        return array

    return painted


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


def test_phantoms_are_sound(smears, sections, tmp_path):
    told = []
    dataset = blood(root=str(smears))
    split = thirds(dataset.samples)
    store = Store(tmp_path / "cache", dataset.card, 0.5)
    report = audit(dataset, split, store, progress=lambda done, total: told.append((done, total)))
    assert not report.errors
    assert told == [(i, 6) for i in range(1, 7)]
    dataset = em(root=str(sections))
    report = audit(dataset, blocks(dataset.samples, val=1, test=1, gap=0), Store(tmp_path / "cache", dataset.card, 1.0))
    assert not report.errors


FAULTS = {
    "truncated image": ("original", cut, "unreadable", "cannot be read as an image"),
    "truncated mask": ("mask", cut, "unreadable", "cannot be read as an image"),
    "resized mask": ("mask", lambda p: change(p, lambda a: a[::2, ::2]), "size", "is 32x24 pixels, its image"),
    "mask a pixel too small": ("mask", lambda p: change(p, lambda a: a[:-1]), "size", "is 64x47 pixels, its image"),
    "stray value": ("mask", lambda p: change(p, paint(3)), "unreadable", r"holds unexpected values: 3 \(5 px\)"),
    "coloured mask": ("mask", lambda p: change(p, paint((255, 0, 0))), "unreadable", "is coloured"),
    "grey image": ("original", lambda p: change(p, lambda a: a[..., 0]), "unreadable", "1 channel"),
    "text": ("original", lambda p: p.write_text("no picture"), "unreadable", "cannot be read as an image"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_one_fault_is_named(smears, fault, scale):
    kind, spoil, expected, message = FAULTS[fault]
    path = files(smears, kind)[1]
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        audited(smears, scale)
    assert str(path) in caught.value.problem
    assert caught.value.remedy
    assert "dataset.allow" not in caught.value.remedy  # nothing to be allowed
    dataset = blood(root=str(smears))
    report = audit(dataset, thirds(dataset.samples), Store(smears.parent / "cache", dataset.card, scale))
    assert [(f.kind, f.samples) for f in report.errors] == [(expected, (path.stem,))]


def test_a_compressed_mask_is_named(smears):
    path = files(smears, "mask")[0]
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=60)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.stem}.jpg is a JPEG"):
        audited(smears)


def test_all_faults_are_named_at_once(smears):
    spoilt = [files(smears, "original")[0], files(smears, "mask")[0], files(smears, "mask", "test")[1]]
    for path in spoilt[:2]:
        cut(path)
    change(spoilt[2], paint(9))
    with pytest.raises(DataError, match="3 faults in 6 samples") as caught:
        audited(smears)
    assert all(str(path) in caught.value.remedy for path in spoilt)


def test_of_many_faults_ten_are_shown(smears):
    for part in ("train", "test"):
        for kind in ("original", "mask"):
            for path in files(smears, kind, part):
                cut(path)
    with pytest.raises(DataError, match="12 faults in 6 samples") as caught:
        audited(smears)
    assert caught.value.remedy.count("cannot be read") == 10
    assert caught.value.remedy.endswith("and 2 more")


def test_a_mask_too_few(smears):
    path = files(smears, "mask")[2]
    path.unlink()
    with pytest.raises(DataError, match=f"{path.stem}.* without a mask in"):
        audited(smears)


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_data(smears):
    (smears.parent / "cache").write_text("in the way")
    with pytest.raises(StorageError, match="cache"):
        audited(smears)


def test_em_membrane_is_class_1(sections, tmp_path):
    dataset = em(root=str(sections))
    stored = tifffile.imread(sections / "train-labels.tif")
    for page, sample in enumerate(dataset.samples):
        truth = Store(tmp_path / "cache", dataset.card, 1.0).truth(sample)
        assert np.array_equal(truth == 1, stored[page] == 0)


def test_em_files_that_do_not_fit(sections):
    labels = sections / "train-labels.tif"
    tifffile.imwrite(labels, tifffile.imread(labels)[:4], photometric="minisblack")
    with pytest.raises(DataError, match=r"has 5 pages, .*train-labels\.tif has 4"):
        em(root=str(sections))


def test_em_cut_off(sections):
    volume = sections / "train-volume.tif"
    volume.write_bytes(volume.read_bytes()[: -volume.stat().st_size // 3])
    with pytest.raises(DataError, match=r"train-volume\.tif cannot be read"):
        em(root=str(sections))


def test_em_missing(sections, tmp_path):
    with pytest.raises(DataError, match="is not at") as caught:
        em(root=str(tmp_path / "nowhere"))
    assert "dataset=phantom_em" in caught.value.remedy
    (sections / "train-labels.tif").unlink()
    with pytest.raises(DataError, match=r"train-labels\.tif is missing"):
        em(root=str(sections))


# --- what is allowed, what is remembered -----------------------------------------------------------------


def faulty():
    """One of each kind of error that can be allowed, but for sections."""
    pairs = scenes(18)
    pairs[2][1], pairs[9][1] = pairs[9][1], pairs[2][1]
    pairs[7][1] = 255 - pairs[7][1]
    pairs[16] = pairs[1]
    pairs[4] = [pairs[3][0], pairs[3][1] & np.uint8([[255]] * 45 + [[0]] * 45)]
    pairs[5][0] = pairs[5][0].astype(np.uint16) * 257
    return pairs


def test_what_is_allowed_warns(tmp_path):
    report = look(tmp_path, faulty())
    found = {f.kind for f in report.errors}
    assert found == set(ALLOWABLE) - {"neighbours", "class", "turned", "hidden"}
    for finding in report.errors:
        assert finding.remedy.endswith(f"`dataset.allow=[{finding.kind}]`.")
    report = look(tmp_path, faulty(), allow=["leak", "mixed"])
    assert {f.kind for f in report.errors} == found - {"leak", "mixed"}
    assert {"leak", "mixed"} <= {f.kind for f in report.warnings}
    assert all(f"=[leak,mixed,{f.kind}]" in f.remedy for f in report.errors)
    report = look(tmp_path, faulty(), allow=ALLOWABLE)
    assert not report.errors
    raise_errors(report)


def test_outlined_objects_without_a_pixel_are_named_and_may_be_allowed(tmp_path):
    card = replace(CARD, labelling=Labelling("drawn", names={"cell": 1}))
    square = [[20, 20], [60, 20], [60, 60], [20, 60]]
    samples = []
    for number in range(6):
        image, outlines = tmp_path / f"{number}.png", tmp_path / f"{number}.json"
        Image.fromarray(scene(number)[0]).save(image)
        shapes = [{"label": "cell", "shape_type": "polygon", "points": square}] * (2 if number == 4 else 1)
        outlines.write_text(json.dumps({"shapes": shapes, "imageHeight": 90, "imageWidth": 120}))
        samples.append(Sample(str(number), ImageRef(image), ImageRef(outlines), group=str(number)))
    allowed = ("hidden", "inverted", "swapped", "conflict", "turned")
    store = Store(tmp_path / "cache", card, 1.0)
    for allow in (allowed[1:], allowed):  # measured, and remembered
        report = audit(Dataset(card, samples), thirds(samples), store, allow=allow)
        (found,) = [finding for finding in report.findings if finding.kind == "hidden"]
        assert found.severity == ("warning" if "hidden" in allow else "error")
        assert found.samples == ("4",)
        assert found.message.startswith("1 outlined object(s) of 1 image(s) have no pixel, such as shape 1")
        assert [one.stats.objects for one in report.looked] == [1] * 6


def test_errors_stand_before_warnings(tmp_path):
    pairs = faulty()
    pairs[0][1] = np.zeros_like(pairs[0][1])
    severities = [f.severity for f in look(tmp_path, pairs).findings]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


def test_the_next_audit_reads_no_pixel(tmp_path, monkeypatch):
    first = look(tmp_path, faulty())
    for name in ("read_image", "read_labels", "_load"):
        monkeypatch.setattr(store_module, name, None)
    store = Store(tmp_path / "cache", CARD, 1.0)
    again = audit(first.dataset, first.split, store)
    assert again.findings == first.findings
    assert again.as_json() == first.as_json()


def test_a_changed_file_is_looked_at_again(tmp_path):
    pairs = scenes()
    report = look(tmp_path, pairs)
    path = report.dataset.samples[7].mask.path
    change(path, lambda a: 255 - a)
    again = audit(report.dataset, report.split, report.store)
    assert [f.kind for f in again.errors] == ["inverted"]
    change(path, lambda a: 255 - a)
    assert audit(report.dataset, report.split, report.store).findings == ()


def test_the_report_as_json_holds_no_folders(tmp_path):
    (tmp_path / "folder").mkdir()
    report = look(tmp_path / "folder", faulty())
    text = json.dumps(report.as_json())
    assert str(tmp_path) not in text
    told = json.loads(text)
    assert (told["dataset"], told["samples"]) == ("toy", 18)
    assert told["parts"] == {"train": 12, "val": 3, "test": 3}
    assert [f["kind"] for f in told["findings"]] == [f.kind for f in report.findings]
    assert "mask-7.png" in text
    assert told["offset"]["down"] == pytest.approx(0, abs=0.1)
