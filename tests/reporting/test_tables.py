"""The tables of a report: numbers by hand, and texts that a real Markdown parser, LaTeX's rules and a terminal read."""

import io
import re
import shutil
import subprocess
import unicodedata
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from lamella.reporting import tables
from lamella.statistics.comparison import Comparison, compare
from support.report_pages import compared, one_seed

NAN = float("nan")
COSTS = {"parameters": NAN, "train_s": NAN, "images_per_s": NAN, "test_images_per_s": NAN}
HOSTILE = "[red]50%[/] a_b & #1 | $x$ {y} ~z^2 \\q <b> `c` *d* :smile: ≥ · – é 日"
LINES = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1).filter(str.strip)


def summary(scores, *, methods=("unet", "otsu"), seeds=(3, 1), deterministic=(False, True), **columns):
    """A summary: score -> [(mean, low, high, seed SD) of each method]."""
    table = {"method": list(methods), "seeds": list(seeds), "deterministic": list(deterministic)}
    table["images"] = [12] * len(methods)
    for score, values in scores.items():
        names = (score, f"{score}_low", f"{score}_high", f"{score}_seed_sd")
        table |= dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
        table[f"{score}_images"] = [12] * len(methods)
    return pd.DataFrame(table | {name: np.full(len(methods), value) for name, value in (COSTS | columns).items()})


def shares(*means):
    return [(mean, mean - 0.01, mean + 0.01, 0.002) for mean in means]


def printed(function, *arguments, width=100):
    out = Console(file=io.StringIO(), width=width, soft_wrap=True, force_terminal=False)
    function(*arguments, out)
    return out.file.getvalue()


def cells(text):
    """The rows of what was printed, of all tables: the texts between rules, blanks stripped."""
    return [
        [cell.strip() for cell in line.strip("│┃").split(line[0])] for line in text.splitlines() if line[:1] in "│┃"
    ]


