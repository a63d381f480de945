"""The comparison report as one HTML page: what it shows, in words and numbers; `report.html.j2` has the markup."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup, ordered
from lamella.pages.render import Cell, Table, render
from lamella.plots.style import Picture
from lamella.reporting.cohorts import OLDER, RULES, Cohort, Values, differences
from lamella.reporting.cohorts.budget import Budget
from lamella.reporting.failures import FAILED, failure_head, failure_rows, failure_words
from lamella.reporting.gallery import Gallery
from lamella.reporting.learning import Learning
from lamella.reporting.numbers import UNKNOWN, duration, known, probability, quantity, score_text, span
from lamella.reporting.summary import MAIN, counted, drawn, per_seed, sample, scores_in
from lamella.reporting.tables import ABSENT, absent_rows, pairs_frame
from lamella.reporting.verdict import Verdict, amount, verdict_on
from lamella.statistics.comparison import Comparison, in_order

_WAYS = {"higher": "; higher is better", "lower": "; lower is better", "zero": "; best at 0", "none": ""}


@dataclass(frozen=True)
class Section:
    """All that a report shows of one cohort.

    Attributes:
        cohort: the methods.
        score: the one that decides.
        summary: one row a method, best first.
        comparisons: every pair of methods by that score; none for one method.
        verdict: in sentences.
        margin: within which equality was tested, if it was.
        failure: the Dice below which an image failed.
        leader: only the best mean was compared with the others.
        notes: about the main table.
        pictures: in their order.
        gallery: test images with what each method made of them; None without any.
        learning: its learning curves; None where there are none.
        budgets: what each method was given, by its label; empty where that is not known.
    """

    cohort: Cohort
    score: str
    summary: pd.DataFrame
    comparisons: Sequence[Comparison]
    verdict: Verdict
    notes: Sequence[str]
    pictures: Sequence[Picture]
    gallery: Gallery | None
    margin: float | None = None
    failure: float = FAILED
    leader: bool = False
    learning: Learning | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    def on(self, pair: Comparison) -> str:
        """The verdict on one of the pairs, in words."""
        return verdict_on(pair, self.cohort, self.comparisons, self.score, margin=self.margin, leader=self.leader)

    @property
    def pairs(self) -> pd.DataFrame:
        """A table of all pairs: the fields of `Comparison`, and the `verdict` in words."""
        return pairs_frame(self.comparisons).assign(verdict=[self.on(pair) for pair in self.comparisons])


def page(title: str, sections: Sequence[Section], made: str) -> str:
    """The HTML of the whole report, of at least one section; `made` says in a line what version made it, and when."""
    names = headings(sections)
    return render(
        "report.html.j2",
        title=title,
        made=made,
        apart=_apart(sections, names),
        sections=[_shown(f"s{n}", *each) for n, each in enumerate(zip(names, sections, strict=True), 1)],
    )


def headings(sections: Sequence[Section]) -> list[str]:
    """A section's data set; what else tells it from others of the same name."""
    named = [f"{each.cohort.dataset} (phantom)" if each.cohort.phantom else each.cohort.dataset for each in sections]
    return [
        f"{name}, {named[: place + 1].count(name)} of {named.count(name)}" if named.count(name) > 1 else name
        for place, name in enumerate(named)
    ]


def _apart(sections: Sequence[Section], headings: Sequence[str]) -> dict[str, Any] | None:
    """In what sections differ, as they are not to be compared with each other; None for one."""
    if len(sections) == 1:
        return None
    entries = [{"data set": each.cohort.dataset, **each.cohort.protocol} for each in sections]
    differing = differences([each.cohort for each in sections])
    if not differing:
        return {"within": "They are scored on different test images.", "table": None}
    rows = [[Cell(label), *_words(*(each.get(label, UNKNOWN) for each in entries))] for label in differing]
    head = [Cell("entry of the protocol"), *_words(*headings)]
    explanation = "A row an entry of the protocol, a column a section."
    table = Table("apart-table", "What differs", explanation, head, rows)
    return {"within": f"They differ in: {', '.join(differing)}.", "table": table}


