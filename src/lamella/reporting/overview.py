"""Several sections on one screen: where a method holds and where not, and why sections are not averaged."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text
from scipy.stats import rankdata

from lamella.metrics.catalogue import lookup
from lamella.pages.render import Cell, Table
from lamella.reporting.cohorts import Cohort, Method, data_differences, differences
from lamella.reporting.cohorts.origin import Origin
from lamella.reporting.numbers import score_text, span
from lamella.reporting.parts.section import Section
from lamella.reporting.summary import listed
from lamella.reporting.tables import in_markdown
from lamella.statistics import best, in_order

_PARTS = ("", "_low", "_high", "_rank", "_of", "_became")

# What became of a method in a section, best first.
BEST, LEADS, ALIKE, EQUAL, OPEN, WORSE = (
    "best", "best mean", "not told apart from the best", "equal to the best", "cannot be told from the best", "worse",
)  # fmt: skip
ALONE, UNSCORED, ABSENT = "nothing to compare with", "no score", "not run"
_HOLDS = (BEST, LEADS, ALIKE, EQUAL)
_SAME = (
    "A method is the same in two sections where its model is, and whatever is varied of that model in either; each "
    "data set's recipe may differ"
)
_COLUMN = 19  # characters of a terminal that an interval needs, and the rules beside it
_MOST_KEYS = 4  # of recipes that are named


class Overview(NamedTuple):
    """What stands above the sections of a report on several data sets.

    Attributes:
        sentences: where the methods hold and where not; the answer first.
        table: one row a method: `method`, and of each section, by its heading H, the columns `H` (mean), `H_low`,
            `H_high` (its interval), `H_rank`, `H_of` (of how many methods there) and `H_became`: "best" (beyond
            chance), "best mean", "not told apart from the best", "equal to the best", "cannot be told from the best",
            "worse", "nothing to compare with", "no score", or "not run", with NaN for all else. As a file it is
            `overview.csv`.
        headings: of the sections, in their order.
        score: what is shown.
    """

    sentences: Sequence[str]
    table: pd.DataFrame
    headings: Sequence[str]
    score: str

    def as_table(self, id_: str) -> Table:
        """The table for a page: of each section mean, interval, rank and what became of the method there."""
        head = [Cell("method", left=True), *(Cell(name, left=True) for name in self.headings)]
        rows = [
            [Cell(row["method"], left=True), *(self._cell(row, name) for name in self.headings)]
            for row in self.table.to_dict("records")
        ]
        explanation = (
            f"Mean {lookup(self.score).heading} of each method in each section, below it its 95\u00a0% interval, its "
            "rank there by that mean, and what the test of pairs says of it. Columns are not to be compared."
        )
        return Table(id_, "Where each method holds", explanation, head, rows)

    def markdown(self) -> str:
        """The sentences and the table as Markdown."""
        head = ["method", *self.headings]
        rows = [
            [row["method"], *(self._text(row, name) for name in self.headings)] for row in self.table.to_dict("records")
        ]
        lines = ["| " + " | ".join(map(in_markdown, each)) + " |" for each in (head, *rows)]
        return "\n".join([*self.sentences, "", lines[0], "|---" * len(head) + "|", *lines[1:]]) + "\n"

    def show(self, out: Console) -> None:
        """Prints the table, a block of as many sections as the screen holds, and the sentences."""
        across = max(1, (out.width - out.width // 4 - 4) // _COLUMN)
        out.print(Text(f"Where each method holds: mean {lookup(self.score).heading}", "bold"))
        for start in range(0, len(self.headings), across):
            names = self.headings[start : start + across]
            grid = Grid()
            grid.add_column("method", max_width=out.width // 4, overflow="fold")
            for name in names:
                grid.add_column(Text(name), overflow="fold", max_width=_COLUMN - 3)
            for row in self.table.to_dict("records"):
                grid.add_row(*map(Text, (row["method"], *("\n".join(self._lines(row, name)) for name in names))))
            out.print(grid)
        for sentence in self.sentences:
            out.print(Text(sentence))

    def _lines(self, row: Mapping[Any, Any], name: str) -> list[str]:
        mean, low, high, rank, of, became = (row[f"{name}{part}"] for part in _PARTS)
        if np.isnan(mean):
            return [str(became)]
        place = f"{rank:.0f} of {of:.0f}, {became}" if of > 1 else str(became)
        return [score_text(mean, self.score), span(low, high, self.score), place]

    def _text(self, row: Mapping[Any, Any], name: str) -> str:
        first, *more = self._lines(row, name)
        return f"{first} ({more[0]}); {more[1]}" if more else first

    def _cell(self, row: Mapping[Any, Any], name: str) -> Cell:
        first, *below = self._lines(row, name)
        return Cell(first, below, left=True)


class Row(NamedTuple):
    """A method over the sections: its name, and what it is called in each, "" where it was not run."""

    name: str
    labels: tuple[str, ...]


def overview(sections: Sequence[Section], headings: Sequence[str]) -> Overview | None:
    """The overview of sections of several test sets; None of one, and where no method stands in two of them."""
    sets = {_images(each) for each in sections}
    rows = matched(sections)
    if len(sets) < 2 or not any(sum(map(bool, row.labels)) > 1 for row in rows):
        return None
    score = sections[0].score
    records = []
    for row in rows:
        record: dict[str, Any] = {"method": row.name}
        for name, section, label in zip(headings, sections, row.labels, strict=True):
            record |= dict(zip((f"{name}{part}" for part in _PARTS), _entry(section, label), strict=True))
        records.append(record)
    sentences = [*_sentences(rows, sections, headings, records), _matching(rows, sections)]
    if any(each.cohort.phantom for each in sections):
        of = [name for name, each in zip(headings, sections, strict=True) if each.cohort.phantom]
        sentences.append(f"Made by a program, so that nothing there says anything about real images: {listed(of)}.")
    return Overview(sentences, pd.DataFrame(records), headings, score)


def matched(sections: Sequence[Section]) -> list[Row]:
    """The methods of all sections, those of most sections first, then in the order of the first section they stand in.

    A method is the same in two sections where its model's name is, and all settings that are varied among methods of
    that model within any section; where a section mixes networks that were trained on different data, what they were
    trained on, too.
    """
    mixed = any(len({method.origin for method in each.cohort.methods if method.origin.name}) > 1 for each in sections)
    varied: dict[str, set[str]] = {}
    for each in sections:
        families: dict[tuple[str, Origin], list[Mapping[str, str]]] = {}
        for method in each.cohort.methods:
            families.setdefault((_model(method), method.origin), []).append(method.settings)
        for (model, _), all_ in families.items():  # networks of other data have other recipes, which nobody varied
            keys = {key for settings in all_ for key in settings if len({other.get(key) for other in all_}) > 1}
            varied.setdefault(model, set()).update(keys)
    found: dict[tuple[Any, ...], list[str]] = {}
    names: dict[tuple[Any, ...], Method] = {}
    for place, each in enumerate(sections):
        by_label = {method.label: method for method in each.cohort.methods}
        for label in each.summary["method"]:
            method = by_label[label]
            what = [(key, method.settings.get(key, "")) for key in sorted(varied[_model(method)])]
            identity = (_model(method), *(what if method.settings else [label]), method.origin if mixed else None)
            found.setdefault(identity, [""] * len(sections))[place] = label
            names.setdefault(identity, method)
    labels = {identity: {*filter(None, its)} for identity, its in found.items()}
    counts = [label for its in labels.values() for label in its]
    rows = []
    for identity, its in found.items():
        (own, *others), method = sorted(labels[identity]), names[identity]
        if others or counts.count(own) > 1:  # it is called otherwise elsewhere, or something else is called so
            said = " ".join(f"{key}={method.settings.get(key, '')}" for key in sorted(varied[_model(method)]))
            own = f"{_model(method)} {said}".strip() + (f" trained on {method.origin.name}" if mixed else "")
        rows.append(Row(own, tuple(its)))
    return sorted(rows, key=lambda row: -sum(map(bool, row.labels)))


def apart(sections: Sequence[Section], headings: Sequence[str]) -> list[str]:
    """Why the scores of several sections are not to be compared with each other, in sentences; none of one section.

    Sections of other images are told from those of the same images by another protocol.
    """
    if len(sections) < 2:
        return []
    by_set: dict[object, list[int]] = {}
    for place, each in enumerate(sections):
        by_set.setdefault(_images(each), []).append(place)
    said = []
    if len(by_set) > 1:
        sets = [" and ".join(headings[place] for place in places) for places in by_set.values()]
        first = [sections[places[0]].cohort for places in by_set.values()]
        same = len({(each.dataset, each.protocol.get("data")) for each in first}) == 1
        other = "other test images of the same data" if same else "other images"
        said.append(
            f"{listed(sets)} are {other}: a score on one says nothing about a score on another, and none is averaged."
        )
        common = {name for name in differences(first) if name not in ("data", "split", "data set", "fold plan")}
        if common:
            said.append(f"They are scored by other rules, too: they differ in {listed(sorted(common))}.")
    for places in by_set.values():
        if len(places) > 1:
            names = listed(headings[place] for place in places)
            in_what = listed(differences([sections[place].cohort for place in places]) or ["how images were split"])
            said.append(
                f"{names} are the same images by other protocols, and their scores are not to be compared: they differ "
                f"in {in_what}."
            )
    return [*said, *data_differences([each.cohort for each in sections])]


def elsewhere(cohort: Cohort) -> list[str]:
    """A sentence where all networks of a cohort were trained on one other data set; of several, labels tell."""
    origins = {method.origin for method in cohort.methods if method.origin.name}
    if len(origins) != 1 or next(iter(origins)).data == cohort.protocol.get("data", ""):
        return []
    return [f"All networks here were trained on {next(iter(origins)).name}, none on {cohort.dataset}."]


def _images(section: Section) -> tuple[str, tuple[str, ...]]:
    """Which images of which data a section is of."""
    cohort = section.cohort
    return cohort.protocol.get("data", cohort.dataset), cohort.ids


def _model(method: Method) -> str:
    return method.runs[0].params.get("model.name", method.label)


def _entry(section: Section, label: str) -> tuple[float, float, float, float, float, str]:
    """Of a method in a section: mean, both ends of its interval, rank, of how many, and what became of it."""
    nothing = (np.nan,) * 5
    if not label:
        return (*nothing, ABSENT)
    score, table = section.score, section.summary
    row = table[table["method"] == label].iloc[0]
    if np.isnan(row[score]):
        return (*nothing, UNSCORED)
    rank = float(ranks_of(section, score)[label])
    of = float(table[score].notna().sum())
    return float(row[score]), float(row[f"{score}_low"]), float(row[f"{score}_high"]), rank, of, became(section, label)


def ranks_of(section: Section, score: str) -> dict[str, int]:
    """The rank of each method that has the score, by its mean: equal means share the better rank."""
    table = section.summary[section.summary[score].notna()]
    means = table[score].round(12)
    ranks = rankdata(means if lookup(score).lower_is_better else -means, method="min")
    return dict(zip(table["method"], map(int, ranks), strict=True))


def became(section: Section, label: str) -> str:
    """What became of a method in a section, compared with the one that has the best mean there."""
    first = str(section.summary["method"][0])
    pairs = in_order(section.comparisons, section.summary["method"].tolist())
    if not pairs:
        return ALONE
    if label == first:
        return BEST if best(section.comparisons) == first else LEADS
    pair = next(each for each in pairs if {each.first, each.second} == {first, label})
    if pair.better is not None:
        return WORSE
    if pair.difference == 0:
        return LEADS
    if pair.equal:
        return EQUAL
    return OPEN if pair.p is None else ALIKE


def _sentences(
    rows: Sequence[Row],
    sections: Sequence[Section],
    headings: Sequence[str],
    records: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Where each method holds: first those that lead somewhere, then the others in groups."""
    fates = {row.name: {name: str(record[f"{name}_became"]) for name in headings}
             for row, record in zip(rows, records, strict=True)}  # fmt: skip
    leaders = {name: str(section.summary["method"][0]) for name, section in zip(headings, sections, strict=True)}
    of_label = {(name, label): row.name for row in rows for name, label in zip(headings, row.labels, strict=True)}
    leads = {name: of_label[name, label] for name, label in leaders.items()}
    first = [row.name for row in rows if any(fate in (BEST, LEADS) for fate in fates[row.name].values())]
    first.sort(key=lambda name: -sum(fate in (BEST, LEADS) for fate in fates[name].values()))
    said = [_of_leader(method, fates[method], leads) for method in first]
    holding = [row.name for row in rows if all(fate in _HOLDS for fate in fates[row.name].values())]
    asked = [name for name in headings if any(fates[row.name][name] not in (ALONE, UNSCORED, ABSENT) for row in rows)]
    if len(asked) > 1 and holding and {*fates[holding[0]].values()} != {BEST}:
        said.append(f"On none of them is any method shown to be better than {listed(holding)}.")
    elif len(asked) > 1 and not any(fate == OPEN for its in fates.values() for fate in its.values()):
        said.append("No method holds on all of them: each was not run somewhere, or is worse than the best there.")
    others = [row for row in rows if row.name not in first]
    by_fate: dict[str, list[str]] = {}
    for row in others:
        by_fate.setdefault(_of_other(fates[row.name]), []).append(row.name)
    for fate, names in by_fate.items():
        said.append(f"{listed(names)} {'is' if len(names) == 1 else 'are'} {fate}.")
    return said


