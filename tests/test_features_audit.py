"""The audit of a corpus, on faults planted in small synthetic files: it finds all of them, and nothing else."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import soxr

from harness import corpora
from harness.corpora.corpus import Corpus
from harness.corpora.gtzan_filtered import GENRES
from harness.corpora.pocket import gtzan
from harness.corpora.pocket.gtzan_plan import draw_clips
from harness.features import landmarks
from harness.features.audit import Report, audit, tidy
from harness.features.landmarks import HOP, Landmarks, compare, propose

RATE = 22050
SECONDS = 8


def drums(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    """A drum machine at 120 beats a minute: every stroke of it is the same, in every song."""
    time = np.arange(rate // 4) / rate
    kick = np.sin(2 * np.pi * 60 * time) * np.exp(-time * 20)
    hat = np.random.default_rng(99).normal(0, 0.3, len(time)) * np.exp(-time * 60)
    out = np.zeros(round(seconds * rate) + rate)
    for beat in range(round(seconds * 4)):
        stroke = kick if beat % 4 == seed % 2 else hat
        out[beat * len(time) : (beat + 1) * len(time)] += stroke
    return out[: round(seconds * rate)]


def song(seed: int, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Notes of one synthetic instrument over the drum machine, at -20 dBFS or so."""
    rng = np.random.default_rng(seed)
    out = 0.5 * drums(seed, seconds, rate)
    for start in np.arange(0, seconds - 0.5, 0.25):
        hz = 110 * 2 ** (rng.choice([0, 2, 4, 7, 9, 12, 14, 16, 19, 21, 24]) / 12)
        time = np.arange(round(0.5 * rate)) / rate
        tone = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 9)) * np.exp(-time * 5)
        out[round(start * rate) :][: len(tone)] += rng.uniform(0.3, 1) * tone
    return (0.1 * out / out.std()).astype(np.float32)


def corpus_of(folder, files: dict, said: dict | None = None, **fields) -> Corpus:
    """A corpus of the given files; every clip is labelled a, unless `said` has it otherwise (None: not observed)."""
    classes = ("a", "b")
    clips = pd.DataFrame({"key": list(files), "path": [str(path) for path in files.values()], "group": None})
    given = [{"a": 1, "b": 0} | (said or {}).get(key, {}) for key in files]
    mask = np.array([[one[c] is not None for c in classes] for one in given])
    values = np.array([[one[c] or 0 for c in classes] for one in given], np.uint8)
    return dataclasses.replace(Corpus("planted", folder, classes, None, clips, values, mask, facts={}), **fields)


def write(folder, name: str, samples: np.ndarray, rate: int = RATE, **kwargs):
    path = folder / name
    with sf.SoundFile(path, "w", rate, 1 if samples.ndim == 1 else samples.shape[1], **kwargs) as file:
        for start in range(0, len(samples), rate):  # libsndfile overflows its stack on one long Vorbis write
            file.write(samples[start : start + rate])
    return path


