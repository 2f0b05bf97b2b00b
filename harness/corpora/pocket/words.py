"""Words that people give to sounds: the tags of the pocket twin of FSD50K."""

import numpy as np

from harness.corpora.pocket.events import Event, Mood
from harness.corpora.pocket.sources import KIT, SOURCES

FEWEST, MOST = 5, 12

#: Of General MIDI's programs, eight to a line.
_PROGRAMS = """\
grand-piano|bright grand-piano|electric-grand|honky-tonk saloon|rhodes electric-piano|fm electric-piano|harpsichord baroque|clavinet funk
celesta|glockenspiel|music-box toy|vibraphone vibes|marimba wood|xylophone wood|tubular-bells church|dulcimer zither
hammond drawbar|hammond jazz|rock|church pipe-organ|harmonium reed|french musette|blues mouth-organ|tango bandoneon
nylon classical acoustic|steel folk acoustic|jazz|clean|muted funk|overdrive rock|metal heavy|harmonics
acoustic upright jazz|finger|pick|fretless|slap funk|slap pop|analog|digital
violin fiddle|viola|cello|contrabass|tremolo orchestra|orchestra|harp|timpani orchestra
orchestra violins|slow orchestra|synth-strings pad|synth-strings pad|aah voices|ooh voices|synth-voice vocal|orchestra stab
trumpet|trombone|tuba|muted-trumpet jazz|french-horn|section|synth-brass eighties|synth-brass
soprano-sax|alto-sax jazz|tenor-sax jazz|baritone-sax|oboe|english-horn|bassoon|clarinet
piccolo|classical|recorder baroque|pan-flute ethnic|bottle blow|shakuhachi japanese ethnic|whistle|ocarina
square chiptune|sawtooth|calliope|chiff|charang|vocal|fifths|bass
new-age|warm|polysynth|choir vocal|bowed glass|metallic|halo|sweep
rain crystal|soundtrack cinematic|crystal|atmosphere|brightness|goblin creepy|echo|sci-fi space
sitar indian ethnic|banjo bluegrass|shamisen japanese ethnic|koto japanese ethnic|kalimba african|bagpipe scottish|fiddle folk|shanai indian ethnic
tinkle|agogo latin|steel-drum caribbean|woodblock wood|taiko japanese|tom|synth-drum electronic|reverse swell
fret squeak|breath inhale|sea waves|tweet chirp|ring phone|rotor aircraft|crowd clapping|shot weapon
"""  # noqa: E501
PROGRAMS = tuple(tuple(entry.split()) for line in _PROGRAMS.splitlines() for entry in line.split("|"))

#: Of the sources; the first is the one that hardly anybody leaves out.
_SOURCES = {
    "piano": "piano keys keyboard acoustic",
    "keyboard": "keyboard keys electric vintage",
    "mallets": "mallet percussion tuned metallic",
    "bells": "bell metal bright ringing",
    "organ": "organ keyboard keys sustained",
    "accordion": "accordion keys reed folk",
    "harmonica": "harmonica reed wind",
    "guitar": "guitar strings plucked acoustic",
    "electric guitar": "guitar electric strings electric-guitar",
    "double bass": "bass strings plucked double-bass",
    "bass guitar": "bass guitar electric low",
    "synth bass": "synth bass electronic low",
    "bowed strings": "strings bowed orchestral",
    "string section": "strings ensemble orchestral section",
    "pizzicato": "pizzicato strings plucked orchestral",
    "plucked strings": "strings plucked folk",
    "timpani and toms": "drum percussion skin",
    "choir": "choir voice vocal human",
    "orchestra hit": "orchestra hit stab",
    "brass": "brass wind orchestral",
    "saxophone": "saxophone sax wind reed",
    "woodwind": "woodwind wind orchestral",
    "flute": "flute wind woodwind",
    "synth lead": "synth lead electronic synthesizer",
    "synth pad": "synth pad ambient synthesizer",
    "synth effect": "synth texture electronic synthesizer",
    "thumb piano and steel drum": "percussion tuned melodic",
    "wood and agogo": "percussion world acoustic",
    "cymbal": "cymbal percussion metal drums",
    "reverse cymbal": "cymbal percussion riser",
    "hand drums": "drum percussion latin skin",
    "orchestra kit": "drum percussion orchestral timpani",
    "shakers": "percussion shaker latin",
    "drum kit": "drum drums percussion acoustic",
    "drum machine": "drum drums electronic drum-machine",
    "fret noise": "scrape guitar strings foley",
    "breath": "breath human breathing foley",
    "sea": "sea water nature ocean",
    "bird": "bird animal nature",
    "telephone": "telephone bell office",
    "helicopter": "helicopter engine vehicle",
    "applause": "applause people audience",
    "gunshot": "gunshot gun explosion",
    "wind": "wind weather nature storm",
    "hum": "hum electric mains buzz",
    "white noise": "noise white-noise hiss",
    "coloured noise": "noise rumble pink-noise",
    "clicks": "click tick mechanical",
    "sweeps": "sweep synth electronic sine",
    "siren": "siren alarm emergency",
}
SOURCE_WORDS = {name: tuple(text.split()) for name, text in _SOURCES.items()}

