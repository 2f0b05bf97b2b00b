"""The gallery: what its pictures show and where, what its page holds, and that it plays in a browser."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from browser import open_browser
from PIL import Image

from harness.errors import RepriseError
from harness.report.gallery import Entry, HeatMap, Outcome, View, describe, picture, sound, write_gallery

CAPTION = {"Corpus": "pocket-openmic", "Weights": "random", "Seed": "0"}
SECONDS, FRAME = 4.0, 0.02
OUTCOMES = [
    Outcome("voice", 0.2, true=False, observed=True, predicted=False),
    Outcome("cello", 0.3, true=True, observed=True, predicted=False),
    Outcome("mallet_percussion", 0.9, true=True, observed=True, predicted=True),
    Outcome("organ", 0.7, true=False, observed=True, predicted=True),
    Outcome("flute", 0.6, true=False, observed=False, predicted=True),
]


def view(network: str = "ResNet-50", spectrogram: np.ndarray | None = None, **fields) -> View:
    generator = np.random.default_rng(0)
    if spectrogram is None:
        spectrogram = generator.normal(-50, 10, (64, 200))
    heat = np.zeros((64, 200))
    heat[32:, 100:] = 1
    given = {
        "outcomes": OUTCOMES,
        "maps": [HeatMap(o.name, heat, np.arange(200) > 100, 0.8, 0.25) for o in OUTCOMES[1:]],
        "concepts": generator.random((3, 64, 200)),
        "concept_names": ["organ 0.62, flute 0.20", "voice 0.50", "cello 0.10"],
    } | fields
    return View(network, spectrogram, FRAME, np.geomspace(100, 9000, 64), **given)


def entry(views: list[View], key: str = "000046_3840", title: str = "Cello and percussion", gain: float = 0.3) -> Entry:
    times = np.arange(int(SECONDS * 44_100)) / 44_100
    tone = gain * np.sin(2 * np.pi * 440 * times) * (1 + np.sin(2 * np.pi * times)) / 2
    return Entry(key, title, tone.astype(np.float32), 44_100, views)


def pixels(shown: View) -> tuple[np.ndarray, dict[str, float]]:
    """RGB of a clip's picture, and the box of its time axis in pixels."""
    png, box = picture(entry([shown]), shown)
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    height, width, _ = image.shape
    sizes = {"left": width, "width": width, "top": height, "height": height}
    return image, {name: box[name] / 100 * size for name, size in sizes.items()}


def test_status_of_every_case() -> None:
    assert [o.status.word for o in OUTCOMES] == [
        "not predicted",
        "missed",
        "right",
        "wrong",
        "predicted, nobody was asked",
    ]
    signs = {o.status.sign for o in OUTCOMES}
    lines = {o.status.line for o in OUTCOMES[1:]}
    assert len(signs) == 5
    assert len(lines) == 4  # told apart without colour
    # A hidden label that the ground truth knows counts as known.
    assert Outcome("cello", 0.9, true=True, observed=False, predicted=True).status.word == "right"


def test_a_click_stands_where_the_playhead_will_be() -> None:
    clicks = np.full((64, 200), -80.0)
    clicks[:, 150] = 0  # at 3.0 s of 4
    image, box = pixels(view(spectrogram=clicks, maps=[], concepts=None))
    panel = image[int(box["top"]) + 10 : int(box["top"] + box["height"]) - 10].sum(axis=(0, 2))
    inside = slice(int(box["left"]) + 5, int(box["left"] + box["width"]) - 5)
    darkest = inside.start + panel[inside].argmin()
    assert (darkest - box["left"]) / box["width"] == pytest.approx((3.0 + FRAME / 2) / SECONDS, abs=0.006)


def test_heat_lies_where_the_map_is() -> None:
    heat = np.zeros((64, 200))
    heat[32:, 100:] = 1  # upper bands, second half
    shown = view(spectrogram=np.full((64, 200), -80.0), concepts=None, maps=[HeatMap("voice", heat)])
    image, box = pixels(shown)
    orange = (image[..., 0] - image[..., 2] > 80) & (image[..., 1] > 60)
    orange = orange[int(box["top"] + box["height"] / 2) :, : int(box["left"] + box["width"])]
    rows, columns = np.nonzero(orange)
    assert columns.mean() == pytest.approx(box["left"] + 0.75 * box["width"], abs=3)
    assert columns.min() == pytest.approx(box["left"] + 0.5 * box["width"], abs=4)
    below = box["top"] + box["height"] - (int(box["top"] + box["height"] / 2) + rows.max())
    assert below == pytest.approx(np.ptp(rows), abs=4)  # the lower half of the panel is free
    assert len(rows) == pytest.approx(box["width"] / 2 * np.ptp(rows), rel=0.05)


