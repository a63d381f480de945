"""The comparison report as one HTML page: what it shows, in words and numbers; `report.html.j2` has the markup."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup
from lamella.pages.render import Cell, Table, render
from lamella.plots.overlays import FALSE_NEGATIVE, FALSE_POSITIVE
from lamella.plots.style import Picture
from lamella.reporting.cohorts import Cohort, Values, differences
from lamella.reporting.gallery import Case
from lamella.reporting.numbers import UNKNOWN, duration, probability, quantity, score_text
from lamella.reporting.summary import MAIN, counted, per_seed, scores_in, verdict_on
from lamella.statistics.comparison import Comparison, in_order

_WAYS = {"higher": "; higher is better", "lower": "; lower is better", "zero": "; best at 0", "none": ""}
_COLOURS = ((FALSE_POSITIVE, "foreground predicted, not there"), (FALSE_NEGATIVE, "foreground missed or confused"))


@dataclass(frozen=True)
class Section:
    """All that a report shows of one cohort.

    Attributes:
        cohort: the methods.
        score: the one that decides.
        summary: one row a method, best first.
        comparisons: every pair of methods by that score; none for one method.
        verdict: sentences, the answer first.
        notes: about the main table.
        pictures: in their order.
        gallery: ("worst", cases) and so on.
    """

    cohort: Cohort
    score: str
    summary: pd.DataFrame
    comparisons: Sequence[Comparison]
    verdict: Sequence[str]
    notes: Sequence[str]
    pictures: Sequence[Picture]
    gallery: tuple[tuple[str, tuple[Case, ...]], ...]


def page(title: str, sections: Sequence[Section], made: str) -> str:
    """The HTML of the whole report, of at least one section; `made` says in a line what version made it, and when."""
    headings = _headings(sections)
    return render(
        "report.html.j2",
        title=title,
        made=made,
        apart=_apart(sections, headings),
        sections=[_shown(f"s{n}", *each) for n, each in enumerate(zip(headings, sections, strict=True), 1)],
    )


def _headings(sections: Sequence[Section]) -> list[str]:
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
    images = {"heading": lookup(section.score).heading, "colours": _COLOURS, "groups": section.gallery}
    return {
        "id": id_,
        "heading": heading,
        "phantom": cohort.phantom,
        "told": _told(cohort),
        "verdict": section.verdict,
        "notes": section.notes,
        "scores": _main_table(f"{id_}-scores-table", section),
        "figures": section.pictures,
        "pairs": _pairs_table(f"{id_}-pairs-table", section) if section.comparisons else None,
        "images": images if any(cases for _, cases in section.gallery) else None,
        "others": _others_table(f"{id_}-others-table", section),
        "protocol": cohort.protocol,
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
    images, groups = len(cohort.ids), len(set(cohort.groups))
    grouped = groups < images
    explanation = (
        f"Each score is the mean over images of the mean over seeds. Below it stand its 95\u00a0% "
        f"interval over {'groups of images' if grouped else 'images'} and, after ±, the standard deviation "
        f"over seeds where there are several. Best {lookup(section.score).heading} first."
    )
    title = f"{_told(cohort)}{counted(len(summary), 'method')} on {counted(images, 'test image')}"
    of_groups = f" of {counted(groups, 'group')}" if grouped else ""
    return Table(id_, title + of_groups, explanation, head, list(zip(*columns, strict=True)))


def _pairs_table(id_: str, section: Section) -> Table:
    """Every pair of methods with the verdict on it, in the order of the main table, as are the two of a pair."""
    score = lookup(section.score)
    head = ["pair", "verdict", "difference", "95\u00a0% interval", "seed noise", "p, images", "p, seeds", "p, both"]
    rows = [
        [
            Cell(each.first, (f"− {each.second}",)),
            Cell(verdict_on(each), left=True),
            Cell(score_text(each.difference, section.score, signed=True)),
            Cell(" to ".join(score_text(end, section.score, signed=True) for end in (each.low, each.high))),
            Cell(UNKNOWN if each.noise is None else f"± {score_text(each.noise, section.score)}"),
            Cell(probability(each.p_images)),
            Cell(UNKNOWN if each.p_runs is None else probability(each.p_runs)),
            Cell(UNKNOWN if each.p is None else probability(each.p)),
        ]
        for each in in_order(section.comparisons, section.summary["method"].tolist())
    ]
    explanation = (
        "The first one's mean minus the second one's on the same images; "
        f"{'below' if score.lower_is_better else 'above'} 0 the first one leads. Seed noise: a difference that "
        "other seeds alone make. A method is called better where neither images nor seeds explain its lead: p of both, "
        "by Holm's correction for all pairs, below 0.05."
    )
    heads = [Cell(text, left=text == "verdict") for text in head]
    return Table(id_, f"{_told(section.cohort)}{score.heading}, pair by pair", explanation, heads, rows)


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
    low, high, deviation = (row[f"{name}_{part}"] for part in ("low", "high", "seed_sd"))
    spread = () if np.isnan(deviation) else (f"± {score_text(deviation, name)}",)
    return Cell(score_text(row[name], name), (f"{score_text(low, name)} to {score_text(high, name)}", *spread))


def _published(row: dict[Any, Any], name: str) -> Cell:
    value, difference = row[f"{name}_published"], row[f"{name}_difference"]
    return Cell(score_text(value, name), () if np.isnan(value) else (score_text(difference, name, signed=True),))


def _of_seeds(means: Values, name: str) -> Cell:
    spread = (f"± {score_text(float(means.std(ddof=1)), name)}",) if len(means) > 1 else ()
    return Cell(score_text(float(means.mean()), name), spread)
