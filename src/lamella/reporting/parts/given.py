"""What each method was given and cost, and the runs behind it."""

from typing import TYPE_CHECKING

import numpy as np

from lamella.metrics.catalogue import lookup
from lamella.pages.render import Cell, Table
from lamella.reporting.numbers import UNKNOWN, duration, number, quantity, score_text
from lamella.reporting.parts.cells import told, words
from lamella.reporting.summary import counted, per_seed

if TYPE_CHECKING:
    from lamella.reporting.parts.section import Section


def given_table(id_: str, section: "Section") -> Table | None:
    """The budget of each method beside what it cost; None where neither is known of any."""
    summary = section.summary
    labels = summary["method"].tolist()
    head, columns = [Cell("method")], [[Cell(label) for label in labels]]
    said = []
    chosen = dict.fromkeys(each.chosen for each in section.budgets.values())
    if section.budgets:
        found = [section.budgets.get(label) for label in labels]
        head += [Cell("settings", ("tried",)), Cell("runs", ("finished",)), Cell("epochs", ("of a run",))]
        columns += [
            [Cell(UNKNOWN if each is None else str(each.settings)) for each in found],
            [Cell(UNKNOWN if each is None else f"{each.runs[1]} of {each.runs[0]}") for each in found],
            [Cell(UNKNOWN if each is None else number(each.epochs, 1).removesuffix(".0")) for each in found],
        ]
        said.append("Settings tried: of this model on this data, as the store knows them, whatever became of them.")
    for name, top, write in (
        ("parameters", Cell("parameters"), quantity),
        ("train_s", Cell("training", ("time",)), duration),
        ("images_per_s", Cell("training", ("crops / s",)), quantity),
        ("test_images_per_s", Cell("testing", ("images / s",)), quantity),
    ):
        trained = summary["train_s"].notna() & (summary["parameters"] > 0)
        values = summary[name].where(trained) if name in ("train_s", "images_per_s") else summary[name]
        if values.notna().any():
            head.append(top)
            columns.append([Cell(write(value)) for value in values])
    if len(chosen) == 1:
        said.append(f"Who chose the settings, of every method: {next(iter(chosen))}.")
    elif chosen:
        head += words("who chose the settings")
        columns.append(words(*(section.budgets[label].chosen if label in section.budgets else UNKNOWN
                               for label in labels)))  # fmt: skip
    if len(head) == 1:
        return None
    if summary[["train_s", "test_images_per_s"]].notna().any().any():
        said.append("Times and speeds are means over runs, and compare only where the machines were alike.")
    title = f"{told(section.cohort)}budget and costs"
    return Table(id_, title, " ".join(said), head, list(zip(*columns, strict=True)))


def runs_table(id_: str, section: "Section") -> Table:
    """Every run with its seed, its fold where it is one of several, its mean score and where it is found."""
    cohort, score = section.cohort, section.score
    folded = cohort.folds is not None or any(run.parts for method in cohort.methods for run in method.runs)
    rows = []
    for method in cohort.methods:
        for run, mean in zip(method.runs, per_seed(method, score), strict=True):
            for each in run.each:
                values = np.abs(each.scores[score]) if lookup(score).kind == "signed error" else each.scores[score]
                found = float(values.mean()) if run.parts else float(mean)
                fold = [Cell(each.fold or UNKNOWN), Cell(str(len(each.scores)))] if folded else []
                shown = "median" if run is method.median else ""
                rows.append([Cell(method.label), Cell(str(run.seed)), *fold, Cell(score_text(found, score)),
                             *words(shown, each.name, each.run_id)])  # fmt: skip
    fold = [Cell("fold"), Cell("its images")] if folded else []
    head = [*map(Cell, ("method", "seed")), *fold, Cell(lookup(score).heading), *words("shown", "name", "run id")]
    explanation = (
        f"One row a run, its score the mean over {'its' if folded else 'test'} images. "
        "Pictures show the run marked as median, by its mean Dice."
    )
    if folded:
        explanation += " The runs of all folds with one seed count as one run."
    return Table(id_, f"{told(cohort)}{counted(len(rows), 'run')}", explanation, head, rows)
