"""The pocket twin of FSD50K: rendered where it is missing, then read as any tree of the published layout."""

from harness.corpora import fsd50k
from harness.corpora.pocket_twin import Twin

TWIN = Twin("fsd50k", fsd50k.read, marker=fsd50k.VOCABULARY)

CORPORA = (TWIN.entry("pocket-fsd50k", contents=fsd50k.CONTENTS, audio=fsd50k.AUDIO),)
