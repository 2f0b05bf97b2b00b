import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_corpora_split_zip import split

from harness import corpora
from harness.corpora import download, fsd50k, registry
from harness.corpora.split_zip import unpack_zips
from harness.errors import RepriseError

VOCABULARY = {"Bird": "/m/015p6", "Guitar": "/m/0342h", "Keyboard_(musical)": "/m/05148p4", "Music": "/m/04rlf"}
#: fname: part, split, labels, uploader, tags
CLIPS = {
    "64760": ("dev", "train", "Guitar,Music", "ann", ["guitar", "Loop", "120bpm"]),
    "16399": ("dev", "val", "Keyboard_(musical),Music", "bob", ["piano"]),
    "9": ("dev", "train", "Bird", "ann", []),
    "100": ("dev", "train", "Bird,Music", "cleo", ["field-recording", "Früh", "bird"]),
    "37199": ("eval", None, "Music,Guitar", "dan", ["guitar", "noise"]),
    "4": ("eval", None, "Bird", "dan", ["owl"]),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of six clips of 0.3 s and more, as published."""
    root = tmp_path / "fsd50k"
    (root / "FSD50K.ground_truth").mkdir(parents=True)
    (root / "FSD50K.metadata").mkdir()
    lines = [f"{number},{label},{mid}" for number, (label, mid) in enumerate(VOCABULARY.items())]
    (root / "FSD50K.ground_truth/vocabulary.csv").write_text("\n".join(lines) + "\n")
    for part, header in (("dev", "fname,labels,mids,split"), ("eval", "fname,labels,mids")):
        (root / f"FSD50K.{part}_audio").mkdir()
        rows, info = [header], {}
        for place, (fname, (of_part, split_name, labels, uploader, tags)) in enumerate(CLIPS.items()):
            if of_part != part:
                continue
            mids = ",".join(VOCABULARY[label] for label in labels.split(","))
            rows.append(f'{fname},"{labels}","{mids}"' + (f",{split_name}" if split_name else ""))
            info[fname] = {
                "title": f"Sound, {fname}", "description": "A\nsound", "tags": tags,
                "license": "http://creativecommons.org/licenses/by/3.0/", "uploader": uploader,
            }  # fmt: skip
            noise = np.random.default_rng(place).normal(scale=0.1, size=13230 + 1000 * place)
            soundfile.write(root / f"FSD50K.{part}_audio/{fname}.wav", noise, 44100, subtype="PCM_16")
        (root / f"FSD50K.ground_truth/{part}.csv").write_text("\n".join(rows) + "\n")
        path = root / f"FSD50K.metadata/{part}_clips_info_FSD50K.json"
        path.write_text(json.dumps(info, ensure_ascii=False), encoding="utf-8")
    return root


def test_read_gives_what_was_written(tree):
    corpus = fsd50k.read(tree, "fsd50k")
    keys = sorted(CLIPS)
    assert corpus.classes == tuple(VOCABULARY)
    assert corpus.seconds is None
    assert corpus.clips["key"].tolist() == keys
    assert list(corpus.clips.index) == list(range(6))
    parts = {"train": "train", "val": "valid", None: "test"}
    assert corpus.clips["partition"].tolist() == [parts[CLIPS[key][1]] for key in keys]
    assert corpus.clips["group"].tolist() == [CLIPS[key][3] for key in keys]
    assert corpus.clips["artist"].tolist() == [CLIPS[key][3] for key in keys]
    assert corpus.clips["title"].tolist() == [f"Sound, {key}" for key in keys]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in corpus.clips["path"])
    expected = [[label in CLIPS[key][2].split(",") for label in VOCABULARY] for key in keys]
    np.testing.assert_array_equal(corpus.labels, expected)
    assert corpus.labels.dtype == np.uint8
    assert corpus.mask.dtype == bool
    assert corpus.mask.all()
    assert corpus.facts["clips"] == 6
    assert corpus.facts["parts"] == ["dev", "eval"]
    assert corpus.facts["positives"] == 10
    assert corpus.facts["uploaders"] == 4
    json.dumps(corpus.facts, allow_nan=False)
    assert not corpus.pocket
    assert fsd50k.tags(corpus) == [tuple(CLIPS[key][4]) for key in keys]


def test_the_published_split(tree):
    rows = fsd50k.read(tree, "fsd50k").split("published").rows
    keys = np.array(sorted(CLIPS))
    assert {part: keys[chosen].tolist() for part, chosen in rows.items()} == {
        "train": ["100", "64760", "9"], "valid": ["16399"], "test": ["37199", "4"]
    }  # fmt: skip


def test_the_order_of_rows_does_not_matter_but_content_does(tree):
    before = fsd50k.read(tree, "fsd50k")
    path = tree / "FSD50K.ground_truth/dev.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\ufeff" + "\r\n".join([header, *rows[::-1]]), encoding="utf-8", newline="")
    after = fsd50k.read(tree, "fsd50k")
    pd.testing.assert_frame_equal(before.clips, after.clips)
    assert before.checksum == after.checksum
    path.write_text(path.read_text(encoding="utf-8-sig").replace('"Bird","/m/015p6"', '"Music","/m/04rlf"'))
    assert fsd50k.read(tree, "fsd50k").checksum != before.checksum


@pytest.mark.parametrize("absent", ["FSD50K.eval_audio", "FSD50K.ground_truth/eval.csv"])
def test_the_development_part_alone_is_read_and_said_to_be_alone(tree, capsys, absent):
    (tree / absent).rename(tree / "gone")
    corpus = fsd50k.read(tree, "fsd50k")
    assert corpus.facts["parts"] == ["dev"]
    assert set(corpus.clips["partition"]) == {"train", "valid"}
    assert len(fsd50k.tags(corpus)) == 4
    fsd50k.read(tree, "fsd50k")
    assert capsys.readouterr().err.count("holds the development part only, so that no clip is for testing") == 1


def test_without_metadata_no_group_is_known_and_there_are_no_tags(tree):
    (tree / "FSD50K.metadata").rename(tree / "gone")
    corpus = fsd50k.read(tree, "fsd50k")
    assert corpus.clips["group"].isna().all()
    assert (corpus.clips["title"] == "").all()
    with pytest.raises(RepriseError, match=r"tags of fsd50k are in .*dev_clips_info_FSD50K.json, which is not there"):
        fsd50k.tags(corpus)


def edit(name: str, function) -> object:
    def spoil(root: Path) -> None:
        path = root / name
        path.write_text(function(path.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


def change_info(function) -> object:
    def spoil(root: Path) -> None:
        path = root / "FSD50K.metadata/dev_clips_info_FSD50K.json"
        told = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(function(told)))

    return spoil


DEV, EVAL = "FSD50K.ground_truth/dev.csv", "FSD50K.ground_truth/eval.csv"
VOCAB = "FSD50K.ground_truth/vocabulary.csv"
INFO = "FSD50K.metadata/dev_clips_info_FSD50K.json"
FAULTS = {
    "no vocabulary": (lambda root: (root / VOCAB).unlink(), r"vocabulary\.csv cannot be read"),
    "vocabulary empty": (edit(VOCAB, lambda text: ""), r"vocabulary\.csv cannot be read"),
    "vocabulary with a header": (edit(VOCAB, lambda text: "index,label,mid\n" + text), "from 0 without a gap"),
    "vocabulary with a gap": (edit(VOCAB, lambda text: text.replace("3,Music", "4,Music")), "from 0 without a gap"),
    "a label twice": (edit(VOCAB, lambda text: text.replace("Guitar", "Bird")), "has the label 'Bird' twice"),
    "a mid twice": (edit(VOCAB, lambda text: text.replace("0342h", "015p6")), "has the mid '/m/015p6' twice"),
    "no table": (lambda root: (root / DEV).unlink(), r"dev\.csv cannot be read"),
    "table without a column": (edit(DEV, lambda text: text.replace("labels", "names")), "it has no column labels"),
    "dev without its split": (edit(DEV, lambda text: text.replace(",split", ",part")), "it has no column split"),
    "table empty": (edit(DEV, lambda text: ""), r"dev\.csv cannot be read"),
    "table without rows": (edit(EVAL, lambda text: text.splitlines()[0] + "\n"), r"eval\.csv .*it names nothing"),
    "table cut short": (edit(DEV, lambda text: text[: text.rindex('"')]), r"dev\.csv cannot be read .*EOF"),
    "table not text": (lambda root: (root / DEV).write_bytes(b"\xff\xfe\x00"), r"dev\.csv cannot be read"),
    "unknown label": (
        edit(DEV, lambda text: text.replace('"Guitar,', '"Theremin,')),
        r"line 2 of .*dev\.csv has the label 'Theremin', which FSD50K.ground_truth/vocabulary.csv lacks",
    ),
    "unknown mid": (
        edit(EVAL, lambda text: text.replace("/m/015p6", "/m/0")), r"line 3 of .*eval\.csv has the mid '/m/0'"
    ),
    "no label": (edit(DEV, lambda text: text.replace('9,"Bird"', '9,""')), r"line 4 of .*dev\.csv has the label ''"),
    "unknown split": (edit(DEV, lambda text: text.replace(",val", ",test")), "has the split 'test', which is neither"),
    "a name that leads outside": (edit(DEV, lambda text: text.replace("\n9,", "\n../9,")), "names '../9', which is no"),
    "a clip in both parts": (
        edit(EVAL, lambda text: text + '100,"Bird","/m/015p6"\n'),
        "names 1 clips twice, first 100, so that its parts overlap",
    ),
    "clips without audio": (
        lambda root: [(root / f"FSD50K.dev_audio/{key}.wav").unlink() for key in ("9", "16399")],
        r"2 of the 6 clips in FSD50K\.ground_truth have no audio, first FSD50K\.dev_audio/16399\.wav",
    ),
    "no audio folder": (lambda root: (root / "FSD50K.dev_audio").rename(root / "gone"), "4 of the 6 clips .* no audio"),
    "metadata lacks a clip": (change_info(lambda told: {"9": told["9"]}), r"dev_clips_info.* nothing of the clip 100"),
    "metadata no JSON": (edit(INFO, lambda text: text[:-9]), r"dev_clips_info_FSD50K\.json cannot be read"),
    "metadata a list": (edit(INFO, lambda text: "[]"), "does not tell of clips"),
    "a clip that is no object": (change_info(lambda told: told | {"100": 3}), "lacks title, uploader .* clip 100"),
    "a clip without tags": (
        change_info(lambda told: told | {"100": {"title": "", "uploader": "x"}}), "list of tags of the clip 100"
    ),
    "tags that are no words": (change_info(lambda told: told | {"9": told["9"] | {"tags": [1]}}), "tags of the clip 9"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_in_one_sentence(tree, fault):
    spoil, message = FAULTS[fault]
    spoil(tree)
    with pytest.raises(RepriseError, match=message) as caught:
        fsd50k.read(tree, "fsd50k")
    assert "run `reprise data fetch fsd50k`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spoilt_twin_is_to_be_deleted_not_fetched(tree):
    (tree / "ground_truth").mkdir()
    (tree / "ground_truth/manifest.json").write_text('{"parameters": {"size": 6}, "renderer_version": 1}')
    corpus = fsd50k.read(tree, "pocket-fsd50k")
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.facts["parameters"] == {"size": 6}
    (tree / "FSD50K.eval_audio/4.wav").unlink()
    with pytest.raises(RepriseError, match=r"delete the folder .* rendered again"):
        fsd50k.read(tree, "pocket-fsd50k")


@pytest.mark.parametrize("name", ["fsd50k", "FSD50K", "fsd50k/FSD50K"])
def test_the_published_corpus_where_the_environment_says(tree, tmp_path, monkeypatch, name):
    with pytest.raises(RepriseError, match=r"fsd50k is not in .*data/fsd50k: run `reprise data fetch fsd50k`"):
        corpora.load("fsd50k")
    (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
    tree.rename(tmp_path / "data" / name)
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    assert corpora.load("fsd50k").root == tmp_path / "data" / name
    assert corpora.load("fsd50k", tmp_path / "data" / name).root == tmp_path / "data" / name
    assert download.status("fsd50k")["here"]
    assert download.status("fsd50k")["audio_files"] == 6


def test_what_a_user_is_told_before_the_download():
    source = registry.find("fsd50k")[0].source
    assert [archive.name for archive in source.archives][:2] == ["FSD50K.dev_audio.z01", "FSD50K.dev_audio.z02"]
    # The audio's sizes as Zenodo states them add up to 24.67 GB.
    assert source.download_bytes == 24_671_691_926 + 334_701 + 6_700_838 + 6_984
    about = download.status("fsd50k")["about"]
    assert "24.7 GB" in about
    assert "CC BY" in about


def test_verify_looks_at_the_form_of_files_that_have_no_published_checksum(tree):
    assert fsd50k.audio_checksums(tree) == {f"FSD50K.{part}_audio/{key}.wav": None for key, (part, *_) in CLIPS.items()}
    whole = download.verify("fsd50k", tree, jobs=1)
    assert (whole["checked"], whole["by_form"]) == (6, 6)
    assert not whole["missing"] + whole["changed"] + whole["unlisted"]
    path = tree / "FSD50K.dev_audio/100.wav"
    path.write_bytes(path.read_bytes()[:-100])
    (tree / "FSD50K.eval_audio/4.wav").unlink()
    (tree / "FSD50K.eval_audio/5.wav").write_bytes(b"x")
    assert download.verify("fsd50k", tree, jobs=1) == {
        "checked": 6, "by_form": 6, "missing": ["FSD50K.eval_audio/4.wav"], "changed": ["FSD50K.dev_audio/100.wav"],
        "unlisted": ["FSD50K.eval_audio/5.wav"],
    }  # fmt: skip


def test_the_form_of_a_sound(tmp_path):
    path, noise = tmp_path / "1.wav", np.random.default_rng(0).normal(scale=0.1, size=(5000, 2))
    for how, good in (((noise[:, 0], 44100), True), ((noise, 44100), False), ((noise[:, 0], 16000), False)):
        soundfile.write(path, *how, subtype="PCM_16")
        assert fsd50k.is_sound(path) is good
    soundfile.write(path, noise[:, 0], 44100, subtype="FLOAT")
    assert not fsd50k.is_sound(path)
    header = struct.pack("<4sI4s", b"RIFF", 28, b"WAVE") + bytes(24)
    for junk in (b"", b"ID3" + bytes(40), header):
        path.write_bytes(junk)
        assert not fsd50k.is_sound(path)


def test_archives_as_published_unpack_to_a_corpus(tree, tmp_path):
    archives = tmp_path / "archives"
    for name in ("dev_audio", "eval_audio", "ground_truth", "metadata"):
        (tmp_path / "whole.zip").unlink(missing_ok=True)
        with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((tree / f"FSD50K.{name}").iterdir()):
                archive.write(path, f"FSD50K.{name}/{path.name}")
        last = split((tmp_path / "whole.zip").read_bytes(), tmp_path / name, 30_000)
        archives.mkdir(exist_ok=True)
        for part in last.parent.iterdir():
            part.rename(archives / f"FSD50K.{name}{part.suffix}")
    assert len(list(archives.glob("FSD50K.dev_audio.z*"))) > 2
    (tmp_path / "out").mkdir()
    unpack_zips(sorted(archives.iterdir()), tmp_path / "out")
    fsd50k.check_published(tmp_path / "out")
    assert registry.find("fsd50k")[0].missing(tmp_path / "out") == []
    again, before = fsd50k.read(tmp_path / "out", "fsd50k"), fsd50k.read(tree, "fsd50k")
    assert again.checksum == before.checksum
    for ours, theirs in zip(again.clips["path"], before.clips["path"], strict=True):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes()
