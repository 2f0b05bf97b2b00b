"""Ten pieces, one per genre, as every net hears them: to see and, where we rendered them, to hear (study 002, Results).

The write-up shows filters 1, 8, 16 and 32 of the first layer and the deconvolved second layer of the base and the
masked net, and the class activation maps of the third, each as a picture and as a sound. Recordings that were published
are pictured only in the results: what is made of their sound goes beside the trials, which are not passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from harness import features
from harness.corpora.segments import SEPARATOR
from harness.errors import RepriseError
from harness.explain import activations, as_mask, at_level, auralise, class_maps, common_level, deconvolve, enlarge
from harness.models.masking import Mask, templates
from harness.report import estimates
from harness.report.writers import Table
from harness.studies.records import Predictions, Record
from harness.studies.study import Study
from harness.studies.trial import load_corpus
from replications.gtzan_cam import listening
from replications.gtzan_cam.interpretability import interpretability_table
from replications.gtzan_cam.nets import Net, pictures_of, restore_nets
from replications.gtzan_cam.trials import HEADLINE, SHOWN_FILTERS, found_conditions, released

#: Masks that are shown of the third layer: those of its strongest filters.
MASKS = 2
#: The genre whose deconvolved signal "primarily picks up the underlying drum beat" (study 002, Results): its sounds are
#: written as files, too.
HEARD = "country"
#: How far a restored net may be off its record: another machine or number of threads rounds otherwise.
TOLERANCE = 0.02
#: Below this nobody hears that a sound is quieter than another, in dB.
NOTED_DB = 1.0


@dataclass(frozen=True)
class Segment:
    """What a net is given, and what one hears of it.

    Parameters
    ----------
    key
        Of the segment.
    true
        Number of its class.
    picture : np.ndarray [shape=(bands, frames)]
        As the front end gives it.
    waveform : np.ndarray [shape=(samples,)]
        At the front end's rate.
    """

    key: str
    true: int
    picture: np.ndarray
    waveform: np.ndarray


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> list[Table]:
    """Write the gallery, and measure how far maps and filters can be interpreted.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile. Those on whole tracks are explained where there are
        such, so that no net has been trained on what it is shown with.
    folder
        Results; the page goes to ``gallery/index.html`` below it.
    jobs
        Processes for rendering stems.

    Returns
    -------
    list of Table
        How steady filters are, and on a pocket corpus whether maps point at what marks a genre.
    """
    conditions = found_conditions(study, records)
    condition = next((name for name in HEADLINE if name in conditions), None)
    records = [r for r in records if r.condition == condition and not released(r)]
    nets = restore_nets(study, records)
    if not nets:
        return []
    first = min(net.record.seed for net in nets)
    write_gallery(study, [net for net in nets if net.record.seed == first], folder / "gallery")
    table = interpretability_table(study, nets, jobs=jobs)
    return [table] if table is not None else []


def write_gallery(study: Study, nets: Sequence[Net], folder: Path) -> Path:
    """Write the page, a picture per piece, and the sounds of one piece.

    What is made of published recordings is heard on another page, ``listening/index.html`` in the folder of the trials.

    Parameters
    ----------
    study
        Theirs.
    nets
        Of one condition and seed.
    folder
        Where they go.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RepriseError
        A restored net does not predict what its record holds.
    """
    record, front_end = nets[0].record, nets[0].front_end
    corpus, classes = load_corpus(nets[0].trial), nets[0].record.data["classes"]
    keys = choose_pieces([net.record.predictions("test") for net in nets])
    segments = cut_segments(nets[0], keys)
    pieces = []
    rows = [net_rows(net, segments, classes) for net in nets]
    for number, segment in enumerate(segments):
        piece = listening.Piece(
            key=segment.key,
            title=classes[segment.true].replace("_", " "),
            spectrogram=segment.picture,
            band_hz=front_end.band_hz,
            seconds=front_end.seconds,
            sample_rate=front_end.sample_rate,
            rows=[of_net[number] for of_net in rows],
            waveform=segment.waveform,
        )
        pieces.append(at_one_level(piece))
    origin = estimates.provenance(study, [net.record for net in nets], "test")
    first = study.conditions[0].name
    caption = {
        "Corpus": origin.corpus,
        "Profile": origin.profile,
        "Weights": f"{origin.weights} at first",
        "Split": f"{origin.split}, test part"
        + (": other segments of these tracks were trained on" if record.condition == first else ""),
        "Seed": str(record.seed),
        "Pieces": f"of each genre the segment whose probability is the median of {nets[0].title}'s",
        "Filters": "numbered from 1; of layer 2 and 3 those of the highest mean activation",
    }
    title, elsewhere = "What the nets heard", None
    if not corpus.pocket:
        place = record.folder.resolve().parents[1]  # that of all trials on the corpus under the profile
        private = listening.write_page(pieces, place / "listening", title=title, caption=caption)
        elsewhere = private.relative_to(place.parents[2]).as_posix()  # as of the folder that holds that of all trials
        pieces = [silent(piece) for piece in pieces]
    page = listening.write_page(pieces, folder, title=title, caption=caption, elsewhere=elsewhere)
    heard = next((piece for piece in pieces if piece.title == HEARD and piece.waveform is not None), None)
    sounds = {} if heard is None else sounds_of(heard)
    listening.write_sounds(sounds, front_end.sample_rate, folder / "sounds")
    return page


def at_one_level(piece: listening.Piece) -> listening.Piece:
    """Bring a piece and all that was made of it to one level.

    Parameters
    ----------
    piece
        With its sounds as they came.

    Returns
    -------
    Piece
        The same, as loud as none of it is clipped; a sound that cannot be as loud as the others says by how much, and
        one of rounding errors alone is left out.
    """
    sounds = [tile.waveform for row in piece.rows for tile in row.tiles if tile.waveform is not None]
    level = common_level(sounds, piece.waveform)

    def levelled(tile: listening.Tile) -> listening.Tile:
        if tile.waveform is None:
            return tile
        try:
            waveform, short = at_level(tile.waveform, level)
        except RepriseError:  # what the mask covers is silent
            return replace(tile, waveform=None)
        return replace(tile, waveform=waveform, note=f"{short:.0f} dB quieter" if short >= NOTED_DB else "")

    rows = [replace(row, tiles=[levelled(tile) for tile in row.tiles]) for row in piece.rows]
    original = piece.waveform if not level > 0 else at_level(piece.waveform, level)[0]
    return replace(piece, rows=rows, waveform=original)


def silent(piece: listening.Piece) -> listening.Piece:
    """A piece to be seen alone.

    Parameters
    ----------
    piece
        Any.

    Returns
    -------
    Piece
        Without the sounds and what was said of them.
    """
    rows = [replace(row, tiles=[replace(t, waveform=None, note="") for t in row.tiles]) for row in piece.rows]
    return replace(piece, rows=rows, waveform=None)


def choose_pieces(predictions: Sequence[Predictions]) -> list[str]:
    """Pick a segment of each genre out of what all nets were tested on.

    Parameters
    ----------
    predictions
        Of each net on its test part, the base net's first.

    Returns
    -------
    list of str
        Keys, genre by genre: that with the median of the first net's probabilities of the true genre, so neither the
        clearest nor the most doubtful. A genre without a common segment goes without.
    """
    first = predictions[0]
    common = np.isin(first.keys, sorted(set.intersection(*(set(p.keys.tolist()) for p in predictions))))
    chosen = []
    for number in range(first.labels.shape[1]):
        some = np.flatnonzero(common & (first.labels[:, number] == 1))
        if len(some):
            ranked = some[np.argsort(first.probabilities[some, number], kind="stable")]
            chosen.append(str(first.keys[ranked[len(ranked) // 2]]))
    return chosen


def cut_segments(net: Net, keys: Sequence[str]) -> list[Segment]:
    """Segments as nets take them.

    Parameters
    ----------
    net
        Gives corpus and front end.
    keys
        Of segments.

    Returns
    -------
    list of Segment
        In the order of the keys.
    """
    corpus, front_end = load_corpus(net.trial), net.front_end
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    found = []
    for key, picture in zip(keys, pictures_of(net, keys), strict=True):
        row = row_of[key]
        decoded = features.decode(corpus.clips["path"].iloc[row], front_end.sample_rate)
        waveform = front_end.cut(decoded)[int(key.rpartition(SEPARATOR)[2])]
        found.append(Segment(key, int(corpus.labels[row].argmax()), picture, waveform))
    return found


def net_rows(net: Net, segments: Sequence[Segment], classes: Sequence[str]) -> list[listening.Row]:
    """How a net takes some segments of its test part.

    Parameters
    ----------
    net
        Any.
    segments
        As `cut_segments` gives them.
    classes
        Names.

    Returns
    -------
    list of Row
        One per segment.

    Raises
    ------
    RepriseError
        The net does not predict what its record holds.
    """
    p = net.record.predictions("test")
    place_of = {key: place for place, key in enumerate(p.keys.tolist())}
    stored = p.probabilities[[place_of[segment.key] for segment in segments]]
    pictures = torch.from_numpy(np.stack([segment.picture for segment in segments]))
    with torch.inference_mode():
        found = torch.softmax(net.network(pictures), dim=-1).numpy()
    off = float(np.abs(found - stored).max())
    if off > TOLERANCE:
        raise RepriseError(
            f"the network of {net.record.folder} predicts {off:.2f} off what its record holds: the features or the "
            "weights have changed since; run the trial again"
        )
    rows = []
    for segment, probabilities in zip(segments, stored, strict=True):
        predicted = int(probabilities.argmax())
        verdict = f"{classes[predicted].replace('_', ' ')} {probabilities[predicted]:.2f}"
        if predicted != segment.true:
            verdict += f", true: {classes[segment.true].replace('_', ' ')} {probabilities[segment.true]:.2f}"
        tiles = [
            listening.Tile(title, mask, auralise(mask, segment.waveform, net.front_end) if mask.any() else None)
            for title, mask in masks_of(net, segment, predicted, classes).items()
        ]
        rows.append(listening.Row(net.title, verdict, predicted == segment.true, tiles))
    return rows


def masks_of(net: Net, segment: Segment, predicted: int, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """What is shown of a net on a segment, as masks upon its spectrogram.

    Parameters
    ----------
    net, segment
        Which.
    predicted
        Number of the class that it predicts.
    classes
        Names.

    Returns
    -------
    dict of str to np.ndarray [shape=(bands, frames)]
        By title, from 0 to 1. Of a net with global average pooling the class activation maps of the predicted and of
        the true class; of another the filters of the first layer that the write-up shows, the deconvolved strongest
        filter of the second, and where there are masks those of the strongest filters of the third.
    """
    network, inputs, shape = net.network, segment.picture[None], segment.picture.shape
    if net.averages:
        maps, _ = class_maps(network, inputs)
        masks = {}
        for number in dict.fromkeys((predicted, segment.true)):
            kind = "predicted" if number != segment.true else "true" if number != predicted else "predicted, true"
            title = f"CAM of {classes[number].replace('_', ' ')} ({kind})"
            masks[title] = as_mask(enlarge(maps[0, number], shape))
        return masks
    outputs = activations(network, inputs, ["relu1", "relu2", "relu3"])
    masks = {
        f"layer 1, filter {number}": as_mask(enlarge(outputs["relu1"][0, number - 1], shape))
        for number in SHOWN_FILTERS
    }
    (second,) = strongest(outputs["relu2"][0], 1)
    masks[f"layer 2, filter {second + 1} deconvolved"] = as_mask(deconvolve(network, inputs, "relu2", [second])[0, 0])
    if isinstance(layer := getattr(network, "mask3", None), Mask):
        drawn = templates(torch.from_numpy(outputs["relu3"]), layer.steepness)[0].numpy()
        for number in strongest(outputs["relu3"][0], MASKS):
            # A template is laid upon its map, cell by cell; negative cells are cut.
            masks[f"layer 3, mask of filter {number + 1}"] = np.maximum(enlarge(drawn[number], shape), 0)
    return masks


def strongest(maps: np.ndarray, count: int) -> list[int]:
    """Filters of the highest mean activation.

    Parameters
    ----------
    maps : np.ndarray [shape=(channels, h, w)]
        Behind a ReLU.
    count
        How many.

    Returns
    -------
    list of int
        From 0, the strongest first; of equals the first.
    """
    return np.argsort(-maps.mean(axis=(1, 2)), kind="stable")[:count].tolist()


def sounds_of(piece: listening.Piece) -> Mapping[str, np.ndarray]:
    """A few sounds of a piece: the original, and of each net what the write-up describes.

    Parameters
    ----------
    piece
        With its sound.

    Returns
    -------
    Mapping of str to np.ndarray
        By name: of each net the deconvolved second layer, or the class activation map of what it predicts.
    """
    sounds = {f"{piece.title} original": piece.waveform}
    for row in piece.rows:
        tiles = [t for t in row.tiles if t.waveform is not None and ("deconvolved" in t.title or "CAM" in t.title)]
        if tiles:
            sounds[f"{piece.title} {row.network} {tiles[0].title}"] = tiles[0].waveform
    return sounds
