"""Training windows and their order; whole images; the loaders, driven by Lightning itself."""

import os
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.loaders.crops import Draws, RandomWindows, WholeImages
from lamella.data.loaders.datamodule import SegmentationDataModule, helpers
from lamella.data.loaders.workers import collate
from lamella.data.types import IGNORE, Batch, DatasetCard, ImageRef, Sample, Split
from lamella.errors import ConfigError

import pytorch_lightning as pl  # isort: skip

FILL = 7


@dataclass
class Memory:
    """A store of random arrays: image (2, H, W), every value above 20, and mask."""

    sizes: list[tuple[int, int]]
    factor: int = 1  # how much larger the truth is
    card = DatasetCard("toy", "toy", ("a", "b"), {0: 0, 1: 1}, channels=2, source="")

    @property
    def samples(self):
        ref = ImageRef(None)
        return [Sample(str(i), ref, ref, str(i)) for i in range(len(self.sizes))]

    def _random(self, sample, *shape):
        return np.random.default_rng(int(sample.id)).integers(21, 256, shape, dtype=np.uint8)

    def image(self, sample):
        return self._random(sample, 2, *self.sizes[int(sample.id)])

    def mask(self, sample):
        return self.image(sample)[0] % 2 + 1  # 1 or 2, so that 0 is seen to be something else

    def truth(self, sample):
        return self.mask(sample).repeat(self.factor, 0).repeat(self.factor, 1)


def windows(sizes, window, context=0, seed=0):
    store = Memory(sizes)
    return RandomWindows(store.samples, store, window=window, context=context, fill=FILL, seed=seed)


def same(a: Batch, b: Batch):
    return a.id == b.id and all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