#: Of the keys of a drum kit.
KEYS = {
    **dict.fromkeys((35, 36), "kick"),
    **dict.fromkeys((38, 40), "snare"),
    **dict.fromkeys((41, 43, 45, 47, 48, 50), "tom"),
    **dict.fromkeys((42, 44, 46), "hi-hat"),
    **dict.fromkeys((49, 57, 52, 55), "crash"),
    **dict.fromkeys((51, 53, 59), "ride"),
    **dict.fromkeys((60, 61), "bongo"),
    **dict.fromkeys((62, 63, 64), "conga"),
    **dict.fromkeys((65, 66), "timbale"),
    **dict.fromkeys((69, 82), "shake"),
    37: "rimshot", 39: "clap", 54: "tambourine", 56: "cowbell", 70: "maraca", 75: "claves",
}  # fmt: skip

KINDS = {
    "note": ("note", "single-note", "one-shot"),
    "chord": ("chord", "harmony"),
    "phrase": ("melody", "phrase", "music"),
    "loop": ("loop", "music", "bpm"),
    "hit": ("hit", "one-shot"),
    "beat": ("beat", "loop", "rhythm", "bpm"),
    "effect": ("field-recording", "sound-effect"),
    "noise": ("sound-effect", "texture"),
}

#: What an uploader may write under everything.
SIGNATURES = (
    "sample", "multisample", "studio", "recording", "zoom", "free", "game", "film", "ambient", "experimental",
    "vintage", "production",
)  # fmt: skip
_PITCHES = ("c", "c-sharp", "d", "d-sharp", "e", "f", "f-sharp", "g", "g-sharp", "a", "a-sharp", "b")


def fitting(event: Event, mood: Mood, treatments: list[str], loudness: float) -> list[str]:
    """All words that fit a sound.

    Parameters
    ----------
    event
        What sounds.
    mood
        Whose scale it is on.
    treatments
        What was done to it: ``"reverb"``, ``"distortion"``, ``"reverse"``, ``"lo-fi"``.
    loudness
        Level of its loud parts in dB re full scale.

    Returns
    -------
    list of str
        Different words, the source's first word in front.
    """
    source = SOURCES[event.source]
    words = [*SOURCE_WORDS[event.source], *KINDS[event.kind]]
    if source.manner not in ("noise", "once", "again"):
        pitches = [note.pitch for note in event.notes]
        if source.presets[0][0] == KIT:
            if event.kind == "hit" or len(set(pitches)) == 1:
                words += [KEYS[pitches[0]]] if pitches[0] in KEYS and event.preset != (KIT, 48) else []
        else:
            words += PROGRAMS[event.preset[1]]
        if source.manner not in ("hits", "beat"):
            mean = float(np.mean(pitches))
            words += ["low", "deep"] if mean < 46 else ["high"] if mean > 76 else []
            words += (
                [mood.scale] if event.kind in ("chord", "phrase", "loop") and mood.scale in ("major", "minor") else []
            )
            words += [_PITCHES[pitches[0] % 12]] if event.kind == "note" else []
        if event.tempo:
            words += ["fast"] if event.tempo > 135 else ["slow"] if event.tempo < 85 else []
        if event.kind in ("loop", "beat"):
            words.append(f"{event.tempo:.0f}bpm")
    elif event.preset is not None:
        words += PROGRAMS[event.preset[1]]
    words += ["loud"] if loudness > -15 else ["quiet"] if loudness < -27 else []
    words += ["short"] if event.seconds < 1 else ["long"] if event.seconds > 6 else []
    words += [*treatments] or (["dry"] if event.kind in ("note", "hit") else [])
    return list(dict.fromkeys(words))


def tags(
    event: Event,
    mood: Mood,
    treatments: list[str],
    loudness: float,
    signature: tuple[str, ...],
    thorough: float,
    rng: np.random.Generator,
) -> list[str]:
    """Tags that somebody gives a sound.

    Parameters
    ----------
    event, mood, treatments, loudness
        As in `fitting`.
    signature
        Words that this person writes under everything.
    thorough
        Chance that a fitting word is given.
    rng
        Source of randomness.

    Returns
    -------
    list of str
        Five to twelve different words in random order. The first word that fits, the instrument's, is left out once
        in twenty times.
    """
    words = fitting(event, mood, treatments, loudness)
    given = [word for place, word in enumerate(words) if rng.random() < (thorough if place else 0.95)]
    others = [word for word in words if word not in given]
    given += [word for word in signature if word not in words]
    while len(given) < FEWEST and others:
        given.append(others.pop(rng.integers(len(others))))
    spare = [word for word in SIGNATURES if word not in given]
    while len(given) < FEWEST:
        given.append(spare.pop(rng.integers(len(spare))))
    return [given[place] for place in rng.permutation(len(given))[:MOST]]
