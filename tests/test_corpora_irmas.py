"""The reader of IRMAS on trees written by hand, one of them as large as the published."""

import shutil
import unicodedata
import zipfile

import numpy as np
import pytest
from irmas_trees import PARTS, add_mixture, link, make_irmas_tree, write_wav

from harness import corpora
from harness.corpora import download, irmas
from harness.corpora.archives import BadArchive
from harness.corpora.irmas import CLASSES
from harness.errors import RepriseError
from harness.metrics import multilabel


@pytest.fixture
def root(tmp_path):
    make_irmas_tree(tmp_path / "irmas")
    return tmp_path / "irmas"


def row(corpus, key):
    return corpus.clips.index[corpus.clips["key"] == key].item()


def codes(corpus, key):
    return [code for code, has in zip(CLASSES, corpus.labels[row(corpus, key)], strict=True) if has]


def test_a_tree_is_read(root, capsys):
    corpus = irmas.read(root, "irmas")
    assert corpus.classes == ("cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi")
    assert list(corpus.clips.columns[:6]) == ["key", "path", "group", "title", "artist", "partition"]
    assert corpus.clips["key"].is_monotonic_increasing
    assert corpus.clips["key"].is_unique
    assert corpus.labels.shape == (50, 11)
    assert corpus.labels.dtype == np.uint8
    assert corpus.mask.all()
    assert corpus.seconds is None
    assert not corpus.pocket
    assert corpus.clips["seconds"].eq(3.0).all()
    assert corpus.facts["training"] == dict.fromkeys(CLASSES, 4)
    assert corpus.facts["test"] == dict.fromkeys(CLASSES, 0) | {"gel": 3, "pia": 3, "sax": 3}
    assert corpus.facts["labels_per_mixture"] == {"1": 3, "2": 3}
    assert corpus.facts["songs"] == {"train": 22, "test": 3}
    assert not corpus.facts["complete"]
    assert corpus.facts["left_out"] == corpus.facts["noted"] == {}
    assert capsys.readouterr().err == ("irmas: 44 of 6,705 training clips and 6 of 2,874 test mixtures are here\n")


def test_both_styles_of_names_and_a_genre_that_is_called_like_the_clarinet(root):
    corpus = irmas.read(root, "irmas")
    key = "000__[cel][nod][cla]0001__1"
    assert codes(corpus, key) == ["cel"]
    clips = corpus.clips.set_index("key")
    assert clips.loc[key, "group"] == "[cel][nod][cla]0001" == clips.loc["000__[cel][nod][cla]0001__2", "group"]
    assert clips.loc["[cla][jaz_blu]0004__1", "group"] == "[cla][jaz_blu]0004"
    assert clips.loc[key, "partition"] == "train"
    assert clips.loc["01 - So What-19", ["group", "partition"]].tolist() == ["01 - So What", "test"]
    assert codes(corpus, "01 - So What-3") == ["pia", "sax"]


def test_the_official_split_keeps_songs_together(root):
    corpus = irmas.read(root, "irmas")
    split = corpus.split("official", seed=1)
    assert {part: len(rows) for part, rows in split.rows.items()} == {"train": 38, "valid": 6, "test": 6}
    assert split.leakage["clips_without_group"] == 0
    assert set(split.leakage["shared_groups"].values()) == {0}
    assert corpus.split("gururani").leakage["shared_groups"]["train-valid"] > 0  # which goes by clips


@pytest.mark.parametrize(
    ("training", "parts"),
    [
        (".", ("Part1", "IRTestingData-Part2", "Part3")),
        ("IRMAS-TrainingData", ("IRMAS-TestingData/Part1", "IRMAS-TestingData/Part2", "IRMAS-TestingData/Part3")),
        ("a/b/IRMAS-TrainingData", tuple(f"a/b/{part}" for part in PARTS)),
    ],
)
def test_folders_are_found_at_whatever_depth(tmp_path, root, training, parts):
    make_irmas_tree(tmp_path / "other", training=training, parts=parts)
    assert irmas.read(tmp_path / "other", "irmas").checksum == irmas.read(root, "irmas").checksum
    assert not irmas.CORPORA[0].missing(tmp_path / "other")


