"""Tables as CSV, as Markdown, as LaTeX and in the terminal.

``*`` or bold type marks the best arm under a condition; ``°`` a score whose interval is not better than
chance throughout, or a difference whose interval holds zero. Digits: published values as printed, ours to three, in
CSV files to six.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from harness.report.estimates import Provenance, lower_is_better
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


@dataclass(frozen=True)
class Column:
    """How a table shows one column, or one estimate of three columns.

    Parameters
    ----------
    name
        Column of the frame; an estimate's ends are in ``name + "_low"`` and ``name + "_high"``, and missing where there
        is no interval.
    title
        Its head.
    kind
        ``"text"``, ``"published"`` (a value as printed), ``"score"``, ``"estimate"``, ``"difference"``, or
        ``"points"``, a difference in hundredths.
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
    caption
        What the numbers stand on and how to read them.
    notes
        What the conditions mean; files say it, the terminal does not.
    frame
        One row per score; rows of one group follow one another.
    columns
        In order of appearance.
    group
        Columns of the frame that tell groups apart, printed once per group.
    section
        Column of the frame that tells networks (or conditions) apart; the best score is sought within.
    provenance
        Of the records.
    """

    name: str
    title: str
    caption: str
    notes: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    group: tuple[str, ...]
    section: str
    provenance: Provenance


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
    """Numbers alone, one row per score, with what they stand on in columns of their own.

    Parameters
    ----------
    table
        Any.

    Returns
    -------
    str
        CSV with a head, scores to six decimals, empty where undefined.
    """
    frame = table.frame.drop(columns=[c for c in table.frame if c.endswith("_title")])
    if "published" in frame:
        digits = next((column.digits for column in table.columns if column.name == "published"), Column.digits)
        as_printed = frame["published"].map(f"{{:.{digits}f}}".format, na_action="ignore")
        frame = frame.assign(published=as_printed) if as_printed.notna().any() else frame.drop(columns="published")
    origin = table.provenance
    context = {
        "corpus": origin.corpus,
        "profile": origin.profile,
        "weights": origin.weights,
        "split": origin.split,
        "part": origin.part,
        "clips": origin.clips,
        "seeds": origin.seeds,
    }
    return frame.assign(**context).to_csv(index=False, float_format="%.6f", lineterminator="\n")


def escape_markdown(text: str) -> str:
    """A text that Markdown shows as it is.

    Parameters
    ----------
    text
        Any.

    Returns
    -------
    str
        With a backslash before each sign that means something.
    """
    return "".join("\\" + c if c in r"\|*_`<>~" else c for c in text)


def to_markdown(table: Table) -> str:
    """For a README: a heading, the table, the caption.

    Parameters
    ----------
    table
        Any.

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
    caption = escape(f"{table.caption} {table.notes}".replace("*: best", "Bold: best"))
    return "\n".join([f"### {escape(table.title)}", "", *lines, "", caption, ""])


def escape_latex(text: str) -> str:
    """A text that LaTeX sets as it is.

    Parameters
    ----------
    text
        Any.

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
    table
        Any.
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

    caption = escape_latex(f"{table.title}. {table.caption} {table.notes}".replace("*: best", "Bold: best"))
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
        Any. More than two conditions are shown two at a time.

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
    return Group(*parts, Text(table.caption, style="italic"), "")


def write(table: Table, folder: Path) -> list[Path]:
    """Write a table as CSV, Markdown and LaTeX.

    Parameters
    ----------
    table
        Any.
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
    whole = {i for i in shown if table.columns[i].kind not in TEXTS or table.columns[i].name == "metric_title"}
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
    sections = table.frame.groupby(list(table.group), sort=False)[table.section].first().tolist()
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


def _cells(table: Table) -> list[list[list[Cell]]]:
    """Every entry, formatted: groups of rows of cells. A text is left out where it only repeats the row above."""
    frame = table.frame
    best: dict[str, pd.Series] = {}
    for column in table.columns:
        if column.kind in ("estimate", "published"):
            upward = frame[column.name] * frame["metric"].map(lambda metric: -1 if lower_is_better(metric) else 1)
            best[column.name] = upward == upward.groupby([frame[table.section], frame["metric"]]).transform("max")
    texts = [column.name for column in table.columns if column.kind == "text"]
    above: list[str] = []
    groups = []
    for _, rows in frame.groupby(list(table.group), sort=False):
        group = []
        for index, row in rows.iterrows():
            names = [str(row[text]) for text in texts]
            fresh = next((i for i, (a, b) in enumerate(zip(names, above, strict=False)) if a != b), 0)
            above = names
            cells = [
                Cell("")
                if column.name in texts[:fresh]
                else _cell(row, column, best=column.name in best and bool(best[column.name][index]))
                for column in table.columns
            ]
            group.append(cells)
        groups.append(group)
    return groups


def _cell(row: pd.Series, column: Column, *, best: bool) -> Cell:
    """One entry, formatted."""
    value = row[column.name]
    if pd.isna(value):
        return Cell(UNDEFINED)
    if column.kind == "text":
        return Cell(str(value))
    if column.kind == "links":
        paths = tuple(value.split())
        return Cell(" ".join(path.rpartition("/")[2] for path in paths), links=paths)
    if column.kind == "published":
        return Cell(f"{value:.{column.digits}f}", best)
    if column.kind == "score":
        return Cell(f"{value:.3f}")
    low, high = row[f"{column.name}_low"], row[f"{column.name}_high"]
    if column.kind == "difference":
        ends = "" if pd.isna(low) else f" [{low:+.3f}, {high:+.3f}]"
        return Cell(f"{value:+.3f}{ends}".replace("-", MINUS), doubtful=bool(low <= 0 <= high))
    if column.kind == "points":
        ends = "" if pd.isna(low) else f" [{in_points(low)}, {in_points(high)}]"
        return Cell(in_points(value) + ends, doubtful=bool(low <= 0 <= high))
    if pd.isna(low):
        return Cell(f"{value:.3f}", best)
    better = high < row["chance"] if lower_is_better(row["metric"]) else low > row["chance"]
    return Cell(f"{value:.3f} [{low:.3f}, {high:.3f}]", best, doubtful=not better)
