"""One clip as one network takes it, in one picture: spectrogram, a map per class, concepts and probabilities.

Everything drawn comes in as plain arrays; nothing here knows a corpus or a network. The same arrays give the same
bytes.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from harness.errors import RepriseError
from harness.report.style import in_few_colours


@dataclass(frozen=True)
class Status:
    """What became of a class in a clip, and how it is marked: by sign and line as well as by colour."""

    word: str
    sign: str
    colour: str
    line: str


_PALETTE = sns.color_palette("colorblind").as_hex()
RIGHT = Status("right", "✓", _PALETTE[2], "-")
WRONG = Status("wrong", "✗", "#a5002f", "--")
MISSED = Status("missed", "○", _PALETTE[0], ":")
UNLABELLED = Status("predicted, nobody was asked", "?", "#555555", "-.")
QUIET = Status("not predicted", "", "#9a9a9a", "-")
HEAT = np.array(to_rgb("#e8590c"))
CONCEPT_COLOURS = [_PALETTE[i] for i in (0, 1, 2, 4, 5, 9, 8, 6, 3, 7)]
#: Of the picture, in inches.
WIDTH, LEFT, SPAN, PANEL, GAP, TOP, BARS = 9.4, 0.55, 5.6, 0.92, 0.37, 0.16, 7.75
FOOT = 0.42
DPI = 100
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Outcome:
    """One class in one clip.

    Parameters
    ----------
    name
        The class.
    probability
        What the network gave it.
    true
        Whether the clip is known to have it.
    observed
        Whether anybody knows: False where nobody was asked.
    predicted
        Whether the probability reached the threshold.
    """

    name: str
    probability: float
    true: bool
    observed: bool
    predicted: bool

    @property
    def status(self) -> Status:
        """Right, wrong, missed, predicted without a label to judge by, or not predicted."""
        if self.predicted:
            return RIGHT if self.true else WRONG if self.observed else UNLABELLED
        return MISSED if self.true else QUIET


@dataclass(frozen=True)
class HeatMap:
    """Where a network found one class.

    Parameters
    ----------
    name
        The class, as in an `Outcome`.
    heat : np.ndarray [shape=(bands, frames)]
        From 0 to 1.
    sounding : np.ndarray [shape=(frames,), dtype=bool], optional
        When the instrument really sounds, where that is known.
    share, uniform
        Share of the map's energy where the instrument sounds, and what a uniform map would get, where known.
    """

    name: str
    heat: np.ndarray
    sounding: np.ndarray | None = None
    share: float | None = None
    uniform: float | None = None


@dataclass(frozen=True)
class View:
    """One clip as one network takes it.

    Parameters
    ----------
    network
        Its title.
    spectrogram : np.ndarray [shape=(bands, frames)]
        What it hears, in dB or another logarithm; row 0 is the lowest band.
    frame_seconds
        Seconds from one frame to the next.
    band_hz : np.ndarray [shape=(bands,)]
        Centre frequencies, ascending.
    outcomes
        Every class.
    maps
        Of the classes to show: those predicted and those true.
    concepts : np.ndarray [shape=(k, bands, frames)], optional
        Heat maps of a feature factorisation, from 0 to 1.
    concept_names
        What each concept is called.
    threshold
        Probability from which a class is predicted; None where the most probable one is.
    """

    network: str
    spectrogram: np.ndarray
    frame_seconds: float
    band_hz: np.ndarray
    outcomes: Sequence[Outcome]
    maps: Sequence[HeatMap]
    concepts: np.ndarray | None = None
    concept_names: Sequence[str] = ()
    threshold: float | None = 0.5


@dataclass(frozen=True)
class Entry:
    """One clip of the gallery.

    Parameters
    ----------
    key
        Its key in the corpus.
    title
        One line about it.
    waveform : np.ndarray [shape=(samples,)]
        Mono.
    sample_rate
        In Hz.
    views
        One per network.
    """

    key: str
    title: str
    waveform: np.ndarray
    sample_rate: int
    views: Sequence[View]

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.waveform) / self.sample_rate


def _grey(view: View) -> np.ndarray:
    """The spectrogram on white, RGB; its softest twentieth fades away."""
    low, high = np.quantile(view.spectrogram, [0.05, 1.0])
    loud = np.clip((view.spectrogram - low) / max(high - low, 1e-9), 0, 1)
    # Sixteen greys are all the eye needs here, and halve the file.
    return np.repeat(1 - 0.8 * np.round(15 * loud[..., None] ** 1.3) / 15, 3, axis=2)


def _time_axes(figure: Figure, bottom: float, view: View, seconds: float) -> Axes:
    """Axes for one spectrogram, `bottom` inches above the picture's edge, with its bands named in kHz."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((LEFT / width, bottom / height, SPAN / width, PANEL / height))
    bands = len(view.band_hz)
    step = 0.2 if seconds < 2 else 1 if seconds < 15 else 5
    axes.set(xlim=(0, seconds), ylim=(-0.5, bands - 0.5), xticks=np.arange(0, seconds + 0.01, step))
    hz = np.array([250, 500, 1000, 2000, 4000, 8000])
    hz = hz[(hz >= view.band_hz[0]) & (hz <= view.band_hz[-1])]
    places = np.interp(hz, view.band_hz, np.arange(bands))
    clear = np.flatnonzero(np.diff(places, append=np.inf) > 0.13 * bands)
    axes.set_yticks(places[clear], [f"{hz[i] / 1000:g}" for i in clear])
    axes.tick_params(labelbottom=False, length=2.5, pad=2)
    axes.set_ylabel("kHz", labelpad=2)
    return axes


