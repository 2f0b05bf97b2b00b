"""A network's feature maps on the clock of the sound: what each filter of each layer answers while a clip plays.

Study 001 shows the response of a network to a clip "layer by layer", as animated plots of its filters that "can be
compared with input audio". For that every map must know when in the clip its columns lie. A network takes a clip as
one picture (ResNet-50), as patches that belong to one answer (VGGish) or as segments with an answer each; its poolings
shorten time, and its padding may lengthen it. Here a clip is cut into pieces as the network takes it, and the maps of
all pieces are laid end to end on one clock of `RATE` columns a second. Each column of a map lies where the middle of
the sound is that it is computed from, see `Columns`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from harness.errors import RepriseError
from harness.explain.activations import activations, map_stages
from harness.features import FrontEnd
from harness.models import chain

#: Columns per second of what is shown: one frame of a film.
RATE = 25
#: Rows of a map that is shown; a higher one is averaged down.
ROWS = 64
#: Filters of a layer that are shown.
FILTERS = 64
#: Stages that change values cell by cell, so that the maps before them look the same, but for what is cut off.
CELLWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.BatchNorm2d)
DROPOUTS = (nn.Dropout, nn.Dropout2d)
#: Stages whose columns look at several of those before: what `Columns` follows.
SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
#: A remainder of a clip that is shorter than this, in seconds, is not worth a piece of its own.
REMAINDER = 0.1


@dataclass(frozen=True, eq=False)
class Pieces:
    """A clip as a network takes it, and when in the clip each piece lies.

    Parameters
    ----------
    inputs : Tensor (n, ...)
        What the network takes: n items, with an answer each.
    pictures : np.ndarray [shape=(m, bands, frames)]
        Spectrograms of the pieces, row 0 the lowest band. m is n, or where the chain starts with ``windows`` a
        multiple of it.
    starts : np.ndarray [shape=(m,)]
        Where each piece begins, in seconds, ascending; pieces may overlap.
    seconds
        Length of a piece.
    transposed
        Whether the network takes time x frequency.
    flipped
        Whether the first row that it takes is the highest band.
    """

    inputs: torch.Tensor
    pictures: np.ndarray
    starts: np.ndarray
    seconds: float
    transposed: bool = False
    flipped: bool = False

    def upright(self, maps: np.ndarray) -> np.ndarray:
        """Maps (m, channels, height, width) as the network puts them out, as frequency x time, lowest band first."""
        maps = maps.swapaxes(2, 3) if self.transposed else maps
        return maps[:, :, ::-1] if self.flipped else maps


def cut(network: nn.Sequential, front_end: FrontEnd, waveform: np.ndarray, *, span: float | None = None) -> Pieces:
    """Cut a waveform of any length into what a network takes.

    Parameters
    ----------
    network
        A chain of stages. One that starts with ``windows`` takes all patches of a span as one item; any other takes
        each segment that the front end gives as an item of its own.
    front_end
        The network's own.
    waveform : np.ndarray [shape=(samples,)]
        At the front end's rate. Its last span is filled up with silence.
    span
        Seconds that go through the front end at a time: the length of the corpus's clips. Default: that of all
        segments where the front end cuts segments, or else the whole waveform.

    Returns
    -------
    Pieces
        Without segments that begin behind the end of the sound.

    Raises
    ------
    RepriseError
        As the front end.
    """
    rate = front_end.sample_rate
    windows = chain(network)[0][0] == "windows"
    if span is None and not windows and len(shape := front_end.shape(None)) == 3:
        span = shape[0] * _piece_seconds(front_end, shape[2])
    samples = round(span * rate) if span else len(waveform)
    chunks = [waveform[start : start + samples] for start in range(0, len(waveform), samples)]
    if len(chunks) > 1 and len(chunks[-1]) < REMAINDER * rate:
        chunks.pop()
    chunks = [np.pad(chunk, (0, samples - len(chunk))) for chunk in chunks]

    taken = np.stack([front_end.compute(chunk) for chunk in chunks])
    pictures = taken if taken.ndim == 4 else taken[:, None]  # (chunks, pieces of a chunk, rows, columns)
    if windows:
        pictures = pictures.swapaxes(2, 3)
    seconds = _piece_seconds(front_end, pictures.shape[3])
    onsets = [front_end.onset(chunk) / rate if hasattr(front_end, "onset") else 0.0 for chunk in chunks]
    offsets = np.arange(len(chunks)) * samples / rate + onsets
    starts = (offsets[:, None] + np.arange(pictures.shape[1]) * seconds).ravel()
    pictures = pictures.reshape(-1, *pictures.shape[2:])
    flipped = getattr(front_end, "low", "top") == "bottom"
    if windows:
        inputs = taken
    else:
        sounding = starts < len(waveform) / rate
        inputs, pictures, starts = pictures[sounding], pictures[sounding], starts[sounding]
    return Pieces(
        inputs=torch.from_numpy(np.ascontiguousarray(inputs, np.float32)),
        pictures=pictures[:, ::-1] if flipped else pictures,
        starts=starts,
        seconds=seconds,
        transposed=windows,
        flipped=flipped,
    )


def _piece_seconds(front_end: FrontEnd, frames: int) -> float:
    """Length of one of a front end's pictures: the one it states, or that of its frames."""
    return getattr(front_end, "seconds", frames * front_end.seconds_per_frame)


