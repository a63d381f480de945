"""Checks of the split: is something of the test part, or something much like it, among what trains?"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, pairwise

from lamella.data.audit.findings import Finding, Looked, error, listed, warning
from lamella.data.audit.similarity import Twins, twins

_LEAST_RUN = 3  # sections: in shorter runs every section has a neighbour outside


def duplicates(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about pictures that occur more than once: errors in several parts, warnings in one.

    Sections of one stack that are merely alike are no duplicates.
    """
    found, within = [], []
    for cluster, pairs in _clusters(looked):
        how = "to the pixel" if all(pair.same for pair in pairs) else "very nearly"
        how += ", turned or mirrored" if any(pair.turned for pair in pairs) else ""
        if len({one.part for one in cluster if one.part}) < 2:
            within.append((cluster, f"{listed([one.sample.image for one in cluster])} (the same {how})"))
            continue
        named = listed([f"{one.sample.image} ({one.part or 'unused'})" for one in cluster])
        remedy = "What trains must not judge: keep one copy, or give the copies one group and split by group."
        found.append(error("leak", f"one picture is in several parts (the same {how}): {named}", remedy, cluster))
    if within:
        message = f"{len(within)} picture(s) occur more than once: {listed([text for _, text in within], '; ')}"
        members = [one for cluster, _ in within for one in cluster]
        found.append(warning("duplicate", message, "They count more than others do. Keep one copy.", members))
    return found


def neighbours(looked: Sequence[Looked]) -> list[Finding]:
    """Findings about neighbouring sections in two parts: warnings between blocks, errors where they are scattered.

    In blocks, as `lamella.splits.blocks` makes them, validation is one run of a stack's sections, and so is
    test. More runs are fine while each has at least 3 sections. Where a part comes in several runs and a shorter
    one touches another part, its sections were picked from among others: that is the error.
    """
    stacks = defaultdict(list)
    for one in looked:
        if one.part and one.sample.stack:
            stacks[one.sample.stack].append(one)
    borders: list[tuple[Looked, Looked]] = []
    scattered: list[tuple[Looked, Looked]] = []
    for stack in stacks.values():
        stack.sort(key=_place)
        short = _short_runs(stack)
        for pair in pairwise(stack):
            if _place(pair[1]) == _place(pair[0]) + 1 and pair[0].part != pair[1].part:
                (scattered if {one.sample.id for one in pair} & short else borders).append(pair)
    found = []
    if scattered:
        message = f"sections were picked from among neighbours, which look alike: {_borders(scattered)}"
        remedy = f"Split the stack into blocks (`dataset/split=blocks`), or runs of {_LEAST_RUN} sections and more."
        found.append(error("neighbours", message, remedy, [one for pair in scattered for one in pair]))
    if borders:
        message = f"neighbouring sections, which look alike, are in two parts: {_borders(borders)}"
        remedy = "Scores may be a little better than on other tissue. A gap parts them: `dataset.split.gap=1`."
        found.append(warning("border", message, remedy, [one for pair in borders for one in pair]))
    return found


def _clusters(looked: Sequence[Looked]) -> list[tuple[list[Looked], list[Twins]]]:
    """The samples that show one picture, with the pairs that make them a cluster."""
    leader = list(range(len(looked)))

    def lead(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    stack = [one.sample.stack for one in looked]
    pairs = [
        pair
        for pair in twins([one.stats for one in looked])
        if pair.same or not stack[pair.first] or stack[pair.first] != stack[pair.second]
    ]
    for pair in pairs:
        first, second = sorted((lead(pair.first), lead(pair.second)))
        leader[second] = first
    members, links = defaultdict(list), defaultdict(list)
    for place, one in enumerate(looked):
        members[lead(place)].append(one)
    for pair in pairs:
        links[lead(pair.first)].append(pair)
    return [(members[first], links[first]) for first in sorted(links)]


def _short_runs(stack: Sequence[Looked]) -> set[str]:
    """Ids of sections in short runs, of parts that come in several."""
    runs = [(part, list(run)) for part, run in groupby(stack, key=lambda one: one.part)]
    several = {part for part in ("val", "test") if sum(p == part for p, _ in runs) > 1}
    return {one.sample.id for part, run in runs if part in several and len(run) < _LEAST_RUN for one in run}


def _place(one: Looked) -> int:
    return one.sample.place or 0


def _borders(pairs: Sequence[tuple[Looked, Looked]]) -> str:
    """All of them, stack by stack; a stack that is one file goes by the file's name."""

    def name(pair: tuple[Looked, Looked]) -> str:
        sample = pair[0].sample
        return f"{sample.stack} sections" if sample.image.page is None else f"{sample.image.path} pages"

    texts = []
    for stack, group in groupby(pairs, key=name):
        each = ", ".join(f"{_place(a)} and {_place(b)} ({a.part} and {b.part})" for a, b in group)
        texts.append(f"{stack} {each}")
    return "; ".join(texts)
