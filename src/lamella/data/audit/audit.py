"""The audit of a data set: every file is checked before anything trains, and all that is wrong is said at once.

Kinds of findings, errors first (those with a * become warnings when `allow` names them):

    unreadable    a file that is missing, truncated, damaged, or holds what it must not
    size          a mask of another size than its image
    hidden *      outlined objects that have no pixel
    mixed *       images of unlike types
    swapped *     a mask that fits another's image, not its own
    turned *      masks that fit their images only mirrored or turned, all alike
    inverted *    foreground and background exchanged; a warning where it is only suspected
    conflict *    one image with unlike masks
    leak *        one picture in several parts of the split
    neighbours *  sections picked for test or validation from among their neighbours in a stack
    unlabelled    a part of which nothing is labelled; a warning where it is single images
    foreground    of two classes, a part without the second
    class *       of several classes, one that the training or validation part lacks; a warning for the test part

and the warnings empty, full, flat, light, saturated, depth, misfit, repeated, duplicate, border, offset, predicted.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lamella.config.key import ALLOWABLE
from lamella.data.audit import checks
from lamella.data.audit.registration import label_offset
from lamella.data.audit.report import Finding, Looked, Report
from lamella.data.audit.sample_stats import SampleStats, remembered, sample_stats
from lamella.data.cache.arrays import Store
from lamella.data.manifest import split_ids
from lamella.data.types import PARTS, Dataset, Sample, Split
from lamella.errors import DataError


def audit(
    dataset: Dataset,
    split: Split,
    store: Store,
    *,
    allow: Sequence[str] = (),
    parts: Sequence[str] = PARTS,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """The report on a data set: every image and mask decoded, and checked alone, as a pair, in the set, in the split.

    What is measured on a sample is remembered by the content of its files, so the next audit reads no pixel.

    Args:
        dataset: what to check.
        split: the parts, for what must not be in two of them.
        store: where the decoded arrays are kept.
        allow: kinds of errors (see above) that are warnings here.
        parts: those that are used, and so must have labels and classes: an evaluation uses the test part alone.
        progress: called with (done, total) after each sample.

    Returns:
        All that was found. Faulty data raise nothing here; see `raise_errors`.

    Raises:
        StorageError: the store's folder cannot be written.
    """
    part = {name: part for part, names in split_ids(split).items() for name in names}
    looked: list[Looked] = []
    findings: list[Finding] = []
    # What is known is looked up by one thread: several would wait for each other.
    known = [remembered(sample, store) for sample in dataset.samples]
    unknown = [sample for sample, stats in zip(dataset.samples, known, strict=True) if stats is None]
    # Threads, because decoders work without Python's lock. Results come in the samples' order.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = pool.map(lambda sample: _look(sample, store), unknown)
        for number, (sample, stats) in enumerate(zip(dataset.samples, known, strict=True), 1):
            result = next(measured) if stats is None else stats
            if isinstance(result, SampleStats):
                looked.append(Looked(sample, part.get(sample.id, ""), result))
            else:
                findings += [Finding("unreadable", "error", f.problem, f.remedy, (sample.id,)) for f in result]
            if progress:
                progress(number, len(dataset.samples))
    findings += checks.sizes(looked)
    findings += checks.hidden(looked)
    paired = [one for one in looked if one.stats.image_size == one.stats.mask_size]
    train = [one.stats for one in paired if one.part == "train"]
    offset = label_offset(train or [one.stats for one in paired], store.scale)
    if paired:
        findings += checks.mixtures(paired)
        findings += checks.swapped(paired)
        findings += checks.mirrored(paired)
        findings += checks.inverted(paired, dataset.card)
        findings += checks.repeated(paired)
        findings += checks.duplicates(paired)
        findings += checks.neighbours(paired)
        findings += checks.blanks(paired)
        findings += checks.absent(paired, dataset.card, parts)
        findings += checks.untouched(paired)
        findings += checks.light(paired)
        findings += checks.misplaced(offset, store.offset)
    judged = (_judged(finding, allow) for finding in findings)
    errors_first = tuple(sorted(judged, key=lambda finding: finding.severity))  # "error" < "warning"
    return Report(dataset, split, store, errors_first, tuple(looked), offset)


def _look(sample: Sample, store: Store) -> SampleStats | list[DataError]:
    """The statistics of a sample, or what is wrong with its files."""
    try:
        return sample_stats(sample, store)
    except DataError as fault:
        faults = []
        for decode in (store.image, store.truth):  # both files may be at fault
            try:
                decode(sample)
            except DataError as found:
                faults.append(found)
        return faults or [fault]


def _judged(finding: Finding, allow: Sequence[str]) -> Finding:
    """An error that is allowed is a warning; one that could be says how."""
    if finding.severity == "warning" or finding.kind not in ALLOWABLE:
        return finding
    if finding.kind in allow:
        return replace(finding, severity="warning")
    kinds = ",".join([*allow, finding.kind])
    return replace(finding, remedy=f"{finding.remedy} If it is meant so: `dataset.allow=[{kinds}]`.")
