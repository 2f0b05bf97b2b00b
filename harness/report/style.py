"""How figures look and how they are written: at print size, legible in grey, the same bytes each time.

Every figure is as wide as the text of an A4 page, so that its type (7 pt and up) prints as large as it says. Colours
are ordered by lightness and never alone: markers, line styles or hatches tell the same.
"""

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

from harness.storage import atomic_path

#: Width of the text of an A4 page, in inches.
WIDTH = 6.9
SMALL = 7.0
MARKERS = "osD^vPX"
#: None is dotted: that is how chance is drawn.
LINES = ("-", (0, (6, 2)), (0, (2.5, 1.2)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
HATCHES = ("", "////", "....", "xxxx", "----")
CHANCE = {"color": "0.4", "linestyle": ":", "linewidth": 1.4}
UNDEFINED = "0.85"
#: Of the files of a figure.
SUFFIXES = (".png", ".pdf")
#: Of a picture of 8 bits a pixel.
COLOURS = 160


def style() -> dict[str, Any]:
    """Settings of all figures.

    Returns
    -------
    dict
        For ``matplotlib.rc_context``. Fonts are embedded as TrueType, so that text in a PDF stays text.
    """
    return {
        **sns.axes_style("ticks"),
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.1,
        "lines.markersize": 4,
        "hatch.linewidth": 0.5,
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
    }


def palette(count: int) -> list[tuple[float, float, float]]:
    """Colours ordered from dark to light that colour-blind readers, and readers of a grey copy, can tell apart.

    Parameters
    ----------
    count
        How many.

    Returns
    -------
    list of tuple
        Red, green and blue in [0, 1].
    """
    return [tuple(mpl.colormaps["viridis"](x)[:3]) for x in np.linspace(0.05, 0.8, count)]


def new_figure(height: float) -> Figure:
    """An empty figure as wide as a page; it belongs to no window, so nothing has to be closed.

    Parameters
    ----------
    height
        In inches.

    Returns
    -------
    matplotlib.figure.Figure
        Its parts make room for one another.
    """
    return Figure(figsize=(WIDTH, height), layout="constrained")


def write_foot(figure: Figure, text: str) -> None:
    """Say below a figure what its numbers stand on.

    Parameters
    ----------
    figure
        Of `new_figure`.
    text
        Any length; it is wrapped.
    """
    lines = textwrap.wrap(text, 128, break_on_hyphens=False)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color="0.25")


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG (150 dpi) and PDF, the same bytes each time.

    Parameters
    ----------
    figure
        As the functions of this module return it.
    path
        Without suffix.

    Returns
    -------
    list of Path
        The two files.
    """
    picture, page = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
    drawn = io.BytesIO()
    with mpl.rc_context(style()):
        figure.savefig(drawn, format="png", metadata={"Software": None})
        with atomic_path(page) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Producer": None})
    with atomic_path(picture) as temporary:
        in_few_colours(Image.open(drawn)).save(temporary, "PNG", optimize=True)
    return [picture, page]


def in_few_colours(image: Image.Image, colours: int = COLOURS) -> Image.Image:
    """A picture with a palette: a third of the file, and no difference to be seen.

    Parameters
    ----------
    image
        Any.
    colours
        How many at most.

    Returns
    -------
    PIL.Image.Image
        The colours that few pixels have, such as a legend's, are among those kept.
    """
    method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    return image.convert("RGB").quantize(colours, method=method, kmeans=1, dither=dither)
