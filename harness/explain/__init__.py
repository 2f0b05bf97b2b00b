"""What a network listened to: activation maps, factorisations and filters, seen and heard, and how far to trust them.

Heat maps are frequency x time throughout: row 0 is the lowest band, column 0 the start of the clip.
"""

from harness.explain.activations import activations, map_stages
from harness.explain.auralisation import as_mask, at_level, auralise, common_level
from harness.explain.cam import gradcam, scale
from harness.explain.deconvolution import deconvolve
from harness.explain.factorization import Concepts, class_means, concept_names, factorize, factorize_windows, pooled
from harness.explain.faithfulness import frames_sounding, randomised, shares, stem_mask
from harness.explain.gap_cam import class_maps, enlarge

__all__ = [
    "Concepts",
    "activations",
    "as_mask",
    "at_level",
    "auralise",
    "class_maps",
    "class_means",
    "common_level",
    "concept_names",
    "deconvolve",
    "enlarge",
    "factorize",
    "factorize_windows",
    "frames_sounding",
    "gradcam",
    "map_stages",
    "pooled",
    "randomised",
    "scale",
    "shares",
    "stem_mask",
]
