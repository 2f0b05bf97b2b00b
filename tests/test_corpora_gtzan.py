import hashlib
import struct
import tarfile

import numpy as np
import pytest
import soundfile
from gtzan_trees import make_gtzan_tree, sound, write_track

from harness import corpora
from harness.corpora import download, gtzan, gtzan_filtered
from harness.corpora.archives import unpack_tars
from harness.corpora.gtzan_filtered import GENRES, PARTS
from harness.corpora.registry import find
from harness.errors import RepriseError
from harness.features import decode

#: Kereliuk, Sturm and Larsen (2015): MD5 of their three files, and tracks of each genre in them.
PUBLISHED = {
    "train": ("d55795dd4bc006e94d1c1b092bfe9da3", [46, 48, 45, 42, 47, 43, 44, 41, 43, 44]),
    "valid": ("bf8b8540ab13630c984d6331b3102191", [23, 20, 23, 22, 18, 17, 20, 13, 17, 24]),
    "test": ("6dbab6aabd0c49a20bc3b6df10986454", [31, 31, 30, 29, 27, 27, 27, 30, 26, 32]),
}
REMOVED = {
    "classical": [42],
    "country": [8, 52],
    "disco": [38, 50, 51, 55, 60, 71, 98],
    "hiphop": [1, 39, 46, 47, 48, 49, 50, 76],
    "jazz": [33, 34, 35, 36, 37, 38, 39, 40, 42, 43, 44, 45, 46],
    "metal": [4, 34, 40, 41, 42, 43, 44, 45, 58],
    "pop": [15, 21, 22, 30, 37, 45, 47, 48, 51, 52, 54, 56, 57, 67, 68, 87],
    "reggae": [3, 5, 7, 8, 10, 13, 33, 41, 73, 75, 80, 81, 86, 91],
}


@pytest.fixture
def root(tmp_path):
    return make_gtzan_tree(tmp_path / "data" / "gtzan").parent


@pytest.mark.parametrize("part", PARTS)
def test_the_built_in_lists_are_the_published_files(part):
    md5, counts = PUBLISHED[part]
    text = gtzan_filtered.list_text(gtzan_filtered.published_parts(), part)
    assert hashlib.md5(text.encode()).hexdigest() == md5
    assert [text.count(f"{genre}/{genre}.") for genre in GENRES] == counts


def test_seventy_tracks_are_in_no_list():
    assert gtzan_filtered.faulty() == [f"{genre}.{n:05d}" for genre, numbers in REMOVED.items() for n in numbers]
    assert len(gtzan_filtered.faulty()) == 70
    assert len(gtzan_filtered.published_parts()) == 930


def test_a_part_of_the_corpus(root, capsys):
    corpus = gtzan.read(root, "gtzan")
    assert " ".join(corpus.classes) == "blues classical country disco hiphop jazz metal pop reggae rock"
    keys = ["blues.00000", "blues.00012", "blues.00029", "jazz.00000", "jazz.00002", "jazz.00040", "jazz.00073"]
    assert corpus.clips["key"].tolist() == [*keys, "rock.00038"]
    assert corpus.clips["path"].tolist() == [str(root / f"genres/{k[:-6]}/{k}.wav") for k in [*keys, "rock.00038"]]
    # jazz.00040 is one of the 70 faulty tracks.
    assert corpus.clips["partition"].tolist() == ["valid", "test", "train", "train", "valid", None, "test", "valid"]
    assert corpus.clips["group"].isna().all()
    assert corpus.clips["artist"].isna().all()
    assert corpus.clips["title"].tolist()[2] == "blues 29"
    assert corpus.labels.dtype == np.uint8
    assert corpus.labels.argmax(axis=1).tolist() == [0] * 3 + [5] * 4 + [9]
    assert (corpus.labels.sum(axis=1) == 1).all()
    assert corpus.mask.all()
    assert corpus.seconds is None
    assert not corpus.pocket
    assert corpus.facts["tracks"] == dict.fromkeys(GENRES, 0) | {"blues": 3, "jazz": 4, "rock": 1}
    assert corpus.facts["filtered"] == {"train": 2, "valid": 3, "test": 2}
    assert corpus.facts["lists"] == "built in"
    assert (corpus.facts["complete"], corpus.facts["left_out"], corpus.facts["noted"]) == (False, {}, {})
    told = capsys.readouterr().err
    assert told.startswith(
        f"gtzan: 8 of 1,000 tracks are in {root}/genres, none of classical, country, disco, hiphop, me"
    )
    assert told.count("\n") == 1
    rows = corpus.split("published").rows
    assert {part: len(chosen) for part, chosen in rows.items()} == {"train": 2, "valid": 3, "test": 2}


