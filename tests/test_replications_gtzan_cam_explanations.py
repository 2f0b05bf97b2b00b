"""The genre study's gallery and what it measures, on nets trained for an epoch on rendered tracks."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from rich.console import Console

from harness import corpora
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.explain import activations
from harness.explain.stability import deviation, find_peaks
from harness.report import tables as writing
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
        arms = ("base", "masked", "masked_loss", "cam")
        trials = executor.plan(
            study, runs=home / "runs", arms=arms, profile="pocket", conditions=["track"], changes=changes
        )
        executor.execute(trials, jobs=1, console=Console(file=io.StringIO()))
    return find_records(home / "runs")


@pytest.fixture
def records(home: Path, trained: list[Record], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Record]]:
    monkeypatch.setenv("REPRISE_HOME", str(home))
    return trained


def sounds_of(text: str) -> dict[str, tuple[np.ndarray, float]]:
    """Decoded sounds of a page by the names of their buttons, and by how many dB each is said to be quieter."""
    found = re.findall(
        r'data:audio/mpeg;base64,([^"]+)"></audio>\s*<button type="button" aria-label="Play ([^"]+)">[^<]*</button>'
        r'(?:\s*<span class="none">(\d+) dB quieter</span>)?',
        text,
    )
    return {name: (soundfile.read(io.BytesIO(base64.b64decode(code)))[0], float(db or 0)) for code, name, db in found}


def assert_levels(text: str, nets: int) -> None:
    """Every sound of a piece is as loud as its original, or says by how much it is not, and none is clipped."""
    sounds = sounds_of(text)
    originals = {name.partition(",")[0]: sound for name, (sound, _) in sounds.items() if name.endswith("the original")}
    assert len(sounds) > len(originals) * (1 + 2 * nets)
    for name, (sound, short) in sounds.items():
        original = originals[name.partition(",")[0]]
        assert len(sound) == len(original)
        assert np.abs(sound).max() < 1, name
        level, wanted = (20 * np.log10(np.sqrt(np.mean(s**2))) for s in (sound, original))
        assert level > -60, name  # not silent
        assert level + short == pytest.approx(wanted, abs=1.0), name


def test_rendered_pieces_are_seen_and_heard(study: Study, records: list[Record], tmp_path: Path) -> None:
    (table,) = explanations.explain(study, records, tmp_path, jobs=1)
    page = tmp_path / "gallery" / "index.html"
    text = page.read_text("utf-8")
    assert page.stat().st_size < 6_000_000
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
    assert text.count('the original">') == 10
    assert_levels(text, nets=4)
    assert not (records[0].folder.parents[1] / "listening").exists()  # all of it may be passed on
    files = sorted((tmp_path / "gallery" / "sounds").iterdir())
    assert [path.suffix for path in files] == [".flac"] * 5
    assert all(path.name.startswith("country-") for path in files)
    frame = table.frame
    assert set(frame["measure"]) == {
        "steadiness_frequency", "steadiness_time", "information", "share_cam", "share_deconvolved"
    }  # fmt: skip
    assert frame["value"].between(0, 1).all()
    assert (frame["tracks"] > 0).all()
    assert (frame["seeds"] == 1).all()
    text = writing.to_markdown(table)
    assert "nan" not in text
    assert "| Tracks | Filters |" in text
    # One track of country has too little to say: no interval.
    few = frame[frame["tracks"] < marking_parts.LEAST_TRACKS]
    assert {"share_deconvolved"} <= set(few["measure"])
    assert few[["difference_low", "difference_high"]].isna().all(axis=None)


def test_published_recordings_are_not_passed_on(
    study: Study, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = corpora.load
    monkeypatch.setattr(corpora, "load", lambda name: replace(load(name), pocket=False, ground_truth=None))
    records = [r for r in records if r.arm in ("base", "cam")]
    (table,) = explanations.explain(study, records, tmp_path, jobs=1)
    assert set(table.frame["measure"]) == {"steadiness_frequency", "steadiness_time"}
    assert "stem" not in table.caption
    text = (tmp_path / "gallery" / "index.html").read_text("utf-8")
    assert "not ours to pass on" in text
    assert "data:audio" not in text
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".html", ".png"}
    # They are heard on another page, beside the trials; the one that may be passed on names it from the folder of runs.
    beside = records[0].folder.parents[1] / "listening" / "index.html"
    assert beside.relative_to(records[0].folder.parents[4]).as_posix() in text
    assert str(tmp_path) not in text
    try:
        assert_levels(beside.read_text("utf-8"), nets=2)
    finally:
        shutil.rmtree(beside.parent)


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


def test_the_loss_is_held_against_the_masks_alone_too(study: Study, records: list[Record]) -> None:
    found = nets.restore_nets(study, records)
    rows = pd.DataFrame(steadiness.stability_rows(found))
    pairs = set(zip(rows["arm"], rows["against"], strict=True))
    assert pairs == {
        ("base", "random weights"), ("masked", "baseCNN"), ("masked_loss", "baseCNN"), ("masked_loss", "maskedCNN")
    }  # fmt: skip
    net = next(net for net in found if net.record.arm == "masked")
    keys, pictures = steadiness.segments_to_test(net)
    whole = find_peaks(activations(net.network, pictures, ["relu3"])["relu3"])
    row = rows[(rows["arm"] == "masked") & (rows["measure"] == "steadiness_frequency")].iloc[0]
    assert row["value"] == pytest.approx(deviation(whole.frequency, whole.active)[0])
    assert row["tracks"] == len(set(clips_of(keys)))
    assert row["filters"].startswith(f"{whole.live} / ")
    assert row["difference_low"] < row["difference"] < row["difference_high"]


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


def test_what_the_net_has_not_learnt_is_asked_of_the_validation_part_too(study: Study, records: list[Record]) -> None:
    for net in nets.restore_nets(study, records):
        corpus = interpretability.load_corpus(net.trial)
        keys, genres = marking_parts.choose_segments(net, corpus)
        tracks = {part: set(clips_of(net.record.predictions(part).keys)) for part in ("valid", "test")}
        assert set(clips_of(np.array(keys))) & tracks["valid"]
        assert set(clips_of(np.array(keys))) <= tracks["valid"] | tracks["test"]
        assert {corpus.classes[g] for g in genres} == (set(corpus.classes) if net.averages else {"country"})


def test_an_untrained_net_is_the_studys_before_training(study: Study, records: list[Record]) -> None:
    net = nets.restore_nets(study, records)[0]
    state = torch.random.get_rng_state()
    first, again = nets.untrained(net), nets.untrained(net)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
        assert not torch.equal(weights, net.network.state_dict()[name])
        if name.endswith("bias"):
            assert not weights.any()  # as the study starts them, and torch does not


def test_the_loss_is_measured_against_the_net_without_it(study: Study, records: list[Record]) -> None:
    (row,) = interpretability.information_rows(nets.restore_nets(study, records))
    assert (row["arm"], row["against"]) == ("masked_loss", "maskedCNN")
    assert row["value"] > 0
    assert row["difference"] == pytest.approx(row["value"] - row["reference"])
    assert interpretability.information_rows(nets.restore_nets(study, [r for r in records if r.arm != "masked"])) == []


@pytest.mark.parametrize(("tracks", "judged"), [(7, False), (8, True)])
def test_few_tracks_have_no_interval(tracks: int, judged: bool) -> None:
    scores = pd.DataFrame(
        {
            "measure": "deconvolved", "arm": "base", "seed": np.arange(3).repeat(tracks),
            "track": [f"country.{n:05d}" for _ in range(3) for n in range(tracks)],
            "share": np.random.default_rng(0).uniform(0.4, 0.6, 3 * tracks), "even": 0.1, "random": 0.2,
        }
    )  # fmt: skip
    for row in marking_parts.share_rows(scores, {"base": "baseCNN"}):
        assert row["tracks"] == tracks
        assert (row["difference_low"] is not None) == judged
        assert row["difference"] > 0.1
