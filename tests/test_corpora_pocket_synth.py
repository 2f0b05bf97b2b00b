import io
import json
import struct

import numpy as np
import pytest
import soundfile

from harness.corpora.pocket import synth
from harness.corpora.pocket.clip import render_clip, stem
from harness.corpora.pocket.synth import Note, Part, Room, Score

ROOM = Room(seed=3, decay=0.4, wet=-12.0, dull=0.5)


def part(**changes):
    usual = {
        "instrument": "clarinet", "preset": (0, 71), "vibrato": 0.0, "courses": 1, "gain": 0.5, "pan": 0.5,
        "notes": (Note(1.0, 1.5, 60, 90), Note(4.0, 0.5, 64, 100)),
    }  # fmt: skip
    return Part(**usual | changes)


@pytest.fixture(scope="module")
def duo():
    return render_clip(7, 0, 0, ("piano", "flute"))


def bitwise_crc(page):
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def ogg_of(audio):
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, synth.SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


def tone(seconds=1.0):
    time = np.arange(round(seconds * synth.SAMPLE_RATE)) / synth.SAMPLE_RATE
    return np.stack([0.3 * np.sin(2 * np.pi * 440 * time), 0.2 * np.sin(2 * np.pi * 554 * time)], axis=1)


def test_the_page_checksum_is_that_of_the_ogg_specification():
    ogg = ogg_of(tone())
    (stored,) = struct.unpack_from("<I", ogg, 22)
    first = bytearray(ogg[: 27 + ogg[26] + sum(ogg[27 : 27 + ogg[26]])])
    first[22:26] = bytes(4)
    assert synth._ogg_crc(bytes(first)) == bitwise_crc(first) == stored


def test_a_new_serial_number_changes_no_sample():
    ogg = ogg_of(tone(3.0))
    renumbered = synth.with_serial(ogg, 77)
    assert len(renumbered) == len(ogg)
    assert struct.unpack_from("<I", renumbered, 14) == (77,)
    before, after = (soundfile.read(io.BytesIO(data))[0] for data in (ogg, renumbered))
    np.testing.assert_array_equal(before, after)
    assert synth.with_serial(ogg_of(tone(3.0)), 77) == renumbered


def test_a_serial_number_without_its_checksum_would_not_decode():
    ogg = bytearray(ogg_of(tone()))
    ogg[14] ^= 0xFF
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(bytes(ogg)))


def test_encoding_is_a_function_of_the_samples():
    audio = tone(2.5).astype(np.float32)
    encoded = synth.encode(audio, 5)
    assert encoded == synth.encode(audio, 5)
    decoded, rate = soundfile.read(io.BytesIO(encoded))
    assert (rate, decoded.shape) == (44100, audio.shape)
    assert np.corrcoef(decoded[:, 0], audio[:, 0])[0, 1] > 0.999


def test_a_part_sounds_where_its_notes_are():
    audio = synth.play(part())
    levels = synth.frame_levels(audio)
    assert audio.shape == (441000,)
    assert audio.dtype == np.float32
    assert not levels[:10].any()
    assert (levels[10:24] > 0.01).all()
    assert not levels[32:40].any()
    assert (levels[40:44] > 0.01).all()


def test_a_note_at_the_end_is_cut_off_with_the_excerpt():
    audio = synth.play(part(notes=(Note(9.95, 3.0, 60, 90),), courses=2))
    assert audio.shape == (441000,)
    assert audio[-1000:].any()


def test_doubled_courses_beat():
    notes = (Note(0.0, 4.0, 69, 100),)
    single, double = (synth.play(part(preset=(0, 25), courses=n, notes=notes))[:176400] for n in (1, 2))
    spectra = [np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) for audio in (single, double)]
    below, at, above = (round(440 * 2 ** (cents / 1200) * 4) for cents in (-6, 0, 6))
    assert spectra[0][at] > spectra[0][below]
    assert min(spectra[1][below], spectra[1][above]) > spectra[1][at]


def test_placing_is_linear_and_panning_keeps_the_power():
    a, b = synth.play(part()), synth.play(part(preset=(0, 0)))
    whole = synth.place(a + b, part(), ROOM)
    np.testing.assert_allclose(whole, synth.place(a, part(), ROOM) + synth.place(b, part(), ROOM), atol=1e-6)
    dry = Room(seed=3, decay=0.4, wet=-200.0, dull=0.5)
    powers = [(synth.place(a, part(pan=pan), dry) ** 2).sum() for pan in (0.1, 0.5, 0.9)]
    np.testing.assert_allclose(powers, powers[0], rtol=1e-3)
    left, right = synth.place(a, part(pan=0.1), dry)
    assert (left**2).sum() > 10 * (right**2).sum()


def test_a_room_rings_for_its_decay():
    click = np.zeros(synth.SAMPLES, np.float32)
    click[0] = 1
    for decay in (0.3, 0.9):
        response = synth.place(click, part(gain=1.0), Room(seed=3, decay=decay, wet=-6.0, dull=0.2))[0]
        energy = np.cumsum(response[1000:][::-1] ** 2)[::-1]
        fall = 10 * np.log10(energy / energy[0] + 1e-12)
        at5, at25 = (int(np.argmax(fall < -db)) for db in (5, 25))
        assert (at25 - at5) / synth.SAMPLE_RATE == pytest.approx(decay / 3, rel=0.2)


def test_noise_has_its_level():
    score = Score((), ROOM, noise_seed=1, noise=0.01)
    assert np.sqrt((synth.noise(score) ** 2).mean()) == pytest.approx(0.01, rel=0.02)


def test_active_frames_are_those_within_30_db():
    audio = np.zeros(synth.SAMPLES, np.float32)
    time = np.arange(synth.FRAME) / synth.SAMPLE_RATE
    for frame, level in {10: 0.0, 11: 0.0, 12: -25.0, 13: -35.0, 50: -29.0, 51: -31.0}.items():
        start = frame * synth.FRAME
        audio[start : start + synth.FRAME] = 10 ** (level / 20) * np.sin(2 * np.pi * 1000 * time)
    audio[20 * synth.FRAME : 30 * synth.FRAME] = np.tile(np.sin(2 * np.pi * 1000 * time), 10)
    expected = {10, 11, 12, 50, *range(20, 30)}
    assert set(np.flatnonzero(synth.active_frames(audio))) == expected
    assert not synth.active_frames(np.zeros(synth.SAMPLES, np.float32)).any()


def test_a_score_survives_json(duo):
    score, _, _ = duo
    again = Score.from_json(json.loads(json.dumps(score.to_json())))
    assert again == score
    np.testing.assert_array_equal(stem(again, "flute"), stem(score, "flute"))


def test_stems_and_noise_add_up_to_the_clip(duo):
    score, audio, _ = duo
    total = stem(score, "piano") + stem(score, "flute") + synth.noise(score)
    np.testing.assert_allclose(total, audio.mean(axis=1), atol=1e-5)


def test_a_clip_depends_on_seed_and_number_only(duo):
    _, audio, active = duo
    _, again, _ = render_clip(7, 0, 0, ("piano", "flute"))
    np.testing.assert_array_equal(audio, again)
    assert not np.array_equal(audio, render_clip(7, 1, 0, ("piano", "flute"))[1])
    assert not np.array_equal(audio, render_clip(8, 0, 0, ("piano", "flute"))[1])
    assert set(active) == {"piano", "flute"}
