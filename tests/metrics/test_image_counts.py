"""Counts joined over images, batches and real processes: each image once, whatever was padded, in the set's order."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from lamella.data.loaders.crops import Share
from lamella.metrics.image_counts import CropScores, ImageCounts, ImageMean

IDS = ("d", "a", "émail 7", "b", "c")
COUNTS = torch.arange(len(IDS) * 8).view(len(IDS), 2, 4) ** 5  # beyond what float32 can hold
LOSSES = torch.tensor([0.1, 0.7, 1e-3, 12.0, 0.3])


def test_one_process_gives_the_counts_in_the_sets_order() -> None:
    counts = ImageCounts(IDS)
    for name, row in zip(IDS, COUNTS, strict=True):
        counts.update([name], row[None])
    table = counts.table()
    assert table.ids == list(IDS)
    assert table.counts.dtype == np.int64
    assert (table.counts == COUNTS.numpy()).all()


def test_neither_batches_nor_their_order_change_the_table() -> None:
    counts = ImageCounts(IDS)
    counts.update(["c", "émail 7"], COUNTS[[4, 2]])
    counts.update(["a", "d", "b"], COUNTS[[1, 0, 3]])
    assert counts.table().ids == list(IDS)
    assert (counts.table().counts == COUNTS.numpy()).all()


def test_an_image_that_came_twice_counts_once_and_one_that_did_not_come_not_at_all() -> None:
    counts = ImageCounts(IDS)
    counts.update(["a", "b"], COUNTS[[1, 3]])
    counts.update(["a"], COUNTS[[1]])
    assert counts.table().ids == ["a", "b"]
    assert (counts.table().counts == COUNTS[[1, 3]].numpy()).all()


def test_a_single_image_is_a_table_of_one() -> None:
    counts, losses = ImageCounts(IDS), ImageMean(IDS)
    counts.update(["b"], COUNTS[[3]])
    losses.update(["b"], LOSSES[[3]])
    assert (counts.table().ids, counts.table().counts.shape) == (["b"], (1, 2, 4))
    assert losses.mean() == 12


def test_a_reset_forgets_every_image() -> None:
    counts = ImageCounts(IDS)
    counts.update(["a", "d"], COUNTS[:2])
    counts.table()
    counts.reset()
    counts.update(["b"], COUNTS[[3]])
    assert counts.table().ids == ["b"]


def test_an_image_of_another_set_is_refused() -> None:
    with pytest.raises(KeyError, match="stranger"):
        ImageCounts(IDS).update(["stranger"], COUNTS[:1])


def test_the_mean_is_added_up_in_the_sets_order_in_float32() -> None:
    losses = ImageMean(IDS)
    losses.update(["c", "b", "a", "émail 7", "d"], LOSSES[[4, 3, 1, 2, 0]])
    total = torch.zeros(())
    for loss in LOSSES:
        total = total + loss
    assert losses.mean() == float(total / 5)


def test_crop_scores_by_hand() -> None:
    scores = CropScores()
    valid = torch.tensor([[[True, True, True, True, True, False]]])
    truth = torch.tensor([[[0, 1, 1, 2, 0, 1]]])
    scores.update(torch.tensor(0.25), torch.tensor([[[1, 1, 0, 1, 0, 1]]]), truth, valid)
    # One pixel right of three said and three there.
    assert scores.here() == {"loss": 0.25, "dice": pytest.approx(2 / 6)}
    scores.update(torch.tensor(0.75), truth, truth, valid)  # all right: three of three
    assert scores.compute() == {"loss": 0.5, "dice": pytest.approx((2 + 6) / (6 + 6))}


def test_crops_without_any_foreground_score_nothing_and_fail_nothing() -> None:
    scores, nothing = CropScores(), torch.zeros(1, 2, 2, dtype=torch.uint8)
    scores.update(torch.tensor(1.0), nothing, nothing, torch.ones(1, 2, 2, dtype=torch.bool))
    assert float(scores.here()["dice"]) == 0


def _process(rank: int, processes: int, folder: Path) -> None:
    """Counts this process's share of the images, and keeps what the metrics of all processes together say."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    counts, losses, crops = ImageCounts(IDS), ImageMean(IDS), CropScores()
    share = list(Share(torch.utils.data.SequentialSampler(IDS), rank, processes))
    for place in share:
        counts.update([IDS[place]], COUNTS[[place]])
        losses.update([IDS[place]], LOSSES[[place]])
    mask = torch.tensor([[[1, rank]]])
    crops.update(torch.tensor(float(rank)), mask, torch.ones_like(mask), torch.ones_like(mask, dtype=torch.bool))
    alone = crops.here()
    table = counts.table()
    torch.save(
        {
            "share": share,
            "ids": list(table.ids),
            "counts": torch.from_numpy(table.counts),
            "loss": losses.mean(),
            "crops": crops.compute(),
            "alone": alone,
        },
        folder / f"{rank}.pt",
    )
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_the_table_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_process, (2, tmp_path), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert [each["share"] for each in found] == [[0, 2, 4], [1, 3, 0]]  # five images: one is there twice
    alone = ImageMean(IDS)
    alone.update(IDS, LOSSES)
    for each in found:
        assert each["ids"] == list(IDS)
        assert torch.equal(each["counts"], COUNTS)
        assert each["loss"] == alone.mean()
        # Of four pixels said or there and right: 2 x (1 + 2) of (1 + 2) + (2 + 2).
        assert each["crops"] == {"loss": 0.5, "dice": pytest.approx(6 / 7)}
    assert [float(each["alone"]["loss"]) for each in found] == [0, 1]
