"""What a training needs to go on as if it had never stopped: kept after every epoch, and where somebody asks to stop.

`last.ckpt` is Lightning's checkpoint (weights, optimizer, schedule, loops, callbacks) with what Lightning leaves out:
random states, the sums of an epoch that is not over, the metrics of all epochs, the time spent.
"""

import contextlib
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.errors import StorageError
from lamella.inference.checkpoint import whole, write
from lamella.tracking import Run
from lamella.training.divergence import Divergence
from lamella.training.ema import AveragedWeights
from lamella.training.stopping import REQUEST
from lamella.training.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import Checkpoint  # isort: skip
from pytorch_lightning.plugins.io import TorchCheckpointIO  # isort: skip

LAST, BEST = "last.ckpt", "best.ckpt"
_BEFORE = {LAST: "last.previous.ckpt", BEST: "best.previous.ckpt"}
# Of a validation that had only begun: Lightning then begins it again.
_BEGUN = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


class Earlier(NamedTuple):
    """A training that can be gone on with: the content of its checkpoint."""

    saved: dict[str, Any]

    @property
    def state(self) -> dict[str, Any]:
        """What `Keeper.state_dict` gave."""
        state: dict[str, Any] = self.saved["callbacks"][Keeper.__qualname__]
        return state

    @property
    def rows(self) -> list[dict[str, float]]:
        """The metrics of the epochs that are over."""
        return [dict(row) for row in self.state["rows"]]

    @property
    def steps(self) -> int:
        """Steps that are done, those of an epoch that is not over among them."""
        return int(self.saved["global_step"])

    @property
    def best(self) -> float:
        """The best epoch's score; minus infinity before there is one."""
        return max((row["val/dice"] for row in self.rows), default=-np.inf)

    def waited(self) -> int:
        """Epochs since the best one."""
        scores = [row["val/dice"] for row in self.rows]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def over(self, max_epochs: int, patience: int | None) -> bool:
        """Whether nothing is left to train."""
        tired = patience is not None and bool(self.rows) and self.waited() >= patience
        return len(self.rows) >= max_epochs or (tired and not self.state["within"])


