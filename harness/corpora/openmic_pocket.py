"""The pocket twin of OpenMIC-2018: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import openmic
from harness.corpora.pocket_twin import Twin

TWIN = Twin("openmic", openmic.read, marker=openmic.CLASS_MAP)
folder, load = TWIN.folder, TWIN.load

CORPORA = (TWIN.entry("pocket-openmic", contents=openmic.CONTENTS, checksums=openmic.audio_checksums),)
