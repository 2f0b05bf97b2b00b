"""What needs the corpus or a network: the thesis' Fig. 12, and what the best set-up looked at.

The gallery has GradCAM of one note of each instrument that the set-up named, and of one that it did not. Published
recordings are pictured only: not even their samples are read here, so that none can end up in the results. Rendered
notes can be heard, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import corpora, features
from harness.analysis.study import Analysis
from harness.corpora import Corpus
from harness.corpora.orchestra import pitch_name
from harness.errors import RepriseError
from harness.explain import gradcam, scale
from harness.features import FrontEnd, Store
from harness.report import gallery
from harness.report.style import new_figure, save, style, write_foot
from harness.report.tables import about, best_arms
from harness.studies.records import Record
from harness.studies.study import Study
from replications.single_notes.heads import restore

#: Stage whose activations GradCAM weighs: the last convolution, as usual. Its 3 x 3 cells tell high from low and early
#: from late, and no more. Behind "repeat_1.19" there are 7 x 7, but with a random base a third of the maps are empty
#: there: summed over the cells, the gradients of most channels point away from the class.
TARGET, CELLS = "conv2d_7b", "3 x 3"
#: Of the sound in the gallery, in Hz.
SOUND_RATE = 44_100
#: Of the picture's frequency axis, in Hz.
TICKS = (250, 500, 1000, 2000, 4000)


@dataclass(frozen=True)
class Note:
    """A test note of a trial.

    Parameters
    ----------
    record
        Of the trial.
    index
        Its place in the trial's test part.
    key
        Its key in the corpus.
    true, predicted
        Numbers of classes.
    """

    record: Record
    index: int
    key: str
    true: int
    predicted: int


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> dict[str, Any]:
    """Write Fig. 12 and the gallery of the best set-up under the thesis' condition.

    Returns
    -------
    dict
        How a page shows them; empty where no network was trained.

    Raises
    ------
    RepriseError
        A restored network does not predict what its record holds.
    """
    base = study.conditions[0].name
    networks = [r for r in records if r.condition == base and study.arm(r.arm).parameters]
    if not networks:
        return {}
    analysis = Analysis(study, networks)
    (best,) = best_arms(analysis).values()
    of_arm = analysis.select(best)
    corpus = corpora.load(of_arm[0].data["corpus"])
    front_end = features.front_end(**of_arm[0].data["protocol"]["front_end"])
    notes = choose_notes(of_arm)
    entries: dict[int, gallery.Entry] = {}
    for record in of_arm:
        places = [i for i, note in enumerate(notes) if note.record is record]
        if places:
            network, pictures = restore(record, study)
            of_record = [notes[i] for i in places]
            shown = views(study, record, of_record, network, pictures, corpus, front_end)
            entries |= {i: entry(notes[i], view, corpus, front_end) for i, view in zip(places, shown, strict=True)}
    save(note_pictures(corpus, pictures, front_end), folder / "fig12_log_mel")
    of, wrong = about(analysis, of_arm), {note.true for note in notes if note.predicted != note.true}
    never = [name.replace("_", " ") for i, name in enumerate(corpus.classes) if i not in wrong]
    gallery.write_gallery(
        [entries[i] for i in range(len(notes))],
        folder / "gallery",
        title="What the set-up looked at",
        caption={
            "Corpus": of["corpus"],
            "Profile": of["profile"],
            "Weights": of["weights"],
            "Split": f"{of['split']}, test part",
            "Arm": f"{study.arm(best).title} (the best set-up by validation accuracy)",
            "Maps": f"GradCAM at {TARGET}, {CELLS} cells, each map in shares of its own peak",
            "Notes": "of each instrument a right and a wrong one, by the median of their probabilities",
            **({"Never mistaken in any seed": ", ".join(never)} if never else {}),
        },
        audio=corpus.pocket,
    )
    heard = "to see and to hear" if corpus.pocket else "to see"
    link = {"path": "gallery/index.html", "title": "Gallery", "text": f"notes with their maps, {heard}"}
    return {"figures": {"fig12_log_mel": "Fig. 12: a log-mel picture of each instrument"}, "links": [link]}


def choose_notes(records: Sequence[Record]) -> list[Note]:
    """Pick a right and a wrong note of each class.

    Parameters
    ----------
    records
        Of one arm and condition, in the order of their seeds.

    Returns
    -------
    list of Note
        Class by class, the right one first: of the first trial that has any, the one whose probability of the class
        that was predicted is the median, so neither the clearest nor the most doubtful. A class of which no trial has
        any goes without.
    """
    found: dict[tuple[int, bool], Note] = {}
    for record in records:
        p = record.predictions("test")
        true, predicted = p.labels.argmax(axis=1), p.probabilities.argmax(axis=1)
        for number in range(p.labels.shape[1]):
            for right in (True, False):
                some = np.flatnonzero((true == number) & ((predicted == true) == right))
                if len(some) and (number, right) not in found:
                    ranked = some[np.argsort(p.probabilities[some, predicted[some]], kind="stable")]
                    i = int(ranked[len(ranked) // 2])
                    found[number, right] = Note(record, i, str(p.keys[i]), number, int(predicted[i]))
    return [found[place] for place in sorted(found, key=lambda place: (place[0], not place[1]))]


def views(
    study: Study,
    record: Record,
    notes: Sequence[Note],
    network: torch.nn.Sequential,
    pictures: Store,
    corpus: Corpus,
    front_end: FrontEnd,
) -> list[gallery.View]:
    """Some notes of a trial as its network takes them, each with maps of the class it predicts and of the true one."""
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    inputs = np.array(pictures.array[[row_of[note.key] for note in notes]], np.float32)
    stored = record.predictions("test").probabilities[[note.index for note in notes]]
    with torch.inference_mode():
        found = torch.softmax(network(torch.from_numpy(inputs)), dim=-1).numpy()
    if np.abs(found - stored).max() > 0.02:  # another machine or number of threads rounds otherwise
        raise RepriseError(
            f"the network of {record.folder} predicts {np.abs(found - stored).max():.2f} off what its record holds: "
            "the features or the weights have changed since; run the trial again"
        )
    wanted = [list(dict.fromkeys((note.predicted, note.true))) for note in notes]
    maps = gradcam(network, torch.from_numpy(inputs), wanted, target=TARGET)
    result = []
    for note, picture, probabilities, classes, raw in zip(notes, inputs, stored, wanted, maps, strict=True):
        heat = upright(scale(raw, picture.shape), front_end)
        result.append(
            gallery.View(
                network=f"{study.arm(record.arm).title} (seed {record.seed})",
                spectrogram=upright(picture, front_end),
                frame_seconds=front_end.seconds_per_frame,
                band_hz=front_end.band_hz,
                outcomes=[
                    gallery.Outcome(name, float(p), true=i == note.true, observed=True, predicted=i == note.predicted)
                    for i, (name, p) in enumerate(zip(corpus.classes, probabilities, strict=True))
                ],
                maps=[gallery.HeatMap(corpus.classes[i], h) for i, h in zip(classes, heat, strict=True)],
                threshold=None,
            )
        )
    return result


def entry(note: Note, view: gallery.View, corpus: Corpus, front_end: FrontEnd) -> gallery.Entry:
    """A note's place in the gallery; its sound is what the picture shows, from the onset, and only if it was rendered.

    Without sound the waveform is silence of the same length.
    """
    clip = corpus.clips[corpus.clips["key"] == note.key].iloc[0]
    waveform = np.zeros(round(view.spectrogram.shape[1] * view.frame_seconds * SOUND_RATE), np.float32)
    if corpus.pocket:
        onset = front_end.onset(features.decode(clip["path"], front_end.sample_rate)) / front_end.sample_rate
        heard = features.decode(clip["path"], SOUND_RATE)[round(onset * SOUND_RATE) :][: len(waveform)]
        waveform[: len(heard)] = heard
    outcome = "right"
    if note.true != note.predicted:
        outcome = f"taken for {corpus.classes[note.predicted].replace('_', ' ')}"
    title = f"{title_of(clip, corpus.classes[note.true])}: {outcome}"
    return gallery.Entry(note.key, title[0].upper() + title[1:], waveform, SOUND_RATE, [view])


def note_pictures(corpus: Corpus, pictures: Store, front_end: FrontEnd) -> Figure:
    """One picture of each class, as the network is given it (thesis, Fig. 12); axes in seconds and Hz."""
    columns = 4
    rows = -(-len(corpus.classes) // columns)
    with mpl.rc_context(style()):
        figure = new_figure(0.75 + 1.9 * rows)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for number, axes in enumerate(grid.ravel()):
            if number >= len(corpus.classes):
                axes.remove()
                continue
            row = typical_note(corpus, number)
            picture = np.array(pictures.array[row], np.float32)
            image = show_picture(axes, upright(picture, front_end), front_end)
            axes.set_title(title_of(corpus.clips.iloc[row], corpus.classes[number]))
            if number // columns == rows - 1:
                axes.set_xlabel("seconds from the onset")
        for axes in grid[:, 0]:
            axes.set_ylabel("Hz (mel scale)")
        bar = figure.colorbar(image, ax=grid[0], fraction=0.02, pad=0.01, label="log energy of the note")
        bar.set_ticks([0, 1], labels=["least", "most"])
        bar.outline.set_visible(False)
        write_foot(
            figure,
            f"Corpus {corpus.name}: of each instrument the first of the notes nearest to the middle of its pitches. "
            f"{front_end.n_mels} mel bands to {front_end.sample_rate // 2:,} Hz, window {front_end.n_fft}, hop "
            f"{front_end.hop_length}, natural logarithm, resized to {front_end.size} x {front_end.size}; the network "
            "is given it in these colours.",
        )
    return figure


def typical_note(corpus: Corpus, number: int) -> int:
    """Row of the first of a class's notes that are nearest to the median of its pitches."""
    rows = np.flatnonzero(corpus.labels[:, number])
    pitch = corpus.clips["pitch"].to_numpy(float)[rows]
    return int(rows[np.abs(pitch - np.median(pitch)).argmin()])