@dataclass(frozen=True, eq=False)
class Layer:
    """Maps of one stage, ready to be shown.

    Parameters
    ----------
    name
        Of the stage.
    shape
        Channels, rows and columns of what it puts out for one piece, frequency x time.
    numbers
        Which k of its channels are here, ascending.
    maps : np.ndarray [shape=(k, rows, columns), dtype=uint8]
        Each map from 0, its lowest value in the clip, to 255, its highest; zeros throughout where it never changes.
        Row 0 is the lowest band; columns are those of the `Response`.
    lows, highs : np.ndarray [shape=(k,)]
        The lowest and the highest value.
    strengths : np.ndarray [shape=(k,)]
        How much each filter moves: the standard deviation of its map over the clip.
    """

    name: str
    shape: tuple[int, int, int]
    numbers: np.ndarray
    maps: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    strengths: np.ndarray


@dataclass(frozen=True, eq=False)
class Response:
    """What a network answers to a clip, over time.

    Parameters
    ----------
    start, end
        Seconds of the clip that are shown; columns share them equally, about `RATE` a second.
    spectrogram : np.ndarray [shape=(bands, columns), dtype=uint8]
        What the network takes, from its lowest value to its highest, row 0 the lowest band.
    classes
        Names of its outputs.
    probabilities : np.ndarray [shape=(columns, c), dtype=float32]
        Of the answer that covers each column.
    answers
        How many answers they come from; with one it holds for the whole clip.
    layers
        In the order in which they run.
    """

    start: float
    end: float
    spectrogram: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray
    answers: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Columns:
    """Where in a piece the columns of a map lie, in frames of what the network takes.

    Each is as wide as they lie apart, and its middle is that of the frames it is computed from, those of the padding
    included. Where a convolution lays so many zeros around that its maps grow, the first and the last columns have
    their middles outside the piece, and a map spread over the piece as a whole would not be in time with the sound.

    Parameters
    ----------
    edge
        Where the first begins.
    step
        From one to the next.
    """

    edge: float = 0.0
    step: float = 1.0

    def behind(self, stage: nn.Module, before: int, after: int, axis: int) -> "Columns":
        """Columns of a stage's output.

        Parameters
        ----------
        stage
            What these columns go into.
        before, after
            How many there are, and how many the stage puts out.
        axis
            Of height and width the one that is time: 0 or 1.

        Returns
        -------
        Columns
            Of a stage that is not `SLIDING`, as if it stretched or squeezed what it gets as a whole.
        """
        if not isinstance(stage, SLIDING):
            return replace(self, step=self.step * before / after)
        kernel, stride, dilation = (
            _along(getattr(stage, name, 1), axis) for name in ("kernel_size", "stride", "dilation")
        )
        reach = (kernel - 1) * dilation
        padding = {"same": reach // 2, "valid": 0}.get(stage.padding) if isinstance(stage.padding, str) else None
        if padding is None:
            padding = _along(stage.padding, axis)
        return Columns(self.edge + self.step * ((reach + 1 - stride) / 2 - padding), self.step * stride)


def _along(value: int | Sequence[int], axis: int) -> int:
    """A setting of a stage, which may be one for both axes."""
    return value if isinstance(value, int) else value[axis]


def columns_of(
    network: nn.Sequential, stages: dict[str, tuple[int, int, int]], frames: int, *, transposed: bool = False
) -> dict[str, Columns]:
    """Where the columns of all maps of a network lie.

    Parameters
    ----------
    network
        A chain of stages.
    stages
        Those with maps, see `harness.explain.activations.map_stages`.
    frames
        Of a piece.
    transposed
        Whether the network takes time x frequency.

    Returns
    -------
    dict of str to Columns
        By stage.
    """
    axis, found, now, width = (0 if transposed else 1), {}, Columns(), frames
    for name, stage in chain(network):
        if name in stages:
            after = stages[name][1 + axis]
            now, width = now.behind(stage, width, after, axis), after
            found[name] = now
    return found


def layers_to_show(network: nn.Sequential, stages: dict[str, tuple[int, int, int]]) -> list[str]:
    """Choose the stages that are worth an array of maps each.

    Parameters
    ----------
    network
        A chain of stages.
    stages
        Those with maps, see `harness.explain.activations.map_stages`.

    Returns
    -------
    list of str
        Without those before the first layer that learns, which hold the input again; those of one cell; dropouts,
        which pass on what they get; and those whose output goes straight through a non-linearity or normalisation,
        behind which it is shown.
    """
    links = chain(network)
    behind = {name for (name, _), (_, following) in pairwise(links) if isinstance(following, CELLWISE)}
    learns = [any(True for _ in stage.parameters()) for _, stage in links]
    return [
        name
        for name, stage in links[learns.index(True) if any(learns) else 0 :]
        if name in stages
        and stages[name][1] * stages[name][2] > 1
        and name not in behind
        and not isinstance(stage, DROPOUTS)
    ]


def respond(
    network: nn.Sequential,
    pieces: Pieces,
    classes: Sequence[str],
    *,
    end: float,
    activation: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid,
    layers: Sequence[str] | None = None,
    filters: int = FILTERS,
) -> Response:
    """Run a clip through a network and put its maps and answers on the clock of the sound.

    Where pieces overlap, each moment is shown from the piece in whose middle it lies nearest; where maps have more
    than `RATE` columns a second or more than `ROWS` rows, neighbours are averaged. Of a map that has grown the columns
    whose middles lie outside their piece are left out. Pieces that begin behind what is shown are not looked at.

    Parameters
    ----------
    network
        A chain of stages, left as it was.
    pieces
        Of the clip.
    classes
        Names of the network's outputs.
    end
        Seconds of the clip to show at most.
    activation
        From logits to probabilities.
    layers
        Names of stages, one named twice counting once; default: `layers_to_show`.
    filters
        How many filters of a layer to show: those that move most over the clip.

    Returns
    -------
    Response
        The same for the same weights and pieces.

    Raises
    ------
    RepriseError
        The network has no such stage, or it has no maps; no layer is named, or none of the network has maps.
    """
    stages = map_stages(network, pieces.inputs)
    wanted = layers_to_show(network, stages) if layers is None else list(dict.fromkeys(layers))
    if layers is not None and not wanted:
        raise RepriseError(f"no layer is named; choose among {', '.join(stages) or 'none'}")
    for name in wanted:
        if name not in stages:
            raise RepriseError(f"the network has no maps at {name!r}; choose among {', '.join(stages) or 'none'}")
    if not wanted:
        raise RepriseError("no layer of this network has maps over frequency and time; there is nothing to animate")

    end = min(end, float(pieces.starts.max() + pieces.seconds))
    start = float(pieces.starts.min())
    if not start < end:
        raise RepriseError(f"the network takes the clip from {start:.2f} s on, and only {end:.2f} s are to be shown")
    columns = max(1, round((end - start) * RATE))
    times = start + (np.arange(columns) + 0.5) * (end - start) / columns
    head = chain(network)[-1][0]
    pieces = _until(end, pieces)
    outputs = activations(network, pieces.inputs, list(dict.fromkeys([*wanted, head])))
    pieces_of_answer = len(pieces.starts) // len(pieces.inputs)
    answer = _nearest(times, pieces.starts[::pieces_of_answer], pieces.seconds * pieces_of_answer)
    probabilities = activation(torch.from_numpy(outputs[head])).numpy().astype(np.float32)

    places = columns_of(network, stages, pieces.pictures.shape[2], transposed=pieces.transposed)
    shown = []
    for name in wanted:
        maps = pieces.upright(outputs.pop(name))
        shape = maps.shape[1:]
        on_clock = _on_clock(_fewer_rows(maps), times, pieces, places[name])
        strengths = on_clock.std(axis=(1, 2))
        strongest = np.sort(np.argsort(-strengths, kind="stable")[:filters])
        levels, lows, highs = _levels(on_clock[strongest])
        shown.append(Layer(name, shape, strongest, levels, lows, highs, strengths[strongest]))
    pictures = _on_clock(pieces.pictures[:, None], times, pieces, Columns())
    return Response(
        start=start,
        end=end,
        spectrogram=_levels(pictures)[0][0],
        classes=tuple(classes),
        probabilities=probabilities[answer],
        answers=len(np.unique(answer)),
        layers=tuple(shown),
    )


def _nearest(times: np.ndarray, starts: np.ndarray, seconds: float) -> np.ndarray:
    """Of each time the number of the piece whose middle is nearest, the earlier of two."""
    return np.abs(starts + seconds / 2 - times[:, None]).argmin(axis=1)


def _until(end: float, pieces: Pieces) -> Pieces:
    """The pieces of all answers of which any begins before `end` seconds."""
    of_answer = len(pieces.starts) // len(pieces.inputs)
    answers = int((pieces.starts[::of_answer] < end).sum())
    some = slice(answers * of_answer)
    return replace(pieces, inputs=pieces.inputs[:answers], pictures=pieces.pictures[some], starts=pieces.starts[some])


def _on_clock(maps: np.ndarray, times: np.ndarray, pieces: Pieces, places: Columns) -> np.ndarray:
    """Maps (m, channels, rows, columns) of pieces laid out on `times`, (channels, rows, len(times)) in float64."""
    width, frames = maps.shape[3], pieces.pictures.shape[2]
    piece = _nearest(times, pieces.starts, pieces.seconds)
    # In columns of the map: from 0, where the first begins, to `width`.
    cells = ((times - pieces.starts[piece]) / pieces.seconds * frames - places.edge) / places.step
    half = frames / pieces.seconds / places.step * (times[1] - times[0] if len(times) > 1 else 1 / RATE) / 2
    # Columns whose middles lie in the piece, or the nearest to its middle.
    middles = places.edge + (np.arange(width) + 0.5) * places.step
    (inside,) = np.nonzero((middles > 0) & (middles < frames))
    if not len(inside):
        inside = np.abs(middles - frames / 2).argmin(keepdims=True)
    lowest, highest = inside[0], inside[-1] + 1
    # The cells whose centres a column covers; where it covers none, the cell that it lies in.
    first = np.clip(np.ceil(cells - half - 0.5), lowest, highest).astype(int)
    last = np.clip(np.ceil(cells + half - 0.5), lowest, highest).astype(int)
    none = last <= first
    first[none] = np.clip(np.floor(cells[none]), lowest, highest - 1).astype(int)
    last[none] = first[none] + 1
    flat = maps.transpose(1, 2, 0, 3).reshape(*maps.shape[1:3], -1)
    sums = np.zeros((*flat.shape[:2], flat.shape[2] + 1))
    np.cumsum(flat, axis=2, dtype=np.float64, out=sums[..., 1:])
    first, last = first + piece * width, last + piece * width
    means = (sums[..., last] - sums[..., first]) / (last - first)
    return np.where(last - first == 1, flat[..., first], means)  # a single cell keeps its very value


def _fewer_rows(maps: np.ndarray) -> np.ndarray:
    """Maps (m, channels, rows, columns) with at most `ROWS` rows, each the mean of its neighbours."""
    rows = maps.shape[2]
    if rows <= ROWS:
        return maps
    edges = np.arange(ROWS) * rows // ROWS
    return np.add.reduceat(maps, edges, axis=2) / np.diff([*edges, rows])[:, None]


def _levels(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps (k, rows, columns) in 256 levels between the extremes of each, and the extremes."""
    lows, highs = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    ranges = np.where(highs > lows, highs - lows, 1)
    levels = np.rint((maps - lows[:, None, None]) / ranges[:, None, None] * 255).astype(np.uint8)
    return levels, lows, highs
