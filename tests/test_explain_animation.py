"""Feature maps on the clock of the sound: where pieces lie, which cells are shown when, and which filters."""

import dataclasses
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from harness import features
from harness.errors import RepriseError
from harness.explain import animation
from harness.explain.activations import map_stages
from harness.explain.animation import RATE, Pieces, cut, layers_to_show, respond
from harness.models.vggish import Concatenate, Windows

CLASSES = ("cello", "flute")


class Channel(nn.Module):
    """Pictures -> pictures of one channel."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Add the axis."""
        return pictures.unsqueeze(1)


def passing(filters: int = 1, pool: int = 1) -> nn.Sequential:
    """A network whose filter k answers with k + 1 times what it gets, and whose logits are means of the first."""
    conv = nn.Conv2d(1, filters, 1)
    fc = nn.Linear(filters, 2)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(1.0, filters + 1).reshape(-1, 1, 1, 1))
        conv.bias.zero_()
        fc.weight.zero_()
        fc.bias.zero_()
        fc.weight[0, 0] = 1
    stages = OrderedDict(channel=Channel(), conv=conv)
    if pool > 1:
        stages["pool"] = nn.AvgPool2d(pool)
    return nn.Sequential(stages | OrderedDict(gap=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=fc))


def as_pieces(pictures: np.ndarray, starts: list[float], seconds: float) -> Pieces:
    pictures = np.asarray(pictures, np.float32)
    return Pieces(torch.from_numpy(pictures), pictures, np.array(starts), seconds)


def click(at: float, seconds: float, rate: int) -> np.ndarray:
    waveform = np.zeros(round(seconds * rate), np.float32)
    waveform[round(at * rate) : round(at * rate) + 200] = np.random.default_rng(0).uniform(-1, 1, 200)
    return waveform


@pytest.mark.parametrize(
    ("name", "parameters", "span", "tolerance"),
    [
        ("mel", {}, 10.0, 0.03),
        ("mel", {"time_pool": 12}, 10.0, 0.2),
        ("mel_segments", {"segments": 3, "seconds": 2.0}, None, 0.05),
        ("mel_segments", {"segments": 10}, 30.0, 0.05),
    ],
)
@pytest.mark.parametrize("at", [0.7, 4.4, 9.1])
def test_a_click_is_seen_when_it_is_heard(name, parameters, span, tolerance, at):
    front_end = features.front_end(name, **parameters)
    pieces = cut(passing(), front_end, click(at, 10.0, front_end.sample_rate), span=span)
    response = respond(passing(), pieces, CLASSES, end=10.0)
    (layer,) = response.layers
    seconds = response.start + (layer.maps[0].sum(axis=0).argmax() + 0.5) / layer.maps.shape[2] * response.end
    assert seconds == pytest.approx(at, abs=tolerance + 1 / RATE)
    heard = (response.spectrogram.astype(int).sum(axis=0).argmax() + 0.5) / layer.maps.shape[2] * response.end
    assert heard == pytest.approx(seconds, abs=2 / RATE)
    assert response.end <= 10.0


def test_patches_of_one_answer_are_laid_end_to_end_and_turned():
    front_end = features.front_end("vggish")
    network = nn.Sequential(
        OrderedDict(
            windows=Windows(),
            conv=nn.Conv2d(1, 3, 3, padding=1),
            relu=nn.ReLU(),
            gap=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            concat=Concatenate(10),
            head=nn.Linear(30, 2),
        )
    )
    with torch.no_grad():
        network.conv.weight.fill_(0.1)
    waveform = click(5.3, 10.0, 16000)
    pieces = cut(network, front_end, waveform, span=10.0)
    assert pieces.inputs.shape == (1, 10, 96, 64)
    assert pieces.pictures.shape == (10, 64, 96)
    np.testing.assert_allclose(pieces.starts, 0.96 * np.arange(10))
    np.testing.assert_array_equal(pieces.pictures[3], front_end.compute(waveform)[3].T)
    response = respond(network, pieces, CLASSES, end=10.0)
    assert [layer.name for layer in response.layers] == ["relu"]
    assert response.layers[0].shape == (3, 64, 96)
    assert response.layers[0].maps.shape == (3, 64, 240)
    assert response.end == pytest.approx(9.6)  # the front end drops the rest
    assert response.layers[0].maps[0].sum(axis=0).argmax() == pytest.approx(5.3 * RATE, abs=1)
    assert response.answers == 1
    assert (response.probabilities == response.probabilities[0]).all()
    # A file of 24 s: three spans, of which the last is filled up.
    longer = cut(network, front_end, np.tile(waveform, 3)[: 24 * 16000], span=10.0)
    assert longer.inputs.shape == (3, 10, 96, 64)
    np.testing.assert_allclose(longer.starts[[9, 10, 29]], [8.64, 10.0, 28.64])
    response = respond(network, longer, CLASSES, end=24.0)
    assert (response.end, response.answers, response.probabilities.shape) == (24.0, 3, (600, 2))


