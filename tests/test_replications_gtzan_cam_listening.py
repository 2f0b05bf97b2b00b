"""The page on which nets are heard: what is in it, how it reads, and that its sounds are what went in."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import open_browser
from PIL import Image

from harness.errors import RepriseError
from replications.gtzan_cam import listening
from replications.gtzan_cam.listening import Piece, Row, Tile

RATE, SECONDS = 22_050, 3.0
TIMES = np.arange(int(RATE * SECONDS)) / RATE


def tone(hz: float = 440, gain: float = 0.3) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * hz * TIMES)).astype(np.float32)


def piece(title: str = "blues", *, sound: bool = True, **changes: object) -> Piece:
    spectrogram = np.random.default_rng(0).random((16, 20))
    heat = np.zeros((16, 20))
    heat[8:, 10:] = 1
    heard = tone if sound else (lambda *_: None)
    rows = [
        Row("baseCNN", "blues 0.71", True, [Tile("layer 1, filter 8", heat, heard(880)), Tile("filter 16", 0 * heat)]),
        Row("CAMCNN", "rock 0.50, true: blues 0.30", False, [Tile("CAM of rock (predicted)", 1 - heat, heard(220))]),
    ]
    made = Piece(f"{title}.00000#3", title, spectrogram, np.geomspace(50, 10_000, 16), SECONDS, RATE, rows, heard())
    return replace(made, **changes)


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Collect."""
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict]:
        """Attributes of every such element."""
        return [given for name, given in self.found if name == tag]


def test_the_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    pieces = [piece(), piece("<b>hip & hop</b>", key="<script>x</script>#0")]
    page = listening.write_page(pieces, tmp_path, title="Heard & seen", caption={"Corpus": "<i>some</i>"})
    text = page.read_text("utf-8")
    parsed = Page(text)
    for unescaped in ("<b>", "<script>x", "<i>", "Heard & seen"):
        assert unescaped not in text
    links = [value for _, given in parsed.found for name, value in given.items() if name in ("src", "href", "srcset")]
    assert all(link.startswith(("data:", "#piece-")) for link in links)
    assert not re.search(r"https?:|url\(|@import", text)
    sections = {given["id"] for given in parsed.all("section")}
    contents = [given["href"].lstrip("#") for given in parsed.all("a")]
    assert sorted(sections) == sorted(contents) == ["piece-1", "piece-2"]
    assert len(parsed.all("img")) == 2 * 4
    assert all(image["alt"] for image in parsed.all("img"))
    # Every sound has a button with a name of its own, which the keyboard reaches.
    buttons = parsed.all("button")
    assert len(parsed.all("audio")) == len(buttons) == 2 * 3
    assert len({button["aria-label"] for button in buttons}) == len(buttons)
    assert text.count("empty: lets nothing through") == 2
    again = listening.write_page(pieces, tmp_path / "again", title="Heard & seen", caption={"Corpus": "<i>some</i>"})
    for path in sorted(tmp_path.glob("*.*")):
        assert path.read_bytes() == (again.parent / path.name).read_bytes()


def sounds_in(text: str) -> list[np.ndarray]:
    return [
        soundfile.read(io.BytesIO(base64.b64decode(found)))[0]
        for found in re.findall(r"data:audio/mpeg;base64,([A-Za-z0-9+/=]+)", text)
    ]


