"""The tool of study 001 for the networks of this project: a clip, and what every filter answers while it plays.

It takes networks that have maps over frequency and time and were trained from spectrograms. An arm that learns from
vectors computed of each clip beforehand, such as embeddings, has no such maps and is refused.

A study whose networks are trained by `harness.studies.networks` needs nothing for it. Its code module may offer

``restore(record, study) -> (ModelSpec, Trial)``
    Where `harness.studies.networks.restored` cannot rebuild its networks.
``pieces(front_end, waveform) -> Pieces``
    Where it hears a clip in another way than `harness.explain.animation.cut` cuts it, such as in windows that overlap.
"""

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import corpora
from harness.corpora import Corpus
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.explain.animation import FILTERS, Layer, Pieces, Response, cut, respond
from harness.features.audio import decode
from harness.report import frame, gallery, player, video
from harness.storage import fingerprint, sha256_of
from harness.studies import networks, records
from harness.studies import study as studies
from harness.studies.context import Context
from harness.studies.networks import ModelSpec
from harness.studies.records import Record
from harness.studies.study import Study
from harness.studies.trial import Trial, trial_label
from harness.terminal import progress

#: Rate of the sound in Hz.
SOUND_RATE = 44_100
#: Seconds of an audio file that are shown at most, if nothing is said: a GTZAN track's.
SECONDS = 30.0
#: Frames per second of an MP4, and of an animated image, which has no sound to keep up with and is large.
FPS = {"mp4": 25.0} | dict.fromkeys(video.IMAGES, 8.0)
#: Width and height of their frames.
SIZES = {"mp4": frame.SIZE} | dict.fromkeys(video.IMAGES, (960, 540))
FORMATS = ("html", *video.FORMATS)


@dataclass(frozen=True, eq=False)
class Clip:
    """What is played.

    Parameters
    ----------
    name
        Its key in the corpus, or the file's name.
    title
        One line about it.
    path
        The audio file.
    of_corpus
        Whether it is one of the corpus's clips.
    seconds
        Its nominal length, where its corpus has one.
    labelled
        Classes that it is known to have.
    part
        Part of the trial's split that it is in; empty for what is not in it.
    warning
        Why its sound should not be passed on, or nothing.
    """

    name: str
    title: str
    path: Path
    of_corpus: bool
    seconds: float | None
    labelled: tuple[str, ...]
    part: str
    warning: str


def open_network(record: Record, study: Study) -> tuple[ModelSpec, Trial]:
    """Rebuild the network of a finished trial.

    Parameters
    ----------
    record, study
        Of the trial.

    Returns
    -------
    blueprint : ModelSpec
        With the trained network.
    trial : Trial
        The trial.

    Raises
    ------
    RepriseError
        The arm has no maps over frequency and time that could be shown.
    """
    if hasattr(study.code, "restore"):
        return study.code.restore(record, study)
    if "frozen_prefix" not in record.data:  # the mark of `harness.studies.networks.train`
        raise RepriseError(
            f"{record.arm} of {study.name} learns from vectors that were computed of each clip beforehand, and has no "
            "maps over frequency and time to show; choose an arm that is trained from spectrograms"
        )
    context = networks.restored(record, study)
    return context.spec, context.trial


def find_clip(corpus: Corpus, trial: Trial, clip: str) -> Clip:
    """Find what the user wants to hear.

    Parameters
    ----------
    corpus
        The trial's, with whole clips.
    trial
        For its split.
    clip
        A key of the corpus, or else an audio file.

    Returns
    -------
    Clip
        A key is tried first.

    Raises
    ------
    RepriseError
        It is neither.
    """
    keys = corpus.clips["key"].to_numpy(dtype=str)
    (rows,) = np.nonzero(keys == clip)
    if len(rows):
        row = corpus.clips.iloc[rows[0]]
        known = corpus.labels[rows[0]].astype(bool) & corpus.mask[rows[0]]
        context = Context(trial)
        own = context.corpus
        of_rows = clips_of(own.clips["key"].to_numpy(dtype=str))
        parts = [part for part, chosen in context.split.rows.items() if (of_rows[chosen] == clip).any()]
        warning = (
            ""
            if corpus.pocket
            else f"This holds a recording of {corpus.name}, which is not ours to pass on: keep it to yourself."
        )
        return Clip(
            name=clip,
            title=f"Clip {clip}",
            path=Path(row["path"]),
            of_corpus=True,
            seconds=corpus.seconds,
            labelled=tuple(np.array(corpus.classes)[known].tolist()),
            part=" and ".join(parts),
            warning=warning,
        )
    path = Path(clip).expanduser()
    if path.is_file():
        return Clip(path.stem, path.name, path, of_corpus=False, seconds=None, labelled=(), part="", warning="")
    near = difflib.get_close_matches(clip, keys.tolist(), n=3) or keys[:3].tolist()
    raise RepriseError(
        f"{clip} is neither a clip of {corpus.name} nor an audio file; give a file, or a key such as {', '.join(near)}"
    )