def test_segments_behind_the_end_of_the_sound_are_left_out_and_a_hair_is_no_piece():
    front_end = features.front_end("mel_segments")
    pieces = cut(passing(), front_end, click(1.0, 7.5, 22050))
    np.testing.assert_allclose(pieces.starts, [0, 3, 6])
    pieces = cut(passing(), front_end, click(1.0, 30.05, 22050))
    assert len(pieces.starts) == 10


def test_notes_are_turned_the_right_way_up_and_begin_at_their_onset():
    front_end = features.front_end("note_picture")
    rate = front_end.sample_rate
    times = np.arange(2 * rate) / rate
    low = np.where(times >= 0.8, np.sin(2 * np.pi * 200 * times), 0).astype(np.float32)
    pieces = cut(passing(), front_end, low)
    assert pieces.starts[0] == pytest.approx(0.75, abs=0.1)
    response = respond(passing(), pieces, CLASSES, end=2.0)
    assert response.end == pytest.approx(pieces.starts[0] + 1.0)
    assert response.layers[0].maps[0].astype(int).sum(axis=1).argmax() < 20  # of 64 rows
    assert response.spectrogram.astype(int).sum(axis=1).argmax() < 45  # of 150
    with pytest.raises(RepriseError, match=r"only 0\.50 s are to be shown"):
        respond(passing(), pieces, CLASSES, end=0.5)


