"""What sounds in general-purpose audio: General MIDI's programs, drum kits and effects, and noises, with their classes.

All 128 programs of General MIDI are here, each in one source. The classes are those of AudioSet's ontology.
"""

from collections.abc import Iterable
from dataclasses import dataclass

KIT = 128  # the bank of the drum kits

#: Classes of AudioSet with their ids, as in its ``class_labels_indices.csv``.
CLASSES = {
    "Breathing": "/m/0lyf6",
    "Choir": "/m/0l14jd",
    "Applause": "/m/028ght",
    "Bird": "/m/015p6",
    "Music": "/m/04rlf",
    "Plucked string instrument": "/m/0fx80y",
    "Guitar": "/m/0342h",
    "Electric guitar": "/m/02sgy",
    "Bass guitar": "/m/018vs",
    "Keyboard (musical)": "/m/05148p4",
    "Piano": "/m/05r5c",
    "Organ": "/m/013y1f",
    "Synthesizer": "/m/0l14qv",
    "Percussion": "/m/0l14md",
    "Drum kit": "/m/02hnl",
    "Drum machine": "/m/0cfdd",
    "Drum": "/m/026t6",
    "Cymbal": "/m/01qbl",
    "Mallet percussion": "/m/0j45pbj",
    "Brass instrument": "/m/01kcd",
    "Bowed string instrument": "/m/0l14_3",
    "String section": "/m/02qmj0d",
    "Wind instrument, woodwind instrument": "/m/085jw",
    "Flute": "/m/0l14j_",
    "Saxophone": "/m/06ncr",
    "Bell": "/m/0395lw",
    "Harmonica": "/m/03qjg",
    "Accordion": "/m/0mkg",
    "Wind": "/m/03m9d0z",
    "Ocean": "/m/05kq4",
    "Helicopter": "/m/09ct_",
    "Telephone bell ringing": "/m/07pp8cl",
    "Siren": "/m/03kmc9",
    "Gunshot, gunfire": "/m/032s66",
    "Scrape": "/m/07qv4k0",
    "Clicking": "/m/07qc9xj",
    "Chirp tone": "/m/0hdsk",
    "Noise": "/m/096m7z",
    "Mains hum": "/m/06xkwv",
    "White noise": "/m/0chx_",
}


@dataclass(frozen=True)
class Source:
    """Something that sounds.

    Parameters
    ----------
    name
        What it is called here.
    classes
        Names in `CLASSES`, the most special first.
    manner
        How it is played: a key of ``FIGURES`` in `harness.corpora.pocket.events`, ``"beat"``, ``"once"`` (an effect
        that lasts), ``"again"`` (one that comes again and again) or ``"noise"`` (synthesised).
    presets
        (bank, program) of the SoundFont, counted from 0; empty for a noise.
    keys
        MIDI keys it is played on.
    vibrato
        Depth in cents.
    """

    name: str
    classes: tuple[str, ...]
    manner: str
    presets: tuple[tuple[int, int], ...] = ()
    keys: tuple[int, ...] = ()
    vibrato: float = 0.0

    @property
    def musical(self) -> bool:
        """Whether it makes music."""
        return "Music" in self.classes


def _played(
    name: str,
    classes: str,
    manner: str,
    programs: Iterable[int],
    keys: Iterable[int],
    *,
    bank: int = 0,
    vibrato: float = 0.0,
    music: bool = True,
) -> Source:
    belongs = (*(one for one in classes.split(" / ") if one), *(("Music",) if music else ()))
    return Source(name, belongs, manner, tuple((bank, one) for one in programs), tuple(keys), vibrato)