def pieces(study: Study, blueprint: ModelSpec, waveform: np.ndarray, span: float | None) -> Pieces:
    """Cut a waveform as a study's network takes it.

    Parameters
    ----------
    study
        Its code may cut in its own way.
    blueprint
        Network and front end.
    waveform : np.ndarray [shape=(samples,)]
        At the front end's rate.
    span
        Length of the corpus's clips in seconds, where all have one.

    Returns
    -------
    Pieces
        For `harness.explain.animation.respond`.
    """
    if hasattr(study.code, "pieces"):
        return study.code.pieces(blueprint.front_end, waveform)
    return cut(blueprint.network, blueprint.front_end, waveform, span=span)


@dataclass(frozen=True, eq=False)
class Heard:
    """A clip as a trained network answers to it, ready to be written.

    Parameters
    ----------
    record
        Of the trial.
    clip
        What was heard.
    response
        The network's.
    waveform : np.ndarray [shape=(samples,)]
        Sound of the seconds that are shown, mono.
    title
        For people.
    caption
        What was run on what, by name.
    """

    record: Record
    clip: Clip
    response: Response
    waveform: np.ndarray
    title: str
    caption: dict[str, str]

    @property
    def stem(self) -> str:
        """Of the names of its files."""
        return _slug(f"{self.clip.name}-{self.record.arm}")

    @property
    def place(self) -> str:
        """Name of a folder for its files, which no other training, seed or clip has."""
        clip = self.clip.name if self.clip.of_corpus else sha256_of(self.clip.path)
        tag = fingerprint([self.record.data["checksum"], clip], length=8)
        return _slug(f"{self.record.folder.parent.name}-seed-{self.record.seed}-{self.clip.name}-{tag}")


def listen(
    run: Path,
    clip: str,
    *,
    layers: Sequence[str] | None = None,
    filters: int = FILTERS,
    seconds: float | None = None,
) -> Heard:
    """Let a trained network hear a clip.

    Parameters
    ----------
    run
        A trial's folder.
    clip
        A key of the record's corpus, or an audio file.
    layers
        Names of stages; default: all that are worth showing.
    filters
        Of each layer those that move most, so many.
    seconds
        How much of the clip to show from its start; default: all of a corpus's clip, `SECONDS` of a file.

    Returns
    -------
    Heard
        For `write_page` and `write_film`.

    Raises
    ------
    RepriseError
        The folder holds no sound record, its arm has no maps, there is no such clip or layer, or the audio cannot be
        used, such as that of a file which is shorter than the network takes.
    """
    record = records.verify(Path(run))
    study = studies.load(record.data["study"])
    blueprint, trial = open_network(record, study)
    corpus = corpora.load(record.data["corpus"])
    found = find_clip(corpus, trial, clip)
    rate = blueprint.front_end.sample_rate
    waveform = decode(found.path, rate, seconds=found.seconds)
    sound = decode(found.path, SOUND_RATE, seconds=found.seconds)
    limit = seconds or (np.inf if found.of_corpus else SECONDS)
    # A clip is cut as a whole, however little of it is shown, as its level may depend on all of it. Where clips have
    # one length a file is heard as several, each by itself, and those behind what is shown can be left out.
    if not found.of_corpus and corpus.seconds:
        waveform = waveform[: round(math.ceil(limit / corpus.seconds) * corpus.seconds * rate)]
    try:
        cut_up = pieces(study, blueprint, waveform, corpus.seconds)
    except RepriseError as error:
        if found.of_corpus:
            raise
        raise RepriseError(
            f"{found.path.name} lasts {len(waveform) / rate:.2f} s, which is less than the network of {record.arm} "
            "takes at once; give a longer file"
        ) from error
    response = respond(
        blueprint.network,
        cut_up,
        corpus.classes,
        end=min(limit, len(sound) / SOUND_RATE),
        activation=blueprint.activation,
        layers=layers,
        filters=filters,
    )
    sound = sound[: round(response.end * SOUND_RATE)]
    if not np.abs(sound).max(initial=0) > 1e-4:
        raise RepriseError(f"the first {response.end:.1f} s of {found.name} are silent; show more with --seconds")
    arm = study.arm(record.arm)
    caption = {
        "Study": study.title,
        "Arm": arm.title + (f" ({record.condition})" if record.condition != study.conditions[0].name else ""),
        "Network": arm.network,
        "Trained on": f"{corpus.name}, profile {record.data['profile']}, seed {record.seed}",
        "Weights at the start": str(record.data["weights"]["kind"]),
        "Clip": found.name + (f" ({found.part} part)" if found.part else ""),
    }
    label = trial_label(study, record.arm, record.condition)
    return Heard(record, found, response, sound, f"{found.title} as {label} hears it", caption)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-.")


