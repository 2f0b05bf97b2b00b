import hashlib
import tarfile

import numpy as np
import pytest
from orchestra_trees import make_tinysol_tree, tinysol_rows, write_table

from harness import corpora
from harness.corpora import download, tinysol
from harness.corpora.archives import BadArchive
from harness.corpora.orchestra import CLASSES
from harness.errors import RepriseError


@pytest.fixture
def root(tmp_path):
    make_tinysol_tree(tmp_path / "data" / "tinysol")
    return tmp_path / "data" / "tinysol"


def test_a_published_tree_as_it_was_written(tmp_path):
    rows = [row for row in make_tinysol_tree(tmp_path / "tinysol") if row["Instrument (abbr.)"] != "Acc"]
    corpus = tinysol.read(tmp_path / "tinysol", "tinysol")
    assert corpus.classes == CLASSES
    assert corpus.seconds is None
    assert not corpus.pocket
    assert corpus.ground_truth is None
    assert corpus.mask.all()
    assert corpus.labels.dtype == np.uint8
    assert (corpus.labels.sum(axis=1) == 1).all()
    assert corpus.labels.sum(axis=0).tolist() == [6] * 7
    by_key = {row["Path"].rpartition("/")[2].removesuffix(".wav"): row for row in rows}
    assert corpus.clips["key"].tolist() == sorted(by_key)
    assert "BTb-ord-A#4-pp-N-N" in by_key
    for index, clip in corpus.clips.iterrows():
        row, instrument = by_key[clip["key"]], CLASSES[corpus.labels[index].argmax()]
        assert tinysol.INSTRUMENTS[instrument].abbreviation == row["Instrument (abbr.)"]
        assert clip["path"].endswith(row["Path"])
        assert clip["group"] == f"{instrument} {row['Pitch']}"
        assert clip["title"] == f"{instrument.replace('_', ' ')} {row['Pitch']} {row['Dynamics']}"
        assert (str(clip["fold"]), str(clip["pitch"]), clip["dynamic"]) == (
            row["Fold"],
            row["Pitch ID"],
            row["Dynamics"],
        )
        assert clip["retuned"] == (row["Needed digital retuning"] == "TRUE")
    assert corpus.clips["partition"].isna().all()
    assert corpus.facts["left_out"] == {"Accordion": 2}
    assert corpus.facts["notes"] == dict.fromkeys(CLASSES, 6)
    assert corpus.facts["retuned"] == 14
    assert corpus.facts["semitone_copies"] == 7
    assert corpus.facts["folds"] == [14, 7, 7, 7, 7]
    assert corpus.facts["pitches"] == 21


@pytest.mark.parametrize("name", ["tinysol", "TinySOL"])
@pytest.mark.parametrize(
    ("table", "audio"),
    [
        (tinysol.METADATA, "."),
        (f"annotation/{tinysol.METADATA}", "audio"),  # as mirdata puts them
        (tinysol.METADATA, "TinySOL2020"),
    ],
)
def test_the_published_corpus_is_found_in_the_data_folder(tmp_path, monkeypatch, name, table, audio):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    make_tinysol_tree(tmp_path / name, table=table, audio=audio)
    corpus = corpora.load("tinysol")
    assert corpus.root == tmp_path / name
    assert len(corpus.clips) == 42
    status = download.status("tinysol")
    assert status["here"]
    assert status["audio_files"] == 44
    whole = {"checked": 44, "by_form": 44, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("tinysol", jobs=1) == whole


def test_a_folder_around_the_corpus_is_enough(root):
    assert corpora.load("tinysol", root.parent).root == root


def test_what_is_not_here_names_the_command():
    with pytest.raises(RepriseError, match=r"tinysol is not in .*: run `reprise data fetch tinysol`, or set REPRISE_D"):
        corpora.load("tinysol")


FIRST = "Strings/Violin/ordinario/Vn-ord-A#4-pp-N-N.wav"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Fold": "5"}, f"puts {FIRST} in the fold '5', and folds are 0 to 4"),
        ({"Fold": ""}, f"puts {FIRST} in the fold '', and folds are 0 to 4"),
        ({"Pitch": "Bb4"}, f"gives {FIRST} the pitch 'Bb4', which is none such as F#1"),
        ({"Instrument (abbr.)": "Vc"}, f"{FIRST} is in the folder of another instrument than Vc, which"),
        ({"Instrument (abbr.)": "Acc"}, f"{FIRST} is in the folder of another instrument than Acc, which"),
        ({"Needed digital retuning": "maybe"}, f"says neither TRUE nor FALSE but 'maybe' on the retuning of {FIRST}"),
        ({"Path": FIRST.replace("Violin", "Viola")}, "Viola/.* is in the folder of another instrument than Vn, which"),
        ({"Path": "../../violin.wav"}, "names '../../violin.wav', which is not <family>/<instrument>/<technique>/"),
        ({"Path": "Strings/Violin/../Vn.wav"}, "which is not <family>/<instrument>/<technique>/<name>.wav"),
        ({"Path": FIRST.replace("A#4-pp-N-N", "C4-pp-N-T7u")}, "names .*Vn-ord-C4-pp-N-T7u.wav twice"),
    ],
)
def test_a_note_that_is_not_as_published(root, change, message):
    rows = tinysol_rows()
    write_table(root / tinysol.METADATA, [rows[0] | change, *rows[1:]])
    with pytest.raises(RepriseError, match=f"{message}.* in .*tinysol: move that folder away and run") as caught:
        tinysol.read(root, "tinysol")
    assert "\n" not in str(caught.value)


