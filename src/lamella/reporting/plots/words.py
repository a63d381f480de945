"""What all plots of a report say alike: labels of axes, numbers, and what they rest on."""

from collections.abc import Sequence

from lamella.metrics.catalogue import lookup
from lamella.reporting.cohorts import Cohort, Folding, Method
from lamella.reporting.summary import counted, drawn, sample


def axis_label(cohort: Cohort, score: str) -> str:
    """The label of a score's axis: its name, which way is better, and that images are phantoms."""
    phantom = "phantom images; " if cohort.phantom else ""
    return f"{lookup(score).heading} ({phantom}{direction(score)})"


def direction(score: str) -> str:
    """Which way a score is better: "higher is better" or "lower is better"."""
    return f"{'lower' if lookup(score).lower_is_better else 'higher'} is better"


def images(cohort: Cohort, score: str | None = None) -> str:
    """How many of which: "12 phantom test images", "30 test images in 5 groups" where groups are drawn as a whole.

    With a score those that have it: "3 of 14 test images".
    """
    noun, groups, count = drawn(cohort), len(set(cohort.groups)), str(len(cohort.ids))
    if score is not None and (stands := sample(cohort, score)).images < stands.of:
        groups, count = stands.groups, f"{stands.images} of {count}"
    found = f"{count} {'phantom ' if cohort.phantom else ''}test image{'' if len(cohort.ids) == 1 else 's'}"
    return found if noun == "image" else f"{found} in {counted(groups, noun)}"


def interval_words(cohort: Cohort, method: str) -> str:
    """What an interval is: "95 % interval over groups, Student's t"; of the method "" that it is not known."""
    over = f"95 % interval over {drawn(cohort)}s"
    return f"{over}, {method}" if method else f"{over} (not known here)"


def phantom(cohort: Cohort) -> str:
    """ " (phantom images)", to end an axis' label where a program made the images; else nothing."""
    return " (phantom images)" if cohort.phantom else ""


def repeats(methods: Sequence[Method]) -> str:
    """How often methods were trained: "3 seeds a method"."""
    found = {len(method.runs) for method in methods if not method.deterministic}
    if not found:
        return "no method draws anything at random"
    if found == {1}:
        return "one seed a method"
    return f"{min(found)} to {max(found)} seeds a method" if len(found) > 1 else f"{max(found)} seeds a method"


def seeds(methods: Sequence[Method], folds: Folding | None = None) -> str:
    """A clause that says how many seeds, or folds, a mean is over, and where seed noise is unknown."""
    if folds is not None:
        clause = f"mean over {counted(len(folds.names), 'fold')}"
        random = [method for method in methods if not method.deterministic]
        return f"{clause}, {repeats(random).replace('a method', 'a fold')}" if random and folds.of else clause
    drawn = [len(method.runs) for method in methods if not method.deterministic]
    clause = repeats(methods)
    if not drawn:
        return clause
    if max(drawn) == 1:
        return f"{clause}, so seed noise is unknown"
    clause = f"mean over {clause}"
    if min(drawn) == 1:
        clause += " (where it is one, seed noise is unknown)"
    if len(drawn) < len(methods):
        clause += "; one run of those that draw nothing at random"
    return clause


def median_run(methods: Sequence[Method]) -> str:
    """A clause that says which run stands for a method in a picture that shows one run of each."""
    most = max(len(method.runs) for method in methods)
    return "one seed a method" if most == 1 else "of each method the run with the median Dice of its seeds"


def basis(cohort: Cohort, score: str) -> str:
    """A sentence that ends a caption: how many images, of those that have the score, and seeds the picture is of."""
    return f"{images(cohort, score)}; {seeds(cohort.methods, cohort.folds)}."