_STRINGS, _WINDS = "Bowed string instrument", "Wind instrument, woodwind instrument"
_GUITARS = "Guitar / Plucked string instrument"

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _played("piano", "Piano / Keyboard (musical)", "keys", range(4), range(33, 89)),
        _played("keyboard", "Keyboard (musical)", "keys", range(4, 8), range(40, 85)),
        _played("mallets", "Mallet percussion / Percussion", "bars", (8, 9, 11, 12, 13), range(57, 94)),
        _played("bells", "Bell", "bars", (10, 14, 112), range(60, 91)),
        _played("organ", "Organ / Keyboard (musical)", "pad", range(16, 21), range(38, 85)),
        _played("accordion", "Accordion", "reeds", (21, 23), range(48, 85)),
        _played("harmonica", "Harmonica", "reeds", (22,), range(58, 89)),
        _played("guitar", _GUITARS, "plucked", (24, 25), range(40, 77)),
        _played("electric guitar", f"Electric guitar / {_GUITARS}", "plucked", range(26, 32), range(40, 77)),
        _played("double bass", "Plucked string instrument", "bass", (32,), range(28, 53)),
        _played("bass guitar", f"Bass guitar / {_GUITARS}", "bass", range(33, 38), range(28, 51)),
        _played("synth bass", "Synthesizer", "bass", (38, 39), range(26, 53)),
        _played("bowed strings", _STRINGS, "sustained", (40, 41, 42, 43, 110), range(43, 87), vibrato=14),
        _played("string section", f"String section / {_STRINGS}", "pad", (44, 48, 49), range(43, 84)),
        _played("pizzicato", _STRINGS, "plucked", (45,), range(43, 80)),
        _played("plucked strings", "Plucked string instrument", "plucked", (15, 46, *range(104, 108)), range(45, 82)),
        _played("timpani and toms", "Drum / Percussion", "hits", (47, 116, 117, 118), range(36, 62, 5)),
        _played("choir", "Choir", "pad", range(52, 55), range(48, 78), vibrato=10),
        _played("orchestra hit", "", "hits", (55,), range(43, 68, 5)),
        _played("brass", "Brass instrument", "sustained", range(56, 62), range(46, 78)),
        _played("saxophone", f"Saxophone / {_WINDS}", "sustained", range(64, 68), range(46, 80), vibrato=10),
        _played("woodwind", _WINDS, "sustained", (68, 69, 70, 71, 76, 78, 109, 111), range(53, 83)),
        _played("flute", f"Flute / {_WINDS}", "sustained", (72, 73, 74, 75, 77, 79), range(62, 93), vibrato=12),
        _played("synth lead", "Synthesizer", "sustained", range(80, 88), range(45, 85)),
        _played("synth pad", "Synthesizer", "pad", (50, 51, 62, 63, *range(88, 96)), range(43, 80)),
        _played("synth effect", "Synthesizer", "pad", range(96, 104), range(43, 84)),
        _played("thumb piano and steel drum", "Percussion", "bars", (108, 114), range(55, 85)),
        _played("wood and agogo", "Percussion", "hits", (113, 115), range(58, 82, 4)),
        _played("cymbal", "Cymbal / Percussion", "hits", (0, 40), (42, 46, 49, 51, 52, 55, 57, 59), bank=KIT),
        _played("reverse cymbal", "Cymbal / Percussion", "hits", (119,), (48, 52, 55)),
        _played("hand drums", "Drum / Percussion", "hits", (0,), range(60, 67), bank=KIT),
        _played("orchestra kit", "Drum / Percussion", "hits", (48,), range(41, 54), bank=KIT),
        _played("shakers", "Percussion", "hits", (0,), (39, 54, 56, 69, 70, 75, 82), bank=KIT),
        _played("drum kit", "Drum kit / Drum / Percussion", "beat", (0, 8, 16, 32, 40), range(35, 60), bank=KIT),
        _played("drum machine", "Drum machine / Percussion", "beat", (24, 25), range(35, 60), bank=KIT),
        _played("fret noise", "Scrape", "again", (120,), range(48, 68), music=False),
        _played("breath", "Breathing", "again", (121,), range(55, 73), music=False),
        _played("sea", "Ocean", "once", (122,), range(55, 70), music=False),
        _played("bird", "Bird", "again", (123,), range(40, 65), music=False),
        _played("telephone", "Telephone bell ringing", "again", (124,), range(52, 62), music=False),
        _played("helicopter", "Helicopter", "once", (125,), range(54, 67), music=False),
        _played("applause", "Applause", "once", (126,), range(55, 67), music=False),
        _played("gunshot", "Gunshot, gunfire", "again", (127,), range(48, 68), music=False),
        Source("wind", ("Wind",), "noise"),
        Source("hum", ("Mains hum", "Noise"), "noise"),
        Source("white noise", ("White noise", "Noise"), "noise"),
        Source("coloured noise", ("Noise",), "noise"),
        Source("clicks", ("Clicking",), "noise"),
        Source("sweeps", ("Chirp tone",), "noise"),
        Source("siren", ("Siren",), "noise"),
    )
}