def static(samples: np.ndarray) -> np.ndarray:
    """Three bursts of static that end at 2, 4 and 6 s."""
    samples = samples.copy()
    for end in (2, 4, 6):
        length = round(0.2 * RATE)
        noise = np.random.default_rng(end).uniform(-0.9, 0.9, length)
        samples[end * RATE - length : end * RATE] = noise
    return samples


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Corpus:
    """Six songs over one drum machine, and every fault there is."""
    folder = tmp_path_factory.mktemp("planted")
    songs = [song(seed) for seed in range(6)]
    songs[0] = np.round(2**15 * songs[0]).astype(np.int16)  # encoders round each in its own way
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1 * 10 ** (-20 / 20), len(songs[1])).astype(np.float32)
    gap = songs[4].copy()
    gap[round(1.5 * RATE) : round(4.25 * RATE)] = 0
    files = {f"song{i}": write(folder, f"song{i}.wav", one) for i, one in enumerate(songs)}
    files |= {
        "copy": write(folder, "copy.flac", songs[0]),
        "copy_again": write(folder, "copy_again.au", songs[0]),
        "excerpt": write(folder, "excerpt.wav", 0.4 * (songs[1] + noise)[round(2.3456 * RATE) :]),
        "encoded": write(folder, "encoded.ogg", -songs[2], format="OGG", subtype="VORBIS"),
        "other_rate": write(folder, "other_rate.wav", np.stack(2 * [song(7, rate=44100)], axis=1), 44100),
        "that_rate": write(folder, "that_rate.wav", resampled(song(7, rate=44100), 44100, 16000), 16000),
        "clipped": write(folder, "clipped.wav", np.clip(3 * song(8), -0.5, 0.5)),
        "static": write(folder, "static.wav", static(song(9))),
        "gap": write(folder, "gap.wav", gap),
        "silent": write(folder, "silent.wav", np.zeros(3 * RATE)),
        "missing": folder / "missing.wav",
        "text": folder / "text.wav",
        "cut": write(folder, "cut.wav", song(10)),
    }
    files["text"].write_text("this is not audio")
    files["cut"].write_bytes(files["cut"].read_bytes()[:100_000])
    labels = {"copy": {"a": 0, "b": 1}, "encoded": {"b": None}, "excerpt": {"b": 1}}
    groups = {"song1": "x", "excerpt": "y", "song0": "x", "copy": "x"}
    corpus = corpus_of(folder, files, labels, facts={"left_out": {"jazz/jazz.00054.wav": "it is cut", "phrase": 7}})
    corpus.clips["group"] = corpus.clips["key"].map(groups)
    return corpus


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return soxr.resample(samples, rate, wanted)


@pytest.fixture(scope="module")
def report(planted) -> Report:
    return audit(planted, jobs=1)


def pairs(table: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(table["key"], table["other"], strict=True))


def test_exact_duplicates_are_found_whatever_the_container(report):
    assert pairs(report.exact) == {("song0", "copy"), ("song0", "copy_again")}
    assert report.exact["seconds"].tolist() == [SECONDS, SECONDS]
    assert report.exact["same_group"].tolist() == [True, pd.NA]


def test_near_duplicates_are_found_and_music_that_is_only_alike_is_not(report):
    # The gap is song 4 with a hole; all others share a drum machine with each other and nothing more.
    assert pairs(report.near) == {
        ("song1", "excerpt"), ("song2", "encoded"), ("song4", "gap"), ("other_rate", "that_rate")
    }  # fmt: skip
    found = report.near.set_index("key")
    assert found.loc["song1", "offset"] == pytest.approx(2.3456, abs=0.001)
    assert found.loc["song1", "overlap"] == pytest.approx(SECONDS - 2.3456, abs=0.001)
    assert found.loc["song1", "level"] == pytest.approx(20 * np.log10(0.4), abs=0.2)
    assert found.loc["song2", "offset"] == pytest.approx(0, abs=0.001)
    assert found.loc["other_rate", "similarity"] > 0.99
    assert not found.loc["song1", "same_group"]
    assert found.loc["song2", "same_group"] is pd.NA


def test_label_conflicts_are_told_where_both_were_observed(report):
    rows = report.conflicts.set_index(["key", "other"])
    assert set(rows.index) == {("song0", "copy"), ("song1", "excerpt")}  # of "encoded", b was not observed
    assert rows.loc[("song0", "copy")].tolist() == [2, "a", "b"]
    assert rows.loc[("song1", "excerpt")].tolist() == [1, "", "b"]


