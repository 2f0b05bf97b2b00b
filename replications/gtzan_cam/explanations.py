"""Ten pieces, one per genre, as every net hears them: to see and, where we rendered them, to hear (study 002, Results).

The write-up shows filters 1, 8, 16 and 32 of the first layer and the deconvolved second layer of the base and the
masked net, and the class activation maps of the third, each as a picture and as a sound. Recordings that were published
are pictured only in the results: what is made of their sound goes beside the trials, which are not passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import features
from harness.analysis.study import Analysis
from harness.corpora.segments import SEPARATOR
from harness.errors import RepriseError
from harness.explain import activations, as_mask, at_level, auralise, class_maps, common_level, deconvolve, enlarge
from harness.models.masking import Mask, templates
from harness.report import style
from harness.report.tables import about
from harness.studies.context import Context, Opened
from harness.studies.networks import restored
from harness.studies.records import Predictions, Record
from harness.studies.study import Study
from replications.gtzan_cam import listening
from replications.gtzan_cam.class_stems import COUNTRY
from replications.gtzan_cam.filter_pictures import first_layer, mask_templates
from replications.gtzan_cam.trials import SHOWN_FILTERS, first_explained

#: Masks that are shown of the third layer: those of its strongest filters.
MASKS = 2
#: How far a restored net may be off its record: another machine or number of threads rounds otherwise.
TOLERANCE = 0.02
#: Below this nobody hears that a sound is quieter than another, in dB.
NOTED_DB = 1.0


@dataclass(frozen=True)
class Net:
    """A trained net: its record, and its context with the trained weights."""

    record: Record
    context: Context

    @property
    def network(self) -> nn.Sequential:
        """In evaluation mode."""
        return self.context.spec.network

    @property
    def title(self) -> str:
        """Of its arm."""
        return self.context.trial.arm.title


@dataclass(frozen=True)
class Segment:
    """What a net is given: key, number of its class, picture (bands, frames), waveform at the front end's rate."""

    key: str
    true: int
    picture: np.ndarray
    waveform: np.ndarray


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> dict[str, Any]:
    """Write the gallery, and pictures of masks and filters.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile, with their weights. Those on whole tracks are
        explained where there are such, so that no net has been trained on what it is shown with.
    folder
        Where all goes; the page is ``gallery/index.html`` below it.
    jobs
        Not used.

    Returns
    -------
    dict
        How a page shows it (`harness.report.build`).
    """
    condition = first_explained(study, records)
    arms = {arm: n for n, arm in enumerate(study.measured["arms"])}
    chosen = [r for r in records if r.condition == condition and r.arm in arms]
    if not chosen:
        return {"figures": {}, "links": []}
    first, opened = min(r.seed for r in chosen), Opened()
    chosen = sorted((r for r in chosen if r.seed == first), key=lambda r: arms[r.arm])
    nets = [Net(record, restored(record, study, opened)) for record in chosen]
    write_gallery(study, nets, folder / "gallery")
    text = "ten pieces, and what each map of each net lets through of them, to see and to hear"
    links = [{"path": "gallery/index.html", "title": "Gallery", "text": text}]
    protocol = nets[0].record.data["protocol"]
    templates_of = mask_templates(nets[0].context.front_end, protocol["steepness"])
    style.save(templates_of, folder / "mask_templates")
    figures = {"mask_templates": "What the masks let through, by where a filter is strongest"}
    for net in nets:
        if net.record.arm == "base":
            foot = f"{net.title}, under “{study.condition(condition).title}”. {_origin(study, [net.record])}"
            style.save(first_layer(net.network.conv1.weight.detach().numpy()[:, 0], foot), folder / "first_layer")
            figures["first_layer"] = "Kernels of the base net's first layer"
    return {"figures": figures, "links": links}


def _origin(study: Study, records: Sequence[Record]) -> str:
    of = about(Analysis(study, records))
    return (
        f"Corpus {of['corpus']}, profile {of['profile']}, weights {of['weights']} at first; split {of['split']}; "
        f"seed {records[0].seed}."
    )