def _of_leader(method: str, fates: Mapping[str, str], leads: Mapping[str, str]) -> str:
    """Where a method has the best mean, where beyond chance, and what it is elsewhere."""
    there = [name for name, fate in fates.items() if fate in (BEST, LEADS)]
    won = [name for name in there if fates[name] == BEST]
    if not won:
        chance = "not shown to be beyond chance" if len(there) == 1 else "on none of them beyond chance"
    elif len(won) == len(there):
        chance = "beyond chance" if len(there) == 1 else "beyond chance on each"
    else:
        chance = f"beyond chance on {listed(won)} alone"
    parts = [f"{method} has the best mean on {listed(there)}, {chance}"]
    words = {
        ALIKE: "it is not told apart from {}", EQUAL: "it is equal to {}", OPEN: "it cannot be told from {}",
        WORSE: "it is worse than {}", ALONE: "there is nothing to compare it with", UNSCORED: "it has no score",
        ABSENT: "it was not run",
    }  # fmt: skip
    for fate in words:
        where = [name for name, its in fates.items() if its == fate]
        by_leader: dict[str, list[str]] = {}
        for name in where:
            by_leader.setdefault(leads[name] if "{}" in words[fate] else "", []).append(name)
        for leader, names in by_leader.items():
            parts.append(f"on {listed(names)} {words[fate].format(leader)}")
    return "; ".join(parts) + "."