class Keeper(Checkpoint):
    """Writes `best.ckpt` and `last.ckpt`, tells of every epoch once it is safe, and stops where that is asked for.

    The files are replaced whole. The last one but one stays beside each of them, as `last.previous.ckpt`, and as
    `best.previous.ckpt` the weights that belong to it. An epoch's metrics are told to MLflow when its checkpoint is
    there: so a run that goes on from it knows what is told, and every step is told once.

    Args:
        folder: made for the checkpoints.
        tracked: the run that metrics are told to.
        averaged: whose average stands in the network's place while it is validated; None: none does.
        divergence: is asked before anything is kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tracked: Run,
        averaged: AveragedWeights | None,
        divergence: Divergence,
    ) -> None:
        self.folder = folder
        self.tracked = tracked
        self.averaged = averaged
        self.divergence = divergence
        self.rows: list[dict[str, float]] = []
        self.told = 0  # of these
        self.best, self.best_step = -np.inf, 0
        self.steps = 0
        self.spent, self.started = 0.0, time.perf_counter()
        self.validating = False
        self.random: dict[str, Any] | None = None
        self.sums: dict[str, torch.Tensor] | None = None

    @property
    def seconds(self) -> float:
        """That training has taken so far, all its parts together."""
        return self.spent + time.perf_counter() - self.started

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationTask)
        self.started = time.perf_counter()
        self.tell()
        if self.sums is not None:
            pl_module.crops.go_on(self.sums)
        if self.random is not None:
            set_random_state(self.random)
        self.sums = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps = trainer.global_step
        last = batch_idx + 1 == trainer.num_training_batches
        # Validation may draw, too, and is done anew where it is broken off: from where it began.
        self.random = random_state() if last else None
        if not last:
            self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validating = True
        self._stop_if_asked(trainer)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.divergence.require_finite(trainer)
        score = float(trainer.callback_metrics["val/dice"])
        if score > self.best:
            self.best, self.best_step = score, trainer.global_step
            # The weights before go aside: `last.ckpt` belongs to them until this epoch is over. Who belonged to those
            # that lie there goes.
            if trainer.is_global_zero:
                (self.folder / _BEFORE[LAST]).unlink(missing_ok=True)
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append(row)
        self.validating, self.random = False, None
        trainer.save_checkpoint(self.folder / LAST)
        self.tell()
        self.tracked.log_file(f"{self.folder.name}/{LAST}")
        REQUEST.obey()

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "best": self.best,
            "best_step": self.best_step,
            "steps": self.steps,
            "seconds": self.seconds,
            "random": self.random or random_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]
        self.steps = state_dict["steps"]
        self.spent, self.random = state_dict["seconds"], state_dict["random"]
        self.sums = state_dict["sums"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, SegmentationTask)
        fit_loop = checkpoint["loops"]["fit_loop"]
        state = checkpoint["callbacks"][self.state_key]
        state["sums"] = pl_module.crops.sums()
        state["scheduled"] = int(trainer.estimated_stepping_batches)  # what the schedule was made for
        epochs = fit_loop["epoch_progress"]["current"]
        state["within"] = epochs["started"] != epochs["processed"]  # an epoch is not over
        if self.validating:
            fit_loop["epoch_loop.val_loop.batch_progress"] = {
                "total": dict(_BEGUN),
                "current": dict(_BEGUN),
                "is_last_batch": False,
            }

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        if REQUEST.requested is not None:
            self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        """Keeps the state as it is, in the middle of an epoch, and ends. Raises Stopped."""
        self.divergence.settle()
        if self.averaged is not None:
            self.averaged.give_back()
        trainer.save_checkpoint(self.folder / LAST)
        REQUEST.obey()

    def take_up(self, earlier: Earlier) -> None:
        """What is to be told, and what is drawn next, of a training of which nothing is left to be done."""
        self.load_state_dict(earlier.state)
        set_random_state(earlier.state["random"])
        self.tell()

    def tell(self) -> None:
        """Tells MLflow of the epochs that it does not know of."""
        told = self.tracked.logged("val/dice") if len(self.rows) > self.told else {}
        for epoch in range(self.told, len(self.rows)):
            if epoch not in told:
                self.tracked.log_metrics(self.rows[epoch], step=epoch)
        self.told = len(self.rows)

    def keep_files(self) -> None:
        """Keeps with the run what it is to be gone on from."""
        for name in (LAST, BEST):
            if (self.folder / name).exists():
                self.tracked.log_file(f"{self.folder.name}/{name}")


class WholeFiles(TorchCheckpointIO):
    """How Lightning's checkpoints are written: whole or not at all. What it is to go on from was read before."""

    def __init__(self, earlier: dict[str, Any] | None = None) -> None:
        self.earlier = earlier

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        place = Path(path)
        before = place.with_name(_BEFORE[place.name]) if place.name in _BEFORE else None
        if place.name == LAST:  # room first; the one that is there is whole
            place.with_name(_BEFORE[LAST]).unlink(missing_ok=True)
        write(place, checkpoint, before)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        assert self.earlier is not None
        return self.earlier


def found(folder: Path) -> tuple[Earlier | None, list[str]]:
    """The training whose checkpoints lie in a folder, from the newest that is whole, and what is to be said of them.

    `best.ckpt` is then the one that belongs to it: of an epoch that is undone, the one before is put back.
    """
    remarks: list[str] = []
    for name in (LAST, _BEFORE[LAST]):
        path = folder / name
        if not path.exists():
            continue
        try:
            earlier = Earlier(whole(path))
            if "callbacks" not in earlier.saved:  # of a method that is not trained
                return None, []
            if Keeper.__qualname__ not in earlier.saved["callbacks"]:
                raise StorageError("an older version wrote it, which kept less than is needed")
            if earlier.rows:
                _put_back(folder, int(earlier.state["best_step"]))
        except (StorageError, KeyError, TypeError) as error:
            remarks.append(
                f"{path} is not used: {error.problem if isinstance(error, StorageError) else 'it is damaged'}"
            )
            continue
        return earlier, remarks
    return None, remarks


def tidy(folder: Path) -> None:
    """Removes what only an interrupted training needs: the checkpoints before, and what was not written to its end."""
    for path in (*map(folder.joinpath, _BEFORE.values()), *folder.glob("*.part")):
        path.unlink(missing_ok=True)


def random_state() -> dict[str, Any]:
    """Where all generators of random numbers stand, in plain types."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - what a network of a user's own may draw from
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Puts all generators where they stood."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])


def _put_back(folder: Path, step: int) -> None:
    """Makes `best.ckpt` the weights that were the best at a step. Raises StorageError where they are not to be had."""
    for path in (folder / BEST, folder / _BEFORE[BEST]):
        with contextlib.suppress(StorageError):
            if whole(path)["global_step"] == step:
                if path.name != BEST:
                    path.replace(folder / BEST)
                return
    raise StorageError(f"the best weights of that training, of step {step}, are missing or damaged")
