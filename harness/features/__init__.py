"""From audio files to what a network sees: decoding, front ends, the feature store."""

from harness.features.audio import BadAudio, decode
from harness.features.frontends import FrontEnd, front_end, names
from harness.features.han import HanSegments
from harness.features.mel import Mel, MelSegments
from harness.features.note_picture import NotePicture
from harness.features.squares import MelSquares
from harness.features.store import Store, open_store
from harness.features.vggish import Vggish, VggishPatch, vggish_examples

__all__ = [
    "BadAudio",
    "FrontEnd",
    "HanSegments",
    "Mel",
    "MelSegments",
    "MelSquares",
    "NotePicture",
    "Store",
    "Vggish",
    "VggishPatch",
    "decode",
    "front_end",
    "names",
    "open_store",
    "vggish_examples",
]
