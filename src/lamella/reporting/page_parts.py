"""The page's parts that are no tables of scores: figures, gallery, cards, runs, definitions."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from lamella.metrics.catalogue import lookup
from lamella.plots.overlays import FALSE_NEGATIVE, FALSE_POSITIVE
from lamella.plots.svg import Picture
from lamella.reporting.cohorts import Cohort
from lamella.reporting.gallery import Case, Panel
from lamella.reporting.page_scores import told
from lamella.reporting.page_table import Cell, decimals, number, table
from lamella.reporting.summary import counted, of

_WAYS = {"higher": "; higher is better", "lower": "; lower is better", "zero": "; best at 0", "none": ""}


def phantom_warning() -> str:
    """Said before any score of generated images."""
    return (
        '<p class="phantom" role="note"><strong>Phantom images:</strong> a program made them, and every score and '
        "figure of this section is of them.</p>"
    )


def verdict(id_: str, sentences: Sequence[str]) -> str:
    """The answer."""
    texts = "\n".join(f"<p>{escape(text)}</p>" for text in sentences)
    return f'<div class="verdict">\n<h3 id="{id_}">Verdict</h3>\n{texts}\n</div>'


def notes(texts: Sequence[str]) -> str:
    """What else is to be known about a table."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>' if items else ""


def figures(pictures: Sequence[Picture]) -> str:
    """Figures with their headings and captions."""
    if not pictures:
        return ""
    shown = "\n".join(map(_figure, pictures))
    return f'<div class="figures">\n{shown}\n</div>'


def _figure(picture: Picture) -> str:
    # The whole drawing is one image to a screen reader, its words are the alternative text.
    svg = picture.svg.replace("<svg", f'<svg role="img" aria-label="{escape(picture.alt)}"', 1)
    words = f"<figcaption>{escape(picture.caption)}</figcaption>"
    return f"<figure>\n<h4>{escape(picture.title)}</h4>\n{svg}\n{words}\n</figure>"


def gallery(id_: str, cohort: Cohort, groups: Sequence[tuple[str, Sequence[Case]]], score: str) -> str:
    """Test images and what each method makes of them, a row an image."""
    if not any(cases for _, cases in groups):
        return ""
    colours = {FALSE_POSITIVE: "foreground predicted, not there", FALSE_NEGATIVE: "foreground missed or confused"}
    keys = "".join(
        f'<li><span class="swatch" style="background:rgb{colour}"></span>{words}</li>'
        for colour, words in colours.items()
    )
    parts = [
        f"<p>{told(cohort)}The images with the worst, the middle and the best mean {escape(lookup(score).heading)} "
        "over all methods. Each method shows the wrong pixels of its run with the median Dice, on the image in pale "
        "grey. Where pixels of the full size meet in one, a wrong one is shown, so thin errors look thicker than they "
        "are.</p>",
        f'<ul class="keys">{keys}</ul>',
    ]
    for place, (name, cases) in enumerate(groups):
        if cases:
            parts.append(f"<h4>{escape(name[:1].upper() + name[1:])}</h4>")
            parts += [_case(f"{id_}-{place}-{number_}", case) for number_, case in enumerate(cases)]
    return "\n".join(parts)


def _case(id_: str, case: Case) -> str:
    panels = "\n".join(map(_panel, case.panels))
    heading = f'{escape(case.heading[:1].upper() + case.heading[1:])} <span class="id">{escape(case.id)}</span>'
    return (
        f'<h5 id="{id_}">{heading}</h5>\n'
        f'<div class="case" role="group" tabindex="0" aria-labelledby="{id_}">\n{panels}\n</div>'
    )


def _panel(panel: Panel) -> str:
    words = f"<figcaption><b>{escape(panel.label)}</b> {escape(panel.text)}</figcaption>"
    return f'<figure><img src="{escape(panel.uri)}" alt="{escape(panel.alt)}">{words}</figure>'


def card(entries: Mapping[str, str]) -> str:
    """Labels and their texts."""
    if not entries:
        return ""
    pairs = "\n".join(f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>" for label, text in entries.items())
    return f'<dl class="card">\n{pairs}\n</dl>'


def runs_table(id_: str, cohort: Cohort, score: str) -> str:
    """Every run with its seed, its mean score and where it is found."""
    means = [of(method, score).mean(axis=1) for method in cohort.methods]
    places = decimals([value for each in means for value in each])
    rows = [
        [
            Cell(method.label),
            Cell(str(run.seed)),
            Cell(number(float(mean), places)),
            Cell("median" if run is method.median else "", left=True),
            Cell(run.name, left=True),
            Cell(run.run_id, left=True),
        ]
        for method, of_runs in zip(cohort.methods, means, strict=True)
        for run, mean in zip(method.runs, of_runs, strict=True)
    ]
    head = [Cell(text) for text in ("method", "seed", lookup(score).heading)]
    head += [Cell(text, left=True) for text in ("shown", "name", "run id")]
    explanation = (
        "One row a run, its score the mean over test images. Pictures show the run marked as median, by its mean Dice."
    )
    return table(id_, f"{told(cohort)}{counted(len(rows), 'run')}", explanation, head, rows)


def definitions(names: Iterable[str]) -> str:
    """What the measures mean, of those that need it."""
    entries = {}
    for name in names:
        score = lookup(name)
        if score.meaning:
            entries[score.heading] = score.meaning + _WAYS[score.direction]
    return card(entries)