@pytest.mark.parametrize("name", ["irmas", "IRMAS", "irmas/IRMAS"])
def test_the_published_corpus_is_found_in_the_data_folder(tmp_path, monkeypatch, name):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    make_irmas_tree(tmp_path / name)
    assert corpora.load("irmas").root == tmp_path / name
    status = download.status("irmas")
    assert status["here"]
    assert status["audio_files"] == 50
    whole = {"checked": 50, "by_form": 50, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("irmas", jobs=1) == whole


def test_what_is_not_here_names_the_command():
    with pytest.raises(RepriseError, match=r"irmas is not in .*: run `reprise data fetch irmas`, or set REPRISE_DATA"):
        corpora.load("irmas")


def damage(root, source):
    """One file for each thing that can be wrong with a mixture; what is said of it by its path."""
    part = root / PARTS[0]
    add_mixture(root, f"{PARTS[0]}/empty-1", source=source)
    (part / "blank-1.txt").write_bytes(b"\t\n\n  \n")
    link(source, part / "blank-1.wav")
    add_mixture(root, f"{PARTS[0]}/unknown-1", "pia", "dru", "xyz", source=source)
    link(source, part / "alone-1.wav")
    (part / "orphan-1.txt").write_bytes(b"pia\t\n")
    (part / "text-1.wav").write_text("no sound")
    (part / "text-1.txt").write_bytes(b"pia\t\n")
    (part / "short-1.txt").write_bytes(b"pia\t\n")
    write_wav(part / "short-1.wav", 0.99)
    write_wav(root / "IRMAS-TrainingData" / "cel" / "[cel][cla]0900__1.wav", 2.0)
    said = {
        "empty-1.wav": "its label file is empty",
        "blank-1.wav": "its label file is empty",
        "unknown-1.wav": "its label file has 'dru' and 'xyz', which is no instrument's code",
        "alone-1.wav": "there is no label file with its name, and its folder is no class's",
        "orphan-1.txt": "there is no audio file with its name",
        "text-1.wav": "it is no audio file, or a broken one",
        "short-1.wav": "it lasts 0.99 s, and a mixture is at least 1 s long",
    }
    return {f"{PARTS[0]}/{name}": why for name, why in said.items()} | {
        "IRMAS-TrainingData/cel/[cel][cla]0900__1.wav": "it lasts 2.00 s, and a training clip is at least 2.9 s long"
    }


def test_what_cannot_be_used_is_left_out_and_named(root, capsys):
    before = irmas.read(root, "irmas")
    capsys.readouterr()
    said = damage(root, root / "source.bin")
    after = irmas.read(root, "irmas")
    assert after.facts["left_out"] == said
    assert after.checksum == before.checksum
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"irmas: left out {path}: {why}" for path, why in sorted(said.items())]


def test_what_is_unusual_is_kept_and_noted(root, capsys):
    folder, part = root / "IRMAS-TrainingData" / "org", root / PARTS[1]
    write_wav(folder / "[org][pop_roc]0500__1.wav", channels=1)
    link(root / "source.bin", folder / "my organ__1.wav")
    link(root / "source.bin", folder / "my organ__2.wav")
    link(root / "source.bin", folder / "[pia][pop_roc]0501__1.wav")
    write_wav(part / "slow-1.wav", 6.0, rate=22050)
    (part / "slow-1.txt").write_bytes(b"voi\npia")  # neither tab nor last line end
    corpus = irmas.read(root, "irmas")
    plain = "its name has no brackets, its class org is its folder's"
    assert corpus.facts["noted"] == {
        "IRMAS-TrainingData/org/[org][pop_roc]0500__1.wav": "it is mono, which is kept",
        "IRMAS-TrainingData/org/[pia][pop_roc]0501__1.wav": "its name says pia, its class org is its folder's",
        "IRMAS-TrainingData/org/my organ__1.wav": plain,
        "IRMAS-TrainingData/org/my organ__2.wav": plain,
        f"{PARTS[1]}/slow-1.wav": "its sample rate is 22,050 Hz, from which it is resampled",
    }
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()[:-1]] == [
        f"{path}: {what}" for path, what in corpus.facts["noted"].items()
    ]
    for key in ("[org][pop_roc]0500__1", "my organ__1", "[pia][pop_roc]0501__1"):
        assert codes(corpus, key) == ["org"]
    assert codes(corpus, "slow-1") == ["pia", "voi"]
    clips = corpus.clips.set_index("key")
    assert clips.loc["slow-1", "seconds"] == 6.0
    assert clips.loc["my organ__1", "group"] == clips.loc["my organ__2", "group"] == "my organ"


def test_of_many_odd_files_the_first_are_told(root, capsys):
    for number in range(30):
        link(root / "source.bin", root / "IRMAS-TrainingData" / "voi" / f"singer {number:02d}.wav")
    corpus = irmas.read(root, "irmas")
    assert len(corpus.facts["noted"]) == 30
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[10] == "irmas: and 20 more files, which facts['left_out'] and ['noted'] tell"


