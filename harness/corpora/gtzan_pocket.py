"""The pocket twin of GTZAN: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import gtzan
from harness.corpora.pocket_twin import MANIFEST, Twin

TWIN = Twin("gtzan", gtzan.read, marker=MANIFEST)
folder, load = TWIN.folder, TWIN.load

CORPORA = (TWIN.entry("pocket-gtzan", contents=gtzan.CONTENTS, audio=gtzan.AUDIO),)