@pytest.mark.parametrize("folder", ["gtzan", "GTZAN", "gtzan_genre"])
@pytest.mark.parametrize("genres", ["genres", "genres_original", "Data/genres_original", "gtzan_genre/genres", "."])
def test_the_corpus_is_found_in_the_data_folder(tmp_path, monkeypatch, folder, genres):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    make_gtzan_tree(tmp_path / folder, genres=genres, tracks={"blues": [0], "metal": [2]})
    corpus = corpora.load("gtzan")
    assert corpus.root == tmp_path / folder
    assert len(corpus.clips) == 2


def test_the_folder_of_the_genres_and_one_around_the_corpus_will_do(root):
    assert len(corpora.load("gtzan", root / "genres").clips) == 8
    assert corpora.load("gtzan", root.parent).root == root


def test_what_is_not_here_names_the_command(tmp_path):
    with pytest.raises(RepriseError, match=r"gtzan is not in .*: run `reprise data fetch gtzan`, or set REPRISE_DATA"):
        corpora.load("gtzan")
    (tmp_path / "genres" / "blues").mkdir(parents=True)
    with pytest.raises(
        RepriseError, match=r"no usable tracks of gtzan in .*genres: run `reprise data fetch gtzan`, or"
    ):
        corpora.load("gtzan", tmp_path)
    write_track(tmp_path / "genres", "blues", 3, b"not found\n")
    with pytest.raises(
        RepriseError, match=r"in .*genres \(1 files were left out: it is no audio but named .wav\): run"
    ):
        corpora.load("gtzan", tmp_path)


