"""Decoding: what comes out of a sound file, and the reason given for every kind of broken one."""

import pickle

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RepriseError
from harness.features import BadAudio, decode
from harness.features.audio import HEADERS

RATE = 44100


def music(seconds=2.0, rate=RATE, channels=2, seed=0):
    """A chord over noise, different in each channel."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(100, 4000, 5)) / 12
    return (chord[:, None] + rng.normal(0, 0.05, (len(time), channels))).astype(np.float32)


def write(path, samples, rate=RATE, **kwargs):
    """Write in blocks: libsndfile overflows its stack on one long Vorbis write."""
    with sf.SoundFile(path, "w", rate, samples.shape[1], **kwargs) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return path


def reason(path, **kwargs):
    with pytest.raises(BadAudio) as caught:
        decode(path, 22050, **kwargs)
    assert str(path) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "au", "mp3"])
@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_decodes_as_librosa_does(tmp_path, suffix, rate):
    path = write(tmp_path / f"clip.{suffix}", music())
    waveform = decode(path, rate)
    expected, _ = librosa.load(path, sr=rate)
    assert waveform.dtype == np.float32
    assert waveform.shape == expected.shape == (2 * rate,)
    np.testing.assert_allclose(waveform, expected, rtol=0, atol=1e-6)


def test_mono_is_the_mean_of_all_channels(tmp_path):
    samples = music(channels=3)
    path = write(tmp_path / "clip.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(decode(path, RATE), samples.mean(axis=1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("length", [1.9, 1.95, 2.0, 2.0001, 2.1])
def test_clip_of_about_the_nominal_length_gets_exactly_it(tmp_path, length):
    path = write(tmp_path / "clip.flac", music(length))
    waveform = decode(path, 22050, seconds=2.0)
    assert waveform.shape == (44100,)
    whole = decode(path, 22050)[:44100]
    np.testing.assert_array_equal(waveform[: len(whole)], whole)
    assert not waveform[len(whole) :].any()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize(("length", "expected"), [(1.8, "is 1.8 s long, not 2.0 s"), (3.2, "is 3.2 s long, not 2.0 s")])
def test_other_lengths_are_refused(tmp_path, suffix, length, expected):
    assert reason(write(tmp_path / f"clip.{suffix}", music(length)), seconds=2.0) == expected


def test_missing(tmp_path):
    assert reason(tmp_path / "nothing.ogg") == "is missing"
    write(tmp_path / "file.wav", music(0.1))
    assert reason(tmp_path / "file.wav" / "inside.ogg") == "is missing"


def test_empty(tmp_path):
    (tmp_path / "empty.ogg").touch()
    assert reason(tmp_path / "empty.ogg") == "is empty (0 bytes)"
    for suffix in ("wav", "au"):
        assert reason(write(tmp_path / f"bare.{suffix}", music(0))) == "is empty: it holds no samples"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    "content", [b"<html>404 Not Found</html>" * 50, bytes(5000), b"\x89PNG\r\n\x1a\n" + b"7" * 999]
)
def test_not_audio(tmp_path, suffix, content):
    path = tmp_path / f"page.{suffix}"
    path.write_bytes(content)
    assert reason(path) == "is not audio"


def test_folder_is_not_audio(tmp_path):
    assert reason(tmp_path) == "is not audio: it is a folder"


def test_what_the_system_does_not_let_be_read_is_no_verdict_on_the_audio(tmp_path):
    with pytest.raises(RepriseError, match=r"cannot read .*; make it readable and try again") as caught:
        decode(tmp_path / ("x" * 300), 22050)  # longer than a name may be; root may read everything else
    assert not isinstance(caught.value, BadAudio)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "au", "mp3"])
@pytest.mark.parametrize("kept", [0.9999, 0.95, 0.5, 0.1])
def test_cut_file_is_truncated(tmp_path, suffix, kept):
    path = write(tmp_path / f"clip.{suffix}", music(4.0))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    if suffix == "mp3" and kept > 0.99:  # a few bytes of the last frame, within the slack
        assert decode(path, 22050, seconds=4.0).shape == (88200,)
    else:
        assert reason(path).startswith("is truncated")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "au", "mp3"])
def test_header_alone_is_truncated(tmp_path, suffix):
    path = write(tmp_path / f"clip.{suffix}", music())
    assert path.read_bytes().startswith(HEADERS)
    path.write_bytes(path.read_bytes()[:30])
    assert reason(path).startswith(("is truncated", "is empty"))


def test_ogg_cut_between_two_pages_is_truncated(tmp_path):
    path = write(tmp_path / "clip.ogg", music(4.0))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    assert reason(path).startswith("is truncated: it breaks off after ")


def test_ogg_with_a_page_lost_is_damaged(tmp_path):
    path = write(tmp_path / "clip.ogg", music(4.0))
    data = path.read_bytes()
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    middle = len(pages) // 2
    path.write_bytes(data[: pages[middle]] + data[pages[middle + 1] :])
    assert reason(path).endswith(" s can be decoded of 4.0 s")


def test_ogg_with_something_behind_its_end_is_whole(tmp_path):
    path = write(tmp_path / "clip.ogg", music())
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert decode(path, 22050).shape == (44100,)


def test_flipped_bits_are_damage(tmp_path):
    for suffix in ("ogg", "flac"):
        path = write(tmp_path / f"clip.{suffix}", music(4.0))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        assert reason(path).startswith("is truncated or damaged")


def test_files_from_a_pipe(tmp_path):
    wav = write(tmp_path / "clip.wav", music())
    data = bytearray(wav.read_bytes())
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = b"\xff" * 4  # what an encoder writes that cannot seek back
    wav.write_bytes(data)
    assert decode(wav, 22050).shape == (44100,)

    flac = write(tmp_path / "clip.flac", music())
    data = bytearray(flac.read_bytes())
    data[21] &= 0xF0  # STREAMINFO: number of samples, 36 bits, 0 = unknown
    data[22:26] = bytes(4)
    flac.write_bytes(data)
    assert reason(flac) == "does not say how long it is, which libsndfile needs to know"
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4  # and one that promises 18 days
    flac.write_bytes(data)
    assert reason(flac).startswith("is truncated or damaged")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_silent(tmp_path, suffix):
    path = write(tmp_path / f"clip.{suffix}", np.zeros((RATE, 2), np.float32))
    assert reason(path) == "is silent (all samples are zero)"


def test_too_quiet_to_be_music_is_silent(tmp_path):
    tone = np.sin(np.arange(RATE) / 20)[:, None].astype(np.float32)
    assert reason(write(tmp_path / "a.wav", tone * 5e-5, subtype="FLOAT")) == "is silent (peak -86 dBFS)"
    assert decode(write(tmp_path / "b.wav", tone * 2e-4, subtype="FLOAT"), 22050).any()
    # what a mono network would be shown of channels in opposite phase
    assert reason(write(tmp_path / "c.wav", np.hstack([tone, -tone]), subtype="FLOAT")).startswith("is silent")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    samples = music()
    samples[1000, 1] = value
    assert reason(write(tmp_path / "clip.wav", samples, subtype="FLOAT")) == "holds samples that are NaN or infinite"


def test_mp3_of_unknown_length_is_read_to_its_end(published_data):
    paths = sorted((published_data / "philharmonia" / "flute").glob("*.mp3"))[:5]
    assert paths
    for path in paths:
        data = path.read_bytes()
        assert b"Xing" not in data
        assert b"Info" not in data
        assert 0.1 < len(decode(path, 22050)) / 22050 < 5


def test_bad_audio_travels_between_processes():
    error = BadAudio("a/b.ogg", "is missing")
    copy = pickle.loads(pickle.dumps(error))  # what a pool of processes does
    assert isinstance(copy, RepriseError)
    assert (copy.path, copy.reason, str(copy)) == ("a/b.ogg", "is missing", str(error))
    assert str(error) == "a/b.ogg is missing; put a sound copy in its place"


@given(st.binary(max_size=300), st.sampled_from(HEADERS))
def test_no_bytes_escape_as_another_error(tmp_path_factory, content, header):
    path = tmp_path_factory.mktemp("fuzz") / "clip.bin"
    for data in (content, header + content):
        path.write_bytes(data)
        try:
            waveform = decode(path, 22050)
        except RepriseError:
            continue
        assert np.isfinite(waveform).all()