def _show(axes: Axes, view: View, picture: np.ndarray) -> None:
    """Put an RGB picture of the spectrogram's shape where its frames are in time."""
    bands, frames = view.spectrogram.shape
    axes.imshow(
        np.clip(picture, 0, 1),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, frames * view.frame_seconds, -0.5, bands - 0.5),
    )


def _draw_map(axes: Axes, view: View, heat_map: HeatMap, outcome: Outcome, grey: np.ndarray) -> None:
    """One class: heat over the spectrogram, a line around its stronger half, a bar below while it really sounds."""
    status, (bands, frames) = outcome.status, view.spectrogram.shape
    alpha = 0.72 * np.round(20 * np.clip(heat_map.heat, 0, 1)[..., None]) / 20
    _show(axes, view, (1 - alpha) * grey + alpha * HEAT)
    seconds = (np.arange(frames) + 0.5) * view.frame_seconds
    if heat_map.heat.min() < 0.5 < heat_map.heat.max():
        axes.contour(seconds, np.arange(bands), heat_map.heat, [0.5], colors="black", linewidths=0.8)
    for spine in axes.spines.values():
        spine.set(color=status.colour, linewidth=2, linestyle=status.line)
    if heat_map.sounding is not None:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], heat_map.sounding, [0]]).astype(int)))
        for start, end in edges.reshape(-1, 2) * view.frame_seconds:
            box = Rectangle((start, -0.13), end - start, 0.075, color="black", lw=0, clip_on=False)
            box.set_transform(axes.get_xaxis_transform())
            axes.add_patch(box)
    text = f"{status.sign} {heat_map.name.replace('_', ' ')}: {status.word}, p = {outcome.probability:.2f}"
    axes.set_title(text, loc="left", color=status.colour, weight="bold", pad=4)
    if heat_map.share is not None and heat_map.uniform is not None:
        aside = f"{heat_map.share:.0%} on the instrument (chance {heat_map.uniform:.0%})"
    elif not heat_map.heat.any():
        aside = "the map is empty"
    else:
        return
    axes.set_title(aside, loc="right", pad=4)


def _draw_concepts(axes: Axes, view: View, grey: np.ndarray) -> None:
    """Every bin in the colour of its strongest concept; each concept numbered where it stands out most."""
    concepts = np.clip(view.concepts, 0, 1)
    colours = np.array([to_rgb(CONCEPT_COLOURS[i % len(CONCEPT_COLOURS)]) for i in range(len(concepts))])
    alpha = 0.75 * np.round(12 * concepts.max(axis=0)[..., None]) / 12
    _show(axes, view, (1 - alpha) * grey + alpha * colours[concepts.argmax(axis=0)])
    for number, concept in enumerate(concepts):
        if concept.any():
            others = np.delete(concepts, number, axis=0).max(axis=0, initial=0)
            band, frame = np.unravel_index((concept - others).argmax(), concept.shape)
            place = np.clip((frame + 0.5) * view.frame_seconds, 0.15, axes.get_xlim()[1] - 0.15)
            box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": colours[number], "lw": 1.2}
            middle = np.clip(band, 0.12 * len(view.band_hz), 0.88 * len(view.band_hz))
            axes.text(place, middle, str(number + 1), ha="center", va="center", fontsize=7, weight="bold", bbox=box)
    axes.set_title("Concepts (Deep Feature Factorization)", loc="left", weight="bold", pad=4)
    names = [f"{number + 1}  {name.replace('_', ' ')}" for number, name in enumerate(view.concept_names)]
    patches = [Patch(color=to_rgba(colour, 0.8)) for colour in colours]
    axes.legend(
        patches,
        names,
        loc="upper left",
        bbox_to_anchor=(-0.01, -0.32),
        ncols=2,
        frameon=False,
        borderaxespad=0,
        handlelength=1,
        handleheight=0.8,
        columnspacing=1.5,
        labelspacing=0.35,
    )


