"""A gallery of explained clips: a picture per clip and network, and one page that plays them.

The page is a single file that opens from disk: pictures and sound are inside it, nothing is fetched, and a playhead
runs over the pictures while a clip plays. The same entries give the same bytes.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import soundfile
import soxr

from harness.errors import RepriseError
from harness.report.clip_picture import MISSED, QUIET, RIGHT, UNLABELLED, WRONG, Entry, HeatMap, Outcome, View, picture
from harness.storage import atomic_path, write_text

__all__ = [
    "Entry",
    "HeatMap",
    "Outcome",
    "View",
    "data_uri",
    "describe",
    "mp3",
    "picture",
    "render_page",
    "sound",
    "write_gallery",
]

#: Sample rate and highest peak of the sound in the page; the head room is for what MP3 adds.
AUDIO_RATE, AUDIO_PEAK = 32_000, 0.85
#: Lowest peak of what counts as sound.
AUDIBLE = 1e-4
#: About 40 kbit/s.
MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.7}


def sound(entry: Entry) -> bytes:
    """Encode a clip for the page.

    Parameters
    ----------
    entry
        The clip.

    Returns
    -------
    bytes
        A mono MP3 file.

    Raises
    ------
    RepriseError
        The clip is silent, or this machine's libsndfile cannot write MP3.
    """
    if not float(np.abs(entry.waveform).max(initial=0)) > AUDIBLE:
        raise RepriseError(f"clip {entry.key} is silent; leave it out of the gallery")
    return mp3(entry.waveform, entry.sample_rate)


def mp3(waveform: np.ndarray, sample_rate: int, *, rate: int = AUDIO_RATE, settings: Mapping[str, Any] = MP3) -> bytes:
    """Encode a sound as MP3, the one compressed format that every browser plays from a data URI.

    Parameters
    ----------
    waveform : np.ndarray [shape=(samples,)]
        Where its peak leaves the encoder no room it is turned down, never up.
    sample_rate
        In Hz.
    rate
        Of the file, in Hz.
    settings
        For ``soundfile.write``.

    Returns
    -------
    bytes
        A mono MP3 file.

    Raises
    ------
    RepriseError
        This machine's libsndfile cannot write MP3.
    """
    if "MP3" not in soundfile.available_formats():
        raise RepriseError("this libsndfile cannot write MP3; install soundfile from its wheel, or leave the audio out")
    peak = float(np.abs(waveform).max(initial=0))
    waveform = soxr.resample(np.asarray(waveform, np.float32), sample_rate, rate)
    file = io.BytesIO()
    soundfile.write(file, waveform * min(1, AUDIO_PEAK / max(peak, AUDIBLE)), rate, **settings)
    return file.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Put a file into an address, so that a page needs no other.

    Parameters
    ----------
    kind
        Media type, such as ``"image/png"``.
    content
        Of the file.

    Returns
    -------
    str
        ``data:...``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def render_page(template: str, /, package: str = "harness.report", **values: object) -> str:
    """Fill a template; text in it is escaped.

    Parameters
    ----------
    template
        Its file's name.
    package
        Where the file lies.
    **values
        What it asks for.

    Returns
    -------
    str
        HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def describe(view: View) -> str:
    """Say in words what the picture shows.

    Parameters
    ----------
    view
        One clip as one network takes it.

    Returns
    -------
    str
        Such as ``"right: violin 0.93; missed: cello 0.21"``.
    """
    words = []
    for status in (RIGHT, WRONG, MISSED, UNLABELLED):
        named = [f"{o.name} {o.probability:.2f}" for o in view.outcomes if o.status is status]
        words += [f"{status.word}: {', '.join(named)}"] if named else []
    return "; ".join(words) or "nothing predicted, nothing known to be there"


def write_gallery(
    entries: Sequence[Entry], folder: Path | str, *, title: str, caption: Mapping[str, str], audio: bool = True
) -> Path:
    """Write the pictures and the page.

    Parameters
    ----------
    entries
        The clips, in the order to show them.
    folder
        Where ``index.html`` and a PNG per clip and network go; PNGs of an earlier gallery there are removed.
    title
        The page's title.
    caption
        What was run, by name: corpus, profile, weights, arms, seeds.
    audio
        Whether the page carries the clips' sound. Not for published corpora: their audio is not ours to pass on.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RepriseError
        As `picture` and `sound`; or two pictures would have one name.
    """
    folder = Path(folder)
    clips, written = [], set()
    for entry in entries:
        views = []
        for view in entry.views:
            name = re.sub(r"[^a-z0-9_]+", "-", f"{entry.key}-{view.network}".lower()).strip("-") + ".png"
            if name in written:
                raise RepriseError(f"two pictures of the gallery are called {name}; give each clip and network once")
            written.add(name)
            png, box = picture(entry, view)
            with atomic_path(folder / name) as path:
                path.write_bytes(png)
            marked = sorted((o for o in view.outcomes if o.status is not QUIET), key=lambda o: -o.probability)
            views.append({"view": view, "image": data_uri("image/png", png), "box": box, "marked": marked})
        clips.append({"entry": entry, "views": views, "audio": data_uri("audio/mpeg", sound(entry)) if audio else None})
    outcomes = [outcome for entry in entries for view in entry.views for outcome in view.outcomes]
    page = render_page(
        "gallery.html.j2",
        title=title,
        caption=caption,
        clips=clips,
        audio=audio,
        describe=describe,
        statuses=(RIGHT, WRONG, MISSED, *([] if all(o.observed for o in outcomes) else [UNLABELLED])),
        known=any(m.sounding is not None for e in entries for v in e.views for m in v.maps),
    )
    write_text(folder / "index.html", page)
    for earlier in folder.glob("*.png"):  # of a gallery of other clips or networks
        if earlier.name not in written:
            earlier.unlink()
    return folder / "index.html"