def test_pictures_are_small_and_the_same_twice() -> None:
    shown = view()
    png, _ = picture(entry([shown]), shown)
    assert len(png) < 250_000
    assert png == picture(entry([shown]), shown)[0]


def test_maps_must_fit() -> None:
    for wrong in (HeatMap("organ", np.zeros((4, 14))), HeatMap("kazoo", np.zeros((64, 200)))):
        shown = view(maps=[wrong])
        with pytest.raises(RepriseError, match="one map per class, at the spectrogram's resolution"):
            picture(entry([shown]), shown)


def test_nothing_to_show_is_shown() -> None:
    silence = np.full((64, 200), -80.0)
    shown = view(spectrogram=silence, maps=[HeatMap("organ", np.zeros((64, 200)))], concepts=None)
    picture(entry([shown]), shown)
    assert describe(view(outcomes=OUTCOMES[:1])) == "nothing predicted, nothing known to be there"
    assert describe(shown) == (
        "right: mallet_percussion 0.90; wrong: organ 0.70; missed: cello 0.30; predicted, nobody was asked: flute 0.60"
    )


@pytest.mark.parametrize(("gain", "peak"), [(0.3, 0.3), (3.0, 0.85)])
def test_sound_keeps_its_length_and_level_and_never_clips(gain: float, peak: float) -> None:
    clip = entry([view()], gain=gain)
    decoded, rate = soundfile.read(io.BytesIO(sound(clip)))
    assert decoded.ndim == 1
    assert len(decoded) / rate == pytest.approx(SECONDS, abs=0.02)
    assert np.abs(decoded).max() == pytest.approx(peak, rel=0.1)  # the codec adds a little
    assert np.abs(decoded).max() < 1
    expected = soxr.resample(clip.waveform, clip.sample_rate, rate)
    assert np.corrcoef(decoded[: len(expected)], expected[: len(decoded)])[0, 1] > 0.99  # not a sample late


def test_silence_has_no_place_in_a_gallery() -> None:
    with pytest.raises(RepriseError, match="000046_3840 is silent; leave it out"):
        sound(entry([view()], gain=0))


