"""Finished runs whose files lie in a folder, without a store: a store takes a second a run, and folds are many runs."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from lamella.tracking import FinishedRun
from lamella.tracking.delivery import Place

GROUP_OF = {"a": "p", "b": "p", "c": "q", "d": "q", "e": "r", "f": "r"}
"""Six images of three groups: in three folds by groups each judges one, and the next is validation."""
HASHED = {"_target_": "lamella.splits.hashed_folds", "folds": "3", "seed": "0"}
FOLDS = [("a", "b"), ("c", "d"), ("e", "f")]


class Runs:
    """Runs to compare, in the order in which they began."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[FinishedRun] = []
        self.brought: Any = tempfile.TemporaryDirectory()

    def add(self, model: str, fold: int | str, dice: dict[str, float], *, seed: int = 1, parts: Any = None,
            split: dict[str, str] = HASHED, columns: Any = None, params: Any = None, tags: Any = None,
            metrics: Any = None, protocol: Any = None, groups: Any = None, data: str = "d") -> str:  # fmt: skip
        """A run of a fold that judged these images with these Dice; the id of the run.

        Args:
            parts: of its split; None: what is judged is the test, the other images of `GROUP_OF` train.
            split: the keys of its split but the fold; {}: an older run that says nothing.
            columns: further columns of its table, name -> image -> value.
            protocol: what it has beside data and split.
            groups: image -> group.
        """
        run_id = f"{len(self.found):032x}"
        folder = self.root / run_id
        (folder / "scores").mkdir(parents=True)
        (folder / "data").mkdir()
        groups = groups or GROUP_OF
        parts = parts or {"train": [i for i in groups if i not in dice], "val": [], "test": [*dice]}
        parts = {"train": parts["train"], "val": parts["val"], "test": parts["test"]}
        rows = [
            {"id": i, "case": f"{n:04d}", "group": groups[i], "dice": d}
            | {name: values[i] for name, values in (columns or {}).items()}
            for n, (i, d) in enumerate(dice.items())
        ]
        pd.DataFrame(rows[::-1]).to_csv(folder / "scores" / "test.csv", index=False)
        (folder / "data" / "split.json").write_text(json.dumps(parts))
        counts = f"{len(parts['train'])} to train, {len(parts['val'])} to choose by, {len(dice)} to test"
        card = {"data set": "Smears", "images": counts, "groups in the test": str(len({groups[i] for i in dice}))}
        (folder / "data" / "card.json").write_text(json.dumps(card))
        key = "path" if split.get("_target_") == "lamella.splits.file" else "fold"
        keys = {
            f"dataset.split.{name}": value for name, value in {**split, **({key: str(fold)} if split else {})}.items()
        }
        said = {"data": data, "split": json.dumps(parts), "threshold": 0.5, "device": "cpu", **(protocol or {})}
        self.found.append(
            FinishedRun(
                run_id,
                f"{model} {seed} {fold}",
                "e",
                {"model.name": model, "seed": str(seed), "dataset.name": "blood", "dataset.group": "None"}
                | keys
                | (params or {}),
                {"time/train_s": 60.0, "model/parameters": 5.0} | (metrics or {}),
                {
                    "lamella.protocol": json.dumps({k: v for k, v in said.items() if v is not None}),
                    "lamella.phantom": "false",
                }
                | (tags or {}),
                client=None,  # type: ignore[arg-type] - asked for curves alone, and there are none
                place=Place(str(folder), ""),
                folder=self.brought,
            )
        )
        return run_id

    def plan(self, model: str, seed: int = 1, less: float = 0.0, folds: Any = (0, 1, 2), **how: Any) -> list[str]:
        """A run for each of three folds by groups: Dice 0.9 of the first image, 0.8 of the second and so on."""
        dice = {image: round(0.9 - number / 10 - less, 6) for number, image in enumerate(GROUP_OF)}
        return [
            self.add(model, fold, {image: dice[image] for image in FOLDS[fold]}, seed=seed, parts=parted(fold), **how)
            for fold in folds
        ]


def parted(fold: int) -> dict[str, list[str]]:
    """The parts of one of three folds: it judges, the next chooses, the third trains."""
    return {part: [*FOLDS[(fold + step) % 3]] for part, step in (("test", 0), ("val", 1), ("train", 2))}
