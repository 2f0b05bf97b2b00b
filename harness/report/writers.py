"""Tables as CSV, as Markdown, as LaTeX and in the terminal.

A cell with a number is a `Number`, or a plain float where there is neither interval nor note. ``*`` or bold type marks
the best score of a section, if the table says what it is the best of; ``°`` a number that proves nothing
(`Number.doubtful`). Where there is no interval, the cell says why in few words, and the CSV file in full.
Digits: published values as printed, ours to three, in CSV files to six.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from harness.metrics import METRICS
from harness.storage import write_text

MINUS, UNDEFINED = "\u2212", "\u2013"
#: Estimates that a terminal of 100 columns holds side by side.
SIDE_BY_SIDE = 2
#: Characters on a line of it.
SCREEN = 100
#: Of a paper in two columns, in points: width of a column and of a page's text, and height of the text with some room.
COLUMN, PAGE, HEIGHT = 242, 497, 600
#: Kinds of columns that hold words.
TEXTS = ("text", "links")
#: How a note goes on after what a cell shows of it.
AFTER_SHORT = " are too few"


class Number(NamedTuple):
    """A number with its interval, or with a note that says why it has none.

    Parameters
    ----------
    value
        NaN where it is undefined.
    low, high
        Ends of the interval; NaN where there is none.
    note
        Why there is no interval, or no value. A cell shows it up to "are too few".
    doubtful
        Whether the number proves nothing: a score that is not above chance, a difference that is not decided.

    Examples
    --------
    >>> Number(0.64, 0.60, 0.68).doubtful
    False
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""
    doubtful: bool = False


@dataclass(frozen=True)
class Column:
    """How a table shows one column.

    Parameters
    ----------
    name
        Column of the frame.
    title
        Its head.
    kind
        ``"text"``; ``"links"`` (paths with spaces between); ``"published"`` (a value as printed); ``"score"`` (a
        number alone); ``"p"`` (likewise; what is below 0.001 is said to be); ``"estimate"`` (with its interval);
        ``"difference"`` (with a sign); or ``"points"``, a difference in hundredths. Cells of the last five are
        `Number` or float, NaN where there is none.
    digits
        Decimals of a published value.
    width
        In LaTeX, as a share of the line: what is longer is wrapped; 0 for a column as wide as its text.
    """

    name: str
    title: str
    kind: str
    digits: int = 4
    width: float = 0.0


