"""From parts to a recording."""

import dataclasses
import json

import numpy as np
import pytest

from harness.corpora.pocket import studio, synth
from harness.corpora.pocket.song import Note
from harness.corpora.pocket.studio import Production, Recording
from harness.corpora.pocket.synth import Part, Room, Score

SAMPLES = 3 * 22050
DRY = Room(seed=1, decay=0.2, wet=-200.0, dull=0.5)
FLAT = Production(low_cut=0.1, high_cut=1e6, tilt=0.0, echo=(0.2, -200.0), ratio=1.0)


def part(role: str, program: int, pitch: int, gain: float = 0.2) -> Part:
    notes = tuple(Note(0.5 * i, 0.4, pitch + i, 90 + i) for i in range(6))
    return Part(role, (0, program), 0.0, 1, gain, 0.5, notes)


@pytest.fixture
def recording():
    score = Score(
        (part("bass", 33, 40), part("chords", 30, 52), part("lead", 65, 64)), Room(3, 0.6, -12.0, 0.4), 7, 0.0
    )
    production = Production(60.0, 8000.0, 3.0, (0.25, -20.0), 3.0)
    return Recording(score, (0.0, 2.0, 0.0), production, first=11_000, samples=SAMPLES)


def finished(recording, decibels=-18.0, hiss=-40.0):
    roles = tuple(p.instrument for p in recording.score.parts)
    return studio.levelled(recording, studio.mixed(recording, roles), decibels, hiss)


def test_stems_and_noise_add_up_to_the_recording(recording):
    made, audio = finished(recording)
    stems = [studio.stem(made, role) for role in ("bass", "chords", "lead")]
    assert audio.shape == stems[0].shape == (SAMPLES,)
    assert audio.dtype == stems[0].dtype == np.float32
    assert np.abs(audio - sum(stems) - studio.noise(made)).max() < 2e-6
    assert all(np.abs(stem).max() > 0.01 for stem in stems)


def test_level_and_noise_are_as_asked_for(recording):
    made, audio = finished(recording, -30.0, -40.0)
    assert 20 * np.log10(np.sqrt(np.mean(audio**2))) == pytest.approx(-30, abs=0.05)
    hiss = np.sqrt(np.mean(studio.noise(made) ** 2))
    assert 20 * np.log10(hiss) == pytest.approx(-70, abs=0.2)
    loud, audio = finished(recording, 0.0, -40.0)
    assert 0.8 * studio.PEAK < np.abs(audio).max() < studio.PEAK + 0.01
    assert loud.production.level > made.production.level


def test_a_stored_recording_sounds_the_same(recording):
    made, _ = finished(recording)
    again = Recording.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    assert np.array_equal(studio.stem(again, "lead"), studio.stem(made, "lead"))


def test_halving_the_rate_keeps_a_tone_and_loses_what_lies_above():
    time = np.arange(4 * 22050) / 44100
    for hertz, expected in ((1000, 1.0), (9000, 1.0), (12_000, 0.0), (15_000, 0.0)):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        heard = studio.produced(tone, DRY, FLAT)
        assert len(heard) == len(tone) // 2
        middle = heard[5000:-5000]
        assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(expected, abs=0.01)
        if expected:
            assert np.abs(middle - tone[10_000:-10_000:2]).max() < 0.01


def test_band_tilt_and_echo():
    impulse = np.zeros(44100, np.float32)
    impulse[22050] = 1.0  # not at the beginning: the band's filters have no phase and reach both ways
    at = 11025

    def response(**changes):
        heard = studio.produced(impulse, DRY, dataclasses.replace(FLAT, **changes))
        return heard, 20 * np.log10(2 * np.abs(np.fft.rfft(heard)) + 1e-9)  # one bin per Hz

    _, band = response(low_cut=200.0, high_cut=4000.0)
    assert band[200] == pytest.approx(-3, abs=0.2)
    assert band[4000] == pytest.approx(-3, abs=0.2)
    assert band[1000] == pytest.approx(0, abs=0.2)
    assert band[8000] < -20
    _, tilt = response(tilt=6.0)
    assert tilt[60] - tilt[9000] == pytest.approx(6, abs=0.5)
    heard, _ = response(echo=(0.1, -6.0))
    assert heard[at + 2205] / heard[at] == pytest.approx(0.5, abs=0.01)
    assert heard[at + 4410] / heard[at] == pytest.approx(0.25, abs=0.01)
    wet = studio.produced(impulse, Room(1, 0.5, -6.0, 0.5), FLAT)
    assert np.abs(wet[at + 300 : at + 6000]).max() > 1e-3
    assert np.abs(heard[at + 300 : at + 2000]).max() < 1e-3


def test_the_compressor_turns_down_what_is_loud_and_nothing_else():
    quiet, loud = 0.01, 0.5
    mix = np.repeat(np.float32([quiet, loud, quiet]), 4 * 22050)
    production = dataclasses.replace(FLAT, ratio=4.0, threshold=-26.0206, level=1.0)
    turned = studio.gain(mix, production)
    assert turned[22050] == pytest.approx(1.0)
    # 20 dB over the threshold become 5.
    assert 20 * np.log10(turned[7 * 22050]) == pytest.approx(-15, abs=0.1)
    assert turned[-22050] == pytest.approx(1.0, abs=0.01)
    assert np.allclose(studio.gain(mix, dataclasses.replace(production, ratio=1.0, level=2.0)), 2.0)


def test_an_amplifier_distorts_its_part_alone():
    chord = part("chords", 27, 52)
    clean, driven = (studio.dry(chord, drive, 2 * SAMPLES) for drive in (0.0, 4.0))
    assert np.array_equal(clean, synth.play(chord, 2 * SAMPLES))
    assert np.abs(driven).max() <= 1.0
    crest = [np.abs(x).max() / studio.loudness(x) for x in (clean, driven)]
    assert crest[1] < 0.6 * crest[0]
    assert studio.loudness(np.zeros(44100, np.float32)) == 0.0