def wrong_au(change: dict[int, int]) -> bytes:
    """A sound .au file, but for these fields of its header (1: where the data begin, 2: bytes, 3: code, 4: Hz)."""
    data = bytearray(sound(form="AU"))
    for field, value in change.items():
        struct.pack_into(">I", data, 4 * field, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("suffix", "data", "why"),
    [
        (".wav", b"<html>404 not found</html>", "it is no audio but named .wav"),
        (".wav", b"", "it is empty (0 bytes)"),
        (".wav", sound()[:30], "its header is damaged"),
        (".wav", sound()[:-600_000], "it is cut short: 723,588 bytes of audio are there of 1,323,588"),
        (".wav", sound(5 * 22050), "it is 5.0 s long at 22,050 Hz, and tracks have 30 s"),
        (".wav", sound(form="FLAC"), "it is no .wav file but FLAC"),
        (".au", sound(form="AU")[:-600_000], "it is cut short: 723,588 bytes of audio are there of 1,323,588"),
        (".au", wrong_au({3: 99}), "its header is damaged"),
        (".au", wrong_au({0: 0}), "it is no audio but named .au"),
        (".au", wrong_au({2: 9_000_000}), "it is cut short: 1,323,588 bytes of audio are there of 9,000,000"),
        (".au", wrong_au({4: 8000}), "it is 82.7 s long at 8,000 Hz, and tracks have 30 s"),
        (".au", sound(5 * 22050, form="AU"), "it is 5.0 s long at 22,050 Hz, and tracks have 30 s"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_out_and_named(root, capsys, suffix, data, why):
    path = write_track(root / "genres", "metal", 7, data, suffix=suffix)
    corpus = gtzan.read(root, "gtzan")
    assert len(corpus.clips) == 8
    assert corpus.facts["left_out"] == {f"metal/metal.00007{suffix}": why}
    assert f"\ngtzan: left out metal/metal.00007{suffix}: {why}\n" in capsys.readouterr().err
    assert not gtzan.sounds_like_a_track(path)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (sound(channels=2), "it has 2 channels, which are averaged"),
        (sound(30 * 44100, rate=44100), "it has 44,100 Hz and is resampled"),
        (
            sound(30 * 16000, rate=16000, channels=2),
            "it has 2 channels, which are averaged; it has 16,000 Hz and is resampled",
        ),
    ],
)
def test_a_file_of_another_form_is_kept_and_noted(root, capsys, data, note):
    path = write_track(root / "genres", "pop", 1, data)
    corpus = gtzan.read(root, "gtzan")
    assert str(path) in corpus.clips["path"].tolist()
    assert corpus.facts["noted"] == {"pop/pop.00001.wav": note}
    assert corpus.facts["left_out"] == {}
    assert f"gtzan: kept pop/pop.00001.wav: {note}\n" in capsys.readouterr().err
    assert 29.9 < len(decode(path, 22050)) / 22050 < 31
    assert not gtzan.sounds_like_a_track(path)


def test_au_files_are_read_and_a_wav_is_taken_before_one(root):
    au = write_track(root / "genres", "disco", 4, suffix=".au")
    write_track(root / "genres", "blues", 12, suffix=".au")
    write_track(root / "genres", "blues", 29, b"RIFF", suffix=".wav")
    other = write_track(root / "genres", "blues", 29, suffix=".au")
    # As a program writes it that does not know yet how long it will be.
    write_track(root / "genres", "disco", 5, wrong_au({2: 0xFFFFFFFF}), suffix=".au")
    corpus = gtzan.read(root, "gtzan")
    paths = dict(zip(corpus.clips["key"], corpus.clips["path"], strict=True))
    assert paths["disco.00004"] == str(au)
    assert paths["blues.00012"].endswith("blues.00012.wav")
    assert paths["blues.00029"] == str(other)
    assert "disco.00005" in paths
    assert corpus.facts["noted"] == {"blues/blues.00012.wav": "blues.00012.au is there, too, and not used"}
    assert corpus.facts["left_out"] == {"blues/blues.00029.wav": "its header is damaged"}
    assert gtzan.sounds_like_a_track(au)


def test_what_is_no_file_is_left_out_and_named(root, capsys):
    rock = root / "genres" / "rock"
    (rock / "rock.00019.wav").mkdir()
    (rock / "rock.00020.wav").symlink_to(rock / "gone.wav")
    corpus = gtzan.read(root, "gtzan")
    assert len(corpus.clips) == 8
    assert corpus.facts["left_out"] == {
        "rock/rock.00019.wav": "it is a folder",
        "rock/rock.00020.wav": "it is a link to nothing",
    }
    assert "left out rock/rock.00019.wav: it is a folder\n" in capsys.readouterr().err
    assert not gtzan.sounds_like_a_track(rock / "rock.00019.wav")


def test_a_part_of_the_lists_says_what_can_be_run(tmp_path):
    corpus = gtzan.read(make_gtzan_tree(tmp_path / "gtzan", tracks={"blues": [0, 12]}).parent, "gtzan")
    assert corpus.clips["partition"].tolist() == ["valid", "test"]
    with pytest.raises(RepriseError, match=r"has no train, .* --condition those whose split draws .* at random"):
        corpus.split("published")


def test_names_and_folders_that_do_not_fit(root, capsys):
    for name in ("rock/pop.00001.wav", "rock/rock.1.wav", "polka/polka.00000.wav", "polka/polka.00001.wav"):
        (root / "genres" / name).parent.mkdir(exist_ok=True)
        (root / "genres" / name).write_bytes(sound())
    for name in ("rock/._rock.00000.wav", "rock/cover.png", "blues/bextract.mf"):  # left by macOS, and others
        (root / "genres" / name).write_bytes(b"")
    (root / "genres" / "images").mkdir()
    corpus = gtzan.read(root, "gtzan")
    assert len(corpus.clips) == 8
    assert corpus.facts["left_out"] == {
        "polka/": "its 2 audio files are of none of the ten genres",
        "rock/pop.00001.wav": "its name is not rock.<five digits>, as its folder's",
        "rock/rock.1.wav": "its name is not rock.<five digits>, as its folder's",
    }
    assert capsys.readouterr().err.count("\n") == 4


def test_much_to_tell_is_told_in_few_lines(root, capsys):
    for number in range(30):
        write_track(root / "genres", "disco", number, b"x")
    corpus = gtzan.read(root, "gtzan")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "gtzan: and 21 more, all in the corpus's facts"
    assert len(corpus.facts["left_out"]) == 30


@pytest.mark.parametrize(("absent", "complete"), [(0, True), (1, True), (2, False)])
def test_999_tracks_are_as_good_as_1000(tmp_path, capsys, absent, complete):
    one = write_track(tmp_path / "genres", "blues", 0)
    names = [f"{genre}/{genre}.{number:05d}.wav" for genre in GENRES for number in range(100)]
    for name in names[1 : len(names) - absent]:
        (tmp_path / "genres" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "genres" / name).hardlink_to(one)
    corpus = gtzan.read(tmp_path, "gtzan")
    assert corpus.facts["complete"] is complete
    assert bool(capsys.readouterr().err) is not complete
    assert sum(corpus.facts["filtered"].values()) == 930 - absent
    if not absent:
        assert {p: len(r) for p, r in corpus.split("published").rows.items()} == {
            "train": 443,
            "valid": 197,
            "test": 290,
        }
    verified = {"checked": 1000, "by_form": 1000, "changed": [], "unlisted": []}
    missing = sorted(f"genres/{name}" for name in names[len(names) - absent :])
    assert download.verify("gtzan", tmp_path, jobs=1) == verified | {"missing": missing}


@pytest.mark.parametrize("genres", ["genres", "."])
def test_a_tree_may_bring_its_own_lists_and_artists(tmp_path, genres):
    make_gtzan_tree(tmp_path, genres=genres)
    (tmp_path / "train_filtered.txt").write_text("blues/blues.00000.wav\njazz/jazz.00040.wav\n")
    (tmp_path / "valid_filtered.txt").write_text("blues/blues.00012.wav\r\n\r\n")
    (tmp_path / "test_filtered.txt").write_text("jazz/jazz.00073.au\nmetal/metal.00001.wav\n")
    (tmp_path / "artists.csv").write_text('key,artist\nblues.00000,"Hooker, John Lee"\nblues.00012,Ella\njazz.00073,\n')
    corpus = gtzan.read(tmp_path, "gtzan")
    assert corpus.clips["partition"].tolist() == ["train", "valid", None, None, None, "train", "test", None]
    assert corpus.clips["group"].tolist() == ["Hooker, John Lee", "Ella", None, None, None, None, None, None]
    assert corpus.clips["artist"].equals(corpus.clips["group"])
    assert corpus.facts["lists"] == "of the tree"
    assert corpus.facts["filtered"] == {"train": 2, "valid": 1, "test": 1}
    assert corpus.facts["artists"] == 2


def test_lists_that_are_none(root):
    (root / "train_filtered.txt").write_text("blues/blues.00000.wav\n")
    with pytest.raises(
        RepriseError, match=r"lacks valid_filtered.txt and test_filtered.txt beside the other lists: put"
    ):
        gtzan.read(root, "gtzan")
    (root / "valid_filtered.txt").write_text("blues/blues.00012.wav\n")
    (root / "test_filtered.txt").write_text("blues/blues.00001.wav\nblues/blues.00000.wav\n")
    with pytest.raises(
        RepriseError, match=r"line 2 of .*test_filtered.txt lists blues.00000, which is in the part train"
    ):
        gtzan.read(root, "gtzan")
    (root / "test_filtered.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(RepriseError, match=r"test_filtered.txt cannot be read \(.*\): put a sound copy in its place"):
        gtzan.read(root, "gtzan")


@pytest.mark.parametrize("text", ["track,artist\nblues.00000,Ella\n", "key,artist\nblues.00000\n"])
def test_artists_that_are_no_table(root, text):
    (root / "artists.csv").write_text(text)
    with pytest.raises(
        RepriseError, match=r"artists.csv is no table with the columns key,artist: mend it, or delete it"
    ):
        gtzan.read(root, "gtzan")


def test_the_checksum_tells_copies_apart(root):
    before = gtzan.read(root, "gtzan").checksum
    assert gtzan.read(root, "other").checksum == before
    path = root / "genres/blues/blues.00012.wav"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 100] ^= 1
    path.write_bytes(data)
    changed = gtzan.read(root, "gtzan").checksum
    assert changed != before
    write_track(root / "genres", "blues", 12, sound(661_504))
    assert gtzan.read(root, "gtzan").checksum not in (before, changed)


def test_status_says_that_no_licence_is_stated_and_where_it_is(tmp_path):
    status = download.status("gtzan", tmp_path / "gtzan")
    assert not status["here"]
    assert status["how"] == "reprise data fetch gtzan"
    about = status["about"]
    assert "licence   none is stated" in about
    assert "https://huggingface.co/datasets/marsyas/gtzan" in about
    assert "MD5 5b3d6dddb579ab49814ab86dba69e7c7" in about
    assert "Kaggle" in about


def test_what_is_packed_as_published_is_whole_once_unpacked(tmp_path):
    make_gtzan_tree(tmp_path / "packed", tracks={genre: [0] for genre in GENRES})
    with tarfile.open(tmp_path / "genres.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "packed" / "genres", "genres")
    entry, _ = find("gtzan")
    (tmp_path / "gtzan").mkdir()
    assert len(entry.missing(tmp_path / "gtzan")) == 10
    entry.source.unpack([tmp_path / "genres.tar.gz"], tmp_path / "gtzan")
    assert entry.source.unpack is unpack_tars
    assert not entry.missing(tmp_path / "gtzan")
    assert len(list(entry.audio_files(tmp_path / "gtzan"))) == 10
    assert len(corpora.load("gtzan", tmp_path / "gtzan").clips) == 10


def test_samples_of_a_track_that_is_kept_can_be_decoded(root):
    corpus = gtzan.read(root, "gtzan")
    waveform = decode(corpus.clips["path"].iloc[0], 22050)
    assert len(waveform) == soundfile.info(corpus.clips["path"].iloc[0]).frames == 661_794
