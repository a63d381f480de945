"""Augmentation: image and mask stay together, grey levels in bounds, and outside stays outside."""

import math
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lamella.data.loaders import augment as module
from lamella.data.loaders.augment import Augmentation, augment, window_size
from lamella.errors import ConfigError

OFF = Augmentation(
    flip=False,
    rotate90=False,
    rotate=0,
    scale=0,
    elastic=0,
    elastic_grid=16,
    brightness=0,
    contrast=0,
    gamma=0,
    channel=0,
    blur=0,
    noise=0,
    p=1,
)
GEOMETRY = replace(OFF, flip=True, rotate90=True, rotate=45, scale=0.3, elastic=2)
COLOUR = replace(OFF, brightness=0.2, contrast=0.5, gamma=0.5, channel=0.3, blur=1, noise=20)
ALL = replace(
    GEOMETRY,
    **{name: getattr(COLOUR, name) for name in ("brightness", "contrast", "gamma", "channel", "blur", "noise")},
)
FILL = torch.tensor([100.25, 150.5, 200.75])

Batch = tuple[Tensor, Tensor, Tensor]


def random_batch(batch: int = 4, size: int = 48, classes: int = 4) -> Batch:
    rng = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, size, size), generator=rng, dtype=torch.uint8)
    mask = torch.randint(0, classes, (batch, size, size), generator=rng, dtype=torch.uint8)
    return image, mask, torch.ones(batch, size, size, dtype=torch.bool)


def with_frame(batch: Batch) -> Batch:
    """The left third lies outside the picture and holds rubbish."""
    image, mask, valid = (x.clone() for x in batch)
    end = valid.shape[-1] // 3
    valid[..., :end] = False
    return image, mask, valid


def constant(value: float, batch: int = 32, size: int = 24) -> Batch:
    image = torch.full((batch, 3, size, size), value)
    return (
        image,
        torch.zeros(batch, size, size, dtype=torch.uint8),
        torch.ones(batch, size, size, dtype=torch.bool),
    )


def coordinates(batch: int, size: int) -> Batch:
    """A picture whose channels hold each pixel's own x and y, from the centre."""
    axis = torch.arange(size) - (size - 1) / 2
    image = torch.stack([axis.expand(size, size), axis[:, None].expand(size, size), torch.zeros(size, size)])
    image = image.expand(batch, -1, -1, -1) + 128
    return (
        image,
        torch.zeros(batch, size, size, dtype=torch.uint8),
        torch.ones(batch, size, size, dtype=torch.bool),
    )


def run(batch: Batch, augmentation: Augmentation, *, crop: int, seed: int = 0, fill: Tensor = FILL) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return augment(*batch, crop=crop, fill=fill, augmentation=augmentation, generator=rng)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def always_the_limit(monkeypatch: pytest.MonkeyPatch, sign: int = 1) -> None:
    """Draw the strongest change in every sample."""

    def within(self: module._Draw, limit: float, count: int = 1) -> Tensor:
        return torch.full((self.batch, count), sign * limit)

    monkeypatch.setattr(module._Draw, "within", within)


# Contracts


@pytest.mark.parametrize("augmentation", [OFF, GEOMETRY, COLOUR, ALL])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_dtypes(augmentation: Augmentation, channels: int) -> None:
    image, mask, valid = random_batch()
    fill = FILL[:channels]
    out = run((image[:, :channels], mask, valid), augmentation, crop=32, fill=fill)
    assert [x.dtype for x in out] == [torch.float32, torch.uint8, torch.bool]
    assert [tuple(x.shape) for x in out] == [(4, channels, 32, 32), (4, 32, 32), (4, 32, 32)]
    assert not out[0].requires_grad


@pytest.mark.parametrize("augmentation", [OFF, GEOMETRY, COLOUR, ALL])
def test_the_batch_given_is_left_as_it_was(augmentation: Augmentation) -> None:
    image, mask, valid = with_frame(random_batch())
    for batch in ((image, mask, valid), (image.float(), mask, valid)):
        before = tuple(x.clone() for x in batch)
        run(batch, augmentation, crop=32)
        run(batch, augmentation, crop=48)
        assert same(batch, before)


