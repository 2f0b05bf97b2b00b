import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness import corpora
from harness.corpora import audioset, download
from harness.errors import RepriseError

CLASSES = {"Speech": "/m/09x0r", "Gunshot, gunfire": "/m/032s66", "Music": "/m/04rlf", "Siren": "/m/03kmc9"}
#: Of each table: id, start, labels. Ids of videos may begin with dashes.
TRAIN = [("--PJHxphWEs", 30, "Speech,Siren"), ("0a_-bcdefgh", 0, "Music"), ("zzzzzzzzzzz", 570, "Music,Speech")]
EVAL = [
    ("--4gqARaEJE", 0, "Gunshot, gunfire"), ("-0xzrMun0Rs", 20, "Siren"), ("AAAAAAAAAAA", 120, "Music"),
    ("BBBBBBBBBBB", 10, "Speech"), ("CCCCCCCCCCC", 10, "Speech"),
]  # fmt: skip


def segments(rows: list[tuple[str, float, str]]) -> str:
    lines = [
        "# Segments csv created Sun Mar  5 10:54:31 2017",
        f"# num_ytids={len(rows)}, num_segs={len(rows)}, num_unique_labels=4, num_positive_labels=9",
        "# YTID, start_seconds, end_seconds, positive_labels",
    ]
    for ytid, start, labels in rows:
        mids = ",".join(mid for name, mid in CLASSES.items() if name in labels)
        lines.append(f'{ytid}, {start:.3f}, {start + 10:.3f}, "{mids}"')
    return "\n".join(lines) + "\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Tables of eight segments; audio of all in several formats, 10 s at 8 kHz."""
    root = tmp_path / "audioset"
    (root / "audio").mkdir(parents=True)
    lines = [f'{number},{mid},"{name}"' for number, (name, mid) in enumerate(CLASSES.items())]
    (root / "class_labels_indices.csv").write_text("index,mid,display_name\n" + "\n".join(lines) + "\n")
    (root / "balanced_train_segments.csv").write_text(segments(TRAIN))
    (root / "eval_segments.csv").write_text(segments(EVAL))
    for place, (ytid, start, _) in enumerate([*TRAIN, *EVAL]):
        noise = np.random.default_rng(place).normal(scale=0.1, size=80_000)
        suffix = (".wav", ".flac", ".ogg")[place % 3]
        soundfile.write(root / f"audio/{ytid}_{1000 * start}{suffix}", noise, 8000)
    return root


def test_read_gives_what_was_written(tree):
    corpus = audioset.read(tree, "audioset")
    rows = {f"{ytid}_{1000 * start}": (ytid, labels) for ytid, start, labels in [*TRAIN, *EVAL]}
    assert corpus.classes == tuple(CLASSES)
    assert corpus.seconds == 10.0
    assert corpus.clips["key"].tolist() == sorted(rows)
    assert list(corpus.clips.index) == list(range(8))
    assert corpus.clips["group"].tolist() == [rows[key][0] for key in sorted(rows)]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in corpus.clips["path"])
    np.testing.assert_array_equal(corpus.labels, [[name in rows[key][1] for name in CLASSES] for key in sorted(rows)])
    assert corpus.mask.all()
    assert corpus.facts["segments"] == 8
    assert corpus.facts["segments_without_audio"] == 0
    assert corpus.facts["positives"] == 10
    json.dumps(corpus.facts, allow_nan=False)
    assert not corpus.pocket
    # Of the evaluation part, in the order of the ids, the first, third, ... is for validation.
    parts = dict(zip(corpus.clips["group"], corpus.clips["partition"], strict=True))
    assert {ytid: parts[ytid] for ytid, *_ in TRAIN} == dict.fromkeys((ytid for ytid, *_ in TRAIN), "train")
    order = ["--4gqARaEJE", "-0xzrMun0Rs", "AAAAAAAAAAA", "BBBBBBBBBBB", "CCCCCCCCCCC"]
    assert [parts[ytid] for ytid in order] == ["valid", "test", "valid", "test", "valid"]
    split = corpus.split("published")
    assert {part: len(chosen) for part, chosen in split.rows.items()} == {"train": 3, "valid": 3, "test": 2}
    assert not any(split.leakage["shared_groups"].values())


def test_segments_without_audio_are_left_out_and_move_no_other_clip(tree):
    before = audioset.read(tree, "audioset").clips.set_index("key")["partition"]
    for name in ("--4gqARaEJE_0.wav", "zzzzzzzzzzz_570000.ogg"):
        (tree / "audio" / name).unlink()
    corpus = audioset.read(tree, "audioset")
    assert corpus.facts["segments_without_audio"] == 2
    assert corpus.facts["segments"] == 8
    after = corpus.clips.set_index("key")["partition"]
    assert len(after) == 6
    assert (after == before[after.index]).all()


def test_segments_that_end_with_their_video_are_left_out(tree):
    path = tree / "balanced_train_segments.csv"
    path.write_text(path.read_text().replace("40.000", "36.500"))
    corpus = audioset.read(tree, "audioset")
    assert corpus.facts["segments_too_short"] == 1
    assert corpus.facts["segments_without_audio"] == 0
    assert "--PJHxphWEs_30000" not in set(corpus.clips["key"])


def test_a_clip_in_two_formats_counts_once(tree):
    noise = np.random.default_rng(9).normal(scale=0.1, size=80_000)
    soundfile.write(tree / "audio/zzzzzzzzzzz_570000.wav", noise, 8000)
    clips = audioset.read(tree, "audioset").clips
    assert clips["path"].iloc[-1].endswith(".wav")
    assert len(clips) == 8