def test_defects_are_found_with_their_numbers(report):
    (clipped,) = report.clipped.to_dict("records")
    loud = np.abs(3 * song(8)) >= 0.5
    assert clipped["key"] == "clipped"
    assert clipped["share"] == pytest.approx(loud.mean(), rel=0.2)  # peaks of one or two samples do not count
    assert clipped["peak"] == pytest.approx(0.5, abs=0.001)
    (bursts,) = report.static.to_dict("records")
    assert bursts["key"] == "static"
    assert bursts["bursts"] == 3
    assert bursts["end"] == pytest.approx(2.0, abs=0.01)
    assert bursts["drop"] > 20
    silent = report.silent.set_index("key")
    assert set(silent.index) == {"gap", "silent"}
    assert silent.loc["gap"].tolist() == pytest.approx([2.75, 1.5, 2.75 / SECONDS], abs=0.06)
    assert silent.loc["silent"].tolist() == [3.0, 0.0, 1.0]


def test_files_that_cannot_be_used_are_named(report):
    reasons = report.unusable.set_index("key")["reason"]
    assert reasons["missing"] == "is missing"
    assert reasons["text"] == "is not audio"
    assert reasons["cut"].startswith("is truncated: it breaks off after")
    assert reasons["jazz/jazz.00054.wav"] == "left out by the reader: it is cut"
    assert len(reasons) == 4


def test_what_was_searched_is_counted(report, planted):
    assert report.clips == len(planted.clips)
    # Not searched: two exact copies, the silent file and the three that cannot be used.
    assert report.searched == report.clips - 6


def test_all_findings_in_one_table(report):
    findings = report.findings()
    assert list(findings.columns) == ["kind", "key", "other", "value", "details"]
    assert len(findings) == sum(len(table) for table in report.tables().values()) == 2 + 4 + 2 + 1 + 1 + 2 + 4
    row = findings[findings["kind"] == "label conflicts"].iloc[0]
    assert (row["key"], row["other"], row["value"], row["details"]) == (
        "song0", "copy", 2, "differing 2; labels a; other_labels b"
    )  # fmt: skip
    assert findings[findings["kind"] == "unusable files"]["value"].isna().all()


def test_the_report_does_not_depend_on_the_number_of_processes(planted, report):
    again = audit(planted, jobs=2)
    for kind, table in report.tables().items():
        pd.testing.assert_frame_equal(table, again.tables()[kind])


def test_a_corpus_of_sound_music_has_no_finding(pocket):
    report = audit(corpora.load(pocket), jobs=1)
    assert report.searched == report.clips
    assert report.findings().empty


def test_what_is_planted_in_the_twin_of_gtzan_is_found_and_nothing_else(tmp_path):
    clips = {clip.key: clip for clip in draw_clips(200, 0)}
    faulty = [clip for clip in clips.values() if clip.fault]
    artists = {clip.artist for clip in faulty}
    # The faulty ones, those that they repeat, and sound ones by the same artists.
    chosen = {clip.key for clip in faulty} | {clip.other for clip in faulty if clip.other in clips}
    chosen |= set([clip.key for clip in clips.values() if clip.artist in artists and not clip.fault][:6])
    chosen = [clips[key] for key in sorted(chosen)]
    gtzan._write_chunk((tmp_path, 0, chosen))
    files = {clip.key: tmp_path / "genres" / clip.genre / f"{clip.key}.wav" for clip in chosen}
    labels = np.array([[clip.genre == genre for genre in GENRES] for clip in chosen], np.uint8)
    corpus = corpus_of(tmp_path, files, classes=GENRES, labels=labels, mask=np.ones(labels.shape, bool))
    report = audit(corpus, jobs=1)

    def planted(*kinds: str) -> set[tuple[str, str]]:
        return {tuple(sorted((clip.key, clip.other))) for clip in faulty if clip.fault in kinds}

    def distorted(how: str) -> list[str]:
        return [clip.key for clip in chosen if (clip.fault, clip.other) == ("distortion", how)]

    assert pairs(report.exact) == planted("repetition", "conflict") != set()
    assert pairs(report.near) == planted("near_repetition") != set()
    assert pairs(report.conflicts) == planted("conflict") != set()
    assert report.clipped["key"].tolist() == distorted("clipping") != []
    assert report.static["key"].tolist() == distorted("static") != []
    assert report.silent.empty
    assert report.unusable.empty


