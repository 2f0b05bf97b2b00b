"""The pocket twin of TinySOL: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import tinysol
from harness.corpora.pocket_twin import Twin

TWIN = Twin("orchestra", tinysol.read, marker=tinysol.METADATA)
folder, load = TWIN.folder, TWIN.load

CORPORA = (TWIN.entry("pocket-notes", contents=tinysol.CONTENTS, audio=tinysol.AUDIO),)
