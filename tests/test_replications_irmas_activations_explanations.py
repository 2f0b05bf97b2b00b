"""Which excerpt is animated, and how clips are cut into the windows that the network is tested on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from irmas_trials import STUDY, made_up_corpus, made_up_trials

from harness import features
from harness.analysis.study import Analysis
from harness.corpora.irmas import CLASSES
from harness.errors import RepriseError
from harness.explain.animation import respond
from harness.studies.records import Predictions, Record
from replications.irmas_activations import explanations
from replications.irmas_activations.networks import han
from replications.irmas_activations.windows import windows

FLUTE, CLARINET, PIANO = (CLASSES.index(name) for name in ("flu", "cla", "pia"))


class Planted(Record):
    """A trial whose scores of the test excerpts are given; what is predicted has a threshold of 0.5 or so."""

    def parts(self) -> dict[str, Predictions]:
        """Of mixtures, at which every threshold between 0.25 and 0.6 is as good, and of the excerpts a to g."""
        labels = np.zeros((7, 11), np.uint8)
        s1 = np.full((7, 11), 0.05, np.float32)
        for row, (classes, score, rival) in enumerate(self.data["rows"]):
            labels[row, list(classes)] = 1
            s1[row, list(classes)] = score
            s1[row, 10] = rival
        keys, s2 = np.array(list("abcdefg")), s1 / s1.max(axis=1, keepdims=True)
        one = np.eye(11, dtype=np.uint8)
        return {
            "valid": Predictions(np.arange(11).astype(str), one, one == one, one.astype(np.float32)),
            "test": Predictions(keys, labels, labels == labels, s2),
            "test_s1": Predictions(keys, labels, labels == labels, s1),
        }


def chosen(record: Record, rows: list) -> str | None:
    planted = Planted(record.folder, {**record.data, "rows": rows})
    return explanations.choose_excerpt(Analysis(STUDY, [planted]), planted)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return made_up_trials(tmp_path_factory.mktemp("runs"), made_up_corpus())


def test_the_excerpt_is_the_median_of_those_that_are_right_and_alone(records):
    rows = [
        ((FLUTE,), 0.9, 0.0), ((FLUTE,), 0.5, 0.0), ((CLARINET,), 0.7, 0.0), ((FLUTE, PIANO), 0.6, 0.0),
        ((PIANO,), 0.7, 0.0), ((FLUTE,), 0.1, 0.9), ((CLARINET,), 0.2, 1.0),
    ]  # fmt: skip
    assert chosen(records[0], rows) == "c"
    missed = [(classes, 0.01 * (i + 1), 0.9) for i, (classes, _, _) in enumerate(rows)]
    assert chosen(records[0], missed) == "c"  # a, b, c, f and g are alone
    together = [((FLUTE, PIANO), 0.5, 0.0)] + [((PIANO,), 0.9, 0.0)] * 6
    assert chosen(records[0], together) == "a"
    assert chosen(records[0], [((PIANO,), 0.9, 0.0)] * 7) is None


def test_a_corpus_without_either_instrument_has_none(records):
    record = records[0]
    other = Record(record.folder, {**record.data, "classes": [name.upper() for name in CLASSES]})
    assert explanations.explain(STUDY, [other], record.folder) == {}


def test_windows_overlap_and_lie_where_they_sound():
    front_end = features.front_end("han_segments", n_mels=16, time_pool=2)
    rng = np.random.default_rng(0)
    waveform = rng.normal(0, 0.01, 22_050 * 4).astype(np.float32)
    waveform[round(2.5 * 22_050) : round(2.6 * 22_050)] += 0.8 * np.sin(np.arange(2205) * 0.3).astype(np.float32)
    cut = explanations.pieces(front_end, waveform)
    spectrogram = front_end.log_mel(waveform)
    np.testing.assert_array_equal(cut.pictures, windows(spectrogram, frames=21))
    np.testing.assert_array_equal(cut.inputs.numpy(), cut.pictures)
    assert cut.seconds == pytest.approx(21 * 1024 / 22_050)
    assert np.diff(cut.starts)[:-1] == pytest.approx(10 * 1024 / 22_050)
    end = cut.starts[-1] + cut.seconds
    assert 3.9 < end < 4.1
    torch.manual_seed(0)
    response = respond(han(11).eval(), cut, CLASSES, end=4.0, layers=["act1"], filters=2)
    loud = response.spectrogram.astype(float).sum(axis=0)
    second = response.start + (loud.argmax() + 0.5) * (response.end - response.start) / len(loud)
    assert 2.4 < second < 2.7
    assert response.answers == len(cut.starts)
    with pytest.raises(RepriseError, match="shorter than a window"):
        explanations.pieces(front_end, waveform[:10_000])


def test_recordings_are_pictured_but_not_heard(records, tmp_path, monkeypatch):
    """Of a published corpus there is a silent film and no page."""
    played = []

    def film(heard, layer, folder, form, **settings):
        path = folder / f"film-{len(played)}.{form}"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * round(2e5 * settings["fps"] / 2))
        played.append(settings["fps"])
        return path

    def page(heard, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "some.html").write_text("page")
        return folder / "some.html"

    class Heard:
        class response:  # noqa: N801
            layers = ("the only one",)

    corpus = made_up_corpus()
    monkeypatch.setattr(explanations.visualise, "listen", lambda *a, **k: Heard)
    monkeypatch.setattr(explanations.visualise, "write_film", film)
    monkeypatch.setattr(explanations.visualise, "write_page", page)
    for name, pocket in (("irmas", False), ("pocket-irmas", True)):
        played.clear()
        monkeypatch.setattr(
            explanations.corpora, "load", lambda _, name=name, pocket=pocket: replace(corpus, name=name, pocket=pocket)
        )
        shown = explanations.explain(STUDY, records, tmp_path / name)
        assert list(shown["figures"]) == ["animation.webp"]
        assert [link["path"] for link in shown["links"]] == (["player/index.html"] if pocket else [])
        found = sorted(str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*") if p.is_file())
        assert "animation.webp" in found
        assert ("player/index.html" in found) == pocket
        assert played == list(explanations.FILM_FPS[: len(played)])
        assert (tmp_path / name / "animation.webp").stat().st_size < explanations.FILM_BYTES