def _shown(id_: str, heading: str, section: Section) -> dict[str, Any]:
    """What the template shows of a section; it leaves out what is empty."""
    cohort = section.cohort
    return {
        "id": id_,
        "heading": heading,
        "phantom": cohort.phantom,
        "told": _told(cohort),
        "verdict": section.verdict.sentences,
        "notes": section.notes,
        "failures": _failures_table(f"{id_}-failures-table", section),
        "scores": _main_table(f"{id_}-scores-table", section),
        "figures": section.pictures,
        "pairs": _pairs_table(f"{id_}-pairs-table", section) if section.comparisons else None,
        "images": section.gallery,
        "absent": _absent_table(f"{id_}-absent-table", section),
        "others": _others_table(f"{id_}-others-table", section),
        "pooled": _pooled_table(f"{id_}-pooled-table", section),
        "protocol": {**cohort.protocol, **_conventions(section)},
        "data": cohort.card,
        "runs": _runs_table(f"{id_}-runs-table", section),
        "measures": _definitions(cohort.names),
    }


def _main_table(id_: str, section: Section) -> Table:
    """The first scores of the summary with their intervals, beside them what was published, and what a method costs."""
    cohort, summary = section.cohort, section.summary
    rows = summary.to_dict("records")
    seeds = zip(summary["seeds"], summary["deterministic"], strict=True)
    head = [Cell("method"), Cell("seeds")]
    columns = [
        [Cell(label) for label in summary["method"]],
        [Cell(str(count), ("not random",) if deterministic else ()) for count, deterministic in seeds],
    ]
    for name in _main(summary):
        head.append(_heading(name))
        columns.append([_mean(row, name) for row in rows])
        if f"{name}_published" in summary.columns:
            head.append(Cell(lookup(name).heading, ("published, ours minus it",)))
            columns.append([_published(row, name) for row in rows])
    for name, heading, write in (
        ("parameters", Cell("parameters"), quantity),
        ("train_s", Cell("training", ("time",)), duration),
        ("images_per_s", Cell("training", ("crops / s",)), quantity),
        ("test_images_per_s", Cell("testing", ("images / s",)), quantity),
    ):
        if summary[name].notna().any():
            head.append(heading)
            columns.append([Cell(write(value)) for value in summary[name]])
    stands = sample(cohort, section.score)
    images, noun, groups = len(cohort.ids), drawn(cohort), len(set(cohort.groups))
    how = summary[f"{section.score}_interval"][0]
    explanation = (
        "Each score is the mean over the images that have it of the mean over seeds. Below it stand its 95\u00a0% "
        f"interval over {noun}s{f' ({how})' if how else ''} and, after ±, the standard deviation "
        f"over seeds where there are several. Best {lookup(section.score).heading} first."
    )
    if stands.images < images:
        explanation += " In how many images a score is defined stands below it where it is not in all."
    title = f"{_told(cohort)}{counted(len(summary), 'method')} on {counted(images, 'test image')}"
    of_groups = f" of {counted(groups, noun)}" if stands.grouped else ""
    return Table(id_, title + of_groups, explanation, head, list(zip(*columns, strict=True)))


def _pairs_table(id_: str, section: Section) -> Table:
    """Every pair of methods with the verdict on it, in the order of the main table, as are the two of a pair."""
    score, noun = lookup(section.score), drawn(section.cohort)
    shown = in_order(section.comparisons, section.summary["method"].tolist())
    head = ["pair", "verdict", "difference", "its interval", "seed noise", f"p, {noun}s", "p, seeds", "p, both"]
    if section.margin is not None:
        head.append("p, equal")
    rows = [
        [
            Cell(each.first, (f"− {each.second}",)),
            Cell(section.on(each), left=True),
            Cell(score_text(each.difference, section.score, signed=True)),
            Cell(span(known(each.low), known(each.high), section.score, signed=True)),
            Cell(UNKNOWN if each.noise is None else f"± {score_text(each.noise, section.score)}"),
            *(
                Cell(UNKNOWN if p is None else probability(p))
                for p in (each.p_images, each.p_runs if each.noise else None, each.p, each.p_equal)[: len(head) - 5]
            ),
        ]
        for each in shown
    ]
    corrected = "the largest of the leader's pairs" if section.leader else "by Holm's correction for all pairs"
    several = " Several pairs make it wider than 95\u00a0%." if len(shown) > 1 and not section.leader else ""
    explanation = (
        "The first one's mean minus the second one's on the same images; "
        f"{'below' if score.lower_is_better else 'above'} 0 the first one leads. Its interval is of the test of p, "
        f"both: for other {noun}s and other seeds together; it leaves out 0 exactly where a method is better.{several} "
        f"Seed noise: a difference that other seeds alone make. A method is called better where {noun}s and seeds "
        f"together do not explain its lead: p, both, {corrected}, below 0.05. The p of "
        f"{noun}s and of seeds, each alone, are not corrected."
    )
    if section.margin is not None:
        explanation += (
            f" Equal within {amount(section.margin, section.score)}: two one-sided tests, by Holm's correction "
            "below 0.05."
        )
    if any(each.p is None or not each.noise for each in shown):
        explanation += f" {UNKNOWN}: not known, for the reason that the verdict gives, or nothing is drawn at random."
    heads = [Cell(text, left=text == "verdict") for text in head]
    return Table(id_, f"{_told(section.cohort)}{score.heading}, pair by pair", explanation, heads, rows)