class Page(HTMLParser):
    """Everything a page would load, its pictures and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.images, self.headings, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        """Collect."""
        given = dict(attributes)
        self.tags.append(tag)
        self.links += [value for name, value in given.items() if name in ("src", "href", "srcset", "poster", "action")]
        if tag == "img":
            self.images.append(given)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)


def test_the_page_holds_everything(tmp_path: Path) -> None:
    clips = [entry([view(), view("VGGish")]), entry([view()], key="000099_0", title="<script>alert(1)</script>")]
    page = write_gallery(clips, tmp_path, title="Heard & seen", caption=CAPTION | {"<b>": "&"})
    text = page.read_text("utf-8")
    parsed = Page(text)
    assert {re.match(r"data:|#clip-\d+$", link) is not None for link in parsed.links} == {True}
    assert not re.search(r"https?:|url\(|@import", text)
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert parsed.headings == ["h1", "h2", "h3", "h3", "h2", "h3"]
    assert len(parsed.images) == 3
    assert all("Right: mallet_percussion 0.90; wrong: organ 0.70" in image["alt"] for image in parsed.images)
    assert parsed.tags.count("audio") == 2
    names = ["000046_3840-resnet-50.png", "000046_3840-vggish.png", "000099_0-resnet-50.png", "index.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    inside = base64.b64decode(parsed.images[0]["src"].partition(",")[2])
    assert inside == (tmp_path / names[0]).read_bytes()
    again = write_gallery(clips, tmp_path / "again", title="Heard & seen", caption=CAPTION | {"<b>": "&"})
    assert again.read_bytes() == page.read_bytes()


def test_published_recordings_stay_out(tmp_path: Path) -> None:
    shown = view(maps=[HeatMap("organ", np.ones((64, 200)))])
    text = write_gallery([entry([shown])], tmp_path, title="T", caption=CAPTION, audio=False).read_text("utf-8")
    assert not {"audio", "script", "button"} & set(Page(text).tags)
    assert "data:audio" not in text
    assert "not ours to pass on" in text
    assert "really sounds" not in text  # no ground truth, no promise of a bar


def test_one_name_one_picture(tmp_path: Path) -> None:
    with pytest.raises(RepriseError, match="two pictures of the gallery are called 000046_3840-resnet-50"):
        write_gallery([entry([view(), view("ResNet 50")])], tmp_path, title="T", caption=CAPTION)


def test_the_page_plays_in_a_browser(tmp_path: Path) -> None:
    page = write_gallery([entry([view()]), entry([view()], key="000099_0")], tmp_path, title="T", caption=CAPTION)
    with open_browser(tmp_path) as browser:
        browser.open(page, width=390, height=800)
        browser.wait_for("document.querySelectorAll('audio')[1]?.readyState === 4")
        assert browser.evaluate("document.querySelector('audio').duration") == pytest.approx(SECONDS, abs=0.1)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390  # only pictures scroll sideways
        assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        head = "parseFloat(document.querySelector('.playhead').style.left || 0)"
        assert browser.evaluate(head) == 0
        browser.evaluate("document.querySelector('.play').click()")
        browser.wait_for(f"{head} > 3")
        assert browser.evaluate("document.querySelector('.play').textContent").endswith("Pause")
        browser.evaluate("document.querySelector('.play').click()")
        # It stands where the sound stopped.
        browser.wait_for(
            "document.querySelector('audio').paused && "
            f"Math.abs({head} - 100 * document.querySelector('audio').currentTime / {SECONDS}) < 1"
        )
        assert browser.evaluate(head) > 3
        browser.evaluate("document.querySelector('.play').click()")
        browser.evaluate("document.querySelectorAll('.play')[1].click()")
        browser.wait_for(
            "document.querySelectorAll('audio')[0].paused && !document.querySelectorAll('audio')[1].paused"
        )
        browser.evaluate("document.querySelectorAll('.play')[1].click()")
        browser.wait_for("document.querySelectorAll('audio')[1].paused")
        assert {url.partition(":")[0] for url in browser.requests()} <= {"file", "data"}
        assert len([url for url in browser.requests() if url.startswith("file")]) == 1
        assert browser.complaints() == []


def test_pictures_of_an_earlier_gallery_are_removed(tmp_path):
    (tmp_path / "000001_1-some-network.png").write_bytes(b"of an earlier gallery")
    write_gallery([], tmp_path, title="Nothing", caption={"Corpus": "none"})
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_note_of_one_class_has_no_threshold_and_no_concepts(tmp_path: Path) -> None:
    outcomes = [
        Outcome("cello", 0.5, true=True, observed=True, predicted=False),
        Outcome("tuba", 0.5, true=False, observed=True, predicted=True),
    ]
    maps = [HeatMap("cello", np.eye(64, 200)), HeatMap("tuba", np.eye(64, 200))]
    bare = view(outcomes=outcomes, maps=maps, concepts=None, threshold=None)
    ruled = view(outcomes=outcomes, maps=maps, concepts=None)
    # The dashed line of the threshold, at the right of the picture, is all that differs by more than a shade.
    (without, box), (with_line, _) = pixels(bare), pixels(ruled)
    changed = np.nonzero((np.abs(without - with_line).max(axis=2) > 100).any(axis=0))[0]
    assert changed.min() > box["left"] + box["width"]
    assert np.ptp(changed) <= 4
    text = write_gallery([entry([bare])], tmp_path, title="T", caption=CAPTION).read_text("utf-8")
    assert "spectrogram, 2 class activation maps and probabilities. Wrong: tuba 0.50; missed: cello 0.50." in text
    assert "nobody was asked" not in text


def test_a_second_has_ticks_within() -> None:
    shown = view(maps=[], concepts=None, spectrogram=np.zeros((64, 50)))
    short = Entry("note", "Note", np.ones(44_100, np.float32), 44_100, [shown])
    png, box = picture(short, shown)
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)
    height, width = image.shape
    below = image[round((box["top"] + box["height"]) / 100 * height) + 2]
    around = below[round(box["left"] / 100 * width) - 3 : round((box["left"] + box["width"]) / 100 * width) + 4]
    ticks = np.flatnonzero(np.diff((around < 128).astype(int)) == 1)
    assert len(ticks) == 6  # 0, 0.2 ... 1
    np.testing.assert_allclose(np.diff(ticks), box["width"] / 100 * width / 5, atol=1.5)