def _of_other(fates: Mapping[str, str]) -> str:
    """What a method is that leads nowhere, where it was run."""
    parts = []
    for fate, words in (
        (EQUAL, "equal to the best on {}"), (ALIKE, "not told apart from the best on {}"),
        (OPEN, "not to be told from the best on {}"), (WORSE, "worse than the best on {}"),
        (ALONE, "alone on {}"), (UNSCORED, "without a score on {}"), (ABSENT, "not run on {}"),
    ):  # fmt: skip
        if where := [name for name, its in fates.items() if its == fate]:
            parts.append(words.format(listed(where)))
    return listed(parts)


def _matching(rows: Sequence[Row], sections: Sequence[Section]) -> str:
    """What makes a method the same in two sections, and in which settings its recipes differ."""
    mixed = any(len({method.origin for method in each.cohort.methods if method.origin.name}) > 1 for each in sections)
    keys: dict[str, None] = {}
    for row in rows:
        methods = [
            next(method for method in each.cohort.methods if method.label == label)
            for each, label in zip(sections, row.labels, strict=True)
            if label
        ]
        for key in sorted({key for method in methods for key in method.settings}):
            if not key.startswith("dataset.") and len({method.settings.get(key) for method in methods}) > 1:
                keys[key] = None
    differ = list(keys)
    named = f" (here in {_some(differ)})" if differ else ""
    return f"{_SAME}{named}{', and what it was trained on is the same' if mixed else ''}."


def _some(keys: Sequence[str]) -> str:
    more = len(keys) - _MOST_KEYS
    return listed([*keys[:_MOST_KEYS], f"{more} more"] if more > 0 else keys)
