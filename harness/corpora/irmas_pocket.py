"""The pocket twin of IRMAS: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import irmas
from harness.corpora.pocket_twin import Twin

TWIN = Twin("irmas", irmas.read, marker="ground_truth/manifest.json")
folder, load = TWIN.folder, TWIN.load

CORPORA = (TWIN.entry("pocket-irmas", contents=irmas.CONTENTS, audio=irmas.AUDIO),)