def test_sounds_are_those_that_went_in(tmp_path: Path) -> None:
    text = listening.write_page([piece()], tmp_path, title="T", caption={}).read_text("utf-8")
    found = sounds_in(text)
    for sound, hz in zip(found, (440, 880, 220), strict=True):
        assert len(sound) == pytest.approx(RATE * SECONDS, rel=0.02)
        assert np.sqrt(np.mean(sound[2000:-2000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)
        assert np.abs(sound).max() < 1
        spectrum = np.abs(np.fft.rfft(sound[: len(TIMES)]))
        assert np.argmax(spectrum) * RATE / len(TIMES) == pytest.approx(hz, abs=2)


@pytest.mark.parametrize("hz", [3000, 6500, 9000, 9800])
def test_what_is_high_is_heard_too(hz: float) -> None:
    """Some filters let through nothing else; a frugal encoder removes it."""
    noise = np.random.default_rng(0).normal(0, 1, len(TIMES))
    spectrum = np.fft.rfft(noise)
    spectrum[np.abs(np.fft.rfftfreq(len(TIMES), 1 / RATE) - hz) > 100] = 0
    narrow = np.fft.irfft(spectrum, len(TIMES))
    for sound in (tone(hz, 0.1), 0.05 * narrow / narrow.std()):
        (found,) = sounds_in(listening._sound(sound, piece()) + '"')
        assert 20 * np.log10(found.std() / sound.std()) == pytest.approx(0, abs=1)


def test_a_sound_may_have_a_note(tmp_path: Path) -> None:
    tiles = [Tile("a", np.ones((16, 20)), tone(), "7 dB <quieter>"), Tile("b", np.ones((16, 20)), tone())]
    page = listening.write_page([piece(rows=[Row("n", "v", True, tiles)])], tmp_path, title="T", caption={})
    assert page.read_text("utf-8").count('<span class="none">7 dB &lt;quieter&gt;</span>') == 1


def test_without_sound_the_page_says_why_and_where_there_is_some(tmp_path: Path) -> None:
    named = {"title": "T", "caption": {}, "elsewhere": "runs/<x>/listening/index.html"}
    text = listening.write_page([piece(sound=False)], tmp_path / "named", **named).read_text("utf-8")
    assert "<code>runs/&lt;x&gt;/listening/index.html</code>" in text
    text = listening.write_page([piece(sound=False)], tmp_path, title="T", caption={}).read_text("utf-8")
    assert "beside the trials" not in text
    assert "not ours to pass on" in text
    parsed = Page(text)
    assert not parsed.all("audio")
    assert not parsed.all("button")
    assert not parsed.all("script")
    assert "plays" not in text


def test_a_tile_is_upright_and_orange_where_the_map_is() -> None:
    spectrogram, heat = np.zeros((4, 6)), np.zeros((4, 6))
    spectrogram[0, 0] = 1  # the lowest band, at first
    heat[3, 5] = 1  # the highest, at last
    image = Image.open(io.BytesIO(listening.tile_picture(spectrogram, heat)))
    assert image.mode == "P"
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(int), -1, 0)
    assert red.shape == (4, 6)
    assert red[3, 0] == green[3, 0] == blue[3, 0] < 60
    assert red[0, 5] - blue[0, 5] > 120
    rest = np.ones((4, 6), bool)
    rest[3, 0] = rest[0, 5] = False
    assert (red[rest] == 255).all()
    assert listening.tile_picture(spectrogram, None) == listening.tile_picture(spectrogram, 0 * heat)


def test_pictures_of_an_earlier_page_are_removed(tmp_path: Path) -> None:
    (tmp_path / "polka.png").write_bytes(b"old")
    listening.write_page([piece()], tmp_path, title="T", caption={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blues.png", "index.html"]
    width, height = Image.open(tmp_path / "blues.png").size
    assert width > 600
    assert height > 300


def test_maps_must_fit_and_pieces_have_names(tmp_path: Path) -> None:
    wrong = piece(rows=[Row("n", "v", True, [Tile("small", np.zeros((2, 2)))])])
    with pytest.raises(RepriseError, match=r"'small' of n on blues.00000#3 is \(2, 2\).*enlarge it first"):
        listening.write_page([wrong], tmp_path, title="T", caption={})
    with pytest.raises(RepriseError, match="two pieces of the page are called 'blues'"):
        listening.write_page([piece(), piece()], tmp_path, title="T", caption={})


def test_files_lose_nothing_and_are_never_clipped(tmp_path: Path) -> None:
    (tmp_path / "old.flac").write_bytes(b"old")
    (path,) = listening.write_sounds({"blues baseCNN layer 2": tone()}, RATE, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] == ["blues-basecnn-layer-2.flac"]
    found, rate = soundfile.read(path)
    assert rate == RATE
    np.testing.assert_allclose(found, tone(), atol=1 / 2**15)
    with pytest.raises(RepriseError, match=r"peak of 1\.50; bring it below 1"):
        listening.write_sounds({"loud": tone(gain=1.5)}, RATE, tmp_path)


def test_the_page_plays_in_a_browser(tmp_path: Path) -> None:
    page = listening.write_page([piece("blues"), piece("rock")], tmp_path, title="T", caption={"Seed": "0"})
    with open_browser(tmp_path) as browser:
        browser.open(page, width=1200, height=900)
        assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 1200
        first, second = (f"document.querySelectorAll('audio')[{number}]" for number in (0, 1))
        browser.evaluate("document.querySelectorAll('figure button')[0].click()")
        browser.wait_for(f"{first}.currentTime > 0.2")
        browser.wait_for("parseFloat(document.querySelector('.playing .playhead')?.style.left) > 0")
        browser.evaluate("document.querySelectorAll('figure button')[1].click()")
        browser.wait_for(f"{first}.paused && !{second}.paused")
        assert browser.evaluate("document.querySelectorAll('.playing').length") == 1
        assert {url.partition(":")[0] for url in browser.requests()} <= {"file", "data"}
        assert browser.complaints() == []
