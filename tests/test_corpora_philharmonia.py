import hashlib
import shutil

import numpy as np
import pytest
from orchestra_trees import make_philharmonia_tree, write_mp3

from harness import corpora
from harness.corpora import download, philharmonia
from harness.corpora.orchestra import CLASSES, pitch_name
from harness.errors import RepriseError
from harness.features import decode, front_end
from harness.features.store import open_store

#: Notes of each class in the small copy of the real samples, as the thesis' Table 1 has them.
REAL = {"violin": 200, "cello": 200, "double_bass": 185, "flute": 156, "oboe": 170, "trumpet": 210, "tuba": 180}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "philharmonia"
    make_philharmonia_tree(root)
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "philharmonia")


def copy(root, source, target):
    """The same content under another name."""
    (root / target).parent.mkdir(exist_ok=True)
    shutil.copyfile(root / source, root / target)


def test_a_folder_as_it_was_written(made, capsys):
    corpus = philharmonia.read(made, "philharmonia")
    assert corpus.classes == CLASSES
    assert corpus.seconds is None
    assert not corpus.pocket
    assert corpus.mask.all()
    assert corpus.labels.sum(axis=0).tolist() == [4] * 7
    assert corpus.clips["key"].tolist() == sorted(path.stem for path in made.glob("*/*.mp3"))
    clip = corpus.clips.set_index("key").loc["double-bass_As4_025_forte_arco-normal"]
    assert clip["path"] == str(made / "double bass" / "double-bass_As4_025_forte_arco-normal.mp3")
    assert (clip["group"], clip["pitch"], clip["dynamic"]) == ("double_bass A#4", 70, "f")
    assert (clip["length"], clip["style"], clip["title"]) == ("025", "arco-normal", "double bass A#4 f")
    assert not corpus.clips["retuned"].any()
    assert corpus.clips["fold"].isna().all()
    assert corpus.clips["partition"].isna().all()
    assert corpus.facts["pitches"] == 14
    assert corpus.facts["left_out"] == corpus.facts["other_instruments"] == corpus.facts["mislabelled"] == {}
    assert corpus.facts["contradictions"] == []
    assert corpus.facts["repeated"] == 0
    assert capsys.readouterr().err == ""


def test_the_folders_name_may_have_a_hyphen(root):
    checksum = philharmonia.read(root, "philharmonia").checksum
    (root / "double bass").rename(root / "double-bass")
    assert philharmonia.read(root, "philharmonia").checksum == checksum


def test_other_audio_is_another_corpus(root):
    checksum = philharmonia.read(root, "philharmonia").checksum
    write_mp3(root / "tuba" / "tuba_C4_1_forte_normal.mp3", 99)
    assert philharmonia.read(root, "philharmonia").checksum != checksum


@pytest.mark.parametrize("within", [".", "philharmonia", "all-samples"])
def test_the_samples_are_found_in_the_data_folder(made, tmp_path, monkeypatch, within):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    root = shutil.copytree(made, tmp_path / "philharmonia" / within, dirs_exist_ok=True)
    corpus = corpora.load("philharmonia")
    assert corpus.root == root
    status = download.status("philharmonia")
    assert status["here"]
    assert status["audio_files"] == 28


def test_what_is_not_here_says_who_gives_it():
    for ask in (lambda: corpora.load("philharmonia"), lambda: download.fetch("philharmonia")):
        with pytest.raises(RepriseError, match=r"philharmonia .*must not be passed on.*philharmonia.co.uk/resources/s"):
            ask()
    status = download.status("philharmonia")
    assert not status["here"]
    assert status["how"] is None
    assert "https://philharmonia.co.uk/resources/sound-samples/" in status["about"]


def test_an_eighth_instrument_is_left_out_and_told(root, capsys):
    for number in range(3):
        write_mp3(root / "viola" / f"viola_C4_{number}_forte_arco-normal.mp3", 100 + number)
    write_mp3(root / "_notes" / "no note.mp3", 110)
    corpus = philharmonia.read(root, "philharmonia")
    assert len(corpus.clips) == 28
    assert corpus.facts["other_instruments"] == {"_notes": 1, "viola": 3}
    told = capsys.readouterr().err
    assert told == "philharmonia: left out _notes (1 files), viola (3 files), which the seven classes do not have\n"


def test_phrases_and_other_styles_are_left_out_and_counted(root, capsys):
    copy(root, "violin/violin_C4_1_forte_arco-normal.mp3", "violin/violin_C4_phrase_forte_arco-normal.mp3")
    for number, style in enumerate(("pizz-normal", "pizz-normal", "arco-sul-ponticello", "non-vibrato")):
        write_mp3(root / "violin" / f"violin_E4_{number}_forte_{style}.mp3", 120 + number)
    write_mp3(root / "violin" / "violin_E4_very-long_cresc-decresc_arco-normal.mp3", 130)
    facts = philharmonia.read(root, "philharmonia").facts
    assert facts["left_out"] == {"arco-sul-ponticello": 1, "phrase": 1, "pizz-normal": 2}
    assert facts["notes"]["violin"] == 6