def test_a_table_without_columns(root):
    write_table(root / tinysol.METADATA, tinysol_rows(), ("Path", "Pitch", "Dynamics", "Instrument (abbr.)"))
    with pytest.raises(RepriseError, match="has no column Fold and no column Needed digital retuning in "):
        tinysol.read(root, "tinysol")
    (root / tinysol.METADATA).write_text("")
    with pytest.raises(RepriseError, match="has no column Path and no column Fold"):
        tinysol.read(root, "tinysol")


def test_a_table_that_is_none(root):
    (root / tinysol.METADATA).write_bytes(b"Path,Fold\n\xff\xfe\n")
    with pytest.raises(RepriseError, match=r"TinySOL_metadata.csv is not a table \(.*\) in "):
        tinysol.read(root, "tinysol")
    lines = "".join(f"{','.join(tinysol.COLUMNS)}\n{FIRST},0\n")
    (root / tinysol.METADATA).write_text(lines)
    with pytest.raises(RepriseError, match=r"line 2 of TinySOL_metadata\.csv is cut short in "):
        tinysol.read(root, "tinysol")


def test_absent_files_are_counted_and_the_first_is_named(root):
    for path in sorted((root / "Winds" / "Oboe" / "ordinario").iterdir())[:3]:
        path.unlink()
    with pytest.raises(RepriseError, match=r"3 audio files that TinySOL_metadata.csv names are missing, first Ob-ord-"):
        tinysol.read(root, "tinysol")
    for path in (root / "Keyboards").rglob("*.wav"):  # those of instruments that are left out may be missing
        path.unlink()
    make_tinysol_tree(root, [row for row in tinysol_rows() if row["Instrument (abbr.)"] != "Acc"])
    write_table(root / tinysol.METADATA, tinysol_rows())
    assert len(tinysol.read(root, "tinysol").clips) == 42


def test_an_empty_class(root):
    rows = [row for row in tinysol_rows() if row["Instrument (abbr.)"] not in ("Cb", "BTb")]
    write_table(root / tinysol.METADATA, rows)
    with pytest.raises(RepriseError, match="has no notes of double bass and none of tuba in "):
        tinysol.read(root, "tinysol")


def test_verify_by_form_finds_each_kind_of_damage(root):
    audio = root / "Strings" / "Violin" / "ordinario"
    gone, text, *_ = sorted(audio.iterdir())
    gone.unlink()
    text.write_text("no sound")
    (audio / "new.wav").write_bytes(b"")
    found = download.verify("tinysol", root, jobs=1)
    assert found["missing"] == [gone.relative_to(root).as_posix()]
    assert found["changed"] == [text.relative_to(root).as_posix()]
    assert found["unlisted"] == ["Strings/Violin/ordinario/new.wav"]


