"""The pocket twin of NSynth: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import nsynth
from harness.corpora.pocket_twin import Twin

TWIN = Twin("nsynth", nsynth.read, marker=nsynth.CONTENTS[0])
folder, load = TWIN.folder, TWIN.load

CORPORA = (TWIN.entry("pocket-nsynth", contents=nsynth.CONTENTS, audio=nsynth.AUDIO),)
