"""The animated network (study 001, Fig. 2): a page to play a test excerpt in, a short film, and what layers answer.

Recordings that were published are pictured only: the page, which holds the sound, is made of rendered excerpts alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from harness import corpora
from harness.explain.animation import Pieces
from harness.features.han import HanSegments
from harness.report import visualise
from harness.report.writers import Table
from harness.studies.records import Record
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.answers import answers
from replications.irmas_activations.comparison import COMPARED
from replications.irmas_activations.layer_tables import filter_table, layer_table
from replications.irmas_activations.scores import found_conditions, of_condition
from replications.irmas_activations.windows import starts, windows

#: Seconds and filters of a layer in the page, which keep it below 4 MB.
PAGE_SECONDS, FILTERS = 10.0, 32
#: Of the film: layer, seconds, width and height in pixels.
FILM_LAYER, FILM_SECONDS, FILM_SIZE = "act1", 4.0, (856, 450)
#: Its frames per second: the first of them that keep it, as a README shows it, below so many bytes, or else the last.
FILM_FPS, FILM_BYTES = (6.0, 5.0, 4.0, 3.0), 490_000


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> list[Table]:
    """Write the player and the film, and judge what the paper sees in its own.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile; those under its first condition count, where there
        are any.
    folder
        Results. The page goes to ``player/index.html`` below it, the film to ``animation.webp``.
    jobs
        Not used.

    Returns
    -------
    list of Table
        What layers and filters answer to flutes and clarinets; none where the test part has too few of either.
    """
    of_base = of_condition(records, found_conditions(study, records)[0])
    key = choose_excerpt(of_base[0])
    if key is not None:
        write_animations(of_base[0], key, folder)
    if not set(COMPARED) <= set(of_base[0].data["classes"]):
        return []
    several = [found for record in of_base if (found := answers(record)) is not None]
    return [layer_table(study, several), filter_table(study, several[0])] if several else []


def choose_excerpt(record: Record) -> str | None:
    """Pick the test excerpt to animate.

    Parameters
    ----------
    record
        Of the trial whose network hears it.

    Returns
    -------
    str or None
        Of the excerpts with a flute or a clarinet, and nothing else where there are such, and of these of those whose
        instrument is predicted where there are such, the one whose score (S1) of that instrument is the median: neither
        the clearest nor the most doubtful. None where the corpus has neither instrument.
    """
    p, classes = scores.predictions(record, "test", "s1"), list(record.data["classes"])
    compared = [classes.index(name) for name in COMPARED if name in classes]
    has = p.labels[:, compared].any(axis=1) if compared else np.zeros(len(p.keys), bool)
    if not has.any():
        return None
    number = np.array(compared)[p.labels[:, compared].argmax(axis=1)]
    everyone = np.arange(len(p.keys))
    threshold = scores.value_of(scores.threshold(record, "s2", "chosen"))
    predicted = record.predictions("test").probabilities[everyone, number] >= threshold
    alone = p.labels.sum(axis=1) == 1
    some = next(chosen for chosen in (has & alone & predicted, has & alone, has & predicted, has) if chosen.any())
    rows = np.flatnonzero(some)
    ranked = rows[np.argsort(p.probabilities[rows, number[rows]], kind="stable")]
    return str(p.keys[ranked[len(ranked) // 2]])


def write_animations(record: Record, key: str, folder: Path) -> list[Path]:
    """Write the page, where the sound may be passed on, and the film.

    Parameters
    ----------
    record
        Of the trial.
    key
        Of the excerpt.
    folder
        Results.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    RepriseError
        The record is not sound, or the audio cannot be used.
    """
    written = []
    if corpora.load(record.data["corpus"]).pocket:
        heard = visualise.listen(record.folder, key, filters=FILTERS, seconds=PAGE_SECONDS)
        page = visualise.write_page(heard, folder / "player")
        written.append(page.replace(page.with_name("index.html")))
    heard = visualise.listen(record.folder, key, layers=[FILM_LAYER], seconds=FILM_SECONDS)
    (layer,) = heard.response.layers
    for fps in FILM_FPS:
        film = visualise.write_film(heard, layer, folder, "webp", fps=fps, size=FILM_SIZE)
        if film.stat().st_size < FILM_BYTES:
            break
    written.append(film.replace(folder / f"animation{film.suffix}"))
    return written


def pieces(front_end: HanSegments, waveform: np.ndarray) -> Pieces:
    """Cut a clip into the windows that the network is tested on, half overlapping, for `harness.report.visualise`.

    Parameters
    ----------
    front_end
        The network's.
    waveform : np.ndarray, shape (samples,)
        At the front end's rate.

    Returns
    -------
    Pieces
        Each window an item with an answer of its own.

    Raises
    ------
    RepriseError
        The clip is shorter than a window.
    """
    spectrogram = front_end.log_mel(waveform)
    cut = windows(spectrogram, frames=front_end.frames)
    first = starts(spectrogram.shape[1], frames=front_end.frames)
    step = front_end.seconds_per_frame
    return Pieces(torch.from_numpy(cut), cut, first * step, front_end.frames * step)