def _draw_probabilities(figure: Figure, view: View, top: float, height: float) -> None:
    """Bars of all classes, most probable first, with the threshold; `top` and `height` in inches."""
    width, whole = figure.get_size_inches()
    axes = figure.add_axes((BARS / width, (top - height) / whole, (width - BARS - 0.15) / width, height / whole))
    ranked = sorted(view.outcomes, key=lambda o: -o.probability)
    places = np.arange(len(ranked))
    axes.barh(places, [o.probability for o in ranked], color=[o.status.colour for o in ranked], height=0.72)
    if view.threshold is not None:
        axes.axvline(view.threshold, color="black", lw=1, ls="--")
    axes.set_yticks(places, [f"{o.status.sign} {o.name.replace('_', ' ')}".strip() for o in ranked])
    for label, outcome in zip(axes.get_yticklabels(), ranked, strict=True):
        if outcome.status is not QUIET:
            label.set(color=outcome.status.colour, weight="bold")
        elif not outcome.observed:
            label.set(color="#777777", style="italic")
    middle = 0.5 if view.threshold is None else view.threshold
    axes.set(xlim=(0, 1), ylim=(len(ranked) - 0.4, -0.6), xticks=[0, middle, 1])
    axes.set_xticklabels(["0", f"{middle:g}", "1"])
    axes.tick_params(axis="y", length=0, pad=3)
    axes.tick_params(axis="x", length=2.5, pad=2)
    axes.set_title("Probability", loc="left", weight="bold", pad=4)
    if any(not o.observed and o.status is QUIET for o in ranked):
        axes.set_xlabel("grey italics: nobody was asked", color="#777777", style="italic", loc="right", labelpad=1)
    sns.despine(ax=axes)


def picture(entry: Entry, view: View) -> tuple[bytes, dict[str, float]]:
    """Draw one clip as one network takes it.

    Parameters
    ----------
    entry
        The clip.
    view
        One of its views.

    Returns
    -------
    png : bytes
        The spectrogram, a map per class, concepts and probabilities.
    box : dict of str to float
        Where time runs in it, for a playhead: ``left``, ``width``, ``top`` and ``height`` in percent of the picture.

    Raises
    ------
    RepriseError
        A map has another shape than the spectrogram, or belongs to no outcome.
    """
    by_name = {outcome.name: outcome for outcome in view.outcomes}
    for heat_map in view.maps:
        if heat_map.name not in by_name or heat_map.heat.shape != view.spectrogram.shape:
            raise RepriseError(
                f"the map of {heat_map.name} for clip {entry.key} fits neither the classes nor the spectrogram "
                f"{view.spectrogram.shape}; give one map per class, at the spectrogram's resolution"
            )
    maps = sorted(view.maps, key=lambda m: -by_name[m.name].probability)
    concepts = view.concepts is not None and len(view.concepts) > 0
    panels = 1 + len(maps) + concepts
    below = FOOT + (0.19 * math.ceil(len(view.concepts) / 2) if concepts else 0)
    whole = TOP + max(panels * (PANEL + GAP) + below, GAP + 0.2 * len(view.outcomes) + FOOT)
    # From the defaults, so that nobody's matplotlibrc changes the picture.
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure((WIDTH, whole), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        figure.text(LEFT / WIDTH, 1 - 0.08 / whole, f"{entry.key}   {view.network}", va="top", fontsize=10)
        grey = _grey(view)
        for number in range(panels):
            top = whole - TOP - (number + 1) * (PANEL + GAP)
            axes = _time_axes(figure, top, view, entry.seconds)
            if number == 0:
                _show(axes, view, grey)
                axes.set_title("Spectrogram", loc="left", weight="bold", pad=4)
                legend = "orange: evidence;  line: stronger half"
                legend += ";  bar: really sounds" if any(m.sounding is not None for m in maps) else ""
                axes.set_title(legend if maps else "", loc="right", pad=4, color="#555555")
            elif number <= len(maps):
                heat_map = maps[number - 1]
                _draw_map(axes, view, heat_map, by_name[heat_map.name], grey)
            else:
                _draw_concepts(axes, view, grey)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("seconds", labelpad=1, loc="right")
        _draw_probabilities(figure, view, whole - TOP - GAP, whole - TOP - GAP - FOOT)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    file = io.BytesIO()
    in_few_colours(image).save(file, "PNG", optimize=True)
    time = {
        "left": 100 * LEFT / WIDTH,
        "width": 100 * SPAN / WIDTH,
        "top": 100 * (TOP + GAP) / whole,
        "height": 100 * (panels * (PANEL + GAP) - GAP) / whole,
    }
    return file.getvalue(), time