def edit(name: str, function) -> object:
    def spoil(root: Path) -> None:
        path = root / name
        path.write_text(function(path.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


LIST, BALANCED, EVALUATION = audioset.TABLES
FAULTS = {
    "no classes": (edit(LIST, lambda text: ""), "has not the columns index, mid, display_name"),
    "classes without a column": (edit(LIST, lambda text: text.replace(",mid", "")), "has not the columns"),
    "classes without rows": (edit(LIST, lambda text: text.splitlines()[0]), "from 0 without a gap"),
    "a gap": (edit(LIST, lambda text: text.replace("\n2,", "\n5,")), "from 0 without a gap"),
    "a class without a name": (edit(LIST, lambda text: text.replace('"Music"', "")), "line 4 of .* no mid or no name"),
    "a mid twice": (edit(LIST, lambda text: text.replace("04rlf", "09x0r")), "has a name or a mid twice"),
    "no table": (lambda root: (root / EVALUATION).unlink(), r"eval_segments\.csv cannot be read"),
    "table not text": (lambda root: (root / BALANCED).write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "table empty": (edit(BALANCED, lambda text: ""), r"balanced_train_segments\.csv names no segment"),
    "only comments": (edit(BALANCED, lambda text: "\n".join(text.splitlines()[:3])), "names no segment"),
    "a column too few": (edit(BALANCED, lambda text: text.replace(", 0.000", "")), "line 5 of .* has 3 fields and not"),
    "a quotation mark too few": (
        edit(BALANCED, lambda text: text.replace('/m/03kmc9"', "/m/03kmc9")), None
    ),
    "unknown mid": (
        edit(EVALUATION, lambda text: text.replace("/m/032s66", "/m/x")),
        r"line 4 of .* has the mid '/m/x', which class_labels_indices\.csv lacks",
    ),
    "no number": (edit(BALANCED, lambda text: text.replace("30.000", "soon")), "line 4 of .* no start and end"),
    "ends before it starts": (edit(BALANCED, lambda text: text.replace("580.000", "3")), "no start and end in seconds"),
    "a name that leads outside": (
        edit(BALANCED, lambda text: text.replace("--PJHxphWEs", "../../../etc")), "names '../../../etc', which is no id"
    ),
    "a segment twice": (
        edit(BALANCED, lambda text: text + text.splitlines()[3] + "\n"), "line 7 of .* for the second time"
    ),
    "a segment in both tables": (
        lambda root: edit(EVALUATION, lambda text: text + (root / BALANCED).read_text().splitlines()[3])(root),
        "names --PJHxphWEs_30000, which is in balanced_train_segments.csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", [name for name, (_, message) in FAULTS.items() if message])
def test_each_fault_is_told_in_one_sentence(tree, fault):
    spoil, message = FAULTS[fault]
    spoil(tree)
    with pytest.raises(RepriseError, match=message) as caught:
        audioset.read(tree, "audioset")
    assert "put the tables as published (research.google.com/audioset)" in str(caught.value)
    assert "\n" not in str(caught.value)
    (tree / "ground_truth").mkdir()
    (tree / "ground_truth/manifest.json").write_text('{"parameters": {}, "renderer_version": 1}')
    with pytest.raises(RepriseError, match=r"delete the folder .* rendered again"):
        audioset.read(tree, "pocket-audioset")


def test_a_quotation_mark_that_is_never_closed_spoils_no_other_line(tree):
    FAULTS["a quotation mark too few"][0](tree)
    assert len(audioset.read(tree, "audioset").clips) == 8


def test_an_error_only_if_there_is_no_audio_at_all(tree):
    for path in (tree / "audio").iterdir():
        path.rename(tree / path.name)
    with pytest.raises(RepriseError, match=r"none of the 8 segments of audioset has audio: put files as audio/--PJHx"):
        audioset.read(tree, "audioset")


def test_status_says_that_there_is_nothing_to_download(tree, monkeypatch):
    about = download.status("audioset")
    assert not about["here"]
    assert about["how"] is None
    for words in ("without audio", "released VGGish weights", "stand for it", "class_labels_indices.csv", "<YTID>"):
        assert words in about["about"]
    with pytest.raises(RepriseError, match=r"audioset cannot be downloaded as a whole: .*released VGGish weights"):
        download.fetch("audioset")
    with pytest.raises(RepriseError, match=r"audioset is not in .*: it is published without audio, so use"):
        corpora.load("audioset")
    monkeypatch.setenv("REPRISE_DATA", str(tree.parent))
    assert download.status("audioset")["here"]
    assert download.status("audioset")["audio_files"] == 8
    assert corpora.load("audioset").root == tree


def test_verify_looks_at_the_form_of_the_users_files(tree):
    assert download.verify("audioset", tree, jobs=1) == {
        "checked": 8, "by_form": 8, "missing": [], "changed": [], "unlisted": []
    }  # fmt: skip
    soundfile.write(tree / "audio/--PJHxphWEs_30000.wav", np.ones(4000), 8000)
    (tree / "audio/0a_-bcdefgh_0.flac").write_bytes(b"<html>")
    assert download.verify("audioset", tree, jobs=1)["changed"] == [
        "audio/--PJHxphWEs_30000.wav", "audio/0a_-bcdefgh_0.flac"
    ]  # fmt: skip