def write_page(heard: Heard, folder: Path) -> Path:
    """Write the player.

    Parameters
    ----------
    heard
        Of `listen`.
    folder
        Where the page goes.

    Returns
    -------
    Path
        The page, which holds everything it needs.
    """
    path = folder / f"{heard.stem}.html"
    entry = gallery.Entry(heard.clip.name, heard.clip.title, heard.waveform, SOUND_RATE, [])
    player.write_player(
        heard.response,
        path,
        title=heard.title,
        caption=heard.caption,
        sound=gallery.sound(entry),
        labelled=heard.clip.labelled,
        warning=heard.clip.warning,
    )
    return path


def write_film(
    heard: Heard,
    layer: Layer,
    folder: Path,
    form: str,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Path:
    """Write a film of one layer.

    Parameters
    ----------
    heard
        Of `listen`.
    layer
        One of its response's.
    folder
        Where the film goes.
    form
        One of `harness.report.video.FORMATS`.
    fps
        Frames per second; default: `FPS`.
    size
        Width and height of the frames; default: `SIZES`.

    Returns
    -------
    Path
        The film.
    """
    fps = fps or FPS[form]
    path = folder / f"{heard.stem}-{_slug(layer.name)}.{form}"
    drawn = frame.frames(
        heard.response, layer, title=heard.title, fps=fps, labelled=heard.clip.labelled, size=size or SIZES[form]
    )
    with progress() as bar:
        task = bar.add_task(path.name, total=frame.count(heard.response, fps))

        def counted() -> Iterator[np.ndarray]:
            for picture in drawn:
                yield picture
                bar.advance(task)

        video.write(counted(), path, fps=fps, waveform=heard.waveform, sample_rate=SOUND_RATE)
    return path


def visualise(
    run: Path,
    clip: str,
    folder: Path,
    *,
    layers: Sequence[str] | None = None,
    filters: int = FILTERS,
    seconds: float | None = None,
    fps: float | None = None,
    formats: Sequence[str] | None = None,
) -> list[Path]:
    """Write a page, and films, of a network that hears a clip.

    Parameters
    ----------
    run, clip, layers, filters, seconds
        As in `listen`.
    folder
        Where the files go, in a folder of their own for each training and clip: nothing else is ever replaced there.
    fps
        Frames per second of films; default: `FPS`.
    formats
        Of `FORMATS`; default: the page and an MP4, or where ffmpeg is absent a WebP. Films show one layer each: those
        in `layers`, or the first of all, as Fig. 2 of study 001 does.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    RepriseError
        As `listen`; or a format is unknown, or cannot be written here.
    """
    formats = list(formats or ("html", "mp4" if video.ffmpeg() else "webp"))
    for form in formats:
        if form not in FORMATS:
            raise RepriseError(f"there is no format {form!r}; choose {', '.join(FORMATS)}")
    if "mp4" in formats and not video.ffmpeg():  # before anything takes time
        raise RepriseError(video.NO_FFMPEG)
    heard = listen(run, clip, layers=layers, filters=filters, seconds=seconds)
    folder = folder / heard.place
    filmed = heard.response.layers if layers else heard.response.layers[:1]
    written = []
    for form in formats:
        if form == "html":
            written.append(write_page(heard, folder))
        else:
            written += [write_film(heard, layer, folder, form, fps=fps) for layer in filmed]
    return written