@pytest.mark.parametrize(
    "name", ["tuba", "tuba_C4_1_forte", "tuba_H4_1_forte_normal", "tuba_Es4_1_forte_normal", "tuba C4 1 forte normal"]
)
def test_a_name_that_does_not_parse(root, name):
    write_mp3(root / "tuba" / f"{name}.mp3", 140)
    with pytest.raises(
        RepriseError, match=f"tuba/{name}.mp3 is not named <instrument>_.* in .*: .* or move it"
    ) as caught:
        philharmonia.read(root, "philharmonia")
    assert "\n" not in str(caught.value)


def test_a_file_in_the_folder_of_another_instrument(root):
    (root / "tuba" / "tuba_C4_1_forte_normal.mp3").rename(root / "oboe" / "tuba_C4_1_forte_normal.mp3")
    with pytest.raises(RepriseError, match=r"oboe/tuba_C4_1_forte_normal.mp3 is in the folder of another instrument"):
        philharmonia.read(root, "philharmonia")


def test_an_empty_class(root):
    shutil.rmtree(root / "double bass")
    for path in (root / "flute").iterdir():
        path.unlink()
    with pytest.raises(RepriseError, match=r"has no notes of double bass and none of flute: get the missing from h"):
        philharmonia.read(root, "philharmonia")


def test_an_empty_file(root):
    (root / "oboe" / "oboe_C4_1_forte_normal.mp3").write_bytes(b"")
    with pytest.raises(RepriseError, match=r"oboe/oboe_C4_1_forte_normal.mp3 is empty \(0 bytes\) in .*: put a sound"):
        philharmonia.read(root, "philharmonia")


def test_one_content_under_several_labels_is_left_out_and_told(root, capsys):
    first, second = "flute/flute_C4_1_forte_normal.mp3", "oboe/oboe_E5_1_piano_normal.mp3"
    copy(root, first, second)
    corpus = philharmonia.read(root, "philharmonia")
    assert corpus.facts["contradictions"] == [[first, second]]
    assert not {"flute_C4_1_forte_normal", "oboe_E5_1_piano_normal"} & set(corpus.clips["key"])
    assert len(corpus.clips) == 27
    assert capsys.readouterr().err == f"philharmonia: left out {first} and {second}, one content under several labels\n"


@pytest.mark.parametrize(
    "other", ["viola/viola_G6_05_fortissimo_arco-normal.mp3", "viola/odd.mp3", "flute/flute_E4_1_forte_flutter.mp3"]
)
def test_what_is_left_out_may_contradict_too(root, other):
    copy(root, "flute/flute_C4_1_forte_normal.mp3", other)
    corpus = philharmonia.read(root, "philharmonia")
    assert corpus.facts["contradictions"] == [sorted(["flute/flute_C4_1_forte_normal.mp3", other])]
    assert "flute_C4_1_forte_normal" not in set(corpus.clips["key"])


def test_one_content_under_one_label_is_kept_once(root, capsys):
    copy(root, "flute/flute_C4_1_forte_normal.mp3", "flute/flute_C4_05_piano_normal.mp3")
    copy(root, "flute/flute_C4_1_forte_normal.mp3", "flute/flute_C4_phrase_piano_normal.mp3")
    corpus = philharmonia.read(root, "philharmonia")
    assert corpus.facts["repeated"] == 1
    assert corpus.facts["contradictions"] == []
    keys = set(corpus.clips["key"])
    assert "flute_C4_05_piano_normal" in keys
    assert "flute_C4_1_forte_normal" not in keys
    assert capsys.readouterr().err == ""


def test_a_file_known_to_be_mislabelled_is_left_out_alone(root, monkeypatch):
    path = root / "flute" / "flute_C4_1_forte_normal.mp3"
    known = philharmonia.Mislabelled(
        hashlib.sha256(path.read_bytes()).hexdigest(), "horn_C2_1_forte_normal", "it is low"
    )
    monkeypatch.setattr(philharmonia, "MISLABELLED", {path.stem: known})
    corpus = philharmonia.read(root, "philharmonia")
    assert corpus.facts["mislabelled"] == {path.stem: "it is also published as horn_C2_1_forte_normal: it is low"}
    assert len(corpus.clips) == 27
    write_mp3(path, 150)  # a corrected file of that name
    corpus = philharmonia.read(root, "philharmonia")
    assert corpus.facts["mislabelled"] == {}
    assert len(corpus.clips) == 28


