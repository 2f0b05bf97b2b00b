"""What is done to a note's sound is found again in its samples."""

import dataclasses

import librosa
import numpy as np
import pytest

from harness.corpora.nsynth import QUALITIES
from harness.corpora.pocket import notes
from harness.corpora.pocket.notes import Design

STRING, FLUTE, ORGAN, PIZZICATO, OCARINA = 48, 73, 16, 45, 79


def spectrum(note, start=0.2, stop=2.8):
    cut = note[round(start * 16000) : round(stop * 16000)] / 32768
    window = np.hanning(len(cut))
    return np.fft.rfftfreq(len(cut), 1 / 16000), np.abs(np.fft.rfft(cut * window)) / window.sum()


def strength(note, frequency):
    """Largest magnitude within 1 % of a frequency, in dB."""
    frequencies, magnitudes = spectrum(note)
    return 20 * np.log10(magnitudes[np.abs(frequencies / frequency - 1) < 0.01].max())


def level(note, start, stop):
    cut = note[round(start * 16000) : round(stop * 16000)] / 32768
    return 10 * np.log10((cut**2).mean() + 1e-12)


def has(design, note, pitch):
    found = notes.qualities(design, notes.measure(note, pitch))
    return {name for name, value in zip(QUALITIES, found, strict=True) if value}


@pytest.mark.parametrize("velocity", [25, 75, 127])
def test_the_peak_follows_the_velocity(velocity):
    note = notes.play(Design(ORGAN, drive=20.0, room=1.0, chord=(7,), seed=1), 60, velocity)
    assert note.dtype == np.int16
    assert note.shape == (64000,)
    assert np.abs(note.astype(int)).max() == round(32767 * 10 ** (-3 / 20) * velocity / 127)


def test_the_pitch_is_the_keys():
    frequencies, magnitudes = spectrum(notes.play(Design(FLUTE), 69, 100))
    assert frequencies[magnitudes.argmax()] == pytest.approx(440, rel=0.01)


def test_a_chord_sounds_with_the_note():
    alone, fifth = (notes.play(Design(ORGAN, chord=chord), 60, 100) for chord in ((), (7,)))
    ratio = 2 ** (7 / 12)
    assert strength(fifth, 261.6 * ratio) > strength(alone, 261.6 * ratio) + 30
    assert "multiphonic" in has(Design(ORGAN, chord=(7,)), fifth, 60)


def test_the_waveshaper_adds_harmonics():
    clean, shaped = (notes.play(Design(OCARINA, drive=drive), 72, 100) for drive in (0.0, 26.0))
    f0 = notes.hertz(72)
    third = [strength(note, 3 * f0) - strength(note, f0) for note in (clean, shaped)]
    assert third[0] < -25  # nearly a sine
    assert third[1] == pytest.approx(20 * np.log10(1 / 3), abs=2)  # nearly a square wave
    assert notes.measure(shaped, 72)["octaves"] > notes.measure(clean, 72)["octaves"]


def test_tone_makes_bright_and_dark():
    dark, plain, bright = (notes.play(Design(STRING, tone=tone), 57, 100) for tone in (-30.0, 0.0, 18.0))
    octaves = [notes.measure(note, 57)["octaves"] for note in (dark, plain, bright)]
    assert octaves[0] < -0.6 < octaves[1] < 0.6 < octaves[2]
    assert "dark" in has(Design(STRING, tone=-30.0), dark, 57)
    assert "bright" in has(Design(STRING, tone=18.0), bright, 57)


@pytest.mark.parametrize("tempo", [90.0, 143.5])
def test_the_tremolo_has_the_tempos_eighths(tempo):
    note = notes.play(Design(ORGAN, tempo=tempo), 60, 100) / 32768
    envelope = np.sqrt((note[:48000].reshape(-1, 80) ** 2).mean(axis=1))  # 200 values a second
    modulation = np.abs(np.fft.rfft(envelope - envelope.mean(), 1 << 14))
    rate = np.fft.rfftfreq(1 << 14, 1 / 200)[modulation.argmax()]
    assert rate == pytest.approx(2 * tempo / 60, rel=0.03)


def test_envelopes_are_what_they_say():
    plain = notes.play(Design(ORGAN), 60, 100)
    assert has(Design(ORGAN), plain, 60) <= {"bright", "dark"}
    decaying = Design(ORGAN, decay=1.5)
    note = notes.play(decaying, 60, 100)
    assert level(note, 0.5, 0.6) - level(note, 1.5, 1.6) == pytest.approx(40, abs=2)
    assert "fast_decay" in has(decaying, note, 60)
    swelling = Design(ORGAN, swell=1.0)
    note = notes.play(swelling, 60, 100)
    assert level(note, 1.0, 1.1) - level(note, 0.2, 0.3) == pytest.approx(22.5, abs=3)
    assert "nonlinear_env" in has(swelling, note, 60)
    ringing = Design(ORGAN, release=4.0)
    note = notes.play(ringing, 60, 100)
    assert level(note, 2.9, 3.0) - level(note, 3.85, 3.95) == pytest.approx(13.5, abs=2)
    assert "long_release" in has(ringing, note, 60)
    assert level(plain, 3.5, 4.0) < -80


