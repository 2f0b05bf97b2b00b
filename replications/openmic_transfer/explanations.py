"""What the trained networks listened to: the paper's GradCAM and Deep Feature Factorization, to see and to hear.

Heat maps are the paper's (IV.H): GradCAM at ResNet-50's last block and at VGGish's last convolution, and concepts by
Deep Feature Factorization, for VGGish too, where the paper could not. How far the maps point at their instruments is
measured in `maps`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import explain, features
from harness.corpora import Corpus
from harness.report import gallery
from harness.studies import networks
from harness.studies.context import Opened
from harness.studies.records import Predictions, Record
from harness.studies.study import Study
from replications.openmic_transfer.maps import Explained, Truth, explained, find_truths

#: Clips in the gallery.
GALLERY_CLIPS = 8
#: Training clips that class means are taken over: enough for a mean, soon done on any corpus.
MEAN_CLIPS = 500
CONCEPTS = 5
#: Of the sound in the gallery, in Hz.
SOUND_RATE = 44_100


def explain_best(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> dict[str, Any]:
    """Write a gallery of the best arm of each network under the paper's condition.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.
    folder
        The page goes to ``gallery/index.html`` below it.
    jobs
        Processes for rendering stems.

    Returns
    -------
    dict
        How a page shows it, see `harness.report.build`.
    """
    chosen = best_records(study, [r for r in records if r.condition == study.conditions[0].name])
    if not chosen:
        return {"figures": {}, "links": []}
    opened = Opened()
    contexts = [networks.restored(record, study, opened) for record in chosen]
    shown = [explained(context, context.spec.network) for context in contexts]
    first = chosen[0].data
    caption = {
        "Corpus": first["corpus"],
        "Profile": first["profile"],
        "Weights": ", ".join(dict.fromkeys(r.data["weights"]["kind"] for r in chosen)),
        "Split": f"{first['split']['name']}, test part",
        "Seed": ", ".join(dict.fromkeys(str(r.seed) for r in chosen)),
        "Arms": ", ".join(e.title for e in shown) + " (of each network the best by validation macro F1)",
    }
    write_gallery(shown, chosen, contexts[0].corpus, folder / "gallery", caption=caption, jobs=jobs)
    text = "clips with their class activation maps, to see and to hear"
    return {"figures": {}, "links": [{"path": "gallery/index.html", "title": "Gallery", "text": text}]}


def best_records(study: Study, records: Sequence[Record]) -> list[Record]:
    """Of each network the first seed of the arm with the highest main score on the validation part."""
    found = []
    for network in dict.fromkeys(arm.network for arm in study.arms):
        of_arms = [[r for r in records if r.arm == arm.name] for arm in study.arms if arm.network == network]
        of_arms = [some for some in of_arms if some]
        if of_arms:
            best = max(of_arms, key=lambda some: np.mean([r.data["metrics"]["valid"][study.metric] for r in some]))
            found.append(min(best, key=lambda r: r.seed))
    return found


def choose_clips(predictions: Sequence[Predictions], threshold: float, count: int) -> list[int]:
    """Pick clips for the gallery: several instruments, right and wrong, and as many different classes as may be.

    Parameters
    ----------
    predictions
        Of each network, on the same clips.
    threshold
        From which a class is predicted.
    count
        How many, or all if there are fewer.

    Returns
    -------
    list of int
        Rows of the predictions: in turn a clip that all networks got right, one that some got wrong, and one of
        several instruments; the same for the same predictions.
    """
    first = predictions[0]
    known = [(p.probabilities >= threshold) & p.mask for p in predictions]
    right = np.all([(k == (p.labels & p.mask)).all(1) for k, p in zip(known, predictions, strict=True)], axis=0)
    right &= first.labels.any(1)
    wrong = np.any([(k & (p.labels == 0)).any(1) for k, p in zip(known, predictions, strict=True)], axis=0)
    several = (first.labels.sum(1) >= 2) & np.any([k.any(1) for k in known], axis=0)
    chosen: list[int] = []
    shown = np.zeros(first.labels.shape[1], int)
    kinds = [np.flatnonzero(kind) for kind in (right, wrong, several)] + [np.arange(len(first.keys))]
    for turn in range(min(count, len(first.keys))):
        for kind in kinds[turn % 3 :]:
            candidates = [row for row in kind if row not in chosen]
            if candidates:
                break
        # Classes not yet shown first; the key decides between equals.
        best = min(candidates, key=lambda row: (shown @ first.labels[row] / max(1, first.labels[row].sum()), row))
        chosen.append(int(best))
        shown += first.labels[best]
    return chosen


def view(
    shown: Explained,
    row: int,
    outcomes: Sequence[gallery.Outcome],
    means: np.ndarray | None,
    truth: Mapping[str, Truth],
) -> gallery.View:
    """One clip as one network takes it, with its maps and concepts.

    Parameters
    ----------
    shown
        The network.
    row
        The clip.
    outcomes
        Every class.
    means
        Class means for naming VGGish's concepts; None for ResNet-50, whose classifier names them.
    truth
        By class, where the stems are known.

    Returns
    -------
    View
        For the gallery.
    """
    numbers = [i for i, outcome in enumerate(outcomes) if outcome.predicted or outcome.true]
    classes = [outcome.name for outcome in outcomes]
    (maps,) = shown.maps([row], [numbers])
    heat_maps = []
    for number, heat in zip(numbers, maps, strict=True):
        known = truth.get(classes[number])
        # A map that is zero everywhere points nowhere: it has no share.
        share = explain.shares(heat, known.mask, known.sounding) if known and heat.any() else {}
        heat_maps.append(
            gallery.HeatMap(
                classes[number],
                heat,
                sounding=known.sounding if known else None,
                share=share.get("where_and_when"),
                uniform=share.get("area"),
            )
        )
    if shown.windows:
        concepts = explain.factorize_windows(
            shown.network, shown.batch([row]), means, target="features.15", concepts=CONCEPTS
        )
    else:
        concepts = explain.factorize(shown.network, shown.batch([row]), target=shown.target, concepts=CONCEPTS)
    return gallery.View(
        network=shown.title,
        spectrogram=shown.picture(row),
        frame_seconds=shown.front_end.seconds_per_frame,
        band_hz=shown.front_end.band_hz,
        outcomes=outcomes,
        maps=heat_maps,
        concepts=concepts.maps,
        concept_names=explain.concept_names(concepts.scores, classes),
    )


def write_gallery(
    shown: Sequence[Explained],
    records: Sequence[Record],
    corpus: Corpus,
    folder: Path,
    *,
    caption: Mapping[str, str],
    jobs: int | None = None,
) -> Path:
    """Write the gallery of explained test clips.

    Parameters
    ----------
    shown
        The networks, trained on the same split.
    records
        Of their trials.
    corpus
        Theirs.
    folder
        Where the page and the pictures go.
    caption
        What was run, by name.
    jobs
        Processes for rendering stems.

    Returns
    -------
    Path
        The page.
    """
    threshold = records[0].data["protocol"]["threshold"]
    predictions = [r.predictions("test") for r in records]
    chosen = choose_clips(predictions, threshold, GALLERY_CLIPS)
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    rows = [row_of[key] for key in predictions[0].keys[chosen]]
    truths = find_truths([e.front_end for e in shown], corpus, rows, jobs=jobs)
    means = [_class_means(e, corpus) if e.windows else None for e in shown]
    entries = []
    for i, row in zip(chosen, rows, strict=True):
        clip = corpus.clips.iloc[row]
        views = []
        for e, p, mean, truth in zip(shown, predictions, means, truths, strict=True):
            columns = zip(corpus.classes, p.probabilities[i], p.labels[i], p.mask[i], strict=True)
            outcomes = [
                gallery.Outcome(name, float(probability), bool(true), bool(observed), bool(probability >= threshold))
                for name, probability, true, observed in columns
            ]
            views.append(view(e, row, outcomes, mean, {name: t for (r, name), t in truth.items() if r == row}))
        labels = [name for name, present in zip(corpus.classes, corpus.labels[row], strict=True) if present]
        title = ", ".join(labels).replace("_", " ") or "no instrument known"
        waveform = features.decode(clip["path"], SOUND_RATE, seconds=corpus.seconds)
        entries.append(gallery.Entry(str(clip["key"]), title, waveform, SOUND_RATE, views))
    title = "What the networks listened to"
    return gallery.write_gallery(entries, folder, title=title, caption=caption, audio=corpus.pocket)


def _class_means(shown: Explained, corpus: Corpus) -> np.ndarray:
    rows = shown.train[:: max(1, len(shown.train) // MEAN_CLIPS)][:MEAN_CLIPS]
    vectors = explain.pooled(shown.network, shown.inputs[rows], target="features.15")
    return explain.class_means(vectors, corpus.labels[rows], corpus.mask[rows])