def test_single_notes_of_an_orchestra_are_not_taken_for_each_other(published_data, tmp_path):
    notes = sorted((published_data / "philharmonia").glob("*/*_15_*normal.mp3"))[::6]
    if len(notes) < 30:
        pytest.skip("no notes of the Philharmonia here")
    files = {path.stem: path for path in notes}
    chosen = max(notes, key=lambda path: sf.info(path).frames)
    samples, rate = sf.read(chosen, dtype="float32")
    files["louder"] = write(tmp_path, "louder.ogg", 0.5 * samples[2000:], rate, format="OGG", subtype="VORBIS")
    report = audit(corpus_of(tmp_path, files), jobs=1)
    assert pairs(report.near) == {(chosen.stem, "louder")}
    assert len(report.findings()) == 1


def test_labels_of_copies_are_compared_with_the_first_that_was_observed(tmp_path):
    samples = song(1, 4)
    files = {name: write(tmp_path, f"{name}.wav", samples) for name in "pqrs"}
    files["t"] = write(tmp_path, "t.wav", samples[1000:])
    unknown = {"a": None, "b": None}
    report = audit(
        corpus_of(tmp_path, files, {"p": unknown, "q": {"b": 1}, "r": unknown, "s": {"b": 0}, "t": {"a": 0, "b": 1}}),
        jobs=1,
    )
    assert pairs(report.exact) == {("p", "q"), ("p", "r"), ("p", "s")}
    assert pairs(report.near) == {("p", "t")}
    assert report.conflicts.values.tolist() == [["q", "s", 1, "b", ""], ["q", "t", 1, "a", ""]]


def test_of_an_empty_corpus_nothing_is_said(tmp_path):
    report = audit(corpus_of(tmp_path, {"gone": tmp_path / "gone.wav"}), jobs=1)
    assert (report.searched, len(report.findings())) == (0, 1)


def test_cells_as_text():
    assert [tidy(v) for v in (True, np.bool_(False), pd.NA, None, 0.123456, 7, "x")] == [
        "yes", "no", "", "", "0.1235", "7", "x"
    ]  # fmt: skip


def test_landmarks_do_not_depend_on_the_level_and_silence_has_none():
    samples = song(3, rate=landmarks.RATE)
    loud, soft = landmarks.landmarks(samples), landmarks.landmarks(samples / 64)
    np.testing.assert_array_equal(loud.names, soft.names)
    np.testing.assert_array_equal(loud.frames, soft.frames)
    assert 100 < len(loud.names) <= landmarks.PEAKS_PER_SECOND * landmarks.FAN * SECONDS
    assert (np.diff(loud.frames) >= 0).all()
    for nothing in (np.zeros(0, np.float32), np.zeros(5, np.float32), np.zeros(50_000, np.float32)):
        assert len(landmarks.landmarks(nothing).names) == 0


def prints(*clips: tuple[list[int], list[int]]) -> list[Landmarks]:
    return [Landmarks(np.array(names, np.int32), np.array(frames, np.int32)) for names, frames in clips]


def test_a_proposal_counts_landmarks_at_one_offset():
    times = list(range(0, 40, 4))
    first = (list(range(10)), times)
    later = (list(range(10)), [t + 7 + (t == 8) for t in times])  # one of them falls into the next frame
    scattered = (list(range(10)), [13 * t for t in times])
    (found,) = propose(prints(first, scattered, later))
    assert (found.first, found.second, found.lag, found.aligned) == (0, 2, 7, 10)
    (found,) = propose(prints(later, first))
    assert (found.lag, found.aligned) == (-7, 9 + 0) or (found.lag, found.aligned) == (-8, 10)
    assert propose([]) == propose(prints(([], []), ([], []))) == []


