"""A page on which one hears what networks heard: pieces, and what each map of each network lets through of them.

The page is a single file that opens from disk: pictures and sounds are inside it and nothing is fetched. Beside it goes
a picture of each piece for print. Everything comes in as plain arrays; nothing here knows a corpus or a network. The
same pieces give the same bytes.
"""

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from harness.errors import RepriseError
from harness.report.clip_picture import HEAT
from harness.report.gallery import data_uri, mp3, render_page
from harness.report.style import SMALL, in_few_colours, new_figure, style
from harness.storage import atomic_path, write_text

#: Rate of the page's sounds, and how they are encoded: about 36 kbit/s, as a page has hundreds of them. At less the
#: encoder removes what lies above 6 kHz, which is all that some maps let through.
AUDIO_RATE = 22_050
MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE", "compression_level": 0.7}
#: Shades of grey and of heat in a picture; their product is the size of its palette.
GREYS, HEATS = 10, 8
#: Share of the heat's colour where a map is 1.
COVER = 0.78
#: Characters on one line of a tile's title.
LONGEST = 15
#: Dots per inch of the pictures beside the page.
DPI = 110
#: Of a picture's frequency axis, in Hz.
TICKS = (250, 1000, 4000)


@dataclass(frozen=True)
class Tile:
    """One map, to see and to hear.

    Parameters
    ----------
    title
        What it is of, in a few words.
    heat : np.ndarray [shape=(bands, frames)]
        From 0 to 1: the mask that was laid upon the spectrogram.
    waveform : np.ndarray [shape=(samples,)], optional
        What the mask lets through; None where nothing is, or where it may not be passed on.
    note
        What to know of the sound, in a few words.
    """

    title: str
    heat: np.ndarray
    waveform: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One network on one piece.

    Parameters
    ----------
    network
        Its title.
    verdict
        What it predicted, in words.
    right
        Whether that is true.
    tiles
        Its maps.
    """

    network: str
    verdict: str
    right: bool
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Piece:
    """One piece of music and all that was made of it.

    Parameters
    ----------
    key
        Of its segment in the corpus.
    title
        Its class, by which the table of contents goes.
    spectrogram : np.ndarray [shape=(bands, frames)]
        From 0 to 1 as the networks take it, lowest band first.
    band_hz : np.ndarray [shape=(bands,)]
        Centre frequencies, ascending.
    seconds
        Its length.
    sample_rate
        Of all its sounds, in Hz.
    rows
        One per network.
    waveform : np.ndarray [shape=(samples,)], optional
        The original; None where it may not be passed on.
    """

    key: str
    title: str
    spectrogram: np.ndarray
    band_hz: np.ndarray
    seconds: float
    sample_rate: int
    rows: Sequence[Row]
    waveform: np.ndarray | None = None


def write_page(
    pieces: Sequence[Piece], folder: Path | str, *, title: str, caption: Mapping[str, str], elsewhere: str | None = None
) -> Path:
    """Write the page and the picture of each piece.

    Parameters
    ----------
    pieces
        In the order to show them. Without any sound the page says that recordings are not ours to pass on.
    folder
        Where ``index.html`` and a PNG per piece go; PNGs of an earlier page there are removed.
    title
        The page's title.
    caption
        What was run, by name.
    elsewhere
        Of a page without sound: where the reader has one with it.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RepriseError
        A map has another shape than its spectrogram, two pieces have one name, or this machine's libsndfile cannot
        write MP3.
    """
    folder = Path(folder)
    shown, written = [], set()
    for piece in pieces:
        _check(piece)
        name = f"{file_name(piece.title)}.png"
        if name in written:
            raise RepriseError(f"two pieces of the page are called {piece.title!r}; give each its own title")
        written.add(name)
        with atomic_path(folder / name) as path:
            path.write_bytes(picture(piece))
        rows = [
            {
                "row": row,
                "tiles": [
                    {
                        "title": tile.title,
                        "image": data_uri("image/png", tile_picture(piece.spectrogram, tile.heat)),
                        "sound": _sound(tile.waveform, piece),
                        "note": tile.note,
                        "empty": not tile.heat.any(),
                    }
                    for tile in row.tiles
                ],
            }
            for row in piece.rows
        ]
        image = data_uri("image/png", tile_picture(piece.spectrogram, None))
        shown.append({"piece": piece, "image": image, "sound": _sound(piece.waveform, piece), "rows": rows})
    page = render_page(
        "listening.html.j2",
        package="replications.gtzan_cam",
        title=title,
        caption=caption,
        pieces=shown,
        elsewhere=elsewhere,
        audio=any(item["sound"] for item in shown),
    )
    write_text(folder / "index.html", page)
    for earlier in folder.glob("*.png"):
        if earlier.name not in written:
            earlier.unlink()
    return folder / "index.html"


def write_sounds(sounds: Mapping[str, np.ndarray], sample_rate: int, folder: Path | str) -> list[Path]:
    """Write sounds as FLAC files, which are compressed and lose nothing.

    Parameters
    ----------
    sounds
        By the stem of their files; full scale +-1.
    sample_rate
        In Hz.
    folder
        Where they go; FLAC files of an earlier run there are removed.

    Returns
    -------
    list of Path
        The files, 16 bits a sample.

    Raises
    ------
    RepriseError
        A sound exceeds full scale and would be clipped.
    """
    folder = Path(folder)
    paths = []
    for name, waveform in sounds.items():
        peak = float(np.abs(waveform).max(initial=0))
        if not peak <= 1:
            raise RepriseError(f"the sound {name} has a peak of {peak:.2f}; bring it below 1 before it is written")
        paths.append(folder / f"{file_name(name)}.flac")
        with atomic_path(paths[-1]) as path:
            soundfile.write(path, np.asarray(waveform, np.float32), sample_rate, format="FLAC", subtype="PCM_16")
    for earlier in folder.glob("*.flac"):
        if earlier not in paths:
            earlier.unlink()
    return paths


def file_name(title: str) -> str:
    """Stem of a file: small letters, digits and hyphens.

    Examples
    --------
    >>> file_name("CAM of hip hop (true)")
    'cam-of-hip-hop-true'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def tile_picture(spectrogram: np.ndarray, heat: np.ndarray | None) -> bytes:
    """Draw a spectrogram in grey, and over it a map in orange, both from 0 to 1: a PNG file, a pixel per bin."""
    # Loud is dark; the exponent keeps what is soft from fogging the picture.
    loud = np.rint((GREYS - 1) * np.clip(spectrogram, 0, 1) ** 1.5).astype(np.uint8)
    warm = np.zeros_like(loud) if heat is None else np.rint((HEATS - 1) * np.clip(heat, 0, 1)).astype(np.uint8)
    image = Image.fromarray((loud * HEATS + warm)[::-1], "P")
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def picture(piece: Piece) -> bytes:
    """Draw a piece with all its maps, for print: the spectrogram above, a row per network below; a PNG file."""
    columns = max([1, *(len(row.tiles) for row in piece.rows)])
    heights = [1.35, *(1.25 for _ in piece.rows)]
    with mpl.rc_context(style()):
        figure = new_figure(sum(heights))
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(DPI)
        bands = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        bands[0].suptitle(f"{piece.title}: {piece.key}, as the networks take it", x=0.01, ha="left", weight="bold")
        axes = bands[0].subplots(1, 2, width_ratios=[1.4, 1])
        _draw(axes[0], piece, None, first=True)
        axes[0].set_xlabel("seconds", labelpad=1)
        axes[1].set_axis_off()
        axes[1].text(0, 0.95, "orange: what the map lets through\ngrey: the spectrogram, loud is dark", va="top")
        for row, band in zip(piece.rows, bands[1:], strict=True):
            mark = "✓" if row.right else "✗"
            band.suptitle(f"{row.network}: {mark} {row.verdict}", x=0.01, ha="left", weight="bold")
            panels = band.subplots(1, columns, squeeze=False)[0]
            for number, axes in enumerate(panels):
                if number >= len(row.tiles):
                    axes.set_axis_off()
                    continue
                tile = row.tiles[number]
                _draw(axes, piece, tile.heat, first=not number)
                text = tile.title if tile.heat.any() else f"{tile.title} (empty)"
                axes.set_title("\n".join(textwrap.wrap(text, LONGEST)), size=SMALL, pad=2)
                if row is piece.rows[-1] and not number:
                    axes.set_xlabel("seconds", labelpad=1)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    file = io.BytesIO()
    in_few_colours(image, 128).save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(axes: Axes, piece: Piece, heat: np.ndarray | None, *, first: bool) -> None:
    """A tile with axes in seconds and kHz."""
    image = np.asarray(Image.open(io.BytesIO(tile_picture(piece.spectrogram, heat))).convert("RGB"))
    count = len(piece.band_hz)
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(0, piece.seconds, -0.5, count - 0.5))
    hz = [tick for tick in TICKS if piece.band_hz[0] <= tick <= piece.band_hz[-1]]
    axes.set_yticks(
        np.interp(hz, piece.band_hz, np.arange(count)), [f"{tick / 1000:g}" for tick in hz] if first else [""] * len(hz)
    )
    axes.set_xticks(range(int(piece.seconds) + 1))
    axes.tick_params(length=2, pad=1.5)
    if first:
        axes.set_ylabel("kHz", labelpad=2)


def _palette() -> list[int]:
    """Colours of a tile by grey, then by heat."""
    colours = []
    for loud in range(GREYS):
        grey = 1 - 0.85 * loud / (GREYS - 1)
        for warm in range(HEATS):
            share = COVER * warm / (HEATS - 1)
            colours += [round(255 * value) for value in (1 - share) * grey + share * HEAT]
    return colours


def _sound(waveform: np.ndarray | None, piece: Piece) -> str | None:
    if waveform is None:
        return None
    return data_uri("audio/mpeg", mp3(waveform, piece.sample_rate, rate=AUDIO_RATE, settings=MP3))


def _check(piece: Piece) -> None:
    for row in piece.rows:
        for tile in row.tiles:
            if tile.heat.shape != piece.spectrogram.shape:
                raise RepriseError(
                    f"the map {tile.title!r} of {row.network} on {piece.key} is {tile.heat.shape} and its spectrogram "
                    f"{piece.spectrogram.shape}; enlarge it first"
                )