def test_there_are_no_folds_but_other_splits(made):
    corpus = philharmonia.read(made, "philharmonia")
    with pytest.raises(
        RepriseError, match=r"no published folds: use one of the splits stratified-80-20, by-pitch, ran"
    ):
        corpus.split("folds")
    for name in ("official", "published"):
        with pytest.raises(RepriseError, match="no published partition: use the split random-80-15-5"):
            corpus.split(name)
    assert corpus.split("stratified-80-20").leakage["shared_groups"]["train-test"] > 0


def test_a_corrupt_file_is_named_where_it_is_decoded_and_where_it_is_checked(root):
    corpus = philharmonia.read(root, "philharmonia")
    whole = {"checked": 28, "by_form": 28, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("philharmonia", root, jobs=1) == whole
    text, cut, *_ = sorted((root / "tuba").iterdir())
    text.write_bytes(b"<html>not found</html>")
    cut.write_bytes(cut.read_bytes()[:150])
    found = download.verify("philharmonia", root, jobs=1)
    assert found["changed"] == [path.relative_to(root).as_posix() for path in (text, cut)]
    with pytest.raises(RepriseError, match="2 of 28 audio files of philharmonia cannot be used") as caught:
        open_store(corpus, front_end("note_picture"), jobs=1)
    assert f"{text.stem} is not audio" in str(caught.value)
    assert f"{cut.stem} is" in str(caught.value)
    store = open_store(corpus, front_end("note_picture"), jobs=1, skip_bad=True)
    assert store.ok.sum() == 26


@pytest.fixture(scope="module")
def real(published_data):
    if not (published_data / "philharmonia").is_dir():
        pytest.skip("the Philharmonia's samples are not among the published recordings here")
    return philharmonia.read(published_data / "philharmonia", "philharmonia")


def test_the_real_samples_but_for_the_mislabelled_one(real):
    assert real.facts["notes"] == REAL | {"oboe": 169}
    assert list(real.facts["mislabelled"]) == ["oboe_E6_15_mezzo-forte_normal"]
    assert real.facts["contradictions"] == []
    assert real.facts["repeated"] == 0
    assert real.facts["pitches"] == 293
    assert set(real.clips["dynamic"]) == {"ppp", "pp", "p", "mp", "mf", "f", "ff"}
    assert set(real.clips["style"]) == {"arco-normal", "normal", "non-vibrato"}
    assert set(real.clips["length"]) == {"025", "05", "1", "15"}


def test_the_mislabelled_oboe_sounds_the_horns_e2(published_data, real):
    """Its partials lie at every 82.4 Hz (E2); those of the other oboe notes of that name at every 1,319 Hz (E6)."""
    spacing = {}
    for path in sorted((published_data / "philharmonia" / "oboe").glob("oboe_E6_*.mp3")):
        waveform = decode(path, 12000)
        loud = int(np.square(waveform).cumsum().searchsorted(np.square(waveform).sum() / 2))
        part = waveform[max(0, loud - 4096) : loud + 4096]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 16))
        # The spectrum's own period: the lag of the highest peak of its autocorrelation that is no partial's width.
        period = np.fft.irfft(np.abs(np.fft.rfft(spectrum)) ** 2)[: len(spectrum) // 2]
        hertz = np.arange(len(period)) * 12000 / (1 << 16)
        spacing[path.stem] = hertz[np.argmax(np.where(hertz > 40, period, 0))]
    assert spacing.pop("oboe_E6_15_mezzo-forte_normal") == pytest.approx(82.4, rel=0.02)
    assert len(spacing) == 3
    for found in spacing.values():
        assert found == pytest.approx(1319, rel=0.03)
    assert pitch_name(88) == "E6"


def test_all_real_samples_can_be_decoded(real):
    seconds = []
    for path in real.clips["path"]:
        waveform = decode(path, 12000)
        assert np.isfinite(waveform).all()
        seconds.append(len(waveform) / 12000)
    assert (len(seconds), min(seconds) > 0.2, max(seconds) < 3.5) == (1300, True, True)
    assert np.median(seconds) == pytest.approx(0.97, abs=0.02)


@pytest.mark.parametrize(("name", "leaks"), [("stratified-80-20", True), ("by-pitch", False)])
def test_splits_of_the_real_samples(real, name, leaks):
    split = real.split(name, seed=1)
    sizes = [len(rows) for rows in split.rows.values()]
    if leaks:
        assert np.abs(np.subtract(sizes, (829, 212, 260))).max() <= 3
        assert split.leakage["shared_groups"]["train-test"] > 150
    else:
        assert np.abs(np.subtract(sizes, (829, 212, 260))).max() <= 20
        assert split.leakage["shared_groups"] == {"train-valid": 0, "train-test": 0, "valid-test": 0}