def test_files_of_one_name_are_told_apart_by_their_folders(root):
    for code in ("cel", "vio"):
        link(root / "source.bin", root / "IRMAS-TrainingData" / code / "duet__1.wav")
    add_mixture(root, f"{PARTS[0]}/Emily-2", "pia", source=root / "source.bin")
    add_mixture(root, f"{PARTS[2]}/Emily-2", "sax", source=root / "source.bin")
    corpus = irmas.read(root, "irmas")
    keys = ["Emily-2 (Part1)", "Emily-2 (Part3)", "duet__1 (cel)", "duet__1 (vio)"]
    assert [codes(corpus, key) for key in keys] == [["pia"], ["sax"], ["cel"], ["vio"]]
    assert corpus.clips.set_index("key").loc[keys, "group"].tolist() == ["Emily", "Emily", "duet", "duet"]


def test_a_corpus_that_is_there_twice_is_refused(root):
    shutil.copytree(root / "IRMAS-TrainingData", root / "copy")
    with pytest.raises(
        RepriseError, match=r"irmas has both .*__1\.wav and copy/cel/.*__1\.wav: move one of the two co"
    ):
        irmas.read(root, "irmas")


def test_names_with_accents_are_the_same_in_both_forms(root):
    name = "Canto das três raças"
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != decomposed
    link(root / "source.bin", root / PARTS[0] / f"{decomposed}-6.wav")
    (root / PARTS[0] / f"{composed}-6.txt").write_bytes(b"voi\t\n")
    corpus = irmas.read(root, "irmas")
    assert corpus.clips["group"][row(corpus, f"{composed}-6")] == composed
    assert corpus.facts["left_out"] == {}


def test_files_that_packers_add_are_passed_over(root):
    before = irmas.read(root, "irmas").checksum
    (root / "__MACOSX" / "Part1").mkdir(parents=True)
    (root / "__MACOSX" / "Part1" / "._x.wav").write_bytes(b"\0")
    (root / PARTS[0] / "._01 - So What-3.wav").write_bytes(b"\0")
    (root / "IRMAS-TrainingData" / "README.txt").write_text("IRMAS")
    corpus = irmas.read(root, "irmas")
    assert corpus.checksum == before
    assert corpus.facts["left_out"] == {}


def test_part_of_the_corpus_will_do(root, capsys):
    for code in ("flu", "cla"):
        shutil.rmtree(root / "IRMAS-TrainingData" / code)
    shutil.rmtree(root / "IRMAS-TestingData-Part3")
    corpus = irmas.read(root, "irmas")
    assert len(corpus.clips) == 40
    assert capsys.readouterr().err == (
        "irmas: 36 of 6,705 training clips and 4 of 2,874 test mixtures are here, "
        "and no training clip of clarinet, flute\n"
    )


def test_nothing_that_can_be_used(tmp_path):
    folder = tmp_path / "irmas" / "Part1"
    folder.mkdir(parents=True)
    (folder / "a-1.wav").write_text("no sound")
    (folder / "a-1.txt").write_text("pia\t\n")
    with pytest.raises(
        RepriseError, match=r"irmas has no audio file that can be used \(1 cannot\): run `reprise data f"
    ):
        corpora.load("irmas", tmp_path)


def test_another_audio_file_is_another_corpus(root):
    first = irmas.read(root, "irmas").checksum
    path = root / "IRMAS-TrainingData" / "cel" / "[cel][jaz_blu]0002__1.wav"
    path.unlink()
    write_wav(path, 3.1)
    assert irmas.read(root, "irmas").checksum != first


def test_verify_by_form_finds_each_kind_of_damage(root):
    damage(root, root / "source.bin")
    write_wav(root / "IRMAS-TrainingData" / "cel" / "mono.wav", channels=1)
    assert download.verify("irmas", root, jobs=1)["changed"] == [
        f"{PARTS[0]}/short-1.wav",
        f"{PARTS[0]}/text-1.wav",
        "IRMAS-TrainingData/cel/[cel][cla]0900__1.wav",
        "IRMAS-TrainingData/cel/mono.wav",
    ]


def archives(root, downloads):
    """The four files that IRMAS is published in."""
    downloads.mkdir()
    paths = []
    for top in ("IRMAS-TrainingData", *(part.partition("/")[0] for part in PARTS)):
        paths.append(downloads / f"{top}.zip")
        # Of the test mixtures the archives hold the inner folders.
        base = root if top == "IRMAS-TrainingData" else root / top
        with zipfile.ZipFile(paths[-1], "w") as file:
            for path in sorted((root / top).rglob("*.*")):
                file.write(path, path.relative_to(base).as_posix())
    return paths


def test_the_archives_are_unpacked_into_a_tree_that_can_be_read(tmp_path, root):
    source = irmas.CORPORA[0].source
    paths = archives(root, tmp_path / "downloads")
    assert [path.name for path in paths] == [archive.name for archive in source.archives]
    (tmp_path / "out").mkdir()
    source.unpack(paths, tmp_path / "out")
    assert (tmp_path / "out" / "IRTestingData-Part2").is_dir()
    assert not irmas.CORPORA[0].missing(tmp_path / "out")
    assert irmas.read(tmp_path / "out", "irmas").checksum == irmas.read(root, "irmas").checksum


