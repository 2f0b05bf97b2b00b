"""The animated network (study 001, Fig. 2): a page to play a test excerpt in, and a short film.

Recordings that were published are pictured only: the page, which holds the sound, is made of rendered excerpts alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import corpora
from harness.analysis.study import Analysis
from harness.explain.animation import Pieces
from harness.features.han import HanSegments
from harness.report import visualise
from harness.studies.records import Record
from harness.studies.study import Study
from replications.irmas_activations.filter_activations import COMPARED
from replications.irmas_activations.thresholds import threshold
from replications.irmas_activations.windows import starts, windows

#: Seconds and filters of a layer in the page, which keep it below 4 MB.
PAGE_SECONDS, FILTERS = 10.0, 32
#: Of the film: layer, seconds, width and height in pixels.
FILM_LAYER, FILM_SECONDS, FILM_SIZE = "act1", 4.0, (856, 450)
#: Its frames per second: the first of them that keep it, as a README shows it, below so many bytes, or else the last.
FILM_FPS, FILM_BYTES = (6.0, 5.0, 4.0, 3.0), 490_000


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> dict[str, Any]:
    """Write the player, where the sound may be passed on, and the film.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile; the first of them under the paper's condition, if
        there is one, is animated.
    folder
        The page goes to ``player/index.html`` below it, the film to ``animation.webp``.
    jobs
        Not used.

    Returns
    -------
    dict
        ``figures`` and ``links`` for the page of the report; empty where the corpus has neither flutes nor clarinets.
    """
    analysis = Analysis(study, records)
    record = analysis.records[0]
    key = choose_excerpt(analysis, record)
    if key is None:
        return {}
    links = []
    if corpora.load(record.data["corpus"]).pocket:
        heard = visualise.listen(record.folder, key, filters=FILTERS, seconds=PAGE_SECONDS)
        page = visualise.write_page(heard, folder / "player")
        page.replace(page.with_name("index.html"))
        text = f"the excerpt {key} as the network hears it, every layer in time with the sound"
        links.append({"path": "player/index.html", "title": "Player", "text": text})
    heard = visualise.listen(record.folder, key, layers=[FILM_LAYER], seconds=FILM_SECONDS)
    (layer,) = heard.response.layers
    for fps in FILM_FPS:
        film = visualise.write_film(heard, layer, folder, "webp", fps=fps, size=FILM_SIZE)
        if film.stat().st_size < FILM_BYTES:
            break
    film.replace(folder / "animation.webp")
    caption = f"The first convolution while {key} sounds: one map for each filter (after Fig. 2 of the paper)"
    return {"figures": {"animation.webp": caption}, "links": links}


def choose_excerpt(analysis: Analysis, record: Record) -> str | None:
    """Pick the test excerpt to animate.

    Parameters
    ----------
    analysis, record
        Of the trial whose network hears it.

    Returns
    -------
    str or None
        Of the excerpts with a flute or a clarinet, and nothing else where there are such, and of these of those whose
        instrument is predicted where there are such, the one whose score (S1) of that instrument is the median: neither
        the clearest nor the most doubtful. None where the corpus has neither instrument.
    """
    p, s2 = (analysis.predictions(record, part) for part in ("test_s1", "test"))
    compared = [analysis.classes.index(name) for name in COMPARED if name in analysis.classes]
    has = p.labels[:, compared].any(axis=1) if compared else np.zeros(len(p.keys), bool)
    if not has.any():
        return None
    number = np.array(compared)[p.labels[:, compared].argmax(axis=1)]
    predicted = s2.probabilities[np.arange(len(p.keys)), number] >= threshold(analysis, record, "s2", "chosen")
    alone = p.labels.sum(axis=1) == 1
    some = next(chosen for chosen in (has & alone & predicted, has & alone, has & predicted, has) if chosen.any())
    rows = np.flatnonzero(some)
    ranked = rows[np.argsort(p.probabilities[rows, number[rows]], kind="stable")]
    return str(p.keys[ranked[len(ranked) // 2]])


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
