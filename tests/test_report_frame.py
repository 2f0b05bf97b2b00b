"""Frames of a film: what stands where, and that it moves with time."""

import dataclasses

import numpy as np
import pytest
from responses import response

from harness.errors import RepriseError
from harness.report import frame

SMALL = (640, 400)


def drawn(which: int = 1, fps: float = 10, **fields) -> list[np.ndarray]:
    shown = response()
    return list(frame.frames(shown, shown.layers[which], title="A clip", fps=fps, **{"size": SMALL, **fields}))


def test_a_frame_for_every_tick_and_the_same_bytes_each_time():
    first, second = drawn(labelled=["cello"]), drawn(labelled=["cello"])
    assert len(first) == 40 == frame.count(response(), 10)
    assert {f.shape for f in first} == {(400, 640, 3)}
    assert first[0].dtype == np.uint8
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(drawn()[0], first[0])  # what is labelled shows


def test_the_cursor_goes_over_the_spectrogram_in_time():
    frames = drawn()
    left, right = frame.MARGIN, round(frame.SPLIT * 640) - frame.MARGIN
    for i in (0, 13, 39):
        strip = frames[i][frame.TITLE + 60 : frame.TITLE + 160, left:right]
        (white,) = np.nonzero((strip == 255).all(axis=(0, 2)))
        assert white[0] == pytest.approx(i / 40 * (right - left), abs=1.5)


def test_maps_move_past_the_middle():
    frames = drawn()
    columns, rows = frame.arrange(2, 640 - 32, 400 - frame.TITLE - frame.TOP - frame.MARGIN - 26)
    assert (columns, rows) == (2, 1)
    cell = (640 - 32) // 2
    upper = frame.TITLE + frame.TOP + 26 + frame.NUMBER
    height = 400 - frame.TITLE - frame.TOP - frame.MARGIN - 26 - frame.NUMBER - 4
    for i in (10, 20, 30):  # a bar that rises from the lowest row to the highest in 4 s
        tile = frames[i][upper : upper + height, frame.MARGIN : frame.MARGIN + cell - 4].astype(int)
        middle = tile[:, tile.shape[1] // 2 + 4].sum(axis=1)
        assert 1 - (middle.argmax() + 0.5) / height == pytest.approx((i / 10 + 0.04) / 4, abs=0.1)
    # Before the start of the clip there is nothing, in the colour of nothing.
    tile = frames[0][upper : upper + height, frame.MARGIN : frame.MARGIN + cell // 2 - 10]
    assert (tile == frame.OUTSIDE).all()


def test_bars_are_as_long_as_probabilities():
    frames = drawn(size=(1280, 720))

    def lengths(picture: np.ndarray) -> np.ndarray:
        """Of the three bars, from top to bottom: whole rows that are in the colour of bars."""
        right = picture[frame.TITLE + 18 : frame.TITLE + frame.TOP, round(frame.SPLIT * 1280) :]
        counts = (right == frame.BAR).all(axis=2).sum(axis=1)
        (edges,) = np.nonzero(np.diff(counts, prepend=0) > 10)
        return counts[edges]

    # Ranked by the highest of the clip: mallet percussion 0.9 to 0.1, cello 0.25 to 0.75, voice 0.1.
    assert frame.ranked_classes(response()) == [1, 0, 2]
    early, late = lengths(frames[5]), lengths(frames[35])
    whole = early[0] / 0.9
    assert whole > 250
    np.testing.assert_allclose(early / whole, [0.9, 0.25, 0.1], atol=0.005)
    np.testing.assert_allclose(late / whole, [0.1, 0.75, 0.1], atol=0.005)
    assert frame.ranked_classes(response(), ["voice"]) == [2, 1, 0]


def test_arrays_use_their_room():
    assert frame.arrange(1, 300, 200) == (1, 1)
    assert frame.arrange(6, 300, 200) in {(3, 2), (2, 3)}
    columns, rows = frame.arrange(64, 1248, 480)
    assert columns * rows >= 64
    assert (columns - 1) * rows < 64 or columns * (rows - 1) < 64


def test_too_many_maps_for_the_room_are_refused():
    shown = response(filters=600)
    with pytest.raises(RepriseError, match="600 maps have no room in 320 x 300 pixels; show fewer with --filters"):
        next(frame.frames(shown, shown.layers[0], title="", fps=1, size=(320, 300)))


def test_a_response_that_starts_late_is_drawn_where_it_lies():
    shown = response(start=1.0)
    frames = list(frame.frames(shown, shown.layers[1], title="x" * 500, fps=2, size=SMALL))
    assert len(frames) == 8
    left, right = frame.MARGIN, round(frame.SPLIT * 640) - frame.MARGIN
    row = frames[4][frame.TITLE + 100, left:right]
    quarter = (right - left) // 4
    assert (row[: quarter - 1] == frame.OUTSIDE).all()
    assert not (row[quarter + 3 : quarter + 20] == frame.OUTSIDE).all()


def test_every_class_is_named_where_there_are_many():
    shown = response()
    many = dataclasses.replace(
        shown,
        classes=tuple(f"class_{i}" for i in range(40)),
        probabilities=np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(100, axis=0),
        answers=1,
    )
    picture = next(frame.frames(many, many.layers[0], title="t", fps=1))
    assert picture.shape == (720, 1280, 3)