def test_the_low_pass_opens():
    note = notes.play(Design(STRING, sweep=1.2), 48, 100) / 32768
    centroid = librosa.feature.spectral_centroid(y=note, sr=16000, n_fft=1024, hop_length=512)[0]
    assert centroid[2] < centroid[20] < centroid[40]
    assert centroid[40] > 2 * centroid[2]


def test_the_burst_is_at_the_onset_and_percussive():
    smooth, struck = (notes.play(Design(FLUTE, burst=burst, seed=3), 60, 100) for burst in (0.0, -3.0))
    assert level(struck, 0, 0.03) > level(smooth, 0, 0.03) + 5
    assert notes.measure(struck, 60)["burst_db"] > notes.measure(smooth, 60)["burst_db"] + 15
    assert "percussive" in has(Design(FLUTE, burst=-3.0, seed=3), struck, 60)
    assert "percussive" not in has(Design(FLUTE), smooth, 60)
    assert {"percussive", "fast_decay"} <= has(Design(PIZZICATO), notes.play(Design(PIZZICATO), 60, 100), 60)


def test_the_room_rings_on():
    dry, wet = (notes.play(Design(ORGAN, room=room, wet=-3.0, seed=5), 60, 100) for room in (0.0, 1.5))
    assert level(wet, 3.2, 3.4) > level(dry, 3.2, 3.4) + 20
    falls = level(wet, 3.2, 3.3) - level(wet, 3.6, 3.7)
    assert falls == pytest.approx(60 * 0.4 / 1.5, abs=5)


def test_the_centroid_is_librosas():
    for program, pitch in ((ORGAN, 40), (FLUTE, 80), (PIZZICATO, 60)):
        note = notes.play(Design(program), pitch, 75)
        frames = librosa.stft(
            note[:16000] / 32768, n_fft=1024, hop_length=512, window="hann", center=False, dtype=np.complex128
        )
        oracle = librosa.feature.spectral_centroid(S=np.abs(frames).mean(axis=1, keepdims=True), sr=16000, n_fft=1024)
        assert notes.measure(note, pitch)["centroid_hz"] == pytest.approx(float(oracle[0, 0]), rel=1e-6)


def test_levels_of_a_note_made_by_hand():
    time = np.arange(64000) / 16000
    tone = np.sin(2 * np.pi * 440 * time) * 10 ** (-np.select([time < 2, time < 3], [6, 36], 56) / 20)
    measured = notes.measure(np.round(32767 * tone).astype(np.int16), 69)
    assert measured["decay_db"] == pytest.approx(30, abs=0.1)
    assert measured["release_db"] == pytest.approx(20, abs=0.2)
    assert measured["tail_db"] == pytest.approx(-50, abs=0.2)
    assert measured["rise_db"] == pytest.approx(0, abs=0.1)
    assert measured["level_db"] == pytest.approx(-6 - 3 + 10 * np.log10(2 / 3), abs=0.1)
    assert measured["centroid_hz"] == pytest.approx(440, rel=0.05)


def test_every_rule_decides_its_quality():
    """From a note without any quality, each single change gives the one quality it should."""
    plain = dict.fromkeys(("centroid_hz", "octaves", "burst_db", "rise_db", "decay_db", "level_db"), 0.0)
    plain |= {"release_db": 100.0, "tail_db": -100.0}
    design = Design(ORGAN)
    assert notes.qualities(design, plain) == (0,) * 10
    measured = {
        "bright": {"octaves": 0.6},
        "dark": {"octaves": -0.6},
        "fast_decay": {"decay_db": 20.0},
        "long_release": {"release_db": 20.0, "tail_db": -45.0},
        "nonlinear_env": {"rise_db": 9.0},
        "percussive": {"burst_db": 15.0},
    }
    applied = {
        "distortion": [{"drive": 1.0}],
        "multiphonic": [{"chord": (7,)}],
        "percussive": [{"burst": -3.0}],
        "nonlinear_env": [{"swell": 1.0}, {"sweep": 1.0}],
        "reverb": [{"room": 1.0}],
        "tempo-synced": [{"tempo": 100.0}],
    }
    assert measured.keys() | applied.keys() == set(QUALITIES) == set(notes.RULES)
    for name, change in measured.items():
        assert notes.qualities(design, plain | change) == tuple(int(other == name) for other in QUALITIES)
    for name, changes in applied.items():
        for change in changes:
            found = notes.qualities(dataclasses.replace(design, **change), plain)
            assert found == tuple(int(other == name) for other in QUALITIES)
    # A tremolo rises, too, and is no envelope of the note.
    assert not notes.qualities(Design(ORGAN, tempo=100.0), plain | {"rise_db": 20.0})[6]