def _failures_table(id_: str, section: Section) -> Table | None:
    """How often each method failed, how badly, and on which images; None where no Dice was measured."""
    rows = [[Cell(method), Cell(failed), Cell(worst), *_words(images)]
            for method, failed, worst, images in failure_rows(section.summary)]  # fmt: skip
    if not rows:
        return None
    explanation = failure_words(section.summary, grouped=sample(section.cohort, section.score).grouped)
    *numbers, worst_images = failure_head(section.summary)
    head = [*map(Cell, numbers), *_words(worst_images)]
    return Table(id_, f"{_told(section.cohort)}failed images", explanation, head, rows)


def _absent_table(id_: str, section: Section) -> Table | None:
    """What each method found where there is nothing to find; None where there is no such image."""
    rows = [list(map(Cell, row)) for row in absent_rows(section.summary)]
    explanation = (
        "Their truth has nothing of what is looked for (of the class, where one is named): they have no Dice of it, "
        "and are in no mean of that. Means over seeds; false positives are pixels taken for it, mean over these images."
    )
    title = f"{_told(section.cohort)}images without foreground"
    return Table(id_, title, explanation, list(map(Cell, ABSENT)), rows) if rows else None


def _pooled_table(id_: str, section: Section) -> Table | None:
    """Scores of all images taken as one, a row a score, a column a method; None where no run logged one."""
    by_label = {method.label: method for method in section.cohort.methods}
    runs = [by_label[label].median for label in section.summary["method"]]
    names = dict.fromkeys(
        name
        for run in runs
        for name in run.metrics
        if "/pooled/" in name and name.startswith("test/") and not name.endswith(("/low", "/high", "/images"))
    )
    if not names:
        return None
    rows = [[_heading(name), *(_pooled(run.metrics, name) for run in runs)] for name in ordered(names)]
    explanation = (
        "All test images taken as one, so that those with much foreground decide. Below a score stands its 95\u00a0% "
        f"interval over {drawn(section.cohort)}s, where it is known. Of each method the run with the median Dice."
    )
    head = [Cell("score"), *map(Cell, section.summary["method"])]
    return Table(id_, f"{_told(section.cohort)}pooled scores", explanation, head, rows)


def _pooled(metrics: Mapping[str, float], name: str) -> Cell:
    value, low, high = (metrics.get(f"{name}{end}", np.nan) for end in ("", "/low", "/high"))
    return Cell(score_text(value, name), () if np.isnan(low) else (span(low, high, name),))


def _others_table(id_: str, section: Section) -> Table | None:
    """What the main table leaves out, a row a score, a column a method; None where it has all of them."""
    cohort, summary = section.cohort, section.summary
    by_label = {method.label: method for method in cohort.methods}
    methods = [by_label[label] for label in summary["method"]]
    scores, main = scores_in(summary), _main(summary)
    means = {name: [_mean(row, name) for row in summary.to_dict("records")] for name in scores if name not in main}
    means |= {
        name: [_of_seeds(per_seed(each, name), name) for each in methods] for name in cohort.names if name not in scores
    }
    rows = [[_heading(name), *cells] for name, cells in means.items()]
    if not rows:
        return None
    explanation = (
        "Means, intervals and deviations as above, counts of pixels and cells without intervals. By these no "
        "method is called better: the pairs were not tested on them."
    )
    head = [Cell("score"), *(Cell(method.label) for method in methods)]
    return Table(id_, f"{_told(cohort)}scores that the first table leaves out", explanation, head, rows)


