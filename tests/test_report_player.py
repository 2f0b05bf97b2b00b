"""The player: what its page holds, and that it plays, moves and obeys in a real browser."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import open_browser
from PIL import Image
from responses import response

from harness.explain.animation import Layer, Response
from harness.report import gallery, player

CAPTION = {"Arm": "VGGish", "Clip": "<b>000046_3840</b>"}
SECONDS = 4.0


def tone(seconds: float = SECONDS) -> bytes:
    waveform = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 44100)) / 44100)
    return gallery.sound(gallery.Entry("tone", "Tone", waveform, 44100, []))


def written(path: Path, shown: Response | None = None, **fields) -> Path:
    given = {"title": "Heard & <seen>", "caption": CAPTION, "sound": tone(), "labelled": ["cello"]} | fields
    player.write_player(shown or response(), path, **given)
    return path


class Page(HTMLParser):
    """What a page links to, and what its tags say."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        """Collect."""
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "poster", "action")]


def data_of(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_everything(tmp_path: Path) -> None:
    text = written(tmp_path / "player.html").read_text("utf-8")
    parsed = Page(text)
    assert {link.partition(":")[0] for link in parsed.links} == {"data"}
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'" in text
    assert "<seen>" not in text
    assert "<b>" not in text
    assert parsed.tags.count("audio") == 1
    data = data_of(text)
    shown = response()
    for given, layer in zip(data["layers"], shown.layers, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(given["image"].partition(",")[2]))) as picture:
            assert picture.mode == "L"
            cells = np.asarray(picture).reshape(len(layer.numbers), -1, 100)
        np.testing.assert_array_equal(cells[:, ::-1], layer.maps)
        assert given["numbers"] == layer.numbers.tolist()
        assert (given["name"], given["shape"], given["rows"]) == (layer.name, list(layer.shape), layer.maps.shape[1])
    # In the order of the list: what is labelled first, then by probability.
    names = re.findall(r'class="name" title="([^"]*)"', text)
    assert names == ["cello", "mallet percussion", "voice"]
    np.testing.assert_array_equal(np.array(data["probabilities"])[:, [0, 99]], [[250, 750], [900, 100], [100, 100]])
    again = written(tmp_path / "again.html")
    assert again.read_bytes() == text.encode()


def test_a_warning_stands_above_all(tmp_path: Path) -> None:
    assert 'class="warning"' not in written(tmp_path / "a.html").read_text("utf-8")
    assert "keep it to yourself" in written(tmp_path / "b.html", warning="keep it to yourself").read_text("utf-8")


def test_ten_seconds_of_the_largest_network_stay_below_4_mb(tmp_path: Path) -> None:
    """Maps of ResNet-50 at 128 x 431, of noise as smooth as spectrograms are, so worse than any network's."""
    generator = np.random.default_rng(0)
    sizes = [("relu", 64, 216), *[(f"layer1.{i}", 32, 108) for i in range(4)]]
    sizes += [(f"layer2.{i}", 16, 54) for i in range(4)] + [(f"layer3.{i}", 8, 27) for i in range(6)]
    sizes += [(f"layer4.{i}", 4, 14) for i in range(3)]
    layers = []
    for name, rows, columns in sizes:
        cells = generator.gamma(0.5, 30, (64, rows, columns)).clip(0, 255).astype(np.uint8)
        maps = cells[..., np.arange(250) * columns // 250]
        numbers = np.arange(64)
        layers.append(Layer(name, (64, rows, columns), numbers, maps, numbers * 0.0, numbers + 1.0, numbers * 1.0))
    spectrogram = generator.integers(0, 256, (128, 250), dtype=np.uint8)
    shown = Response(0.0, 10.0, spectrogram, ("a", "b"), np.full((250, 2), 0.5, np.float32), 1, tuple(layers))
    path = written(tmp_path / "large.html", shown, sound=tone(10.0), labelled=[])
    assert path.stat().st_size < 4e6


#: A number that changes when any pixel of a canvas does.
PIXELS = """(() => {{ const c = document.querySelector("{0}"); const d = c.getContext("2d").getImageData(0, 0,
c.width, c.height).data; let h = 0; for (let i = 0; i < d.length; i++) h = (h * 31 + d[i]) | 0; return h; }})()"""
#: How far the white line of the cursor has come in the spectrogram, from 0 to 1.
CURSOR = """(() => { const c = document.getElementById("spectrogram"); const x = c.getContext("2d");
const d = x.getImageData(0, 0, c.width, c.height).data; for (let i = 0; i < c.width; i++) { let all = true;
for (let j = 0; j < c.height && all; j += 7) { const k = 4 * (j * c.width + i);
all = d[k] === 255 && d[k + 1] === 255 && d[k + 2] === 255; } if (all) return i / c.width; } return null; })()"""


def test_it_plays_in_a_browser(tmp_path: Path) -> None:
    page = written(tmp_path / "player.html")
    with open_browser(tmp_path) as browser:
        browser.open(page, width=1100, height=800)
        ready = "document.querySelectorAll('#maps button').length === 6 && document.querySelector('audio').readyState"
        browser.wait_for(f"{ready} === 4")
        assert browser.evaluate("document.querySelector('audio').duration") == pytest.approx(SECONDS, abs=0.1)
        assert browser.evaluate("document.getElementById('maps').dataset.layer") == "random"
        assert browser.evaluate(CURSOR) == pytest.approx(0, abs=0.01)
        value = "document.querySelector('#classes .value').textContent"
        assert browser.evaluate(value) == "0.25"

        # Play moves the cursor, the maps and the probabilities, with the sound.
        first, tile = browser.evaluate(PIXELS.format("#spectrogram")), browser.evaluate(PIXELS.format("#maps canvas"))
        browser.evaluate("document.getElementById('play').click()")
        browser.wait_for("document.querySelector('audio').currentTime > 2.1")
        assert browser.evaluate("document.getElementById('play').textContent").endswith("Pause")
        assert browser.evaluate(PIXELS.format("#spectrogram")) != first
        assert browser.evaluate(PIXELS.format("#maps canvas")) != tile
        browser.press(" ")  # with nothing in focus
        browser.wait_for("document.querySelector('audio').paused")
        # The event of the pause, which draws once more, may come after what the browser is asked here.
        place = "document.getElementById('place').value"
        browser.wait_for(f"Math.abs({place} - document.querySelector('audio').currentTime) < 0.02")
        share = browser.evaluate(f"document.querySelector('audio').currentTime / {SECONDS}")
        assert browser.evaluate(CURSOR) == pytest.approx(share, abs=0.01)
        assert browser.evaluate(value) == "0.75"

        # Scrubbing, by the slider, by a click and by keys.
        browser.evaluate(
            "const place = document.getElementById('place'); place.value = 1; place.dispatchEvent(new Event('input'))"
        )
        browser.wait_for(f"Math.abs({CURSOR} - 0.25) < 0.01")
        assert browser.evaluate(value) == "0.25"
        browser.press("ArrowRight")
        browser.wait_for(f"Math.abs({CURSOR} - 0.5) < 0.01")
        box = "document.getElementById('spectrogram').getBoundingClientRect()"
        left, top, width = (browser.evaluate(f"{box}.{side}") for side in ("left", "top", "width"))
        for kind in ("mousePressed", "mouseReleased"):
            given = {"x": left + 0.75 * width, "y": top + 20, "button": "left", "clickCount": 1}
            browser.call("Input.dispatchMouseEvent", type=kind, **given)
        browser.wait_for(f"Math.abs({CURSOR} - 0.75) < 0.01")

        # Choosing a layer changes the maps; enlarging one shows it whole.
        before = browser.evaluate(PIXELS.format("#maps canvas"))
        browser.evaluate(
            "const l = document.getElementById('layer'); l.value = 1; l.dispatchEvent(new Event('change'))"
        )
        browser.wait_for("document.querySelectorAll('#maps button').length === 2")
        assert browser.evaluate("document.getElementById('maps').dataset.layer") == "sweeping"
        assert browser.evaluate(PIXELS.format("#maps canvas")) != before
        assert browser.evaluate("document.getElementById('large').hidden")
        browser.evaluate("document.querySelectorAll('#maps button')[1].click()")
        assert not browser.evaluate("document.getElementById('large').hidden")
        assert browser.evaluate("document.getElementById('which').textContent") == (
            "Layer sweeping, filter 1: from 0 to 3.25"
        )
        # The bar that rises with time is low at the left of the enlarged map and high at its right.
        brightest = """(() => {{ const c = document.getElementById("enlarged"), x = Math.round({0} * c.width);
        const d = c.getContext("2d").getImageData(x, 0, 1, c.height).data; let best = 0, sum = -1;
        for (let j = 0; j < c.height; j++) {{ const s = d[4 * j] + d[4 * j + 1] + d[4 * j + 2];
        if (s > sum) {{ sum = s; best = j; }} }} return 1 - best / c.height; }})()"""
        for place in (0.1, 0.4, 0.9):
            assert browser.evaluate(brightest.format(place)) == pytest.approx(place, abs=0.08)
        browser.press("Escape")
        assert browser.evaluate("document.getElementById('large').hidden")
        browser.press("p")
        browser.wait_for("document.querySelectorAll('#maps button').length === 6")

        # By strength: the made-up strengths fall with the number's place, so the order is reversed or kept.
        numbers = "[...document.querySelectorAll('#maps button')].map((b) => Number(b.textContent))"
        assert browser.evaluate(numbers) == [2, 3, 4, 5, 6, 7]
        browser.evaluate(
            "const o = document.getElementById('order'); o.value = 'strength'; o.dispatchEvent(new Event('change'))"
        )
        browser.wait_for(f"{numbers}[0] === 7")
        browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=2, mobile=True)
        browser.wait_for("window.innerWidth === 390")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        files = [url for url in browser.requests() if not url.startswith("data:")]
        assert files == [page.as_uri()]
        # This test reads pixels, which no page does; Chromium remarks on it.
        assert [c for c in browser.complaints() if "Canvas2D: Multiple readback" not in str(c)] == []


def test_it_stops_where_the_response_ends(tmp_path: Path) -> None:
    page = written(tmp_path / "player.html", response(seconds=1.0))  # of a sound of 4 s
    with open_browser(tmp_path) as browser:
        browser.open(page, width=800, height=600)
        browser.wait_for(
            "document.querySelector('audio').readyState === 4 && document.querySelector('#maps button') !== null"
        )
        browser.evaluate("document.getElementById('play').click()")
        browser.wait_for("document.querySelector('audio').currentTime > 0.9 && document.querySelector('audio').paused")
        assert browser.evaluate("document.querySelector('audio').currentTime") < 1.3
        browser.evaluate("document.getElementById('play').click()")  # from the start again
        browser.wait_for("!document.querySelector('audio').paused")
        assert browser.evaluate("document.querySelector('audio').currentTime") < 0.9
        assert browser.complaints() == []