def test_where_pieces_overlap_the_one_whose_middle_is_nearest_is_shown():
    pictures = np.stack([np.full((2, 5), value) for value in (1.0, 2.0, 3.0)])
    response = respond(passing(), as_pieces(pictures, [0.0, 0.5, 0.8], 1.0), CLASSES, end=9.0)
    # Middles are 0.5, 1.0 and 1.3 s: boundaries at 0.75 and 1.15 s, in columns of 0.04 s.
    shown = np.rint(response.layers[0].maps[0, 0] / 127.5).astype(int) + 1
    times = (np.arange(45) + 0.5) / RATE
    np.testing.assert_array_equal(shown, np.select([times <= 0.75, times <= 1.15], [1, 2], 3))
    assert response.end == pytest.approx(1.8)
    assert response.answers == 3
    expected = torch.sigmoid(torch.tensor([1.0, 2.0, 3.0])).numpy()[shown - 1]
    np.testing.assert_allclose(response.probabilities[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(response.probabilities[:, 1], 0.5)


def test_fine_maps_are_averaged_and_coarse_ones_repeated():
    fine = np.arange(200.0).reshape(1, 1, 200)  # 100 cells a second: four a column
    response = respond(passing(), as_pieces(fine, [0.0], 2.0), CLASSES, end=2.0)
    layer = response.layers[0]
    means = np.arange(200).reshape(50, 4).mean(axis=1)
    np.testing.assert_array_equal(layer.maps[0, 0], np.rint((means - 1.5) / 196 * 255))
    assert (layer.lows[0], layer.highs[0]) == (1.5, 197.5)
    assert layer.strengths[0] == pytest.approx(means.std())
    coarse = np.array([[[0.0, 3.0, 1.0, 2.0]]])
    layer = respond(passing(), as_pieces(coarse, [0.0], 4.0), CLASSES, end=4.0).layers[0]
    np.testing.assert_array_equal(layer.maps[0, 0], np.repeat([0, 255, 85, 170], 25))
    half = respond(passing(), as_pieces(coarse, [0.0], 4.0), CLASSES, end=2.0).layers[0]
    np.testing.assert_array_equal(half.maps[0, 0], np.repeat([0, 255], 25))


def growing(pairs: int = 4) -> nn.Sequential:
    """A network whose maps grow, as Han et al.'s do, and whose every cell answers to all that it sees."""
    stages, channels = OrderedDict(channel=Channel()), 1
    for pair in range(pairs):
        for number in (2 * pair + 1, 2 * pair + 2):
            stages[f"conv{number}"] = nn.Conv2d(channels, 2, 3, padding=2, bias=False)
            stages[f"act{number}"] = nn.LeakyReLU(0.33)
            nn.init.constant_(stages[f"conv{number}"].weight, 1 / 9 / channels)
            channels = 2
        if pair < pairs - 1:
            stages[f"pool{pair + 1}"] = nn.MaxPool2d(3)
    stages |= OrderedDict(gap=nn.AdaptiveMaxPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(2, 2))
    return nn.Sequential(stages)


def middles(network: nn.Sequential, frames: int, **how: bool) -> dict[str, np.ndarray]:
    """Middles of the columns of each stage, in frames."""
    example = torch.zeros(1, frames, 8) if how else torch.zeros(1, 8, frames)
    stages = map_stages(network, example)
    places = animation.columns_of(network, stages, frames, **how)
    widths = {name: shape[1 if how else 2] for name, shape in stages.items()}
    return {name: at.edge + (np.arange(widths[name]) + 0.5) * at.step for name, at in places.items()}


def test_columns_lie_where_the_middle_of_what_they_see_is():
    at = middles(growing(), 43)
    # By hand: a convolution begins one column earlier, a pooling has its middle on the second of three.
    np.testing.assert_allclose(at["act2"], np.arange(47) - 2 + 0.5)
    np.testing.assert_allclose(at["pool1"], 3 * np.arange(15) - 1 + 0.5)
    np.testing.assert_allclose(at["act6"], 9 * np.arange(10) - 22 + 0.5)
    np.testing.assert_allclose(at["act8"], 27 * np.arange(7) - 67 + 0.5)
    stages = [Channel(), nn.Conv2d(1, 1, (1, 5), stride=(1, 2), padding=(0, 2)), nn.MaxPool2d((1, 4))]
    stages += [nn.Conv2d(1, 1, (1, 3), padding="same", dilation=2), nn.AdaptiveAvgPool2d((1, 2))]
    at = middles(nn.Sequential(*stages), 32)
    np.testing.assert_allclose(at["1"], 2 * np.arange(16) + 0.5)
    np.testing.assert_allclose(at["2"], 8 * np.arange(4) + 3.5)
    np.testing.assert_allclose(at["3"], at["2"])
    # What is unknown is stretched over what it gets: two columns over four of eight frames, from -0.5 on.
    np.testing.assert_allclose(at["4"], [-0.5 + 8, -0.5 + 24])
    turned = nn.Sequential(Channel(), nn.Conv2d(1, 1, (3, 1), stride=(3, 1)))
    np.testing.assert_allclose(middles(turned, 30, transposed=True)["1"], 3 * np.arange(10) + 1.5)


@pytest.mark.parametrize("burst", [3, 10, 22, 30, 39])
@pytest.mark.parametrize("layer", ["act4", "act6", "act8"])
def test_a_burst_is_seen_in_maps_that_grew_when_it_is_heard(burst, layer):
    picture = np.zeros((1, 8, 43))
    picture[0, :, burst] = 1
    shown = respond(growing(), as_pieces(picture, [0.0], 1.72), CLASSES, end=1.72, layers=[layer]).layers[0]
    heard = shown.maps[0].sum(axis=0, dtype=int)  # a column a frame
    assert heard[burst] == heard.max() > 0
    step = {"act4": 3, "act6": 9, "act8": 27}[layer]
    loudest = np.flatnonzero(heard > 0.99 * heard.max())
    assert np.abs(loudest - burst).max() <= 1.5 * step  # a maximum of neighbours may be there twice


def test_pieces_behind_the_end_are_not_looked_at(monkeypatch):
    pictures = np.random.default_rng(0).random((6, 4, 25))
    pieces = as_pieces(pictures, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5], 1.0)
    whole = respond(passing(), pieces, CLASSES, end=9.0)
    asked = []
    real = animation.activations
    monkeypatch.setattr(
        animation, "activations", lambda net, x, names: asked.append((len(x), net, names)) or real(net, x, names)
    )
    part = respond(passing(), pieces, CLASSES, end=1.2)
    assert [number for number, *_ in asked] == [3]
    assert part.end == 1.2
    np.testing.assert_allclose(part.probabilities, whole.probabilities[:30])


def test_high_maps_are_averaged_down_evenly():
    rows = np.repeat(np.arange(128.0)[None, :, None], 50, axis=2)
    layer = respond(passing(), as_pieces(rows, [0.0], 2.0), CLASSES, end=2.0).layers[0]
    assert layer.shape == (1, 128, 50)
    np.testing.assert_array_equal(layer.maps[0, :, 0], np.rint((np.arange(64) * 2 + 0.5 - 0.5) / 126 * 255))
    uneven = animation._fewer_rows(np.arange(130.0).reshape(1, 1, 130, 1))
    assert uneven.shape == (1, 1, 64, 1)
    assert uneven[0, 0, 0, 0] == 0.5
    assert uneven[0, 0, -1, 0] == pytest.approx(np.mean([127, 128, 129]))


def test_the_filters_that_move_most_are_shown_by_number_and_still_ones_are_black():
    network = passing(filters=5)
    with torch.no_grad():
        network.conv.weight[3] = 0
        network.conv.bias[3] = 7.0
    picture = np.random.default_rng(0).random((1, 8, 50))
    pieces = as_pieces(picture, [0.0], 2.0)
    layer = respond(network, pieces, CLASSES, end=2.0, filters=3).layers[0]
    assert layer.numbers.tolist() == [1, 2, 4]
    assert layer.shape == (5, 8, 50)
    np.testing.assert_allclose(layer.strengths / layer.strengths[0], [1, 1.5, 2.5], rtol=1e-5)
    every = respond(network, pieces, CLASSES, end=2.0).layers[0]
    assert every.numbers.tolist() == [0, 1, 2, 3, 4]
    assert every.strengths[3] == 0
    assert (every.lows[3], every.highs[3]) == (7, 7)
    assert not every.maps[3].any()
    assert {int(m.min()) for m in every.maps} == {0}
    assert [int(m.max()) for m in every.maps] == [255, 255, 255, 0, 255]


def test_layers_that_show_something_of_their_own_are_chosen():
    network = nn.Sequential(
        OrderedDict(
            channel=Channel(),
            conv1=nn.Conv2d(1, 4, 3, padding=2),
            bn1=nn.BatchNorm2d(4),
            relu1=nn.ReLU(),
            drop1=nn.Dropout(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(4, 4, 3),
            act2=nn.LeakyReLU(),
            conv3=nn.Conv2d(4, 4, 1),
            globalpool=nn.AdaptiveMaxPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(4, 2),
        )
    ).eval()
    pieces = as_pieces(np.random.default_rng(0).random((2, 20, 30)), [0.0, 1.0], 1.0)
    stages = map_stages(network, pieces.inputs)
    assert layers_to_show(network, stages) == ["relu1", "pool1", "act2", "conv3"]
    response = respond(network, pieces, CLASSES, end=2.0)
    assert [layer.name for layer in response.layers] == ["relu1", "pool1", "act2", "conv3"]
    assert [layer.shape for layer in response.layers] == [(4, 22, 32), (4, 11, 16), (4, 9, 14), (4, 9, 14)]
    assert {layer.maps.shape[2] for layer in response.layers} == {50}  # maps that grew last no longer
    asked = respond(network, pieces, CLASSES, end=2.0, layers=["conv1"])
    assert [layer.name for layer in asked.layers] == ["conv1"]
    twice = respond(network, pieces, CLASSES, end=2.0, layers=["conv2", "conv1", "conv2"])
    assert [layer.name for layer in twice.layers] == ["conv2", "conv1"]
    with pytest.raises(RepriseError, match="no layer is named; choose among channel, conv1"):
        respond(network, pieces, CLASSES, end=2.0, layers=[])
    with pytest.raises(RepriseError, match=r"no maps at 'fc'; choose among channel, conv1, bn1, relu1, .*globalpool"):
        respond(network, pieces, CLASSES, end=2.0, layers=["fc"])


def test_a_network_without_maps_has_nothing_to_animate():
    network = nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(6, 2)))
    with pytest.raises(RepriseError, match="nothing to animate"):
        respond(network, as_pieces(np.ones((1, 2, 3)), [0.0], 1.0), CLASSES, end=1.0)


def test_the_same_pieces_give_the_same_response():
    pieces = as_pieces(np.random.default_rng(0).random((3, 12, 40)), [0.0, 0.5, 1.0], 1.0)
    network = passing(filters=4, pool=2)
    first, second = (respond(network, pieces, CLASSES, end=2.0) for _ in range(2))
    for a, b in zip(first.layers, second.layers, strict=True):
        for field in dataclasses.fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.spectrogram, second.spectrogram)