def _runs_table(id_: str, section: Section) -> Table:
    """Every run with its seed, its mean score and where it is found."""
    cohort, score = section.cohort, section.score
    rows = [
        [
            *map(Cell, (method.label, str(run.seed), score_text(float(mean), score))),
            *_words("median" if run is method.median else "", run.name, run.run_id),
        ]
        for method in cohort.methods
        for run, mean in zip(method.runs, per_seed(method, score), strict=True)
    ]
    head = [*map(Cell, ("method", "seed", lookup(score).heading)), *_words("shown", "name", "run id")]
    explanation = (
        "One row a run, its score the mean over test images. Pictures show the run marked as median, by its mean Dice."
    )
    return Table(id_, f"{_told(cohort)}{counted(len(rows), 'run')}", explanation, head, rows)


def _conventions(section: Section) -> Mapping[str, str]:
    """What a reader must know to compare these figures with those of other tools."""
    noun = drawn(section.cohort)
    found = {
        "undefined scores": "an image whose truth lacks what is looked for has no Dice, IoU, recall, precision, MCC or "
        "score of outlines, whatever was predicted, and is in no mean of them; where it is there and nothing was "
        "predicted they are 0, of several classes their mean is over those that the image has",
        "outlines": "the frame of the picture is no outline",
        "HD95": "the larger of the two directed 95th percentiles, interpolated",
        "surface Dice": "symmetric: of the outline pixels of both, the share within the tolerance of the other's",
        "imputed distances": "where nothing was predicted of what is there, the picture's diagonal; counted beside the "
        "mean",
    }
    if section.cohort.protocol.get(RULES) == OLDER:
        found = {
            "undefined scores": "an older version scored these runs: an image whose truth lacks what is looked for "
            "counts as 1 where nothing was predicted, else mostly as 0"
        }
    used = [key for key in found if key == "undefined scores" or "boundary/hd95" in section.cohort.names]
    return {key: found[key] for key in used} | {
        "intervals": f"95\u00a0% of the mean over {noun}s: from 6 {noun}s on the BCa bootstrap (Efron 1987), expanded "
        "as Hesterberg 2015 and his R package resample do, with 6 and 7 no shorter than Student's t; below 6 Student's "
        "t; of one none" + ("" if noun == "image" else f"; {noun}s of unlike size count as fewer (Kish 1965)"),
        "seeds": "runs that differ by their seed alone are one method; an image counts once, with its mean over seeds",
    }


def _definitions(names: Iterable[str]) -> Mapping[str, str]:
    """What scores mean, of those that need it."""
    found = [lookup(name) for name in names]
    return {score.heading: score.meaning + _WAYS[score.direction] for score in found if score.meaning}


def _told(cohort: Cohort) -> str:
    """What stands before the name of whatever shows scores of generated images."""
    return "Phantom: " if cohort.phantom else ""


def _main(summary: pd.DataFrame) -> list[str]:
    names = scores_in(summary)
    return names[:MAIN] + [name for name in names[MAIN:] if f"{name}_published" in summary.columns]


def _heading(name: str) -> Cell:
    return Cell(lookup(name).heading, ("lower is better",) if lookup(name).lower_is_better else ())


def _words(*texts: str) -> list[Cell]:
    return [Cell(text, left=True) for text in texts]


def _mean(row: dict[Any, Any], name: str) -> Cell:
    low, high, deviation, images = (row[f"{name}_{part}"] for part in ("low", "high", "seed_sd", "images"))
    some = [f"in {images:.0f} of {row['images']:.0f} images"] if images < row["images"] else []
    if np.isnan(row[name]):
        return Cell(UNKNOWN, some)
    spread = [] if np.isnan(deviation) else [f"± {score_text(deviation, name)}"]
    imputed = row.get(f"{name}_imputed", 0)
    return Cell(
        score_text(row[name], name),
        [span(low, high, name), *spread, *some, *([f"{imputed:.0f} imputed"] if imputed else [])],
    )


def _published(row: dict[Any, Any], name: str) -> Cell:
    value, difference = row[f"{name}_published"], row[f"{name}_difference"]
    return Cell(score_text(value, name), () if np.isnan(value) else (score_text(difference, name, signed=True),))


def _of_seeds(means: Values, name: str) -> Cell:
    spread = (f"± {score_text(float(means.std(ddof=1)), name)}",) if len(means) > 1 else ()
    return Cell(score_text(float(means.mean()), name), spread)
