"""From audio files to what a network sees: decoding, front ends, the feature store."""

from harness.features.audio import BadAudio, decode
from harness.features.frontends import FrontEnd, front_end, names, vggish_examples
from harness.features.han import HanSegments
from harness.features.squares import MelSquares
from harness.features.store import Store, open_store

__all__ = [
    "BadAudio",
    "FrontEnd",
    "HanSegments",
    "MelSquares",
    "Store",
    "decode",
    "front_end",
    "names",
    "open_store",
    "vggish_examples",
]
