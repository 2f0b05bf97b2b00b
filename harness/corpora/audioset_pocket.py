"""The pocket twin of AudioSet: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import audioset
from harness.corpora.pocket_twin import Twin

TWIN = Twin("audioset", audioset.read, marker=audioset.CLASSES)

CORPORA = (TWIN.entry("pocket-audioset", contents=audioset.CONTENTS, audio=audioset.AUDIO),)
