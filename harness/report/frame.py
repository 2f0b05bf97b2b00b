"""Frames of a film of a network listening, laid out as in Fig. 2 of study 001.

The spectrogram with a cursor at the top left, the probabilities of the classes at the top right, and below them an
array of numbered maps, one for each filter of a layer. Each map shows the `WINDOW` seconds around the cursor, so that
it moves with the sound. Everything is drawn from arrays by Pillow, in one font: the same response gives the same bytes.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.errors import RepriseError
from harness.explain.animation import Layer, Response

#: Width and height of a frame in pixels; even, as the usual coding of colours in films wants it.
SIZE = (1280, 720)
#: Seconds of a map that are in sight.
WINDOW = 3.0
#: Classes whose probability is drawn: those with the highest one in the clip.
CLASSES = 20
BACK, TEXT, SOFT, OUTSIDE = (255, 255, 255), (29, 29, 31), (100, 100, 108), (226, 226, 230)
BAR, LABELLED = (122, 122, 132), (222, 91, 12)
#: Heights of the title and of the panels at the top, margins, and the strip with a map's number, in pixels.
TITLE, TOP, MARGIN, NUMBER = 34, 236, 16, 13
#: Share of the width that the spectrogram takes.
SPLIT = 0.6


def colour_table() -> np.ndarray:
    """Colours of 256 levels: 255 of matplotlib's magma, and the one of what is outside the clip.

    Returns
    -------
    np.ndarray [shape=(256, 3), dtype=uint8]
        Red, green and blue.
    """
    table = mpl.colormaps["magma"](np.linspace(0, 1, 255), bytes=True)[:, :3]
    return np.concatenate([table, np.array([OUTSIDE], np.uint8)])


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, which every machine has."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)


def arrange(maps: int, width: int, height: int) -> tuple[int, int]:
    """Columns and rows for an array of maps.

    Parameters
    ----------
    maps
        How many.
    width, height
        Room, in pixels.

    Returns
    -------
    columns, rows : int
        Of all arrays that hold them that with the largest maps of three to two.
    """

    def size(columns: int) -> float:
        return min(width / columns / 3, height / math.ceil(maps / columns) / 2)

    columns = max(range(1, maps + 1), key=size)
    return columns, math.ceil(maps / columns)


def count(response: Response, fps: float) -> int:
    """Number of frames of a film.

    Parameters
    ----------
    response
        Of a network to a clip.
    fps
        Frames per second.

    Returns
    -------
    int
        At least one.
    """
    return max(1, round(response.end * fps))


def frames(
    response: Response,
    layer: Layer,
    *,
    title: str,
    fps: float,
    labelled: Sequence[str] = (),
    size: tuple[int, int] = SIZE,
) -> Iterator[np.ndarray]:
    """Draw a film of one layer, from the clip's start to the end of the response.

    Parameters
    ----------
    response
        Of a network to a clip.
    layer
        One of its layers.
    title
        What stands above all.
    fps
        Frames per second.
    labelled
        Classes that the clip is known to have; their names are in bold and orange.
    size
        Width and height in pixels.

    Yields
    ------
    np.ndarray [shape=(height, width, 3), dtype=uint8]
        Frame i shows the time ``i / fps``.

    Raises
    ------
    RepriseError
        The size leaves no room for the maps.
    """
    width, height = size
    split, top = round(SPLIT * width), TITLE + TOP
    columns, rows = arrange(len(layer.numbers), width - 2 * MARGIN, height - top - MARGIN - 26)
    cell_width, cell_height = (width - 2 * MARGIN) // columns, (height - top - MARGIN - 26) // rows
    map_width, map_height = cell_width - 4, cell_height - NUMBER - 4
    if map_width < 8 or map_height < 8:
        raise RepriseError(
            f"{len(layer.numbers)} maps have no room in {width} x {height} pixels; show fewer with --filters"
        )
    still = Image.new("RGB", size, BACK)
    draw = ImageDraw.Draw(still)
    draw.text((MARGIN, 9), _shortened(title, width - 2 * MARGIN, _font(15, True)), TEXT, _font(15, True))
    draw.text((MARGIN, TITLE), "What the network hears", SOFT, _font(11))
    channels, high, wide = layer.shape
    chosen = "" if len(layer.numbers) == channels else f", the {len(layer.numbers)} that move most"
    draw.text(
        (MARGIN, top + 4),
        f"Layer {layer.name}: {channels} filters of {high} x {wide}{chosen}; "
        f"{WINDOW:g} s around the cursor, each between its own extremes",
        SOFT,
        _font(11),
    )
    corners = []
    for place, number in enumerate(layer.numbers):
        left, upper = MARGIN + place % columns * cell_width, top + 26 + place // columns * cell_height
        draw.text((left + 1, upper), str(number), SOFT, _font(10))
        corners.append((left, upper + NUMBER))

    # The spectrogram as a picture, and every map as a strip in which the sight moves along.
    box = (MARGIN, TITLE + 18, split - MARGIN, top - 8)
    colours = colour_table()
    picture = _stretched(response.spectrogram[None, ::-1], box[3] - box[1], _along(response, 0, response.end, box))[0]
    still.paste(Image.fromarray(colours[picture]), box[:2])
    per_second = map_width / WINDOW
    behind = map_width // 2 + 1
    strip = round(response.end * per_second)
    times = (np.arange(-behind, strip + behind) + 0.5) / per_second
    strips = _stretched(layer.maps[:, ::-1], map_height, _columns_at(response, times))
    bars = _Bars(response, labelled, (split + MARGIN, TITLE, width - MARGIN, top - 8))
    bars.draw_names(draw)

    base = np.asarray(still)
    for i in range(count(response, fps)):
        now = i / fps
        frame = base.copy()
        first = round(now * per_second) + behind - map_width // 2
        for strip_of_map, (left, upper) in zip(strips, corners, strict=True):
            frame[upper : upper + map_height, left : left + map_width] = colours[
                strip_of_map[:, first : first + map_width]
            ]
            _line(frame, left + map_width // 2, upper, upper + map_height, halo=False)
        _line(frame, box[0] + round(now / response.end * (box[2] - box[0] - 1)), box[1], box[3], halo=True)
        clock = _number(f"{now:.2f} of {response.end:.2f} s", 11)
        frame[TITLE : TITLE + clock.shape[0], box[2] - clock.shape[1] : box[2]] = clock
        bars.draw(frame, now)
        yield frame


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """A text that fits into a width."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _columns_at(response: Response, times: np.ndarray) -> np.ndarray:
    """Number of the response's column at each time; -1 outside."""
    width = response.spectrogram.shape[1]
    columns = np.floor((times - response.start) / (response.end - response.start) * width).astype(int)
    return np.where((columns >= 0) & (columns < width), columns, -1)


