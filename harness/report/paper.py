r"""Figures and tables for a paper in two columns, from the kept records alone: nothing is trained, no weights are read.

Of each study a folder: under ``<corpus>-<profile>/`` every figure as PDF and PNG and every table as LaTeX, and
``all.tex``, which compiles with pdflatex and shows them all, each with a label. Figures are as wide as the page's text
(6.9 in, for ``figure*``), in Times as the text around them; tables as wide as a column (3.35 in), or as the page where
they need it. Pictures that the run made with the networks are there as it made them.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from harness.analysis.study import Analysis
from harness.report import build, style, tables, traps
from harness.report.writers import Table, escape_latex, to_latex
from harness.storage import atomic_path, write_text
from harness.studies.kept import EXPLAINED
from harness.studies.records import KEPT
from harness.studies.study import Study

#: Times, as most papers are set in; what it has not is taken from the second.
FONTS = ("STIXGeneral", "DejaVu Sans")
ALL = "all.tex"
HEAD = r"""% Everything that is shown of a study. Compile in this folder: pdflatex all.tex, twice for the references.
\documentclass[10pt,twocolumn]{article}
\usepackage[a4paper,textwidth=6.9in,textheight=9.7in,columnsep=0.2in]{geometry}
\usepackage{array,booktabs,graphicx}
% \usepackage{mathptmx} sets it in Times, as the figures are, where these fonts are installed.
\extrafloats{200}
\setlength{\belowcaptionskip}{4pt}
\renewcommand{\topfraction}{0.95}\renewcommand{\dbltopfraction}{0.95}
\renewcommand{\floatpagefraction}{0.6}\renewcommand{\dblfloatpagefraction}{0.6}
\begin{document}
"""


@dataclass(frozen=True)
class Shown:
    """What is shown of a study on one corpus under one profile.

    Parameters
    ----------
    place
        Name of its folder, ``<corpus>-<profile>``.
    origin
        What it stands on, in a sentence.
    figures
        Names, each with a line on what it shows.
    tables
        Names, each with a title.
    """

    place: str
    origin: str
    figures: Mapping[str, str]
    tables: Mapping[str, str]


def write(study: Study, results: Sequence[Path], out: Path) -> list[Shown]:
    """Make all figures and tables of a study.

    Parameters
    ----------
    study
        Which.
    results
        Folders of its results that trials are kept in (`harness.studies.kept.folders`).
    out
        Folder of the study's figures; made if need be.

    Returns
    -------
    list of Shown
        Of each folder; without any, nothing is written.

    Raises
    ------
    RepriseError
        A record does not agree with its files, or a file cannot be written.
    """
    found = [_write_one(study, folder, out / folder.name) for folder in results]
    if found:
        write_text(out / ALL, _document(study, found))
    return found


def _write_one(study: Study, results: Path, out: Path) -> Shown:
    inputs = build.read(results / KEPT, results / EXPLAINED)
    analysis = inputs.analysed(study)
    made, figures = _make(analysis, out)
    for name, (figure, _) in figures.items():
        style.save(in_times(figure), out / name)
    for table in made:
        write_text(out / f"{table.name}.tex", to_latex(table, prefix=f"{results.name}-"))
    base = [r for r in analysis.records if r.condition == analysis.base] or None
    return Shown(
        place=results.name,
        origin=tables.origin(analysis, base),
        figures={name: text for name, (_, text) in figures.items()} | _copy_pictures(inputs.explained, out),
        tables={table.name: table.title for table in made},
    )


def _make(analysis: Analysis, out: Path) -> tuple[list[Table], dict[str, tuple[Figure, str]]]:
    """The study's own tables and figures, verdicts on its paper's claims, and what choices of protocol are worth."""
    made, figures = build.shown_by(analysis)
    if judged := build.judge(analysis, out):
        made.append(judged)
    if survey := build.survey(analysis):
        made.append(traps.table(survey))
        figures[traps.NAME] = traps.forest(survey), "What silent choices of protocol are worth"
    return made, figures


def _copy_pictures(explained: Path | None, out: Path) -> dict[str, str]:
    """Copy what the run drew as PDF; stems of the files, each with a line on what it shows."""
    found = {}
    for name, text in build.index_of(explained).get("figures", {}).items():
        page = (explained / name).with_suffix(".pdf")
        if page.exists():
            found[page.stem] = text
            for path in filter(Path.exists, (page, page.with_suffix(".png"))):
                with atomic_path(out / path.name) as temporary:
                    shutil.copyfile(path, temporary)
    return found


def in_times(figure: Figure) -> Figure:
    """Set all type of a figure in Times.

    Parameters
    ----------
    figure
        Of `harness.report.style`; it is changed. Times is narrower than what it was laid out in, so that all fits.

    Returns
    -------
    matplotlib.figure.Figure
        The same.
    """
    for axes in figure.axes:
        axes.tick_params(which="both", labelfontfamily=FONTS)
    for text in figure.findobj(Text):
        text.set_fontfamily(FONTS)
    return figure


def _document(study: Study, found: Sequence[Shown]) -> str:
    """All of it as one document, in LaTeX."""
    lines = [HEAD, rf"\section*{{{escape_latex(study.title)}}}"]
    for shown in found:
        lines += [rf"\subsection*{{{escape_latex(shown.place)}}}", escape_latex(shown.origin)]
        for kind, names in (("fig", shown.figures), ("tab", shown.tables)):
            word = {"fig": "Figure", "tab": "Table"}[kind]
            lines += [
                "",
                *(
                    rf"{word}~\ref{{{_label(kind, shown, name)}}}: {escape_latex(title)}.\par"
                    for name, title in names.items()
                ),
            ]
        for name, text in shown.figures.items():
            lines += [
                r"\begin{figure*}[!tp]",
                r"\centering",
                rf"\includegraphics[width=\textwidth,height=0.9\textheight,keepaspectratio]{{{shown.place}/{name}.pdf}}",
                rf"\caption{{{escape_latex(text)}.}}",
                rf"\label{{{_label('fig', shown, name)}}}",
                r"\end{figure*}",
            ]
        lines += [rf"\input{{{shown.place}/{name}.tex}}" for name in shown.tables]
        lines.append(r"\clearpage")
    return "\n".join([*lines, r"\end{document}", ""])


def _label(kind: str, shown: Shown, name: str) -> str:
    return f"{kind}:{shown.place}-{name}".replace("_", "-")
