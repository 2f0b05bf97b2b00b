"""What the best set-up looked at: GradCAM of one note of each instrument that it named, and of one that it did not.

Recordings that were published are pictured only: not even their samples are read here, so that none can end up in the
results. Rendered notes can be heard, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness import corpora, features
from harness.corpora import Corpus
from harness.corpora.orchestra import pitch_name
from harness.errors import RepriseError
from harness.explain import gradcam, scale
from harness.features import FrontEnd
from harness.report import estimates, gallery
from harness.report.writers import Table
from harness.studies.records import Record
from harness.studies.study import Study
from replications.single_notes.figures import upright
from replications.single_notes.heads import restore
from replications.single_notes.tables import best_of_each_kind

#: Stage whose activations GradCAM weighs: the last convolution, as usual. Its 3 x 3 cells tell high from low and early
#: from late, and no more. Behind "repeat_1.19" there are 7 x 7, but with a random base a third of the maps are empty
#: there: summed over the cells, the gradients of most channels point away from the class.
TARGET, CELLS = "conv2d_7b", "3 x 3"
#: Of the sound in the gallery, in Hz.
SOUND_RATE = 44_100


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


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> list[Table]:
    """Write the gallery of the best set-up.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile; those under the thesis' condition count.
    folder
        Results; the page goes to ``gallery/index.html`` below it.
    jobs
        Not used.

    Returns
    -------
    list of Table
        None: where in a note its instrument can be told nobody knows.
    """
    base = study.conditions[0].name
    networks = [r for r in records if r.condition == base and study.arm(r.arm).parameters]
    if networks:
        (best,) = best_of_each_kind(study, networks)
        write_gallery(study, estimates.select(networks, best, base), folder / "gallery")
    return []


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


def write_gallery(study: Study, records: Sequence[Record], folder: Path) -> Path:
    """Write the gallery of one arm.

    Parameters
    ----------
    study
        Gives titles.
    records
        Of the arm's trials under one condition.
    folder
        Where the page and the pictures go.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RepriseError
        A restored network does not predict what the record holds.
    """
    corpus = corpora.load(records[0].data["corpus"])
    front_end = features.front_end(**records[0].data["protocol"]["front_end"])
    notes = choose_notes(records)
    entries: dict[int, gallery.Entry] = {}
    for record in records:
        places = [i for i, note in enumerate(notes) if note.record is record]
        if places:
            of_record = [notes[i] for i in places]
            for i, view in zip(places, views(study, record, of_record, corpus, front_end), strict=True):
                entries[i] = entry(notes[i], view, corpus, front_end)
    origin = estimates.provenance(study, records, "test")
    wrong = {note.true for note in notes if note.predicted != note.true}
    never = [name.replace("_", " ") for i, name in enumerate(corpus.classes) if i not in wrong]
    caption = {
        "Corpus": origin.corpus,
        "Profile": origin.profile,
        "Weights": origin.weights,
        "Split": f"{origin.split}, test part",
        "Arm": f"{study.arm(records[0].arm).title} (the best set-up by validation accuracy)",
        "Maps": f"GradCAM at {TARGET}, {CELLS} cells, each map in shares of its own peak",
        "Notes": "of each instrument a right and a wrong one, by the median of their probabilities",
        **({"Never mistaken in any seed": ", ".join(never)} if never else {}),
    }
    return gallery.write_gallery(
        [entries[i] for i in range(len(notes))],
        folder,
        title="What the set-up looked at",
        caption=caption,
        audio=corpus.pocket,
    )


def views(
    study: Study, record: Record, notes: Sequence[Note], corpus: Corpus, front_end: FrontEnd
) -> list[gallery.View]:
    """Some notes as one trial's network takes them, each with maps of the class it predicts and of the true one.

    Parameters
    ----------
    study, record
        The study and the trial.
    notes
        Of that trial.
    corpus, front_end
        The trial's.

    Returns
    -------
    list of View
        For the gallery.

    Raises
    ------
    RepriseError
        The restored network does not predict what the record holds.
    """
    network, store = restore(record, study)
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    pictures = np.array(store.array[[row_of[note.key] for note in notes]], np.float32)
    stored = record.predictions("test").probabilities[[note.index for note in notes]]
    with torch.inference_mode():
        found = torch.softmax(network(torch.from_numpy(pictures)), dim=-1).numpy()
    if np.abs(found - stored).max() > 0.02:  # another machine or number of threads rounds otherwise
        raise RepriseError(
            f"the network of {record.folder} predicts {np.abs(found - stored).max():.2f} off what its record holds: "
            "the features or the weights have changed since; run the trial again"
        )
    wanted = [list(dict.fromkeys((note.predicted, note.true))) for note in notes]
    maps = gradcam(network, torch.from_numpy(pictures), wanted, target=TARGET)
    result = []
    for note, picture, probabilities, classes, raw in zip(notes, pictures, stored, wanted, maps, strict=True):
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

    Parameters
    ----------
    note, view
        The note, and how a network takes it.
    corpus, front_end
        The trial's.

    Returns
    -------
    Entry
        For the gallery; without sound the waveform is silence of the same length.
    """
    clip = corpus.clips[corpus.clips["key"] == note.key].iloc[0]
    waveform = np.zeros(round(view.spectrogram.shape[1] * view.frame_seconds * SOUND_RATE), np.float32)
    if corpus.pocket:
        onset = front_end.onset(features.decode(clip["path"], front_end.sample_rate)) / front_end.sample_rate
        heard = features.decode(clip["path"], SOUND_RATE)[round(onset * SOUND_RATE) :][: len(waveform)]
        waveform[: len(heard)] = heard
    true, predicted = (corpus.classes[i].replace("_", " ") for i in (note.true, note.predicted))
    dynamic = f", {clip['dynamic']}" if isinstance(clip["dynamic"], str) else ""
    outcome = "right" if note.true == note.predicted else f"taken for {predicted}"
    title = f"{true.capitalize()} {pitch_name(int(clip['pitch']))}{dynamic}: {outcome}"
    return gallery.Entry(note.key, title, waveform, SOUND_RATE, [view])