def write_gallery(study: Study, nets: Sequence[Net], folder: Path) -> None:
    """Write the page of nets of one condition and seed, a picture per piece, and the sounds of one piece.

    What is made of published recordings is heard on another page, ``listening/index.html`` in the folder of the trials.
    """
    record, context = nets[0].record, nets[0].context
    front_end, classes = context.front_end, context.corpus.classes
    segments = cut_segments(context, choose_pieces([net.record.predictions("test") for net in nets]))
    rows = [net_rows(net, segments, classes) for net in nets]
    pieces = []
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
    of = about(Analysis(study, [net.record for net in nets]))
    first = study.conditions[0].name
    caption = {
        "Corpus": of["corpus"],
        "Profile": of["profile"],
        "Weights": f"{of['weights']} at first",
        "Split": f"{of['split']}, test part"
        + (": other segments of these tracks were trained on" if record.condition == first else ""),
        "Seed": str(record.seed),
        "Pieces": f"of each genre the segment whose probability is the median of {nets[0].title}'s",
        "Filters": "numbered from 1; of layer 2 and 3 those of the highest mean activation",
    }
    title, elsewhere = "What the nets heard", None
    if not context.corpus.pocket:
        place = record.folder.resolve().parents[1]  # that of all trials on the corpus under the profile
        private = listening.write_page(pieces, place / "listening", title=title, caption=caption)
        elsewhere = private.relative_to(place.parents[2]).as_posix()  # as of the folder that holds that of all trials
        pieces = [silent(piece) for piece in pieces]
    listening.write_page(pieces, folder, title=title, caption=caption, elsewhere=elsewhere)
    heard = next((piece for piece in pieces if piece.title == COUNTRY and piece.waveform is not None), None)
    sounds = {} if heard is None else sounds_of(heard)
    listening.write_sounds(sounds, front_end.sample_rate, folder / "sounds")


def at_one_level(piece: listening.Piece) -> listening.Piece:
    """Bring a piece and all that was made of it to one level, at which none of it is clipped.

    A sound that cannot be as loud as the others says by how much, and one of rounding errors alone is left out.
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
    """A piece to be seen alone, without the sounds and what was said of them."""
    rows = [replace(row, tiles=[replace(t, waveform=None, note="") for t in row.tiles]) for row in piece.rows]
    return replace(piece, rows=rows, waveform=None)


def choose_pieces(predictions: Sequence[Predictions]) -> list[str]:
    """Pick a segment of each genre out of what all nets were tested on.

    It is that with the median of the first net's probabilities of the true genre, so neither the clearest nor the most
    doubtful. A genre without a common segment goes without.
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


def cut_segments(context: Context, keys: Sequence[str]) -> list[Segment]:
    """Segments as nets take them, in the order of the keys."""
    corpus, front_end = context.corpus, context.front_end
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    found = []
    for key in keys:
        row = row_of[key]
        decoded = features.decode(corpus.clips["path"].iloc[row], front_end.sample_rate)
        waveform = front_end.cut(decoded)[int(key.rpartition(SEPARATOR)[2])]
        picture = np.array(context.store.array[row], np.float32)
        found.append(Segment(key, int(corpus.labels[row].argmax()), picture, waveform))
    return found


def net_rows(net: Net, segments: Sequence[Segment], classes: Sequence[str]) -> list[listening.Row]:
    """How a net takes segments of its test part, a row each; an error if it does not predict what its record holds."""
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
            listening.Tile(title, mask, auralise(mask, segment.waveform, net.context.front_end) if mask.any() else None)
            for title, mask in masks_of(net.network, segment, predicted, classes).items()
        ]
        rows.append(listening.Row(net.title, verdict, predicted == segment.true, tiles))
    return rows


def masks_of(network: nn.Sequential, segment: Segment, predicted: int, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """What is shown of a net on a segment, by title, as masks from 0 to 1 upon its spectrogram.

    Of a net with global average pooling the class activation maps of the predicted and of the true class; of another
    the filters of the first layer that the write-up shows, the deconvolved strongest filter of the second, and where
    there are masks those of the strongest filters of the third.
    """
    inputs, shape = segment.picture[None], segment.picture.shape
    if hasattr(network, "gap"):
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
    """Numbers, from 0, of the filters of the highest mean activation, the strongest first; maps: (channels, h, w)."""
    return np.argsort(-maps.mean(axis=(1, 2)), kind="stable")[:count].tolist()


def sounds_of(piece: listening.Piece) -> Mapping[str, np.ndarray]:
    """By name the original, and of each net what the write-up describes.

    That is the deconvolved second layer, or the class activation map of what it predicts.
    """
    sounds = {f"{piece.title} original": piece.waveform}
    for row in piece.rows:
        tiles = [t for t in row.tiles if t.waveform is not None and ("deconvolved" in t.title or "CAM" in t.title)]
        if tiles:
            sounds[f"{piece.title} {row.network} {tiles[0].title}"] = tiles[0].waveform
    return sounds