def packed(tmp_path, root, top="."):
    """The two files that TinySOL is published in."""
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    with tarfile.open(downloads / "TinySOL.tar.gz", "w:gz") as tar:
        for path in sorted(root.rglob("*.wav")):
            tar.add(path, f"{top}/{path.relative_to(root).as_posix()}")
    (downloads / tinysol.METADATA).write_bytes((root / tinysol.METADATA).read_bytes())
    return sorted(downloads.iterdir())


@pytest.mark.parametrize("top", [".", "TinySOL2020"])
def test_the_download_is_unpacked_into_a_tree_that_can_be_read(tmp_path, root, top):
    files = packed(tmp_path, root, top)
    (tmp_path / "out").mkdir()
    tinysol.unpack(files, tmp_path / "out")
    assert not tinysol.CORPORA[0].missing(tmp_path / "out")
    assert len(tinysol.read(tmp_path / "out", "tinysol").clips) == 42
    with pytest.raises(RepriseError, match=r"is not TinySOL as published \(6 and not 284 notes of Violin\) and was d"):
        tinysol.check_published(tmp_path / "out")


def test_a_broken_archive_is_said_to_be_one(tmp_path, root):
    files = packed(tmp_path, root)
    archive = next(path for path in files if path.suffix == ".gz")
    archive.write_bytes(archive.read_bytes()[:-2000])
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive):
        tinysol.unpack(files, tmp_path / "out")


def test_the_whole_corpus_passes_the_check(tmp_path):
    """As many notes as are published; of one content, as only their names are looked at."""
    template, rows = tinysol_rows()[0], []
    others = {"Accordion": 689, "Viola": 309, "Horn": 134, "Trombone": 117, "Bassoon": 126, "Clarinet_Bb": 126}
    others["Sax_Alto"] = 99
    made = [(one.abbreviation, one.folder, one.notes) for one in tinysol.INSTRUMENTS.values()]
    for short, folder, count in made + [(name, f"Others/{name}", count) for name, count in others.items()]:
        (tmp_path / folder / "ordinario").mkdir(parents=True)
        for number in range(count):
            path = f"{folder}/ordinario/{short}-{number}.wav"
            (tmp_path / path).touch()
            rows.append(template | {"Path": path, "Instrument (abbr.)": short, "Instrument (in full)": short})
    assert len(rows) == tinysol.NOTES
    write_table(tmp_path / tinysol.METADATA, rows)
    tinysol.check_published(tmp_path)
    facts = tinysol.read(tmp_path, "tinysol").facts
    assert facts["clips"] == 1313
    assert facts["left_out"] == dict(sorted(others.items()))
    write_table(tmp_path / tinysol.METADATA, rows[:-1])
    with pytest.raises(RepriseError, match=r"\(2,912 and not 2,913 notes\) and was deleted: see https://doi"):
        tinysol.check_published(tmp_path)


def test_what_is_told_before_the_download():
    about = download.status("tinysol")["about"]
    for said in (
        "CC BY 4.0",
        "1.0 GB",
        "36030a7fe389da86c3419e5ee48e3b7f",
        "a86c9bb115f69e61f2f25872e397fc4a",
        "2,913",
    ):
        assert said in about
    source = tinysol.CORPORA[0].source
    assert sum(archive.bytes for archive in source.archives) == source.download_bytes
    assert [archive.name for archive in source.archives] == ["TinySOL.tar.gz", tinysol.METADATA]
    assert sum(made.notes for made in tinysol.INSTRUMENTS.values()) == 1313


def test_the_order_of_the_table_does_not_matter(root):
    first = tinysol.read(root, "tinysol")
    write_table(root / tinysol.METADATA, tinysol_rows()[::-1])
    second = tinysol.read(root, "tinysol")
    assert first.checksum == second.checksum
    assert first.clips.equals(second.clips)
    assert hashlib.sha256(first.labels.tobytes()).digest() == hashlib.sha256(second.labels.tobytes()).digest()


def test_a_byte_order_mark_is_no_part_of_the_first_column(root):
    text = (root / tinysol.METADATA).read_text()
    (root / tinysol.METADATA).write_text(text, encoding="utf-8-sig")
    assert len(tinysol.read(root, "tinysol").clips) == 42