# --- windows ---------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 24), st.data())
@settings(max_examples=150, deadline=None)
def test_a_window_is_a_piece_of_the_picture_and_fill(height, width, window, data):
    context = data.draw(st.integers(0, window // 2))
    cutter = windows([(height, width)], window, context)
    sample = cutter.samples[0]
    image, mask = cutter.store.image(sample), cutter.store.mask(sample)
    batch = cutter[data.draw(st.integers(0, 10_000))]
    assert batch.image.shape == (2, window, window)
    assert (batch.image.dtype, batch.mask.dtype, batch.valid.dtype) == (torch.uint8, torch.uint8, torch.bool)
    found, valid = batch.image.numpy(), batch.valid.numpy()
    # Outside the picture, and only there: fill, background, invalid.
    assert (found[:, ~valid] == FILL).all()
    assert (batch.mask.numpy()[~valid] == 0).all()
    assert (batch.mask.numpy()[valid] > 0).all()
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    assert valid[np.ix_(rows, columns)].all()
    # What is inside is found in the picture, image and mask at one place.
    piece, labels = found[:, rows][:, :, columns], batch.mask.numpy()[np.ix_(rows, columns)]
    places = [
        (y, x)
        for y in range(height - len(rows) + 1)
        for x in range(width - len(columns) + 1)
        if np.array_equal(image[:, y : y + len(rows), x : x + len(columns)], piece)
        and np.array_equal(mask[y : y + len(rows), x : x + len(columns)], labels)
    ]
    assert places
    for side, inside in ((height, rows), (width, columns)):
        before, after = inside[0], window - 1 - inside[-1]
        if window <= side + 2 * context:
            assert max(before, after) <= context
        else:  # the picture lies in the window, all of it, with at least the frame around it
            assert len(inside) == side
            assert min(before, after) >= context


def starts(side, window, context, draws=400):
    """Every place, along one side, where windows of these draws begin."""
    cutter = windows([(side, side)], window, context)
    rng = np.random.default_rng(0)
    return {cutter._start(side, rng) for _ in range(draws)}


def test_every_place_is_reached():
    assert starts(side=10, window=4, context=0) == set(range(0, 7))
    assert starts(side=10, window=4, context=2) == set(range(-2, 9))
    assert starts(side=10, window=10, context=0) == {0}
    assert starts(side=4, window=10, context=0) == set(range(-6, 1))  # a small picture lies anywhere inside
    assert starts(side=4, window=10, context=1) == set(range(-5, 0))
    assert starts(side=4, window=6, context=1) == {-1}


def test_every_pixel_is_reached():
    cutter = windows([(9, 12)], window=5)
    seen = {int(value) for draw in range(200) for value in cutter[draw].image[0].flatten()}
    assert seen == {int(v) for v in cutter.store.image(cutter.samples[0])[0].flatten()}


def test_a_frame_that_could_miss_the_picture_is_refused():
    windows([(4, 4)], window=8, context=4)[0]
    with pytest.raises(ConfigError, match=r"frame of 5 pixels .* windows of 8"):
        windows([(4, 4)], window=8, context=5)


# --- draws -----------------------------------------------------------------------------------------------

SIZES = [(20, 24), (30, 18), (16, 16), (25, 25), (40, 20)]


def test_a_draw_depends_on_its_number_and_the_seed_alone():
    one, other = windows(SIZES, 8), windows(SIZES, 8)
    backwards = {draw: other[draw] for draw in reversed(range(20))}
    assert all(same(one[draw], backwards[draw]) for draw in range(20))
    assert not all(same(one[draw], windows(SIZES, 8, seed=1)[draw]) for draw in range(5))


@given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_image_once_before_any_twice(count, seed, first_round):
    cutter = windows([(4, 4)] * count, 2, seed=seed)
    for turn in range(first_round, first_round + 3):
        drawn = [cutter[draw].id[0] for draw in range(turn * count, (turn + 1) * count)]
        assert sorted(drawn) == list("012345678"[:count])


def test_each_draw_has_a_place_of_its_own():
    cutter = windows([(50, 50)] * 8, 4)
    where = np.mgrid[:50, :50].astype(np.uint8)  # row and column as the two channels
    cutter.store.image = lambda _: where
    cutter.store.mask = lambda _: where[0]
    assert len({tuple(cutter[draw].image[:, 0, 0].tolist()) for draw in range(8)}) > 4


def test_rounds_come_in_another_order():
    cutter = windows([(4, 4)] * 9, 2)
    assert len({tuple(cutter[draw].id[0] for draw in range(9 * i, 9 * i + 9)) for i in range(4)}) == 4


def test_epochs_number_their_draws_on():
    draws = Draws(6)
    assert list(draws) == [0, 1, 2, 3, 4, 5]
    draws.set_epoch(2)
    assert list(draws) == [12, 13, 14, 15, 16, 17]
    assert len(draws) == 6


class Listener(pl.LightningModule):
    """Trains nothing and remembers what came."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.automatic_optimization = False
        self.heard = []

    def training_step(self, batch, batch_idx):
        self.heard.append((self.current_epoch, batch, torch.rand(1)))

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def trained(workers, epochs=2):
    store = Memory(SIZES)
    samples = tuple(store.samples)
    cutter = RandomWindows(samples[:3], store, window=8, context=2, fill=FILL, seed=0)
    split = Split(samples[:3], samples[3:4], samples[4:])
    module = SegmentationDataModule(split, cutter, batch_size=2, steps=3, workers=workers, cuda=False)
    listener = Listener()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer.fit(listener, module)
    return module, listener.heard


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_lightning_gives_each_epoch_its_own_draws_whatever_the_workers():
    module, alone = trained(workers=0)
    _, helped = trained(workers=2)
    assert [epoch for epoch, _, _ in alone] == [0, 0, 0, 1, 1, 1]
    for step, ((_, a, drawn), (_, b, too)) in enumerate(zip(alone, helped, strict=True)):
        assert same(a, b)
        assert torch.equal(drawn, too)  # what a network's dropout would draw
        assert same(a, collate([module.windows[2 * step], module.windows[2 * step + 1]]))


def test_as_many_workers_as_processors_are_to_spare(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for mine, expected in ((1, (0, 0)), (2, (1, 1)), (4, (1, 3)), (64, (1, 4))):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, mine=mine: set(range(mine)), raising=False)
        assert (helpers(cuda=False), helpers(cuda=True)) == expected


def test_only_a_run_on_a_gpu_pins_memory_and_loads_whole_images_ahead():
    store = Memory(SIZES)
    samples = tuple(store.samples)
    cutter = RandomWindows(samples, store, window=8, context=2, fill=FILL, seed=0)
    for cuda in (False, True):
        split = Split(samples, samples, samples)
        module = SegmentationDataModule(split, cutter, batch_size=2, steps=3, workers=1, cuda=cuda)
        train, val = module.train_dataloader(), module.val_dataloader()
        assert (train.pin_memory, val.pin_memory, val.num_workers) == (cuda, cuda, int(cuda))


# --- whole images ----------------------------------------------------------------------------------------


def test_whole_images_one_a_batch_in_order():
    store = Memory([(4, 6), (5, 3)], factor=3)
    cutter = RandomWindows((), store, window=2, context=0, fill=FILL, seed=0)
    split = Split((), tuple(store.samples), ())
    module = SegmentationDataModule(split, cutter, batch_size=8, steps=1, workers=0, cuda=False)
    first, second = module.val_dataloader()
    assert first.id == ["0"]
    assert first.image.shape == (1, 2, 4, 6)
    assert first.mask.shape == first.valid.shape == (1, 12, 18)  # the truth at full size
    assert second.valid.all()
    assert np.array_equal(second.image[0], store.image(store.samples[1]))
    assert np.array_equal(second.mask[0], store.truth(store.samples[1]))
    assert len(WholeImages(store.samples, store)) == 2


# --- other types, and pixels that do not count -----------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_levels_keep_their_type(dtype):
    store = Memory([(6, 7)])
    plain = store.image
    store.image = lambda sample: plain(sample).astype(dtype) * 200
    window = RandomWindows(store.samples, store, window=10, context=1, fill=300, seed=0)[0].image
    whole = WholeImages(store.samples, store)[0].image
    assert window.numpy().dtype == whole.numpy().dtype == dtype
    assert {300} < set(window.numpy().ravel().tolist()) <= {300} | set(whole.numpy().ravel().tolist())


def test_ignored_pixels_are_background_and_not_valid():
    store = Memory([(5, 6)])
    mask = np.full((5, 6), 2, np.uint8)
    mask[1, 2:4] = IGNORE
    store.mask = store.truth = lambda _: mask
    for batch in (WholeImages(store.samples, store)[0], RandomWindows(
        store.samples, store, window=8, context=1, fill=0, seed=0)[0]):  # fmt: skip
        assert batch.valid.sum() == 28
        assert (batch.mask[batch.valid] == 2).all()
        assert (batch.mask[~batch.valid] == 0).all()
