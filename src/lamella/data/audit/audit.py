"""Are these samples sound? Every file is looked at before anything trains; all that is wrong is said at once.

Kinds of findings, errors first (those with a * become warnings when `allow` names them):

    unreadable    a file that is missing, truncated, damaged, or holds what it must not
    size          a mask of another size than its image
    mixed *       images of unlike types
    swapped *     a mask that fits another's image, not its own
    inverted *    foreground and background exchanged; a warning where it is only suspected
    conflict *    one image with unlike masks
    leak *        one picture in several parts of the split
    neighbours *  sections picked for test or validation from among their neighbours in a stack

and the warnings empty, full, flat, class, light, saturated, depth, misfit, repeated, duplicate, border, offset.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from lamella.config.schema import ALLOWABLE
from lamella.data.audit import pair_checks as mixups
from lamella.data.audit import sample_checks as soundness
from lamella.data.audit import split_checks as leaks
from lamella.data.audit.findings import SHOWN, Finding, Looked
from lamella.data.audit.registration import Offset, estimate
from lamella.data.audit.sample_stats import Measures, measure
from lamella.data.cache.arrays import Store
from lamella.data.manifest import split_ids
from lamella.data.types import Dataset, Sample, Split
from lamella.errors import DataError


@dataclass(frozen=True)
class Report:
    """What an audit found.

    Attributes:
        dataset: what was audited.
        split: into which parts.
        store: with which arrays.
        findings: errors first.
        looked: the samples that could be read, with what was measured on them.
        offset: where labels lie beside what they outline, beyond `store.offset`; None where that cannot be told.
    """

    dataset: Dataset
    split: Split
    store: Store
    findings: tuple[Finding, ...]
    looked: tuple[Looked, ...]
    offset: Offset | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "warning")

    def as_json(self) -> dict[str, Any]:
        """Counts and findings, as JSON can hold them; without this machine's folders."""
        return {
            "dataset": self.dataset.card.name,
            "samples": len(self.dataset.samples),
            "parts": {part: len(names) for part, names in split_ids(self.split).items()},
            "offset": None if self.offset is None else asdict(self.offset),
            "findings": [
                asdict(f) | {"message": self.brief(f.message), "remedy": self.brief(f.remedy)} for f in self.findings
            ],
        }

    def brief(self, text: str) -> str:
        """The text with files named from the folder that holds them all, as it is the same on every machine."""
        return text.replace(f"{self._folder}{os.sep}", "")

    @cached_property
    def _folder(self) -> str:
        files = [ref.path for s in self.dataset.samples for ref in (s.image, s.mask)]
        return os.path.commonpath([path.parent.absolute() for path in files])


def audit(
    dataset: Dataset,
    split: Split,
    store: Store,
    *,
    allow: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Decodes every image and mask into the store, and checks each by itself, in its pair, its set and its part.

    What is measured on a sample is remembered by the content of its files, so the next audit reads no pixel.

    Args:
        dataset: what to check.
        split: the parts, for what must not be in two of them.
        store: where the decoded arrays go.
        allow: kinds of errors (see above) that are warnings here.
        progress: called with (done, total) after each sample.

    Returns:
        All that was found. Faulty data raise nothing here; see `raise_errors`.

    Raises:
        StorageError: the store's folder cannot be written.
    """
    part = {name: part for part, names in split_ids(split).items() for name in names}
    looked: list[Looked] = []
    findings: list[Finding] = []
    # Threads, because decoders work without Python's lock. Results come in the samples' order.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda sample: _look(sample, store), dataset.samples)
        for number, (sample, result) in enumerate(zip(dataset.samples, results, strict=True), 1):
            if isinstance(result, Measures):
                looked.append(Looked(sample, part.get(sample.id, ""), result))
            else:
                findings += [Finding("unreadable", "error", f.problem, f.remedy, (sample.id,)) for f in result]
            if progress:
                progress(number, len(dataset.samples))
    findings += soundness.sizes(looked)
    paired = [one for one in looked if one.measures.image_size == one.measures.mask_size]
    train = [one.measures for one in paired if one.part == "train"]
    offset = estimate(train or [one.measures for one in paired], store.scale)
    if paired:
        findings += soundness.mixtures(paired)
        findings += mixups.swapped(paired)
        findings += mixups.inverted(paired, dataset.card)
        findings += mixups.repeated(paired)
        findings += leaks.duplicates(paired, dataset.card)
        findings += leaks.neighbours(paired, dataset.card)
        findings += soundness.blanks(paired)
        findings += soundness.absent(paired, dataset.card)
        findings += soundness.light(paired)
        findings += mixups.misplaced(offset, store.offset)
    judged = [_judged(finding, tuple(allow)) for finding in findings]
    judged.sort(key=lambda finding: finding.severity)  # "error" stands before "warning"
    return Report(dataset, split, store, tuple(judged), tuple(looked), offset)


def raise_errors(report: Report) -> None:
    """Does nothing where there are no errors.

    Raises:
        DataError: names every error (the first ten, and how many more) and the way out.
    """
    errors = report.errors
    if len(errors) == 1:
        raise DataError(errors[0].message, errors[0].remedy)
    if errors:
        more = [f"and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
        raise DataError(
            f"{len(errors)} faults in {len(report.dataset.samples)} samples",
            "\n  ".join([f"{f.message}. {f.remedy}" for f in errors[:SHOWN]] + more),
        )


def _look(sample: Sample, store: Store) -> Measures | list[DataError]:
    """Measures of a sample, or what is wrong with its files."""
    try:
        return measure(sample, store)
    except DataError as fault:
        faults = []
        for decode in (store.image, store.truth):  # both files may be at fault
            try:
                decode(sample)
            except DataError as found:
                faults.append(found)
        return faults or [fault]


def _judged(finding: Finding, allow: tuple[str, ...]) -> Finding:
    """An error that is allowed is a warning; one that could be says how."""
    if finding.severity == "warning" or finding.kind not in ALLOWABLE:
        return finding
    if finding.kind in allow:
        return replace(finding, severity="warning")
    kinds = ",".join([*allow, finding.kind])
    return replace(finding, remedy=f"{finding.remedy} If it is meant so: `dataset.allow=[{kinds}]`.")