def parsed(markdown):
    """A Markdown table's rows as a reader sees them, and what stands in its other paragraphs."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    rows, others = [], []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            read = "".join(child.content or f"<{child.tag}>" * (child.nesting == 1) for child in token.children)
            (rows[-1] if before.type in ("th_open", "td_open") else others).append(read)
    return rows, others


@pytest.fixture
def two():
    scores = {"dice": [(0.91234, 0.90111, 0.92011, 0.00456), (0.5, 0.25, 0.75, NAN)]}
    published = {"dice_published": [0.92, NAN], "dice_difference": [0.91234 - 0.92, NAN]}
    costs = {"parameters": [31_037_633, 0], "train_s": [750, 2], "images_per_s": [123.44, NAN]}
    return summary(scores, **published, **costs, test_images_per_s=[1234.5, 3.21])


HEAD = [
    *("method", "seeds", "Dice", "Dice, seed SD", "Dice, published", "Dice, difference"),
    *("parameters, M", "training, min", "training, crops/s", "test, images/s"),
]
UNET = ["unet", "3", "0.9123 (0.9011 to 0.9201)", "0.0046", "0.9200", "-0.0077", "31.04", "12.5", "123.4", "1,234.5"]
OTSU = ["otsu", "1", "0.5000 (0.2500 to 0.7500)", "0.0000", "", "", "0", "< 0.1", "", "3.2"]


def test_markdown_by_hand(two):
    rows, others = parsed(tables.markdown(two, "blood: 2 images", ["first", "second"]))
    assert rows == [HEAD, UNET, OTSU]
    assert others == ["<strong>blood: 2 images", "first", "second"]


def test_the_terminal_shows_the_same_on_as_many_tables_as_it_needs(two):
    wide = cells(printed(tables.show, two, "blood", [], width=200))
    assert wide[-2:] == [UNET, OTSU]
    narrow = cells(printed(tables.show, two, "blood", [], width=60))
    for expected in (UNET, OTSU):
        assert [cell for row in narrow if row[0] == expected[0] for cell in row[1:]] == expected[1:]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(60, 200),
    # How wide marks are that stand on no letter, no two programs agree.
    st.lists(LINES.filter(lambda line: not any(map(unicodedata.combining, line))), min_size=2, max_size=2),
)
def test_nothing_is_lost_or_too_wide_on_any_terminal(width, methods):
    found = printed(tables.show, summary({"dice": shares(0.9, 0.8), "iou": shares(0.8, 0.7)}, methods=methods), "t", [],
                    width=width)  # fmt: skip
    assert max(len(line) for line in found.splitlines()) <= width
    for number in ("0.9000 (0.8900 to 0.9100)", "0.7000 (0.6900 to 0.7100)"):
        assert found.count(number) == 1


def test_labels_titles_and_notes_are_no_markup(two):
    found = printed(tables.show, two.assign(method=["[red]x[/]", ":smile:"]), "[b]t[/b] :x:", ["[i]n[/i] :o:"])
    for text in ("[red]x[/]", ":smile:", "[b]t[/b] :x:", "- [i]n[/i] :o:"):
        assert text in found


def test_five_scores_on_the_terminal_and_how_many_more_there_are():
    names = ["dice", "iou", "mcc", "recall", "precision", "accuracy", "specificity"]
    for count, told in ((5, ""), (6, "1 more score is in the files"), (7, "2 more scores are in the files")):
        table = summary({name: shares(0.9, 0.8) for name in names[:count]})
        found = printed(tables.show, table, "t", [])
        assert found.count("0.9000 (") == 5
        assert "accuracy" not in found
        assert ("in the files" in found) == bool(told)
        assert told in found
        assert found.count("0.0020") == 1  # the SD of the first alone
        assert tables.markdown(table, "t", []).count("0.9000 (") == count
        assert tables.latex(table, "t", []).count(r"\textbf{0.9000}}{(") == count


def test_what_is_known_of_no_method_has_no_column():
    table = summary({"dice": [(0.9, 0.8, 1.0, NAN), (0.8, 0.7, 0.9, NAN)]}, dice_published=NAN, dice_difference=NAN)
    assert parsed(tables.markdown(table, "t", []))[0][0] == ["method", "seeds", "Dice"]


def test_distances_have_two_decimals_and_no_zero_has_a_sign():
    table = summary({"boundary/hd95": [(12.345, 9.876, 15, 0.5), (1, 0.5, 1.5, NAN)], "mcc": shares(-0.00001, -0.5)})
    rows = parsed(tables.markdown(table, "t", []))[0]
    assert rows[1][2:5] == ["12.35 (9.88 to 15.00)", "0.50", "0.0000 (-0.0100 to 0.0100)"]
    assert rows[2][4] == "-0.5000 (-0.5100 to -0.4900)"


def test_what_is_not_known_is_a_dash_and_few_images_are_counted():
    table = summary({"dice": [(0.9, NAN, NAN, NAN), (0.8, 0.7, 0.9, NAN)], "iou": [(NAN, NAN, NAN, NAN)] * 2})
    table = table.assign(dice_images=3, iou_images=0)
    rows, _ = parsed(tables.markdown(table, "t", []))
    assert rows[0] == ["method", "seeds", "Dice", "Dice, images", "IoU", "IoU, images"]
    assert rows[1] == ["unet", "3", "0.9000 (–)", "3 of 12", "–", "0 of 12"]
    assert rows[2] == ["otsu", "1", "0.8000 (0.7000 to 0.9000)", "3 of 12", "–", "0 of 12"]
    assert cells(printed(tables.show, table, "t", [], width=200))[-2:] == rows[1:]
    text = tables.latex(table, "t", [])
    structure(text)
    assert r"\withinterval{\textbf{0.9000}}{(\textendash{})} & 3 of 12 & \textendash{}" in text


def test_imputed_distances_are_counted_beside():
    table = summary({"boundary/hd95": [(12, 9, 15, NAN), (1, 0.5, 1.5, NAN)]}).assign(
        **{"boundary/hd95_imputed": [3, 0]}
    )
    rows, _ = parsed(tables.markdown(table, "t", []))
    assert [row[2:4] for row in rows] == [
        ["HD95, px", "HD95, px, imputed"], ["12.00 (9.00 to 15.00)", "3"], ["1.00 (0.50 to 1.50)", "0"],
    ]  # fmt: skip
    assert "imputed" not in tables.markdown(table.assign(**{"boundary/hd95_imputed": 0}), "t", [])


def test_failures_and_images_without_foreground_stand_below():
    failed = {"failed_below": 0.5, "failed": [0, 3], "failure_low": [0, 0.055], "failure_high": [0.265, 0.572]}
    failed |= {"worst_tenth": [0.8, 0.1], "worst_images": ["a (0.8000)", "b (0.1000), c (0.2000)"]}
    absent = {"absent/images": 4, "absent/empty": [1, 0.625], "absent/fp": [0, 1234.56]}
    table = summary({"dice": shares(0.9, 0.8)}).assign(**failed, **absent)
    rows, _ = parsed(tables.markdown(table, "t", []))
    assert rows[3:] == [
        ["method", "images with a Dice below 0.5", "mean Dice of the worst tenth", "worst images, with their Dice"],
        ["unet", "0 of 12: up to 26 %", "0.8000", "a (0.8000)"],
        ["otsu", "3 of 12: 6 % to 57 %", "0.1000", "b (0.1000), c (0.2000)"],
        list(tables.ABSENT),
        ["unet", "4", "4", "0"],
        ["otsu", "4", "2.5", "1,234.6"],
    ]
    of_class = {f"class/nucleus/{name}": values for name, values in absent.items()}
    classes = tables.absent_rows(summary({"dice": shares(0.9, 0.8)}).assign(**of_class))
    assert classes == [("unet, nucleus", "4", "4", "0"), ("otsu, nucleus", "4", "2.5", "1,234.6")]
    shown = cells(printed(tables.show_beside, table, width=140))
    assert [row for row in shown if row[0] in ("unet", "otsu")] == [rows[4], rows[5], rows[7], rows[8]]
    assert printed(tables.show_beside, summary({"dice": shares(0.9, 0.8)})) == ""


def bold(score, means):
    table = summary(
        {score: [(mean, mean, mean, 0) for mean in means]},
        methods=[f"m{n}" for n in range(len(means))], seeds=[1] * len(means), deterministic=[True] * len(means),
    )  # fmt: skip
    lines = [line for line in tables.latex(table, "t", []).splitlines() if re.match(r"m\d", line)]
    return [n for n, line in enumerate(lines) if r"\textbf" in line]


def test_bold_is_the_best_of_a_column():
    assert bold("dice", [0.8, 0.9, 0.7]) == [1]
    assert bold("boundary/hd95", [8, 9, 7]) == [2]
    assert bold("watershed/cells/f1", [0.1, 0.2]) == [1]
    assert bold("class/nucleus/iou", [0.8, 0.9]) == [1]
    assert bold("dice", [0.90001, 0.90004, 0.8]) == [0, 1]  # they read the same
    assert bold("count/error", [-20, 3, -2.5]) == [2]  # nearest to none
    assert bold("count/true", [8, 9]) == bold("tp", [8, 9]) == []  # no way is better
    assert bold("dice", [0.9, NAN, 0.8]) == [0]
    assert bold("dice", [0.9, NAN]) == bold("dice", [NAN, NAN]) == []  # nothing to be better than
    assert bold("dice", [0.9, 0.9]) == bold("dice", [0.9]) == []  # none is better


def structure(text):
    """Of each table its columns and the number of & in each row; fails where braces, environments or $ do not match."""
    body = text[text.index(r"\begin{table}") :]
    open_, depth, found, maths = [], 0, [], 0
    tokens = re.findall(r"\\(?:begin|end)\{\w+\}|\\[A-Za-z]+|\\.|[^\\]", body, re.DOTALL)
    assert "".join(tokens) == body
    for token in tokens:
        assert token not in ("#", "~", "_", "%")
        if token.startswith(r"\begin{"):
            open_.append((token[7:-1], depth))
        elif token.startswith(r"\end{"):
            assert open_.pop() == (token[5:-1], depth)
        elif token in "{}":
            depth += 1 if token == "{" else -1
            assert depth >= 0
        elif token == "$":
            maths += 1
        elif token == r"\toprule":
            found.append([0])
        elif token == r"\\" and open_[-1] == ("tabular", depth):
            found[-1].append(0)
        elif token == "&":
            assert open_[-1] == ("tabular", depth)
            found[-1][-1] += 1
        elif token == "^":
            assert maths % 2
    assert not open_
    assert depth == 0
    assert maths % 2 == 0
    columns = [
        len(each) for each in re.findall(r"\\begin\{tabular\}\{@\{\}(?:l|p\{0\.3\\linewidth\})(r+)@\{\}\}", body)
    ]
    assert len(columns) == len(found)
    for wanted, counts in zip(columns, found, strict=True):
        assert counts.pop() == 0  # after the last row
        assert set(counts) == {wanted}
    return [len(counts) for counts in found]


def test_latex_by_hand(two):
    text = tables.latex(two, "blood: 2 images", ["a note"])
    assert structure(text) == [3, 3]  # the heading and two methods, in two tables
    lines = text.splitlines()
    first = r"unet & 3 & \withinterval{\textbf{0.9123}}{(0.9011 to 0.9201)} & 0.0046 & 0.9200 & $-$0.0077 & 31.04"
    assert any(line.startswith(first) for line in lines)
    assert any(
        line.startswith(r"otsu & 1 & \withinterval{0.5000}{(0.2500 to 0.7500)} & 0.0000 &  &  & 0") for line in lines
    )
    assert r"\shortstack[r]{Dice,\\published}" in text
    assert r"\caption{blood: 2 images (part 1 of 2)}\label{tab:blood-2-images}" in text
    assert r"\caption{blood: 2 images (part 2 of 2)}\label{tab:blood-2-images-2}" in text
    assert text.count(r"a note\par") == 1
    alone = tables.latex(summary({"dice": shares(0.9, 0.8)}), "blood", [])
    assert structure(alone) == [3]
    assert r"\caption{blood}\label{tab:blood}" in alone


def test_latex_escapes_by_hand(two):
    text = tables.latex(two.assign(method=[HOSTILE, "[1] --x"]), "50 % of a_b · ≥ –", [])
    assert r"\caption{50 \% of a\_b $\cdot$ $\geq$ \textendash{}" in text
    escaped = (
        r"{[}red{]}50\%{[}/{]} a\_b \& \#1 $|$ \$x\$ \{y\} \textasciitilde{}z\textasciicircum{}2 \textbackslash{}q "
        r"$<$b$>$ \`{}c\`{} {*}d{*} :smile: $\geq$ $\cdot$ \textendash{} é (U+65E5) & "
    )
    assert rf"\raggedright {escaped}" in text  # long names have room for several lines
    assert r"{[}1{]} -{}-x & " in text
    structure(text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=2, max_size=2), st.text(), st.text())
def test_latex_has_its_structure_whatever_the_texts(methods, title, note):
    text = tables.latex(summary({"dice": shares(0.9, 0.8), "tp": shares(90, 8)}, methods=methods), title, [note])
    structure(text)
    assert all(character < "\u0180" for character in text)
    assert "\n\n" not in text  # a blank line would end a caption's paragraph, which is an error


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(two, tmp_path):
    everything = " ".join(map(chr, range(32, 0x250)))
    text = tables.latex(two.assign(method=[HOSTILE, "[1] *"]), "50 % of a_b", [everything])
    document = "\n".join([r"\documentclass{article}\usepackage{booktabs}\begin{document}", text, r"\end{document}"])
    (tmp_path / "page.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert b"Overfull" not in (tmp_path / "page.log").read_bytes()


@settings(max_examples=50, deadline=None)
@given(st.lists(LINES, min_size=2, max_size=2), LINES)
def test_markdown_reads_as_it_was_meant(methods, title):
    rows, others = parsed(tables.markdown(summary({"dice": shares(0.9, 0.8)}, methods=methods), title, []))
    assert [row[0] for row in rows] == ["method", *(" ".join(name.split()) for name in methods)]
    assert others == [f"<strong>{' '.join(title.split())}"]
    assert {len(row) for row in rows} == {4}


def test_markdown_leaves_names_readable(two):
    assert "| r2unet_t2 lr=0.1 |" in tables.markdown(two.assign(method=["r2unet_t2 lr=0.1", "otsu"]), "t", [])
    rows, _ = parsed(tables.markdown(two.assign(method=[HOSTILE, "__a__ *b* &lt;"]), "t", []))
    assert [row[0] for row in rows[1:]] == [HOSTILE, "__a__ *b* &lt;"]


WON = compared("unet", "ternausnet", -0.0312, "ternausnet", low=-0.0401, high=-0.0199, noise=0.0123, p=0.0042)
ALIKE = compared("unet", "fcn", 0.00001, low=-0.0104, high=0.0099, noise=0.02, p=1.0)
UNKNOWN = one_seed("ternausnet", "fcn", 0.5)
SAID = ["ternausnet is better", "not told apart: p 1.000 (images alone 0.02)", "one seed: cannot tell"]
PAIRS = [
    ["unet", "ternausnet", "-0.0312 (-0.0401 to -0.0199)", "0.0123", "0.0042", SAID[0]],
    ["unet", "fcn", "+0.0000 (-0.0104 to +0.0099)", "0.0200", "1.0000", SAID[1]],
    ["ternausnet", "fcn", "+0.5000 (–)", "–", "–", SAID[2]],
]


def test_pairs_by_hand():
    rows, others = parsed(tables.pairs_markdown([WON, ALIKE, UNKNOWN], SAID, "dice"))
    assert rows == [["first", "second", "difference (interval of its test)", "seed noise", "p", "verdict"], *PAIRS]
    assert others == ["<strong>Dice: first minus second"]
    assert "HD95, px: first minus second, lower is better" in tables.pairs_markdown([WON], SAID[:1], "boundary/hd95")
    sure = tables.pairs_markdown([WON._replace(p=0.00004, difference=-3.0, noise=2.0)], SAID[:1], "boundary/hd95")
    assert parsed(sure)[0][1][2:5] == ["-3.00 (-0.04 to -0.02)", "2.00", "< 0.0001"]


def test_pairs_on_the_terminal():
    found = printed(tables.show_pairs, [WON, ALIKE, UNKNOWN], SAID, "dice")
    assert found.startswith("Dice: first minus second\n")
    assert max(map(len, found.splitlines())) <= 100
    rows = cells(found)[-6:]  # two lines a pair
    for (upper, lower), wanted in zip(zip(rows[::2], rows[1::2], strict=True), PAIRS, strict=True):
        first, second, difference, *rest = wanted
        assert [upper[0], lower[0]] == [first, f"minus {second}"]
        assert f"{upper[1]} {lower[1]}" == difference
        assert upper[2:4] == rest[:2]
        assert " ".join([upper[4], lower[4]]).strip() == rest[2]
    assert printed(tables.show_pairs, [], [], "dice") == ""
    assert "[red]a" in printed(tables.show_pairs, [WON._replace(first="[red]a")], SAID[:1], "dice")


def test_pairs_for_a_file_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    runs = {"a": 3, "b": 3, "c": 1}
    found = compare({name: rng.uniform(0.5, 1, (n, 8)) for name, n in runs.items()})
    frame = tables.pairs_frame(found)
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    read = pd.read_csv(tmp_path / "pairs.csv")
    assert list(read.columns) == list(Comparison._fields)
    assert read["difference"].tolist() == pytest.approx([each.difference for each in found])
    assert read["p"].isna().tolist() == [each.p is None for each in found] == [False, True, True]
    assert tables.pairs_frame([UNKNOWN])["noise"].dtype == tables.pairs_frame([])["p"].dtype == np.float64
    assert list(tables.pairs_frame([]).columns) == list(Comparison._fields)
