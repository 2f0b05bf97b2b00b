import numpy as np
import pytest

from harness.corpora.pocket import soundfont
from harness.corpora.pocket.instruments import CATALOGUE, CLASSES, DRUM_BANK

RATE = soundfont.SAMPLE_RATE


def hertz(key):
    return 440 * 2 ** ((key - 69) / 12)


def mistuning(audio, key):
    """Cents from the nominal pitch at which a comb of five harmonics fits the spectrum best, within a tone."""
    size = 2**19
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), size))
    cents = np.arange(-200, 201, 4)
    combs = hertz(key) * 2 ** (cents / 1200)
    fits = [sum(np.log(spectrum[round(k * comb * size / RATE)] + 1e-3) for k in range(1, 6)) for comb in combs]
    return cents[int(np.argmax(fits))]


def treble(audio):
    """Share of the energy above 2 kHz."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    return power[2000 * len(audio) // RATE :].sum() / power.sum()


@pytest.mark.parametrize("program", [0, 11, 19, 24, 25, 33, 40, 42, 56, 57, 65, 66, 71, 73, 105])
def test_a_note_sounds_at_its_pitch(program):
    key = 43 if program == 33 else 60
    audio = soundfont.held_note((0, program), key, RATE)
    assert abs(mistuning(audio, key)) <= 20


def test_detuning_moves_the_pitch():
    audio = soundfont.held_note((0, 71), 60, RATE, detune=100)
    assert mistuning(audio, 60) == pytest.approx(100, abs=12)


def test_a_shorter_note_is_the_beginning_of_a_longer_one():
    long = soundfont.held_note((0, 40), 67, RATE, vibrato=18)
    np.testing.assert_array_equal(soundfont.held_note((0, 40), 67, RATE // 3, vibrato=18), long[: RATE // 3])


def test_held_notes_last_and_struck_notes_decay():
    def fall(program):
        audio = soundfont.held_note((0, program), 60, 8 * RATE)
        parts = [np.sqrt((audio[s * RATE : (s + 1) * RATE] ** 2).mean()) for s in (0, 7)]
        return 20 * np.log10(parts[0] / parts[1])

    assert abs(fall(71)) < 3
    assert abs(fall(19)) < 3
    assert fall(0) > 20
    assert fall(24) > 20


def test_velocity_makes_louder_and_brighter():
    soft, hard = (soundfont.held_note((0, 0), 60, RATE, velocity=v) for v in (40, 120))
    assert treble(hard) > 1.5 * treble(soft)
    assert soundfont.loudness(127) == 1
    assert 20 * np.log10(soundfont.loudness(64) / soundfont.loudness(32)) == pytest.approx(40 * np.log10(2))


def test_release_falls_smoothly_to_60_db_below():
    for program in (0, 19, 40, 105):
        fade = soundfont.release((0, program), 60)
        assert fade[0] == 1
        assert (np.diff(fade) < 0).all()
        assert 20 * np.log10(fade[-1]) == pytest.approx(-60, abs=0.1)
        assert 0.02 * RATE < len(fade) < RATE


def test_every_patch_of_the_catalogue_sounds_over_its_whole_range():
    assert tuple(CATALOGUE) == CLASSES
    for name, patches in CATALOGUE.items():
        for patch in patches:
            for key in {patch.low, (patch.low + patch.high) // 2, patch.high}:
                audio = soundfont.held_note((patch.bank, patch.program), key, RATE // 4)
                assert np.isfinite(audio).all()
                assert np.abs(audio).max() < 2, (name, patch.program, key)
                assert np.sqrt((audio**2).mean()) > 1e-3, (name, patch.program, key)


def test_a_gap_between_zones_is_filled():
    zones = soundfont.load().presets[0, 65]
    assert not any(zone.keys[0] <= 64 <= zone.keys[1] for zone in zones)
    assert abs(mistuning(soundfont.held_note((0, 65), 64, RATE), 64)) <= 20


@pytest.mark.parametrize("key", [20, 97, 127])
def test_keys_outside_the_range_are_refused(key):
    with pytest.raises(ValueError, match=r"outside 21\.\.96"):
        soundfont.held_note((0, 0), key, 100)


def test_drums_are_one_shots():
    audio = soundfont.held_note((DRUM_BANK, 0), 38, 2 * RATE)
    assert np.abs(audio[: RATE // 10]).max() > 0.1
    assert not audio[RATE:].any()
