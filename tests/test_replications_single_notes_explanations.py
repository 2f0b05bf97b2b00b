"""What asks the networks: which notes are shown, where maps and pictures lie, that no recording gets out."""

import base64
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import assert_readable, draw, write_trials
from orchestra_trees import make_philharmonia_tree
from torch import nn

from harness import features
from harness.corpora import Corpus, philharmonia
from harness.errors import RepriseError
from harness.report.style import new_figure
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, write_predictions
from harness.studies.study import Study
from replications.single_notes import explanations


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("single_notes")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("philharmonia")
    make_philharmonia_tree(root)
    return philharmonia.read(root, "philharmonia")


class Add(nn.Module):
    """A channel axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, h, w) -> (n, 1, h, w)."""
        return x[:, None]


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    """A small one, with a stage named as the last convolution of the real one."""
    torch.manual_seed(0)
    layers = Add(), nn.Conv2d(1, 6, 50, 50), nn.ReLU(), nn.Flatten(), nn.Linear(54, 7)
    names = "colours", "mixed", "conv2d_7b", "flatten", "head"
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True))).eval()


@pytest.fixture
def played(
    tmp_path: Path, study: Study, corpus: Corpus, network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> list[Record]:
    """Two seeds of an arm on all notes, predicted by the small network, which stands in for the restored one."""
    front_end = features.front_end(**study.protocol["front_end"])
    pictures = np.stack([front_end.compute(features.decode(path, 12_000)) for path in corpus.clips["path"]])
    monkeypatch.setattr(explanations, "restore", lambda record, study: (network, SimpleNamespace(array=pictures)))
    monkeypatch.setattr(explanations.corpora, "load", lambda name: corpus)
    records = write_trials(
        tmp_path / "runs", study, arms=["setup_4"], conditions=["paper"], seeds=2, sizes=(4, 20),
        classes=corpus.classes, corpus="philharmonia", clips=(corpus.clips["key"].tolist(), corpus.labels),
    )  # fmt: skip
    with torch.inference_mode():
        outputs = torch.softmax(network(torch.from_numpy(pictures)), dim=-1).numpy()
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    for record in records:
        p = {part: record.predictions(part) for part in ("valid", "test")}
        rows = [row_of[key] for key in p["test"].keys]
        write_predictions(record.folder, {**p, "test": replace(p["test"], probabilities=outputs[rows])})
    return records


def invented(*trials: list[tuple[int, int, float]]) -> list[Record]:
    """Records of three classes: of each note its class, the class predicted, and its probability."""
    records = []
    for number, notes in enumerate(trials):
        probabilities = np.array([[p if i == said else (1 - p) / 2 for i in range(3)] for _, said, p in notes])
        labels = np.eye(3, dtype=np.uint8)[[true for true, _, _ in notes]]
        keys = np.array([f"{number}-{i}" for i in range(len(notes))])
        p = Predictions(keys, labels, np.ones(labels.shape, bool), probabilities)
        records.append(SimpleNamespace(seed=number, predictions=lambda part, p=p: p))
    return records


def test_a_right_and_a_wrong_note_of_each_class_by_their_median() -> None:
    first = [(0, 0, 0.9), (0, 0, 0.5), (0, 0, 0.7), (1, 1, 0.8), (1, 0, 0.6), (2, 2, 0.4)]
    second = [(0, 2, 0.7), (1, 1, 0.9), (2, 2, 0.99)]
    found = explanations.choose_notes(invented(first, second))
    assert [(n.key, n.true, n.predicted) for n in found] == [
        ("0-2", 0, 0), ("1-0", 0, 2),  # the first trial has no wrong one
        ("0-3", 1, 1), ("0-4", 1, 0),
        ("0-5", 2, 2),  # the last class is never mistaken
    ]  # fmt: skip


def gallery_of(study: Study, records: list[Record], folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    shown = explanations.explain(study, records, folder)
    assert list(shown["figures"]) == ["fig12_log_mel"]
    assert (folder / "fig12_log_mel.png").exists()
    assert [link["path"] for link in shown["links"]] == ["gallery/index.html"]
    return (folder / "gallery" / "index.html").read_text("utf-8")


def no_sound_in(folder: Path, recordings: list[bytes]) -> None:
    """No file is or holds sound: not by name, not by content, not within a page."""
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        data = path.read_bytes()
        assert path.suffix in (".png", ".pdf", ".html"), path
        pieces = [data]
        if path.suffix == ".html":
            text = data.decode()
            assert not re.search(r"<audio|<script|<source|data:(?!image/png|[,;])", text)
            pieces += [base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", text)]
            assert all(piece.startswith(b"\x89PNG") for piece in pieces[1:])
        for piece in pieces:
            for magic in (b"ID3", b"RIFF", b"OggS", b"fLaC"):
                assert not piece.startswith(magic)
            assert not any(sound[1000:1200] in piece for sound in recordings)


def test_published_recordings_are_pictured_and_not_passed_on(
    study: Study, played: list[Record], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("a published recording was decoded")

    monkeypatch.setattr(explanations.features, "decode", refuse)
    text = gallery_of(study, played, tmp_path / "out")
    assert "not ours to pass on" in text
    no_sound_in(tmp_path / "out", [Path(path).read_bytes() for path in corpus.clips["path"]])
    page = tmp_path / "out" / "gallery" / "index.html"
    page.write_text(text.replace("</main>", "<audio src='data:audio/mpeg;base64,SUQz'></audio></main>"))
    with pytest.raises(AssertionError, match="audio"):  # the check would find it
        no_sound_in(tmp_path / "out", [])


def test_rendered_notes_can_be_heard(
    study: Study, played: list[Record], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = replace(corpus, pocket=True)
    monkeypatch.setattr(explanations.corpora, "load", lambda name: rendered)
    text = gallery_of(study, played, tmp_path / "out")
    assert text.count("data:audio/mpeg") == text.count("<h2") > 1


def test_the_page_says_what_was_done(study: Study, played: list[Record], tmp_path: Path) -> None:
    text = gallery_of(study, played, tmp_path)
    notes = explanations.choose_notes(played)
    assert {n.predicted == n.true for n in notes} == {True, False}
    assert text.count("<img") == len(notes) == len(list((tmp_path / "gallery").glob("*.png")))
    for part in ("philharmonia", "GradCAM at conv2d_7b, 3 x 3 cells", "Set-up 4", "random", "the best set-up by"):
        assert part in text
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    for note, title in zip(notes, titles, strict=True):
        outcome = ": right" if note.true == note.predicted else ": taken for "
        assert outcome in title
        assert re.match(r"[A-Z][a-z ]+ (A#4|C4), f: ", title)


def test_maps_are_of_what_was_predicted_and_what_is_true(
    study: Study, played: list[Record], corpus: Corpus, network: nn.Sequential
) -> None:
    front_end = features.front_end(**study.protocol["front_end"])
    notes = [n for n in explanations.choose_notes(played) if n.record is played[0]]
    shown = explanations.views(study, played[0], notes, *explanations.restore(played[0], study), corpus, front_end)
    for note, view in zip(notes, shown, strict=True):
        names = [corpus.classes[i] for i in dict.fromkeys((note.predicted, note.true))]
        assert [m.name for m in view.maps] == names
        assert [o.name for o in view.outcomes if o.predicted] == names[:1]
        assert sum(o.probability for o in view.outcomes) == pytest.approx(1, abs=1e-5)
        path = corpus.clips["path"][corpus.clips["key"] == note.key].item()
        picture = front_end.compute(features.decode(path, 12_000))
        np.testing.assert_array_equal(view.spectrogram, picture[::-1])  # the lowest band first, of the map, too
        with torch.no_grad():
            grid = network.conv2d_7b(network.mixed(torch.from_numpy(picture)[None, None]))[0]
        weights = network.head.weight[note.predicted].reshape(6, 3, 3).mean((1, 2))
        cells = torch.einsum("k,khw->hw", weights, grid).relu().detach().numpy()
        if np.ptp(cells) > 0:
            peak = np.unravel_index(view.maps[0].heat[::-1].argmax(), (150, 150))
            assert (peak[0] // 50, peak[1] // 50) == np.unravel_index(cells.argmax(), (3, 3))


def test_a_network_that_is_not_the_recorded_one_is_refused(
    study: Study, played: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: nn.Sequential
) -> None:
    restore = explanations.restore
    other = nn.Sequential(OrderedDict([*network.named_children(), ("head", nn.Linear(54, 7))]))
    monkeypatch.setattr(explanations, "restore", lambda record, study: (other, restore(record, study)[1]))
    with pytest.raises(RepriseError, match=r"off what its record holds: .* run the trial again"):
        explanations.explain(study, played, tmp_path)


def test_references_have_no_gallery(study: Study, tmp_path: Path) -> None:
    records = write_trials(
        tmp_path / "runs", study, arms=["svm_mfcc"], conditions=["paper"], classes="abcdefg", sizes=(9, 9)
    )
    assert explanations.explain(study, records, tmp_path / "out") == {}
    assert not (tmp_path / "out").exists()


def test_sound_is_what_the_picture_shows(
    study: Study, played: list[Record], corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second of silence before the note is heard as little as it is seen."""
    front_end = features.front_end(**study.protocol["front_end"])
    (view, *_), note = _views(study, played, corpus, front_end), explanations.choose_notes(played)[0]

    def decode(path: str, rate: int) -> np.ndarray:
        times = np.arange(2 * rate) / rate
        return np.where(times < 0.5, 0, np.sin(2 * np.pi * 440 * times)).astype(np.float32)

    monkeypatch.setattr(explanations.features, "decode", decode)
    entry = explanations.entry(note, view, replace(corpus, pocket=True), front_end)
    assert entry.seconds == pytest.approx(1.024, abs=1e-4)
    first = np.flatnonzero(entry.waveform)[0] / entry.sample_rate
    assert 0 <= first < 0.1  # as far before the note as the onset's frame reaches
    assert not explanations.entry(note, view, corpus, front_end).waveform.any()


def test_pictures_are_those_of_the_network(study: Study, played: list[Record], corpus: Corpus) -> None:
    front_end = features.front_end(**study.protocol["front_end"])
    _, pictures = explanations.restore(played[0], study)
    figure = explanations.note_pictures(corpus, pictures, front_end)
    assert_readable(figure)
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in panels] == [f"{name.replace('_', ' ')} A#4, f" for name in corpus.classes]
    clip = corpus.clips.iloc[explanations.typical_note(corpus, 2)]
    expected = front_end.compute(features.decode(clip["path"], front_end.sample_rate))
    image = panels[2].get_images()[0]
    np.testing.assert_array_equal(image.get_array(), expected[::-1])
    assert image.origin == "lower"
    assert image.get_extent()[:2] == pytest.approx([0, 1.024])


def test_a_typical_note_is_the_first_nearest_to_the_middle_of_the_pitches(corpus: Corpus) -> None:
    pitches = np.where(corpus.labels[:, 1].astype(bool), 40 + np.arange(len(corpus.clips)) % 3, 90)
    other = replace(corpus, clips=corpus.clips.assign(pitch=pitches))
    rows = np.flatnonzero(corpus.labels[:, 1])
    middle = np.median(pitches[rows])
    row = explanations.typical_note(other, 1)
    assert abs(pitches[row] - middle) == abs(pitches[rows] - middle).min()
    assert row == rows[np.argmin(abs(pitches[rows] - middle))]


def test_a_tone_lies_where_the_axis_says(study: Study) -> None:
    front_end = features.front_end(**study.protocol["front_end"])
    tone = np.sin(2 * np.pi * 2000 * np.arange(12_000) / 12_000).astype(np.float32)
    figure = new_figure(2)
    axes = figure.subplots()
    picture = explanations.upright(front_end.compute(tone), front_end)
    explanations.show_picture(axes, picture, front_end)
    draw(figure)
    place = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))["2,000"]
    assert picture.mean(axis=1).argmax() == pytest.approx(place, abs=1.5)


def _views(study: Study, played: list[Record], corpus: Corpus, front_end: Callable) -> list:
    notes = [n for n in explanations.choose_notes(played) if n.record is played[0]]
    return explanations.views(study, played[0], notes[:1], *explanations.restore(played[0], study), corpus, front_end)