def test_proposals_do_not_depend_on_the_size_of_a_block(monkeypatch):
    rng = np.random.default_rng(0)
    clips = [(rng.integers(0, 60, 80).tolist(), np.sort(rng.integers(0, 30, 80)).tolist()) for _ in range(40)]
    whole = propose(prints(*clips))
    assert len(whole) > 100
    monkeypatch.setattr(landmarks, "BLOCK", 50)
    assert propose(prints(*clips)) == whole


def test_many_copies_are_linked_without_comparing_all_pairs():
    count = 300
    found = propose(prints(*[(list(range(12)), list(range(12)))] * count))
    assert len(found) <= landmarks.COMPARED * count
    seen = {0}
    for proposal in found:  # in the order of their first clips
        if proposal.first in seen:
            seen.add(proposal.second)
    assert seen == set(range(count))


def test_comparing_sees_through_delay_level_and_polarity():
    samples = song(5, rate=44100)
    first = resampled(samples, 44100, landmarks.RATE)
    second = resampled(-0.1 * samples[1234:], 44100, landmarks.RATE)  # 223.86 samples at the common rate
    found = compare(first, second, -1 * HOP)
    assert found.similarity > 0.99
    assert found.offset * 44100 == pytest.approx(1234, abs=3)
    assert found.level == pytest.approx(-20, abs=0.2)
    assert found.same_recording


@pytest.mark.parametrize(("drift", "delay"), [(0.1, 0), (-0.3, 5000), (0.3, -4000)])
def test_two_transfers_that_run_apart_are_brought_together(drift, delay):
    first = song(5, 20, landmarks.RATE)
    second = resampled(first, landmarks.RATE, landmarks.RATE * (1 + drift / 1000))
    if delay >= 0:
        second = second[delay:]
    else:
        first, second = first[-delay:], second
    found = compare(first, second, -delay + round(drift * 8 * 10))  # as they lie in the middle
    assert found.same_recording
    assert found.similarity > 0.95
    assert found.drift == pytest.approx(drift, abs=0.01)
    assert found.offset * landmarks.RATE == pytest.approx(delay, abs=20)
    other = compare(first, song(7, 20, landmarks.RATE), 0)
    assert not other.same_recording
    assert other.drift == 0


def test_steady_tones_of_one_pitch_are_no_evidence():
    time = np.arange(4 * landmarks.RATE) / landmarks.RATE
    rng = np.random.default_rng(0)
    flute = sum(np.sin(2 * np.pi * 440 * k * time) / k**2 for k in (1, 2, 3)) + rng.normal(0, 1e-3, len(time))
    reed = sum(np.sin(2 * np.pi * 440 * k * time + k) / k for k in (1, 2, 3, 4)) + rng.normal(0, 1e-3, len(time))
    found = compare(flute.astype(np.float32), reed.astype(np.float32), 0)
    assert found.similarity > 0.9
    assert found.elsewhere > 0.9
    assert not found.same_recording


@pytest.mark.parametrize(
    ("lengths", "lag", "enough"),
    [
        ((8, 8), 0, True),
        ((8, 8), 4.5, True),
        ((8, 8), 5.5, False),  # 2.5 s of 8
        ((8, 8), -5.5, False),
        ((8, 2), 0, True),
        ((8, 2), 0.6, False),  # 1.4 s of 2
        ((8, 0.9), 0, False),
        ((8, 8), 30, False),
    ],
)
def test_too_little_in_common_is_not_compared(lengths, lag, enough):
    samples = song(2, 20, landmarks.RATE)
    lag = round(lag * landmarks.RATE)
    first = samples[10 * landmarks.RATE :][: round(lengths[0] * landmarks.RATE)]
    second = samples[10 * landmarks.RATE - lag if lag < 80_000 else 0 :][: round(lengths[1] * landmarks.RATE)]
    found = compare(first, second, lag)
    assert (found is not None) == enough
    if enough:
        assert found.similarity > 0.99
