"""What a network listened to: class activation maps, feature factorisations, and how far to trust either.

Heat maps are frequency x time throughout: row 0 is the lowest band, column 0 the start of the clip.
"""

from harness.explain.cam import gradcam, scale
from harness.explain.factorization import Concepts, class_means, concept_names, factorize, factorize_windows, pooled
from harness.explain.faithfulness import compare, frames_sounding, randomised, shares, stem_mask

__all__ = [
    "Concepts",
    "class_means",
    "compare",
    "concept_names",
    "factorize",
    "factorize_windows",
    "frames_sounding",
    "gradcam",
    "pooled",
    "randomised",
    "scale",
    "shares",
    "stem_mask",
]