@pytest.mark.parametrize("name", ["../outside.wav", "/outside.wav", "Part1/../../outside.wav"])
def test_an_archive_that_leads_outside_is_refused(tmp_path, root, name):
    paths = archives(root, tmp_path / "downloads")
    with zipfile.ZipFile(paths[1], "a") as file:
        file.writestr(name, b"")
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match="would be written outside its folder"):
        irmas.CORPORA[0].source.unpack(paths, tmp_path / "out")
    assert not (tmp_path / "outside.wav").exists()


def test_what_is_told_before_the_download():
    about = download.status("irmas")["about"]
    for said in (
        "CC BY-NC-SA 3.0",
        "4fd9f5ed5a18d8e2687e6360b5f60afe",
        "5a2e65520dcedada565dff2050bb2a56",
        "afb0c8ea92f34ee653693106be95c895",
        "9b3fb2d0c89cdc98037121c25bd5b556",
        "10.5281/zenodo.1290750",
        "6,705",
        "2,874",
    ):
        assert said in about


def test_the_published_counts_agree_with_each_other():
    assert sum(irmas.TRAINING.values()) == 6705
    assert sum(irmas.LABELS_PER_MIXTURE.values()) == irmas.MIXTURES == 2874
    labels = sum(number * mixtures for number, mixtures in irmas.LABELS_PER_MIXTURE.items())
    assert labels == sum(irmas.TEST.values()) == 4917


def mixtures_as_published():
    """Labels of 2,874 mixtures that give the published counts: the largest first, each of what is left most of."""
    left = dict(irmas.TEST)
    for number in sorted(irmas.LABELS_PER_MIXTURE, reverse=True):
        for _ in range(irmas.LABELS_PER_MIXTURE[number]):
            chosen = sorted(left, key=left.__getitem__, reverse=True)[:number]
            for code in chosen:
                left[code] -= 1
            yield chosen
    assert not any(left.values())


#: Songs of the published training clips of each class.
TRAINING_SONGS = dict(zip(CLASSES, (135, 171, 156, 218, 256, 230, 246, 209, 196, 196, 260), strict=True))


def test_a_tree_as_large_as_the_published(tmp_path, capsys):
    root = tmp_path / "irmas"
    source = write_wav(root / "source.wav").rename(root / "source.bin")
    for code, count in irmas.TRAINING.items():
        folder = root / "IRMAS-TrainingData" / code
        folder.mkdir(parents=True)
        for number in range(count):
            take, song = divmod(number, TRAINING_SONGS[code])
            (folder / f"[{code}][pop_roc]{song:04d}__{take + 1}.wav").hardlink_to(source)
    for folder in PARTS:
        (root / folder).mkdir(parents=True)
    for number, chosen in enumerate(mixtures_as_published()):
        folder = root / PARTS[number % 3]
        (folder / f"song {number // 9}-{number}.wav").hardlink_to(source)
        (folder / f"song {number // 9}-{number}.txt").write_bytes("".join(f"{code}\t\n" for code in chosen).encode())
    corpus = irmas.read(root, "irmas")
    assert capsys.readouterr().err == ""
    assert corpus.facts["complete"]
    assert corpus.facts["training"] == irmas.TRAINING
    assert corpus.facts["test"] == irmas.TEST
    assert corpus.facts["labels_per_mixture"] == {str(n): k for n, k in irmas.LABELS_PER_MIXTURE.items()}
    # What calling every instrument in every mixture scores.
    truth = corpus.labels[(corpus.clips["partition"] == "test").to_numpy()]
    scores = multilabel.evaluate(truth, np.ones(truth.shape))
    assert scores["f1_micro_unmasked"] == pytest.approx(0.269, abs=5e-4)
    assert scores["f1_macro_unmasked"] == pytest.approx(0.250, abs=5e-4)
    (root / PARTS[0] / "song 0-0.txt").write_bytes(b"cla\t\n")
    again = irmas.read(root, "irmas")
    assert again.facts["complete"]
    err = capsys.readouterr().err
    assert "63 of cla and not 62" in err
    assert "1,237 mixtures with 1 label(s) and not 1,236, 2 mixtures with 5 label(s) and not 3: they are not" in err
    assert err.endswith("they are not as published\n")
    renamed = root / "IRMAS-TrainingData" / "cel" / "[cel][pop_roc]0000__1.wav"
    renamed.rename(renamed.with_name("007__[cel][pop_roc]0000__1.wav"))
    assert irmas.read(root, "irmas").facts["songs"]["train"] == irmas.SONGS  # one song for the splits still
    assert "the training clips are of 2,274 songs by their names and not of 2,273" in capsys.readouterr().err
