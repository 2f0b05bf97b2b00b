from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.orchestra import CLASSES, empty_classes, midi_key, pitch_name


@given(st.integers(0, 127))
def test_names_and_keys_are_each_others_inverse(key):
    assert midi_key(pitch_name(key)) == key


def test_names_of_keys():
    assert [midi_key(name) for name in ("C-1", "A0", "C4", "A4", "A#4", "G#7", "G9")] == [0, 21, 60, 69, 70, 104, 127]
    for name in ("", "H4", "A", "4", "As4", "Bb3", "E#4", "B#4", "a4", "A44", "G#9", "C-2", "A4 "):
        assert midi_key(name) is None


def test_empty_classes_are_told_in_the_order_of_the_classes():
    assert empty_classes(["tuba", "violin", "oboe", "violin"]) == ["cello", "double bass", "flute", "trumpet"]
    assert empty_classes(list(CLASSES)) == []
