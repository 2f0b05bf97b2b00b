"""The genre study's gallery and what it measures, on nets trained for an epoch on rendered tracks."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from harness import corpora
from harness.errors import RepriseError
from harness.explain import activations
from harness.explain.stability import deviation
from harness.studies import executor
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, find_records
from harness.studies.study import Study
from replications.gtzan_cam import explanations, interpretability, marking_parts, nets, steadiness

CORPUS = "pocket-gtzan-30"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("gtzan_cam")


@pytest.fixture(scope="module")
def trained(home: Path, study: Study) -> list[Record]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        patch.delenv("REPRISE_DATA", raising=False)
        changes = {"corpus": CORPUS, "epochs": 1, "front_end": {"n_mels": 32, "time_pool": 4}}
        arms = ("base", "masked", "cam")
        trials = executor.plan(
            study, runs=home / "runs", arms=arms, profile="pocket", conditions=["track"], changes=changes
        )
        executor.execute(trials, jobs=1, console=Console(file=io.StringIO()))
    return find_records(home / "runs")


@pytest.fixture
def records(home: Path, trained: list[Record], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Record]]:
    monkeypatch.setenv("REPRISE_HOME", str(home))
    return trained


def sounds_of(text: str) -> dict[str, np.ndarray]:
    """Decoded sounds of a page by the names of their buttons."""
    found = re.findall(
        r'data:audio/mpeg;base64,([^"]+)"></audio>\s*<button type="button" aria-label="Play ([^"]+)"', text
    )
    return {name: soundfile.read(io.BytesIO(base64.b64decode(code)))[0] for code, name in found}


def test_rendered_pieces_are_seen_and_heard(study: Study, records: list[Record], tmp_path: Path) -> None:
    (table,) = explanations.explain(study, records, tmp_path, jobs=1)
    page = tmp_path / "gallery" / "index.html"
    text = page.read_text("utf-8")
    assert page.stat().st_size < 4_000_000
    assert text.count("<section") == 10 == len(list((tmp_path / "gallery").glob("*.png")))
    for part in (
        "layer 1, filter 1<",
        "filter 32",
        "deconvolved",
        "mask of filter",
        "CAM of",
        CORPUS,
        "tracks-70-15-15",
    ):
        assert part in text
    sounds = sounds_of(text)
    originals = {name.partition(",")[0]: sound for name, sound in sounds.items() if name.endswith("the original")}
    assert len(originals) == 10
    assert len(sounds) > 10 * 8
    for name, sound in sounds.items():
        original = originals[name.partition(",")[0]]
        level, wanted = (np.sqrt(np.mean(s**2)) for s in (sound, original))
        assert len(sound) == len(original)
        assert level > 1e-3, name  # not silent
        assert np.abs(sound).max() < 1, name  # not clipped
        # As loud as the original, or turned down because its peak would be too high.
        assert level == pytest.approx(wanted, rel=0.12) or (level < wanted and np.abs(sound).max() > 0.6), name
    files = sorted((tmp_path / "gallery" / "sounds").iterdir())
    assert [path.suffix for path in files] == [".flac"] * 4
    assert all(path.name.startswith("country-") for path in files)
    frame = table.frame
    assert set(frame["measure"]) == {
        "steadiness_frequency", "steadiness_time", "share_cam", "share_deconvolved"
    }  # fmt: skip
    assert frame["value"].between(0, 1).all()


def test_published_recordings_are_not_passed_on(
    study: Study, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = corpora.load
    monkeypatch.setattr(corpora, "load", lambda name: replace(load(name), pocket=False, ground_truth=None))
    (table,) = explanations.explain(study, records, tmp_path, jobs=1)
    assert set(table.frame["measure"]) == {"steadiness_frequency", "steadiness_time"}
    assert "stem" not in table.caption
    text = (tmp_path / "gallery" / "index.html").read_text("utf-8")
    assert "not ours to pass on" in text
    assert "data:audio" not in text
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".html", ".png"}


def test_parts_of_a_run_are_enough(study: Study, records: list[Record], tmp_path: Path) -> None:
    (only,) = [r for r in records if r.arm == "cam"]
    (table,) = explanations.explain(study, [only], tmp_path, jobs=1)
    assert set(table.frame["measure"]) == {"share_cam"}
    assert "deconvolved" not in (tmp_path / "gallery" / "index.html").read_text("utf-8")
    assert explanations.explain(study, [], tmp_path / "none") == []


def test_a_net_that_is_not_the_recorded_one_is_refused(
    study: Study, records: list[Record], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restore = explanations.restore_nets

    def other(study: Study, records: list[Record]) -> list[nets.Net]:
        found = restore(study, records)
        with torch.no_grad():
            found[0].network.fc.bias[0] += 3
        return found

    monkeypatch.setattr(explanations, "restore_nets", other)
    with pytest.raises(RepriseError, match=r"off what its record holds: .* run the trial again"):
        explanations.explain(study, records, tmp_path)


def test_pieces_are_the_medians_of_what_all_were_tested_on() -> None:
    labels = np.eye(2, dtype=np.uint8)[[0, 0, 0, 0, 1]]
    keys = np.array(["a#0", "a#1", "b#0", "b#1", "c#0"])
    clear = np.array([0.9, 0.2, 0.5, 0.7, 0.4])
    first = Predictions(keys, labels, labels == labels, np.stack([clear, 1 - clear], axis=1))
    rows = [1, 2, 3]
    second = Predictions(keys[rows], labels[rows], labels[rows] >= 0, first.probabilities[rows])
    assert explanations.choose_pieces([first]) == ["b#1", "c#0"]  # of 0.2, 0.5, 0.7, 0.9 the upper middle one
    assert explanations.choose_pieces([first, second]) == ["b#0"]  # of 0.2, 0.5, 0.7; nothing of the second genre


def test_deviations_are_those_of_stability(study: Study, records: list[Record]) -> None:
    net = nets.restore_nets(study, records)[0]
    _, pictures = steadiness.segments_to_test(net)
    found = steadiness.find_peaks(net.network, pictures)
    maps = activations(net.network, pictures, ["relu3"])["relu3"]
    for axis in ("frequency", "time"):
        ours = steadiness.weighted_deviation(getattr(found, axis), found.active, np.ones((1, len(pictures))))
        assert ours[0] == pytest.approx(getattr(deviation(maps), f"mean_{axis}"), rel=1e-6)
    # A segment that is drawn twice counts as two.
    weights = np.ones((1, len(pictures)))
    weights[0, :3] = 2
    twice = deviation(np.concatenate([maps, maps[:3]])).mean_frequency
    assert steadiness.weighted_deviation(found.frequency, found.active, weights)[0] == pytest.approx(twice, rel=1e-6)


def test_a_map_on_the_stem_has_all_of_its_energy_there(study: Study, records: list[Record]) -> None:
    cam = next(net for net in nets.restore_nets(study, records) if net.averages)
    corpus = interpretability.load_corpus(cam.trial)
    keys, genres = marking_parts.choose_segments(cam, corpus)
    key, genre = next((k, g) for k, g in zip(keys, genres, strict=True) if corpus.classes[g] == "disco")
    track, _, number = key.rpartition("#")
    masks = marking_parts.stem_masks(corpus, {(track, "drums"): {int(number)}}, cam.front_end, jobs=1)
    mask = masks[key, "drums"]
    assert mask.shape == (32, 32)
    assert 0.02 < mask.mean() < 0.98
    rows = marking_parts._shares_of(cam, [(key, genre, "drums")], masks, corpus.classes)
    assert rows[0]["even"] == pytest.approx(mask.mean())
    everywhere = {(key, "drums"): np.ones_like(mask)}
    assert marking_parts._shares_of(cam, [(key, genre, "drums")], everywhere, corpus.classes)[0]["share"] == 1
