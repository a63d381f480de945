"""The tables of a report: on the terminal, as Markdown and as LaTeX."""

import re
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lamella.metrics.catalogue import lookup
from lamella.reporting.failures import failure_head, failure_rows
from lamella.reporting.numbers import UNKNOWN, known, plain
from lamella.reporting.summary import MAIN, scores_in
from lamella.statistics.comparison import Comparison

# What a line of \footnotesize holds, of it the method, and the gap between columns; intervals stand below their means.
_LINE, _METHOD, _GAP = 84, 25, 2
_MACRO = r"\providecommand{\withinterval}[2]{\begin{tabular}[t]{@{}r@{}}#1\\{\scriptsize#2}\end{tabular}}"
_BOLD = "Bold: the best mean of a column. It need not be better than the next one by more than chance."
_BESIDE = (("seed_sd", "seed SD", False), ("published", "published", False), ("difference", "difference", True))
_COSTS = {  # column of the summary -> heading, unit, decimals
    "parameters": ("parameters, M", 1e6, 2), "train_s": ("training, min", 60, 1),
    "images_per_s": ("training, crops/s", 1, 1), "test_images_per_s": ("test, images/s", 1, 1),
}  # fmt: skip
_PAIRS = ("first", "second", "difference\n(interval of its test)", "seed\nnoise", "p", "verdict")
_RULE = "|---|---|---:|---:|---:|---|"
ABSENT = ("method", "images without it", "of these predicted empty", "false positives in one, px")
_SYMBOLS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": r"\`{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # at the start of a row they would be taken for arguments of \\
    "–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\ldots{}", "‘": "`{}", "’": "'", "“": "``", "”": "''",
    "·": r"$\cdot$", "×": r"$\times$", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$",
    "≠": r"$\neq$", "→": r"$\rightarrow$", "∞": r"$\infty$", "°": r"$^\circ$", "²": "$^2$", "³": "$^3$",
    "α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "σ": r"$\sigma$", "µ": r"$\mu$", "μ": r"$\mu$",
}  # fmt: skip
_PLAIN = re.compile("[ -~À-ſ](?<![×÷ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ])")  # LaTeX's default fonts lack these


class _Column(NamedTuple):
    """A column beside the methods' names: its texts, and which of them are the best."""

    heading: str
    cells: list[str]
    best: Collection[int] = ()

    @property
    def width(self) -> int:
        """In characters; headings may be broken between words."""
        return max(map(len, self.cells + self.heading.split()))

    @property
    def stacked(self) -> int:
        """The same where intervals stand below their means."""
        return max(len(part) for text in (*self.cells, *self.heading.split()) for part in text.split(" ("))


