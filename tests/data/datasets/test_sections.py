"""Numbered files that are alike are neighbouring sections; unrelated pictures never are."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lamella.data.cache.facts import Facts
from lamella.data.datasets.phantom_blood import blood_smear
from lamella.data.datasets.phantom_em import grow_neurites, section
from lamella.data.datasets.sections import in_stacks
from lamella.data.types import ImageRef, Sample


def noise(seed, blur=0.0, side=96):
    picture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), blur)
    return np.clip(128 + 50 * picture / picture.std(), 0, 255).astype(np.uint8)


def sections(count, seed=0, side=96):
    """Sections through blobs that are several sections deep."""
    volume = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(count + 8, side, side)), (1.5, 3, 3))
    return np.clip(128 + 50 * volume[4 : 4 + count] / volume.std(), 0, 255).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    def fill(pictures, part=""):
        samples = []
        for name, picture in pictures.items():
            path = tmp_path / "i" / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
            id_ = f"{part}/{name}" if part else name
            samples.append(Sample(id_, ImageRef(path), ImageRef(path), id_, part))
        return samples

    return fill


def stacked(samples, tmp_path, serial=None):
    found, notes = in_stacks(samples, serial, Facts(tmp_path / "cache"))
    return [(s.stack, s.place, s.group) for s in found], notes


def named(pictures, pattern="{:03d}"):
    return {pattern.format(n): picture for n, picture in enumerate(pictures)}


def test_sections_in_numbered_files_are_one_stack(tmp_path, write):
    samples = write(named(sections(8), "volume_{:02d}"))
    found, notes = stacked(samples, tmp_path)
    assert found == [("volume", n, "volume") for n in range(8)]
    assert notes == (
        "8 numbered files are alike from one to the next, volume_00 to volume_07: taken as one stack; "
        "`dataset.serial=false` if they are unrelated",
    )
    assert stacked(samples, tmp_path, serial=False) == ([("", None, s.id) for s in samples], ())
    for sample in samples:
        sample.image.path.write_bytes(b"")  # what they look like is remembered by their content
    assert stacked(samples, tmp_path)[0] == [("", None, s.id) for s in samples]


@pytest.mark.parametrize("blur", [0, 1, 3, 8, 16])
@pytest.mark.parametrize("count", [4, 20])
def test_unrelated_pictures_are_no_stack(tmp_path, write, blur, count):
    for seed in range(3):
        samples = write(named([noise([seed, n], blur) for n in range(count)], "img_{}"))
        assert stacked(samples, tmp_path) == ([("", None, s.id) for s in samples], ())


def test_uneven_light_and_dust_make_no_stack(tmp_path, write):
    light = 150 * np.exp(-((np.mgrid[:96, :96] - 48) ** 2).sum(0) / 2000)
    dust = 0.2 * noise(99, 1.0)
    pictures = [np.clip(light + dust + 0.3 * noise([n], 2.0), 0, 255).astype(np.uint8) for n in range(12)]
    assert stacked(write(named(pictures)), tmp_path)[1] == ()


def test_frames_of_one_scene_are_a_stack(tmp_path, write):
    scene = noise(0, 1.5, 128)
    pictures = [np.clip(scene + np.random.default_rng(n).normal(0, 8, scene.shape), 0, 255) for n in range(6)]
    found, _ = stacked(write(named([p.astype(np.uint8) for p in pictures], "t{}")), tmp_path)
    assert found == [("t", n, "t") for n in range(6)]


def test_several_stacks_and_what_is_none(tmp_path, write):
    samples = write(
        named(sections(6), "a{:02d}")
        | named(sections(5, 1), "b{:02d}")
        | named([noise(n) for n in range(4)], "x{:02d}")
        | {"alone": noise(9)}
    )
    found, notes = stacked(samples, tmp_path)
    assert found[:11] == [("a", n, "a") for n in range(6)] + [("b", n, "b") for n in range(5)]
    assert {stack for stack, _, _ in found[11:]} == {""}
    assert len(notes) == 1
    assert "11 numbered files" in notes[0]
    assert "taken as 2 stacks" in notes[0]


def test_places_follow_the_numbers(tmp_path, write):
    volume = sections(20)
    found, _ = stacked(write({f"s{10 * n}_c1": volume[n] for n in (0, 1, 2, 3, 5, 6, 7, 8)}), tmp_path)
    assert [place for _, place, _ in found] == [0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize("pattern", ["z{:03d}/image", "z{0}/im_{0:03d}", "z{0:03d}_t{0:02d}"])
def test_the_number_of_a_folder_and_one_that_stands_twice(tmp_path, write, pattern):
    found, notes = stacked(write(named(sections(12), pattern)), tmp_path)
    assert [place for _, place, _ in found] == list(range(12))
    assert len({stack for stack, _, _ in found}) == len(notes) == 1


def test_folders_of_several_images_are_no_sections(tmp_path, write):
    pictures = {f"p{patient}/s{n}": picture for patient in range(6) for n, picture in enumerate(sections(4, patient))}
    found, _ = stacked(write(pictures), tmp_path, serial=True)
    assert {stack for stack, _, _ in found} == {f"p{patient}/s" for patient in range(6)}


def test_published_parts_are_stacks_of_their_own(tmp_path, write):
    volume = sections(12)
    samples = write(named(volume[:7]), "train") + write(named(volume[7:]), "test")
    found, _ = stacked(samples, tmp_path)
    assert {stack for stack, _, _ in found[:7]} == {"train"}
    assert {stack for stack, _, _ in found[7:]} == {"test"}


def test_a_group_that_was_said_stays(tmp_path, write):
    samples = [Sample(s.id, s.image, s.mask, "patient") for s in write(named(sections(5)))]
    assert {(stack, group) for stack, _, group in stacked(samples, tmp_path)[0]} == {("sections", "patient")}


def test_serial_files_are_stacks_whatever_they_look_like(tmp_path, write):
    samples = write(named([noise(n) for n in (1, 2, 3)], "z{}") | {"alone": noise(4)})
    found, notes = stacked(samples, tmp_path, serial=True)
    assert found == [("z", 0, "z"), ("z", 1, "z"), ("z", 2, "z"), ("", None, "alone")]
    assert notes == ()


def test_images_that_cannot_be_read_are_left_to_the_audit(tmp_path, write):
    samples = write(named(sections(6)))
    samples[2].image.path.write_bytes(b"no image")
    assert {stack for stack, _, _ in stacked(samples, tmp_path)[0]} == {"sections"}
    for sample in samples:
        sample.image.path.unlink()
    assert {stack for stack, _, _ in stacked(samples, tmp_path)[0]} == {""}


def test_real_sections_and_real_smears(tmp_path, write, lamella_data):
    if not (lamella_data / "em").is_dir() or not (lamella_data / "blood").is_dir():
        pytest.skip("no em/ or no blood/")
    with Image.open(lamella_data / "em" / "train-volume.tif") as volume:
        pages = []
        for page in range(volume.n_frames):
            volume.seek(page)
            pages.append(np.asarray(volume))
    for some in (pages[::3], pages[10:14]):
        assert {stack for stack, _, _ in stacked(write(named(some, "train-volume_{:03d}")), tmp_path)[0]} == {
            "train-volume"
        }
    smears = sorted((lamella_data / "blood" / "train" / "original").iterdir())[:10]
    small = [np.asarray(Image.open(path).resize((400, 300))) for path in smears]
    assert {stack for stack, _, _ in stacked(write(named(small, "img_{}")), tmp_path)[0]} == {""}


def test_phantoms(tmp_path, write):
    neurites = grow_neurites(0, 160)
    cut = named([section(neurites, 0, n)[0] for n in range(6)], "section_{}")
    smears = named([blood_smear(np.random.default_rng(n), 120, 160)[0] for n in range(6)], "smear_{}")
    found, _ = stacked(write(cut | smears), tmp_path)
    assert [stack for stack, _, _ in found] == ["section"] * 6 + [""] * 6