def test_works_in_inference_mode_and_ignores_autocast() -> None:
    batch = with_frame(random_batch())
    plain = run(batch, ALL, crop=32)
    with torch.inference_mode():
        assert same(plain, run(batch, ALL, crop=32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(plain, run(batch, ALL, crop=32))


def test_nothing_on_the_device_is_read_back() -> None:
    """A fake tensor has no values: whatever the host tries to read from one raises."""
    without_noise = replace(ALL, noise=0)  # its seed is read, from the host's own generator
    with FakeTensorMode():
        image = torch.empty(4, 3, 48, 48, dtype=torch.uint8)
        mask = torch.empty(4, 48, 48, dtype=torch.uint8)
        valid = torch.empty(4, 48, 48, dtype=torch.bool)
        out = augment(image, mask, valid, crop=32, fill=torch.zeros(3), augmentation=without_noise, generator=None)
        assert [tuple(x.shape) for x in out] == [(4, 3, 32, 32), (4, 32, 32), (4, 32, 32)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, m, v: (i[0], m, v), "want image"),
        (lambda i, m, v: (i[..., :-1], m[..., :-1], v[..., :-1]), "want image"),
        (lambda i, m, v: (i, m[:2], v), "want image"),
        (lambda i, m, v: (i, m, v[:, 1:, 1:]), "want image"),
        (lambda i, m, v: (i[:, :1], m, v), "one fill value for each of 1 channels"),
    ],
)
def test_shapes_that_do_not_fit(change: Callable[..., Batch], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(change(*random_batch()), OFF, crop=32)


@pytest.mark.parametrize("crop", [0, 49])
def test_a_crop_larger_than_the_window(crop: int) -> None:
    with pytest.raises(ValueError, match=f"crop of {crop} pixels out of windows of 48"):
        run(random_batch(), OFF, crop=crop)


@pytest.mark.parametrize(
    "value",
    [
        {"rotate": -1},
        {"rotate": 181},
        {"p": 1.01},
        {"brightness": 2},
        {"noise": math.inf},
        {"blur": math.nan},
        {"elastic_grid": 0},
    ],
)
def test_values_out_of_bounds_are_named(value: dict[str, float]) -> None:
    (name,) = value
    with pytest.raises(ConfigError, match=rf"Augmentation\.{name} must be"):
        replace(OFF, **value)


# Randomness


def test_a_seed_decides_everything() -> None:
    batch = with_frame(random_batch())
    assert same(run(batch, ALL, crop=32, seed=1), run(batch, ALL, crop=32, seed=1))
    assert not torch.equal(run(batch, ALL, crop=32, seed=1)[0], run(batch, ALL, crop=32, seed=2)[0])


@pytest.mark.parametrize("name", [f.name for f in fields(OFF) if f.name not in ("p", "elastic_grid")])
def test_each_change_alone_changes_and_differs_from_call_to_call(name: str) -> None:
    augmentation = replace(OFF, **{name: getattr(ALL, name)})
    batch = random_batch(batch=8)
    rng = torch.Generator().manual_seed(0)
    untouched = run(batch, OFF, crop=32)[0]
    first, second = (augment(*batch, crop=32, fill=FILL, augmentation=augmentation, generator=rng)[0] for _ in range(2))
    assert not torch.allclose(first, untouched, atol=0.1)
    assert not torch.allclose(first, second, atol=0.1)


def test_a_generator_keeps_the_global_one_untouched_and_none_uses_it() -> None:
    batch = random_batch()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    run(batch, ALL, crop=32)
    assert torch.equal(state, torch.get_rng_state())
    first = augment(*batch, crop=32, fill=FILL, augmentation=ALL, generator=None)
    assert not torch.equal(state, torch.get_rng_state())
    torch.manual_seed(3)
    assert same(first, augment(*batch, crop=32, fill=FILL, augmentation=ALL, generator=None))


@pytest.mark.parametrize(
    "name", ["rotate", "scale", "elastic", "brightness", "contrast", "gamma", "channel", "blur", "noise"]
)
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_p_is_the_share_of_samples_that_change(name: str, p: float) -> None:
    augmentation = replace(OFF, **{name: getattr(ALL, name)}, p=p)
    batch = random_batch(batch=1, size=24)
    batch = tuple(x.expand(400, *x.shape[1:]) for x in batch)
    out = run(batch, augmentation, crop=16)[0]
    changed = (out - run(batch, OFF, crop=16)[0]).abs().amax((1, 2, 3)) > 0.05
    assert changed.float().mean() == pytest.approx(p, abs=0.08)


# Geometry


@pytest.mark.parametrize(("window", "crop"), [(32, 32), (48, 32), (47, 32), (48, 31), (33, 1)])
def test_all_off_gives_the_centre_bit_for_bit(window: int, crop: int) -> None:
    batch = random_batch(size=window)
    start = (window - crop) // 2
    cut = [x[..., start : start + crop, start : start + crop] for x in batch]
    assert same(run(batch, OFF, crop=crop), (cut[0].float(), cut[1], cut[2]))


@pytest.mark.parametrize(("window", "crop"), [(32, 32), (48, 32), (37, 32), (101, 64), (256, 256)])
def test_free_geometry_of_no_sample_leaves_pixels_where_they_were(window: int, crop: int) -> None:
    batch = random_batch(size=window)
    image, mask, valid = run(batch, replace(GEOMETRY, flip=False, rotate90=False, p=0), crop=crop)
    want = run(batch, OFF, crop=crop)
    assert torch.allclose(image, want[0], atol=0.02)
    assert torch.equal(mask, want[1])
    assert torch.equal(valid, want[2])


def eight(x: Tensor) -> list[Tensor]:
    """Quarter turns of the last two axes, then those of the mirror image."""
    return [y.rot90(k, (-2, -1)) for y in (x, x.flip(-1)) for k in range(4)]


@pytest.mark.parametrize("size", [32, 50, 97])
@pytest.mark.parametrize(
    ("flip", "rotate90", "reached"),
    [(True, True, set(range(8))), (False, True, {0, 1, 2, 3}), (True, False, {0, 2, 4, 6})],
)
def test_flips_and_quarter_turns_are_exact(flip: bool, rotate90: bool, reached: set[int], size: int) -> None:
    image, mask, valid = random_batch(batch=1, size=size)
    valid[:, :5] = False
    mask *= valid
    batch = tuple(x.expand(64, *x.shape[1:]) for x in (image, mask, valid))
    out_image, out_mask, out_valid = run(batch, replace(OFF, flip=flip, rotate90=rotate90), crop=size)
    shown = torch.where(valid[:, None], image.float(), FILL.view(1, 3, 1, 1))
    images, masks, valids = (torch.cat(eight(x)) for x in (shown, mask, valid))
    seen = set()
    for i in range(64):
        (which,) = (k for k in range(8) if torch.equal(masks[k], out_mask[i]))
        seen.add(which)
        assert torch.allclose(out_image[i], images[which], atol=0.02)
        assert torch.equal(out_valid[i], valids[which])
    assert seen == reached


def blobs(batch: int, size: int) -> Tensor:
    """Binary pictures of round-edged areas some 20 pixels wide."""
    coarse = torch.randn(batch, 1, size // 20, size // 20, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(size, size), mode="bicubic")[:, 0] > 0


@pytest.mark.parametrize("seed", range(5))
def test_image_and_mask_stay_together(seed: int) -> None:
    crop = 96
    picture = blobs(4, window_size(crop, GEOMETRY))
    image = picture[:, None].expand(-1, 3, -1, -1).to(torch.uint8) * 255
    out, mask, valid = run((image, picture.to(torch.uint8), torch.ones_like(picture)), GEOMETRY, crop=crop, seed=seed)
    assert not torch.equal(mask, run((image, picture.to(torch.uint8), torch.ones_like(picture)), OFF, crop=crop)[1])
    alike = (out[:, 0] > 127.5) == (mask == 1)
    assert alike[valid].float().mean() > 0.995
    # Away from edges, where interpolation and the nearest neighbour may differ, all must agree.
    interior = F.max_pool2d(mask.float(), 3, 1, 1) == -F.max_pool2d(-mask.float(), 3, 1, 1)
    assert alike[valid & interior].float().mean() > 0.9999


@settings(max_examples=25, deadline=None)
@given(rotate=st.floats(0, 180), scale=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_turns_and_zooms_stay_in_bounds_and_keep_shapes(rotate: float, scale: float, seed: int) -> None:
    augmentation = replace(OFF, rotate=rotate, scale=scale)
    batch = coordinates(8, window_size(20, augmentation))
    image, _, valid = run(batch, augmentation, crop=20, seed=seed)
    assert valid.all()
    place = image[:, :2] - 128
    along_x, along_y = place[..., 10, 11] - place[..., 10, 10], place[..., 11, 10] - place[..., 10, 10]
    zoom = along_x.norm(dim=1)
    assert torch.allclose(zoom, along_y.norm(dim=1), atol=1e-3)
    assert torch.allclose((along_x * along_y).sum(1), torch.zeros(8), atol=1e-3)
    assert ((zoom > 1 / (1 + scale) - 1e-3) & (zoom < 1 + scale + 1e-3)).all()
    angle = torch.atan2(along_x[:, 1], along_x[:, 0]).rad2deg()
    assert (angle.abs() <= rotate + 0.1).all()
    assert torch.allclose(place.mean((2, 3)), torch.zeros(8, 2), atol=1e-2)  # about the centre


def test_elastic_displacements_have_their_deviation_everywhere_and_are_smooth() -> None:
    augmentation = replace(OFF, elastic=3, elastic_grid=16)
    crop = 40
    batch = coordinates(600, window_size(crop, augmentation) + 10)
    shift = (run(batch, augmentation, crop=crop)[0] - run(batch, OFF, crop=crop)[0])[:, :2]
    deviation = shift.std(0)
    assert deviation.mean() == pytest.approx(3, rel=0.05)
    assert ((deviation > 2.5) & (deviation < 3.5)).all()
    assert shift.diff(dim=-1).std() < 3 * 1.3 / 16
    assert shift.diff(n=2, dim=-1).std() < 3 * 2.5 / 16**2


def test_control_points_reach_beyond_both_ends() -> None:
    weights = module._spline_weights(45, 8, torch.device("cpu"))
    assert torch.allclose(weights[8:, 1:], weights[:-8, :-1], atol=1e-6)  # every cell has the same weights


def test_the_window_is_the_crop_without_free_geometry() -> None:
    assert window_size(256, COLOUR) == window_size(256, replace(OFF, flip=True, rotate90=True)) == 256


@settings(max_examples=50, deadline=None)
@given(crop=st.integers(1, 64), rotate=st.floats(0, 180), scale=st.floats(0, 2), seed=st.integers(0, 2**31))
def test_the_window_holds_every_turn_and_zoom(crop: int, rotate: float, scale: float, seed: int) -> None:
    augmentation = replace(OFF, rotate=rotate, scale=scale, flip=True, rotate90=True)
    size = window_size(crop, augmentation)
    assert (size - crop) % 2 == 0
    assert size <= math.ceil(crop * (1 + scale) * math.sqrt(2)) + 2
    assert run(random_batch(size=size), augmentation, crop=crop, seed=seed)[2].all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("rotate", "scale"), [(45, 0), (20, 0), (0, 0.4), (30, 0.25)])
def test_the_window_is_the_smallest(rotate: float, scale: float, sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    always_the_limit(monkeypatch, sign)
    augmentation = replace(OFF, rotate=rotate, scale=scale)
    size = window_size(64, augmentation)
    assert run(random_batch(1, size), augmentation, crop=64)[2].all()
    if sign > 0 or not scale:
        assert not run(random_batch(1, size - 4), augmentation, crop=64)[2].all()


def test_elastic_rarely_leaves_the_window() -> None:
    batch = random_batch(batch=64, size=window_size(48, replace(OFF, elastic=4)))
    valid = run(batch, replace(OFF, elastic=4), crop=48)[2]
    assert valid.float().mean() > 0.9995


# Outside the picture


@pytest.mark.parametrize("augmentation", [OFF, replace(OFF, flip=True), GEOMETRY, COLOUR, ALL])
def test_outside_the_picture_is_exactly_fill(augmentation: Augmentation) -> None:
    for batch in (with_frame(random_batch()), random_batch(size=32)):
        image, mask, valid = run(batch, augmentation, crop=32)
        fill = FILL.view(1, 3, 1, 1).expand_as(image)
        outside = ~valid[:, None].expand_as(image)
        assert torch.equal(image[outside], fill[outside])
        assert not mask[~valid].any()


def test_a_crop_wider_than_what_is_there_is_invalid_at_its_corners() -> None:
    valid = run(random_batch(64, 32), replace(OFF, rotate=45), crop=32)[2]
    assert valid[:, 16, 16].all()
    assert valid[:, 0, 0].float().mean() < 0.2  # the few that hardly turned


@settings(max_examples=20, deadline=None)
@given(value=st.integers(0, 255), seed=st.integers(0, 2**31), frame=st.booleans())
def test_the_rim_is_not_dark(value: int, seed: int, frame: bool) -> None:
    image, mask, valid = random_batch(size=40)
    image[:] = value
    if frame:
        _, _, valid = with_frame((image, mask, valid))
        image = torch.where(valid[:, None], image, 0)
    out, _, valid = run((image, mask, valid), GEOMETRY, crop=40, seed=seed, fill=torch.full((3,), float(value)))
    assert not valid.all()
    assert (out - value).abs().max() < 1e-3


def test_the_edge_of_the_window_is_not_mixed_with_fill() -> None:
    image, mask, valid = constant(200, batch=8, size=32)
    out, _, valid = run((image, mask, valid), replace(GEOMETRY, p=1), crop=32, fill=torch.zeros(3))
    assert not valid.all()
    assert (out[valid[:, None].expand_as(out)] - 200).abs().max() < 1e-3


@settings(max_examples=20, deadline=None)
@given(ids=st.sets(st.integers(0, 255), min_size=1, max_size=5), seed=st.integers(0, 2**31))
def test_no_new_class_ids(ids: set[int], seed: int) -> None:
    image, _, valid = random_batch()
    values = torch.tensor(sorted(ids), dtype=torch.uint8)
    mask = values[torch.randint(len(ids), valid.shape, generator=torch.Generator().manual_seed(seed))]
    _, out, valid = run((image, mask, valid), GEOMETRY, crop=32, seed=seed)
    assert set(out[valid].unique().tolist()) <= ids


def test_the_last_class_id_is_not_taken_for_invalid() -> None:
    image, mask, valid = random_batch()
    _, out, valid = run((image, mask.fill_(255), valid), replace(OFF, flip=True), crop=32)
    assert valid.all()
    assert (out == 255).all()


# Grey levels


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.floats(0, 1))
def test_grey_levels_stay_in_a_cameras_range(seed: int, strength: float) -> None:
    values = dict.fromkeys(("brightness", "contrast", "gamma", "channel", "blur"), strength)
    image = run(random_batch(), replace(OFF, **values, noise=100 * strength), crop=48, seed=seed)[0]
    assert image.isfinite().all()
    assert image.min() >= 0
    assert image.max() <= 255


@pytest.mark.parametrize("augmentation", [COLOUR, replace(COLOUR, blur=0)])
def test_grey_levels_leave_mask_and_validity_alone(augmentation: Augmentation) -> None:
    batch = with_frame(random_batch())
    want, out = run(batch, OFF, crop=40), run(batch, augmentation, crop=40)
    assert same((*out[1:], out[2]), (*want[1:], want[2]))
    assert not torch.equal(out[0], want[0])


def test_brightness_shifts_all_channels_alike() -> None:
    shift = run(constant(128), replace(OFF, brightness=0.2), crop=16)[0] - 128
    assert shift.abs().max() <= 0.2 * 255
    assert shift.amax() > 25
    assert shift.amin() < -25
    assert torch.allclose(shift, shift[:, :1, :1, :1].expand_as(shift), atol=1e-4)


def test_channel_gains_are_each_its_own_and_within_bounds() -> None:
    gain = run(constant(100), replace(OFF, channel=0.5), crop=16)[0][..., 0, 0] / 100
    assert gain.amin() >= 1 / 1.5 - 1e-4
    assert gain.amax() <= 1.5 + 1e-4
    assert (gain.amax(1) - gain.amin(1) > 0.02).float().mean() > 0.9


@pytest.mark.parametrize("frame", [False, True])
def test_contrast_stretches_about_the_mean_of_what_is_valid(frame: bool) -> None:
    image, mask, valid = random_batch(batch=16)
    image = image // 2 + 60  # far enough from both ends not to be clamped
    batch = with_frame((image, mask, valid)) if frame else (image, mask, valid)
    out, _, valid = run(batch, replace(OFF, contrast=0.3), crop=48)
    inside = valid[0]
    before, after = batch[0][:, :, inside].float(), out[:, :, inside]
    assert torch.allclose(before.mean(2), after.mean(2), atol=0.01)
    factor = after.std(2) / before.std(2)
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-4)
    assert 1 / 1.3 - 1e-4 <= factor.min() < 0.9
    assert 1.1 < factor.max() <= 1.3 + 1e-4


def test_contrast_and_gain_together_move_the_mean_by_the_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    always_the_limit(monkeypatch)
    image, mask, valid = random_batch()
    image = image // 4 + 60
    out = run((image, mask, valid), replace(OFF, contrast=0.3, channel=0.2), crop=48)[0]
    assert torch.allclose(out.mean((2, 3)), 1.2 * image.float().mean((2, 3)), rtol=1e-4)


def test_gamma_keeps_black_and_white_and_its_bounds() -> None:
    for value in (0.0, 255.0):
        assert torch.allclose(run(constant(value), replace(OFF, gamma=0.5), crop=16)[0], torch.tensor(value))
    exponent = (run(constant(100), replace(OFF, gamma=0.5), crop=16)[0] / 255).log() / math.log(100 / 255)
    assert exponent.amin() >= 1 / 1.5 - 1e-4
    assert exponent.amax() <= 1.5 + 1e-4
    assert exponent.amax() - exponent.amin() > 0.5


def test_blur_is_a_gaussian_of_the_given_width(monkeypatch: pytest.MonkeyPatch) -> None:
    always_the_limit(monkeypatch)
    image, mask, valid = constant(0, batch=1, size=31)
    image[:, :, 15, 15] = 255
    out = run((image, mask, valid), replace(OFF, blur=1.5), crop=31)[0][0, 0]
    axis = torch.arange(31.0) - 15
    assert out.sum() == pytest.approx(255, rel=1e-4)
    assert (out.sum(0) * axis**2).sum() / 255 == pytest.approx(1.5**2, rel=0.03)
    assert (out.sum(1) * axis**2).sum() / 255 == pytest.approx(1.5**2, rel=0.03)


def test_blur_differs_between_samples_not_between_channels() -> None:
    image, mask, valid = constant(0, batch=8, size=15)
    image[:, :, 7, 7] = 255
    peak = run((image, mask, valid), replace(OFF, blur=2), crop=15)[0][..., 7, 7]
    assert torch.allclose(peak, peak[:, :1].expand_as(peak), atol=1e-3)
    assert peak[:, 0].unique().numel() > 4  # the weakest leave the dot as it is


def test_blur_keeps_a_plain_picture_and_works_on_crops_smaller_than_itself() -> None:
    assert torch.allclose(run(constant(77), replace(OFF, blur=3), crop=4)[0], torch.tensor(77.0), atol=1e-3)


def test_noise_is_white_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = run(constant(128), replace(OFF, noise=10), crop=24)[0].std((1, 2, 3))
    assert weak.max() < 10.5
    assert weak.min() < 3
    always_the_limit(monkeypatch)
    noise = run(constant(128, size=64), replace(OFF, noise=10), crop=64)[0] - 128
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert noise.mean().abs() < 0.1
    flat = noise.flatten(2) / noise.flatten(2).std(2, keepdim=True)
    assert (flat[:, 0] * flat[:, 1]).mean().abs() < 0.02  # channels are independent
    assert (flat[..., 1:] * flat[..., :-1]).mean().abs() < 0.02  # and so are neighbours


def test_noise_is_new_in_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    always_the_limit(monkeypatch)
    one, other = (run(constant(128), replace(OFF, noise=10), crop=24, seed=s)[0] - 128 for s in (1, 2))
    assert ((one / 10) * (other / 10)).mean().abs() < 0.02