def show(summary: pd.DataFrame, title: str, notes: Sequence[str], out: Console) -> None:
    """Prints the first scores and the costs of each method; what is too wide for one table follows in another."""
    methods = [Text(name) for name in summary["method"]]
    widest = min(max(len("method"), *(name.cell_len for name in methods)), out.width // 4)
    out.print(Text(title, "bold"))
    columns = _columns(summary, MAIN)
    room = out.width - widest - 4  # rules and blanks are 4 wide with the methods, 3 with each other column
    for block in _blocks(columns, [column.width + 3 for column in columns], room):
        table = Table()
        table.add_column("method", max_width=widest, overflow="fold")
        for column in block:
            table.add_column(Text(column.heading), justify="right", width=column.width)
        for row in zip(methods, *(column.cells for column in block), strict=True):
            table.add_row(*row)
        out.print(table)
    if more := len(scores_in(summary)[MAIN:]):
        out.print(Text("1 more score is in the files" if more == 1 else f"{more} more scores are in the files"))
    for note in notes:
        out.print(Text(f"- {note}"))


def show_pairs(comparisons: Sequence[Comparison], verdicts: Sequence[str], score: str, out: Console) -> None:
    """Prints a row for each pair of methods, with its verdict in words; nothing where there is no pair."""
    if not comparisons:
        return
    out.print(Text(_pairs_title(score), "bold"))
    table = Table()
    for heading in ("pair", *_PAIRS[2:]):
        words = heading in ("pair", "verdict")
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for first, second, *rest in _pair_rows(comparisons, verdicts, score):
        table.add_row(*map(Text, (f"{first}\nminus {second}", *rest)))
    out.print(table)


def show_beside(summary: pd.DataFrame, out: Console) -> None:
    """Prints what no mean tells: a row a method on the images that failed, and one on those without foreground."""
    for head, rows in _beside(summary):
        table = Table()
        for place, heading in enumerate(head):
            table.add_column(heading, justify="right" if 0 < place < 3 else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        out.print(table)


def absent_rows(summary: pd.DataFrame) -> list[tuple[str, ...]]:
    """Of each method the images without foreground: how many, how many predicted empty, and false positives in one.

    Of several classes a row a class: "unet, nucleus".
    """
    found = list[tuple[str, ...]]()
    for name in (name for name in summary.columns if name.endswith("absent/images")):
        of, label = name.removesuffix("images"), name.removeprefix("class/").removesuffix("absent/images").rstrip("/")
        for row in summary.to_dict("records"):
            empty = _amount(row[name] * row[f"{of}empty"], 1).removesuffix(".0")
            method = ", ".join(filter(None, (row["method"], label)))
            found.append((method, plain(row[name], 0), empty, _amount(row[f"{of}fp"], 1)))
    return found


def _beside(summary: pd.DataFrame) -> list[tuple[Sequence[str], Sequence[Sequence[str]]]]:
    """Heads and rows of the small tables that follow the scores."""
    found: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = []
    if rows := failure_rows(summary):
        found.append((failure_head(summary), rows))
    if absent := absent_rows(summary):
        found.append((ABSENT, absent))
    return found


def markdown(summary: pd.DataFrame, title: str, notes: Sequence[str]) -> str:
    """All scores as one Markdown table, with title and notes, and below it the images that failed."""
    columns = _columns(summary, None)
    rows = zip(summary["method"], *(column.cells for column in columns), strict=True)
    head = ["method", *(column.heading for column in columns)]
    lines = [f"**{in_markdown(title)}**", "", *_grid(head, rows, "|---" + "|---:" * len(columns) + "|")]
    lines += [*([""] if notes else []), *(f"- {in_markdown(note)}" for note in notes)]
    for heads, further in _beside(summary):
        lines += ["", *_grid(heads, further, "|---" * len(heads) + "|")]
    return "\n".join(lines) + "\n"


def short(summary: pd.DataFrame, score: str, most: int = 12) -> str:
    """The methods with one score and how often they failed, as a Markdown table: so many of them, the best first."""
    decimals, rows = lookup(score).decimals, summary.to_dict("records")
    head, failed = ["method", "seeds", f"{lookup(score).heading} (95 % interval)"], "failed" in summary.columns
    cells = [
        [
            row["method"],
            str(row["seeds"]),
            f"{plain(row[score], decimals) or UNKNOWN} ({_span(row[f'{score}_low'], row[f'{score}_high'], decimals)})",
            *([f"{row['failed']:.0f} of {row['dice_images']:.0f}"] if failed else []),
        ]
        for row in rows[:most]
    ]
    more = [f"and {len(rows) - most} more"] if len(rows) > most else []
    lines = _grid([*head, *(["failed images"] if failed else [])], cells, "|---" + "|---:" * (2 + failed) + "|")
    return "\n".join([*lines, *(["", *more] if more else [])])


def latex(summary: pd.DataFrame, title: str, notes: Sequence[str]) -> str:
    """All scores as LaTeX, the best of each in bold; columns that a page cannot hold are in further tables.

    It needs the package booktabs, and none other. The labels are `tab:` and the title, then with `-2`, `-3`.
    """
    methods, left = [_in_latex(name) for name in summary["method"]], "l"
    longest = max(map(len, summary["method"]))
    if longest > _METHOD:
        methods, left = [rf"\raggedright {name}" for name in methods], r"p{0.3\linewidth}"
    columns = _columns(summary, None)
    blocks = _blocks(columns, [column.stacked + _GAP for column in columns], _LINE - min(longest, _METHOD))
    label = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")
    below = [_in_latex(note) + r"\par" for note in (*notes, _BOLD)]
    lines = [r"% needs \usepackage{booktabs}", _MACRO]
    for part, block in enumerate(blocks, 1):
        of_all = f" (part {part} of {len(blocks)})" if len(blocks) > 1 else ""
        lines += [
            r"\begin{table}[htbp]\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_in_latex(title + of_all)}}}\label{{tab:{label}{f'-{part}' if part > 1 else ''}}}\smallskip",
            rf"\begin{{tabular}}{{@{{}}{left}{'r' * len(block)}@{{}}}}",
            r"\toprule",
            " & ".join(["method", *map(_heading, block)]) + r" \\ \midrule",
            *(" & ".join(row) + r" \\ \addlinespace[2pt]" for row in zip(methods, *map(_numbers, block), strict=True)),
            r"\bottomrule\end{tabular}",
            *([r"\begin{flushleft}", *below, r"\end{flushleft}"] if part == len(blocks) else []),
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def pairs_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A table of all pairs for a file: columns are the fields of `Comparison`, NaN where nothing can tell."""
    frame = pd.DataFrame(comparisons, columns=list(Comparison._fields))
    words = ("first", "second", "better", "equal")
    return frame.astype({name: float for name in Comparison._fields if name not in words})


def pairs_markdown(comparisons: Sequence[Comparison], verdicts: Sequence[str], score: str) -> str:
    """Pairs with their verdicts as a Markdown table."""
    lines = [f"**{in_markdown(_pairs_title(score))}**", ""]
    return "\n".join([*lines, *_grid(_PAIRS, _pair_rows(comparisons, verdicts, score), _RULE)]) + "\n"


def _columns(summary: pd.DataFrame, most: int | None) -> list[_Column]:
    """What is known of any method; of its scores the first `most`, the first one alone with its SD; None: of all."""
    columns = [_Column("seeds", [str(count) for count in summary["seeds"]])]
    for place, score in enumerate(scores_in(summary)[:most]):
        heading, decimals = lookup(score).heading, lookup(score).decimals
        ends = zip(summary[f"{score}_low"], summary[f"{score}_high"], strict=True)
        means = [plain(value, decimals) or UNKNOWN for value in summary[score]]
        spans = [_span(low, high, decimals) for low, high in ends]
        cells = [mean if mean == UNKNOWN else f"{mean} ({span})" for mean, span in zip(means, spans, strict=True)]
        columns.append(_Column(heading, cells, _best(score, [round(value, decimals) for value in summary[score]])))
        if (summary[f"{score}_images"] < summary["images"]).any():
            counts = zip(summary[f"{score}_images"], summary["images"], strict=True)
            columns.append(_Column(f"{heading}, images", [f"{some:.0f} of {all_:.0f}" for some, all_ in counts]))
        if summary.get(f"{score}_imputed", pd.Series([0])).any():
            columns.append(_Column(f"{heading}, imputed", [f"{count:.0f}" for count in summary[f"{score}_imputed"]]))
        for name, words, signed in _BESIDE:
            values = summary.get(f"{score}_{name}")
            if values is None or values.isna().all() or (name == "seed_sd" and most and place):
                continue
            if name == "seed_sd":  # where nothing is drawn at random, one run tells
                values = values.mask(summary["deterministic"], 0)
            cells = [plain(value, decimals, signed=signed) for value in values]
            columns.append(_Column(f"{heading}, {words}", cells))
    for name, (heading, unit, decimals) in _COSTS.items():
        if summary[name].notna().any():
            columns.append(_Column(heading, [_amount(value / unit, decimals) for value in summary[name]]))
    return columns


def _amount(value: float, decimals: int) -> str:
    """Empty where unknown; what would be rounded to nothing is not called 0."""
    if np.isnan(value) or value == 0:
        return "" if np.isnan(value) else "0"
    return f"< {10**-decimals:.{decimals}f}" if value < 10**-decimals else f"{value:,.{decimals}f}"


def _span(low: float, high: float, decimals: int, *, signed: bool = False) -> str:
    ends = [plain(end, decimals, signed=signed) for end in (low, high)]
    return " to ".join(ends) if all(ends) else UNKNOWN


def _best(score: str, shown: Sequence[float]) -> list[int]:
    """The rows of the best means, as shown; none where all are alike or no way is better. An error can be below 0."""
    known_ = {row: value for row, value in enumerate(shown) if not np.isnan(value)}
    if lookup(score).direction == "none" or len(set(known_.values())) < 2:
        return []
    rank = {row: -abs(value) if lookup(score).lower_is_better else value for row, value in known_.items()}
    return [row for row, value in rank.items() if value == max(rank.values())]


def _blocks(columns: Sequence[_Column], widths: Sequence[int], room: int) -> list[list[_Column]]:
    """Columns that are no wider than `room` together, in order; at least one in each."""
    blocks, left = list[list[_Column]](), 0
    for column, width in zip(columns, widths, strict=True):
        if width > left:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= width
    return blocks


def _pairs_title(score: str) -> str:
    return f"{lookup(score).heading}: first minus second{', lower is better' * lookup(score).lower_is_better}"


def _pair_rows(comparisons: Sequence[Comparison], verdicts: Sequence[str], score: str) -> list[list[str]]:
    decimals = lookup(score).decimals
    rows = []
    for each, said in zip(comparisons, verdicts, strict=True):
        mean = plain(each.difference, decimals, signed=True)
        found = f"{mean}\n({_span(known(each.low), known(each.high), decimals, signed=True)})"
        noise = plain(known(each.noise), decimals) or UNKNOWN
        p = _amount(known(each.p), 4) or UNKNOWN
        rows.append([each.first, each.second, found, noise, p, said])
    return rows


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]], rule: str) -> list[str]:
    first, *rest = ("| " + " | ".join(map(in_markdown, row)) + " |" for row in (head, *rows))
    return [first, rule, *rest]


def in_markdown(text: str) -> str:
    """Escapes what Markdown would take for its own, but no underscore inside a word."""
    return re.sub(r"[\\`*<|~\[\]]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


def _heading(column: _Column) -> str:
    return r"\shortstack[r]{" + r"\\".join(map(_in_latex, textwrap.wrap(column.heading, column.stacked))) + "}"


def _numbers(column: _Column) -> list[str]:
    cells = []
    for row, cell in enumerate(column.cells):
        mean, _, interval = _in_latex(cell.replace("-", "−")).partition(" (")
        mean = rf"\textbf{{{mean}}}" if row in column.best else mean
        cells.append(rf"\withinterval{{{mean}}}{{({interval}}}" if interval else mean)
    return cells


def _in_latex(text: str) -> str:
    """Text that compiles and shows the same; characters that LaTeX's default fonts lack by number, as (U+4E2D)."""
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    shown = (_SYMBOLS.get(each, each if _PLAIN.match(each) else f"(U+{ord(each):04X})") for each in line)
    return re.sub("-(?=-)", "-{}", "".join(shown))  # or it would be a dash