def title_of(clip: pd.Series, name: str) -> str:
    """Instrument, pitch and, where it is known, dynamic of a note: for instance "double bass A#1, mf"."""
    dynamic = f", {clip['dynamic']}" if isinstance(clip["dynamic"], str) else ""
    return f"{name.replace('_', ' ')} {pitch_name(int(clip['pitch']))}{dynamic}"


def upright(picture: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """A picture as the front end gives it, or a map at its resolution, with the lowest band in the first row."""
    return picture[..., ::-1, :] if front_end.low == "bottom" else picture


def show_picture(axes: Axes, picture: np.ndarray, front_end: FrontEnd) -> mpl.image.AxesImage:
    """Draw a picture, lowest band first, with its bands named in Hz."""
    bands, frames = picture.shape
    image = axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=0,
        vmax=1,
        extent=(0, frames * front_end.seconds_per_frame, -0.5, bands - 0.5),
    )
    hz = [tick for tick in TICKS if front_end.band_hz[0] <= tick <= front_end.band_hz[-1]]
    axes.set_yticks(np.interp(hz, front_end.band_hz, np.arange(bands)), [f"{tick:,}" for tick in hz])
    axes.set_xticks(np.arange(0, frames * front_end.seconds_per_frame, 0.25))
    return image