def _along(response: Response, start: float, end: float, box: tuple[int, int, int, int]) -> np.ndarray:
    """Number of the response's column at each pixel of a box that shows a span of time."""
    pixels = box[2] - box[0]
    return _columns_at(response, start + (np.arange(pixels) + 0.5) / pixels * (end - start))


def _stretched(levels: np.ndarray, height: int, columns: np.ndarray) -> np.ndarray:
    """Levels (k, rows, columns) with each row repeated to fill a height, in certain columns; 255 outside."""
    rows = (2 * np.arange(height) + 1) * levels.shape[1] // (2 * height)
    within = levels[:, rows][:, :, columns]
    shown = (within.astype(np.uint16) * 254 // 255).astype(np.uint8)
    shown[:, :, columns < 0] = 255
    return shown


def _line(frame: np.ndarray, x: int, upper: int, lower: int, *, halo: bool) -> None:
    """A white line from top to bottom; with a halo it shows on anything."""
    if halo:
        frame[upper:lower, max(0, x - 1) : x + 3] = (0, 0, 0)
        frame[upper:lower, x : x + 2] = (255, 255, 255)
    else:
        frame[upper:lower, x] = (frame[upper:lower, x].astype(np.uint16) + 255) // 2


class _Bars:
    """The probabilities of the classes as bars, and as numbers."""

    def __init__(self, response: Response, labelled: Sequence[str], box: tuple[int, int, int, int]) -> None:
        self.response, self.labelled, self.box = response, set(labelled), box
        self.shown = ranked_classes(response, labelled)[:CLASSES]
        self.step = min(22.0, (box[3] - box[1] - 18) / len(self.shown))
        self.font, self.bold = _font(min(12, int(self.step) + 1)), _font(min(12, int(self.step) + 1), True)
        longest = max(self.bold.getlength(self._name(number)) for number in self.shown)
        self.left = box[0] + min(math.ceil(longest), (box[2] - box[0]) // 2) + 8
        self.right = box[2] - 36

    def _name(self, number: int) -> str:
        return self.response.classes[number].replace("_", " ")

    def draw_names(self, draw: ImageDraw.ImageDraw) -> None:
        """What does not change."""
        answers = "one answer for the whole clip" if self.response.answers == 1 else "under the cursor"
        mark = "; orange: labelled" if self.labelled else ""
        draw.text((self.box[0], self.box[1]), f"Probability, {answers}{mark}", SOFT, _font(11))
        for place, number in enumerate(self.shown):
            known = self.response.classes[number] in self.labelled
            font = self.bold if known else self.font
            name = _shortened(self._name(number), self.left - self.box[0] - 8, font)
            middle = self.box[1] + 18 + (place + 0.5) * self.step
            draw.text((self.box[0], middle), name, LABELLED if known else TEXT, font, anchor="lm")

    def draw(self, frame: np.ndarray, now: float) -> None:
        """Bars and numbers at a time."""
        column = int(np.clip(_columns_at(self.response, np.array([now]))[0], 0, None))
        if now >= self.response.end:
            column = len(self.response.probabilities) - 1
        for place, number in enumerate(self.shown):
            value = float(self.response.probabilities[column, number])
            upper = self.box[1] + 18 + place * self.step
            y0, y1 = round(upper + 0.15 * self.step), max(round(upper + 0.85 * self.step), round(upper) + 2)
            frame[y0:y1, self.left : self.right] = OUTSIDE
            colour = LABELLED if self.response.classes[number] in self.labelled else BAR
            frame[y0:y1, self.left : self.left + round(value * (self.right - self.left))] = colour
            text = _number(f"{value:.2f}", self.font.size)
            y = round(upper + 0.5 * self.step - text.shape[0] / 2)
            frame[y : y + text.shape[0], self.right + 4 : self.right + 4 + text.shape[1]] = text


@cache
def _number(text: str, size: int) -> np.ndarray:
    """A short text as a picture."""
    font = _font(int(size))
    image = Image.new("RGB", (math.ceil(font.getlength(text)), int(size)), BACK)
    ImageDraw.Draw(image).text((0, image.height / 2), text, TEXT, font, anchor="lm")
    return np.asarray(image)


def ranked_classes(response: Response, labelled: Sequence[str] = ()) -> list[int]:
    """Classes in the order to show them.

    Parameters
    ----------
    response
        Gives names and probabilities.
    labelled
        Classes that the clip is known to have.

    Returns
    -------
    list of int
        Their numbers, by the highest probability in the clip, those labelled first.
    """
    highest = response.probabilities.max(axis=0)
    return sorted(range(len(highest)), key=lambda n: (response.classes[n] not in labelled, -highest[n], n))