@dataclass(frozen=True)
class Table:
    """A table as numbers, and how to show it.

    Parameters
    ----------
    name
        Stem of its files.
    title
        What it shows.
    frame
        One row per line; rows of one group follow one another. A column that is not shown is in the CSV file all the
        same. Column ``metric``, where there is one, says whether a lower score is the better one.
    columns
        In order of appearance.
    group
        Columns of the frame that tell groups apart, printed once per group.
    section
        Column of the frame that tells networks (or conditions) apart: a line is drawn between them, and the best score
        is sought within. None: the whole table is one.
    caption
        What the numbers stand on and how to read them.
    notes
        What the conditions mean; files say it, the terminal does not.
    best
        What the best score of a section and metric is, for instance ``"best arm"``; without it none is marked.
    about
        What all rows have in common (`harness.report.tables.about`), columns of the CSV file.

    Examples
    --------
    >>> scores = [Number(0.3, 0.2, 0.4, doubtful=True), Number(0.6, 0.5, 0.7)]
    >>> frame = pd.DataFrame({"arm": ["fc", "conv"], "f1": scores})
    >>> columns = (Column("arm", "Arm", "text"), Column("f1", "Macro F1", "estimate"))
    >>> table = Table("arms", "All arms", frame, columns, group=("arm",), caption="Test part.", best="best arm")
    >>> print(to_markdown(table))
    ### All arms
    <BLANKLINE>
    | Arm | Macro F1 |
    | --- | ---: |
    | fc | 0.300 [0.200, 0.400]° |
    | conv | **0.600 [0.500, 0.700]** |
    <BLANKLINE>
    Bold: best arm. Test part.
    <BLANKLINE>
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    group: tuple[str, ...]
    section: str | None = None
    caption: str = ""
    notes: str = ""
    best: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def text(self, mark: str = "Bold", *, notes: bool = True) -> str:
        """The caption, with what the mark of the best means in front, and the notes behind."""
        best = f"{mark}: {self.best}." if self.best else ""
        return " ".join(filter(None, (best, self.caption, self.notes if notes else "")))


@dataclass(frozen=True)
class Cell:
    """A formatted entry: its text, whether it is the best of its kind, whether it proves nothing, and what it links to.

    Of several links each word of the text is one.
    """

    text: str
    best: bool = False
    doubtful: bool = False
    links: tuple[str, ...] = ()


def in_points(difference: float) -> str:
    """A difference of scores in hundredths.

    Parameters
    ----------
    difference
        For instance 0.0123.

    Returns
    -------
    str
        For instance ``"+1.2"``; what rounds to 0 is ``"+0.0"``.
    """
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", MINUS)


def to_csv(table: Table) -> str:
    """All columns of the frame, one line per row, and what all rows have in common.

    Parameters
    ----------
    table
        A column with a `Number` becomes ``<name>``, ``<name>_low``, ``<name>_high`` and ``<name>_note``.

    Returns
    -------
    str
        CSV with a head, numbers to six decimals, empty where undefined.
    """
    digits = {column.name: column.digits for column in table.columns if column.kind == "published"}
    columns: dict[Any, Any] = {}
    for name, cells in table.frame.items():
        if any(isinstance(cell, Number) for cell in cells):
            numbers = [_number(cell) for cell in cells]
            columns[name] = [n.value for n in numbers]
            columns |= {f"{name}_{part}": [getattr(n, part) for n in numbers] for part in ("low", "high", "note")}
        elif name in digits:
            if cells.notna().any():
                columns[name] = cells.map(f"{{:.{digits[name]}f}}".format, na_action="ignore")
        else:
            columns[name] = cells
    frame = pd.DataFrame(columns, index=table.frame.index).assign(**table.about)
    return frame.to_csv(index=False, float_format="%.6f", lineterminator="\n")


def escape_markdown(text: str) -> str:
    """A text that Markdown shows as it is.

    Returns
    -------
    str
        With a backslash before each sign that means something.
    """
    return "".join("\\" + c if c in r"\|*_`<>~" else c for c in text)


def to_markdown(table: Table) -> str:
    """For a README: a heading, the table, the caption.

    Returns
    -------
    str
        GitHub-flavoured Markdown; best scores in bold.
    """
    escape = escape_markdown

    def dress(cell: Cell) -> str:
        if cell.links:
            words = zip(cell.text.split(), cell.links, strict=True)
            return " ".join(f"[{escape(word)}]({link})" for word, link in words)
        text = escape(cell.text) + ("°" if cell.doubtful else "")
        return f"**{text}**" if cell.best else text

    head = [escape(column.title) for column in table.columns]
    rule = ["---" if column.kind in TEXTS else "---:" for column in table.columns]
    body = [[dress(cell) for cell in row] for group in _cells(table) for row in group]
    lines = ["| " + " | ".join(row) + " |" for row in [head, rule, *body]]
    return "\n".join([f"### {escape(table.title)}", "", *lines, "", escape(table.text()), ""])


def escape_latex(text: str) -> str:
    """A text that LaTeX sets as it is.

    Returns
    -------
    str
        With a command for each sign that means something, or that its fonts have not.
    """
    special = {c: "\\" + c for c in "&%$#_{}"} | {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
        "°": r"$^\circ$", MINUS: "$-$", UNDEFINED: "--", "“": "``", "”": "''", "≥": r"$\geq$", "⊙": r"$\odot$",
        "→": r"$\rightarrow$",
    }  # fmt: skip
    return "".join(special.get(c, c) for c in text)


def to_latex(table: Table, *, prefix: str = "") -> str:
    """A floating table for a paper in two columns, or, of one with many rows, several.

    Parameters
    ----------
    prefix
        Of its label ``tab:<name>``, for tables of one name in one paper.

    Returns
    -------
    str
        A ``table`` environment, or ``table*`` across both columns where one is too narrow; shrunk where it is wider
        still. Best scores in bold; links are left out. A comment says which packages it needs.
    """

    def escape(text: str) -> str:
        # A bracket at the start of a row would be read as an argument of the row before.
        return ("{}" if text.startswith("[") else "") + escape_latex(text)

    def dress(cell: Cell) -> str:
        text = escape(cell.text + ("°" if cell.doubtful else ""))
        return rf"\textbf{{{text}}}" if cell.best else text

    caption = escape_latex(f"{table.title}. {table.text()}")
    shown = [i for i, column in enumerate(table.columns) if column.kind != "links"]
    columns = [table.columns[i] for i in shown]
    cells = [[[row[i] for i in shown] for row in group] for group in _cells(table)]
    tight = any(c.width for c in columns) or _points(columns, [row for group in cells for row in group]) > COLUMN
    wide, line = ("*", PAGE) if tight else ("", COLUMN)
    form = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{c.width:g}\linewidth}}" if c.width else "l" if c.kind in TEXTS else "r"
        for c in columns
    )
    label = f"tab:{prefix}{table.name}".replace("_", "-")
    lines = [r"% Needs \usepackage{array,booktabs,graphicx}"]
    for number, part in enumerate(_pages(columns, cells, line, caption)):
        body = "\n\\addlinespace\n".join("\n".join(" & ".join(map(dress, r)) + r" \\" for r in group) for group in part)
        lines += [
            rf"\begin{{table{wide}}}",
            r"\centering",
            r"\scriptsize",
            r"\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escape_latex(f'{table.title} (continued).') if number else caption}}}",
            rf"\label{{{label}{f'-{number + 1}' if number else ''}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{form}}}",
            r"\toprule",
            " & ".join(escape(c.title) for c in columns) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\end{{table{wide}}}",
            "",
        ]
    return "\n".join(lines)


def _pages(
    columns: Sequence[Column], groups: Sequence[Sequence[Sequence[Cell]]], line: int, caption: str
) -> list[list[Sequence[Sequence[Cell]]]]:
    """Groups of rows that go on a page each, the first one below the caption; sizes of lines and signs are guessed."""
    pages: list[list[Sequence[Sequence[Cell]]]] = [[]]
    left = HEIGHT - 12 * len(caption) * 4.6 / line
    for group in groups:
        height = 4.5
        for row in group:
            taken = (len(cell.text) * 4 / (c.width * line) for c, cell in zip(columns, row, strict=True) if c.width)
            height += 8.5 * ceil(max(taken, default=1) or 1)
        if pages[-1] and height > left:
            pages.append([])
            left = HEIGHT
        pages[-1].append(group)
        left -= height
    return pages


def _points(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> float:
    """Width of a table in type of 7 pt, about: a sign is half as wide as it is high."""
    longest = [max(len(text) for text in (c.title, *(r[i].text for r in rows))) for i, c in enumerate(columns)]
    return sum(3.5 * signs + 6 for signs in longest)


def to_terminal(table: Table) -> Group:
    """For a terminal of 100 columns.

    Parameters
    ----------
    table
        More than two conditions are shown two at a time.

    Returns
    -------
    rich.console.Group
        Print it with a rich console. Best scores are bold with an asterisk, doubtful ones dim.
    """
    wide = [c for c in table.columns if c.kind == "estimate"]
    parts: list[RichTable | Text] = []
    for start in range(0, max(1, len(wide)), SIDE_BY_SIDE):
        hidden = {c.name for c in wide} - {c.name for c in wide[start : start + SIDE_BY_SIDE]}
        parts.append(_rich(table, [i for i, c in enumerate(table.columns) if c.name not in hidden]))
    return Group(*parts, Text(table.text("*", notes=False), style="italic"), "")


def write(table: Table, folder: Path) -> list[Path]:
    """Write a table as CSV, Markdown and LaTeX.

    Parameters
    ----------
    folder
        Made if need be.

    Returns
    -------
    list of Path
        The files.
    """
    writers: dict[str, Callable[[Table], str]] = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}
    paths = []
    for suffix, writer in writers.items():
        paths.append(folder / f"{table.name}{suffix}")
        write_text(paths[-1], writer(table))
    return paths


def _rich(table: Table, shown: Sequence[int]) -> RichTable:
    """One row per group, one line per score within: long titles wrap beside the scores."""
    styles = {(True, False): "bold", (False, True): "dim", (True, True): "bold dim"}
    groups = _cells(table)
    heads = {i: table.columns[i].title.replace(": ", ":\n").replace(" (", "\n(") for i in shown}
    whole = {i for i in shown if table.columns[i].kind not in TEXTS or table.columns[i].name == "title"}
    least = {}
    for i in shown:
        marks = 0 if table.columns[i].kind in TEXTS else 1
        texts = [*heads[i].splitlines(), *(row[i].text + marks * " " for group in groups for row in group)]
        least[i] = max(len(part) for text in texts for part in ([text] if i in whole else text.split() or [""]))
    tight = sum(least.values()) + 2 * len(shown) > SCREEN
    rich = RichTable(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE,
        show_edge=False,
        # Columns stand two spaces apart, or, if the line is too short for that, one.
        padding=(0, 0 if tight else 1, 0, 0),
    )
    for i in shown:
        rich.add_column(
            heads[i],
            justify="left" if table.columns[i].kind in TEXTS else "right",
            no_wrap=i in whole,  # one line per score
            min_width=least[i],
            max_width=least[i] if tight else None,
        )
    sections = _sections(table).groupby([table.frame[name] for name in table.group], sort=False).first().tolist()
    for number, group in enumerate(groups):
        row = []
        for i in shown:
            lines = []
            for cell in (line[i] for line in group):
                if table.columns[i].kind in TEXTS:
                    lines += [Text(cell.text)] if cell.text else []
                    continue
                value, space, rest = cell.text.partition(" ")
                mark = ("*" if cell.best else "") + ("°" if cell.doubtful else "")
                lines.append(Text(value + mark + space + rest, style=styles.get((cell.best, cell.doubtful), "")))
            row.append(Text("\n").join(lines))
        rich.add_row(*row, end_section=number + 1 < len(sections) and sections[number] != sections[number + 1])
    return rich


def _sections(table: Table) -> pd.Series:
    """Of every row the section that it is in."""
    frame = table.frame
    return pd.Series("", frame.index) if table.section is None else frame[table.section]


def _best(table: Table, column: Column) -> pd.Series:
    """Of every row whether it is the best of its section by its metric; a row alone is none."""
    frame = table.frame
    metrics = frame["metric"] if "metric" in frame else pd.Series("", frame.index)
    sign = metrics.map(lambda name: -1.0 if name in METRICS and not METRICS[name].higher_is_better else 1.0)
    values = frame[column.name].map(lambda cell: _number(cell).value).astype(float) * sign
    of_section = values.groupby([_sections(table), metrics])
    return (values == of_section.transform("max")) & (of_section.transform("count") > 1)


def _cells(table: Table) -> list[list[list[Cell]]]:
    """Every entry, formatted: groups of rows of cells. A text is left out where it only repeats the row above."""
    frame = table.frame
    marked = [column for column in table.columns if table.best and column.kind in ("estimate", "published")]
    best = {column.name: _best(table, column) for column in marked}
    texts = [column.name for column in table.columns if column.kind == "text"]
    above: list[str] = []
    groups = []
    for _, rows in frame.groupby(list(table.group), sort=False):
        group = []
        for index, row in rows.iterrows():
            names = [str(row[text]) for text in texts]
            fresh = next((i for i, (a, b) in enumerate(zip(names, above, strict=False)) if a != b), 0)
            above = names
            group.append(
                [
                    Cell("")
                    if column.name in texts[:fresh]
                    else _cell(row[column.name], column, best=column.name in best and bool(best[column.name][index]))
                    for column in table.columns
                ]
            )
        groups.append(group)
    return groups


def _number(cell: Any) -> Number:
    """A cell as a number; NaN where it is empty."""
    if isinstance(cell, Number):
        return cell
    return Number(np.nan if cell is None or pd.isna(cell) else float(cell))


def _cell(value: Any, column: Column, *, best: bool) -> Cell:
    """One entry, formatted."""
    if column.kind == "text":
        return Cell(UNDEFINED if value is None or pd.isna(value) else str(value))
    if column.kind == "links":
        paths = tuple(str(value).split())
        return Cell(" ".join(path.rpartition("/")[2] for path in paths) or UNDEFINED, links=paths)
    number = _number(value)
    text = shown(number, column.kind, digits=column.digits)
    return Cell(text, best, number.doubtful and column.kind not in ("published", "score", "p"))


def shown(number: Number, kind: str, *, digits: int = 4) -> str:
    """A number as a cell shows it.

    Parameters
    ----------
    kind, digits
        As in `Column`.

    Examples
    --------
    >>> shown(Number(0.331, note="3 positives are too few for an interval"), "estimate")
    '0.331, 3 positives'
    """
    note = number.note.partition(AFTER_SHORT)[0]
    if np.isnan(number.value):
        return note or UNDEFINED
    forms = {
        "published": lambda x: f"{x:.{digits}f}",
        "difference": lambda x: f"{round(x, 3) + 0.0:+.3f}",
        "points": in_points,
        "p": lambda x: "< 0.001" if x < 0.001 else f"{x:.3f}",
    }

    def form(x: float) -> str:
        return forms.get(kind, lambda x: f"{round(x, 3) + 0.0:.3f}")(x).replace("-", MINUS)

    text = form(number.value)
    if kind in ("estimate", "difference", "points"):
        if not np.isnan(number.low):
            text += f" [{form(number.low)}, {form(number.high)}]"
        elif note:
            text += f", {note}"
    return text
