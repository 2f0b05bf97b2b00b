"""Class activation maps by global average pooling (Zhou et al. 2016), for networks that end in pooling and one layer.

Where the mean of each feature map goes straight into a single dense layer, the layer's weights may be applied before
the mean as well: a class's logit is then the mean of its map plus a bias. So the map is no estimate but the logit
itself, laid out over frequency and time; negative cells speak against the class.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.errors import RepriseError
from harness.explain.activations import copied
from harness.explain.cam import divide, evaluating


def class_maps(
    model: nn.Sequential, inputs: torch.Tensor | np.ndarray, stage: str = "relu5"
) -> tuple[np.ndarray, np.ndarray]:
    """Maps of all classes, ``M_c = sum_k w_ck f_k``, at the resolution of the last feature maps.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`) whose last ones are: `stage`, global average pooling, and one dense
        layer. It runs in evaluation mode and is left as it was.
    inputs : Tensor or np.ndarray (n, ...)
        As the network takes them.
    stage
        The last stage with feature maps: ``"relu5"`` of the CAM network of study 002.

    Returns
    -------
    maps : np.ndarray [shape=(n, classes, bands', frames'), dtype=float32]
        Signed, in the units of the logit, without the bias; the mean of a map plus the bias of its class is the logit.
    logits : np.ndarray [shape=(n, classes), dtype=float32]
        As the network gives them.

    Raises
    ------
    RepriseError
        The network has no such stage, or something else than global average pooling and one dense layer follows it.

    Examples
    --------
    >>> from harness.models import resnet50
    >>> maps, logits = class_maps(resnet50(20), torch.zeros(1, 1, 64, 96), stage="layer4.2")
    >>> maps.shape, logits.shape
    ((1, 20, 2, 3), (1, 20))
    """
    head, tail = divide(model, stage)
    refusal = RepriseError(
        f"no class activation maps at {stage!r}: they need global average pooling and one dense layer right behind it; "
        "use gradcam instead"
    )
    if not len(tail) or not isinstance(tail[-1], nn.Linear):
        raise refusal
    with evaluating(model) as device, torch.no_grad():
        features = head(copied(inputs, device))
        pooled = tail[:-1](features)
        means = features.mean(dim=(2, 3)) if features.ndim == 4 else None
        if means is None or means.shape != pooled.shape or not torch.allclose(means, pooled, rtol=1e-4, atol=1e-5):
            raise refusal
        logits = tail[-1](pooled)
        maps = torch.einsum("ck,nkhw->nchw", tail[-1].weight, features)
    return maps.cpu().numpy(), logits.cpu().numpy()


def enlarge(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring maps to the resolution of the spectrogram, bilinearly, their values as they are.

    Parameters
    ----------
    maps : np.ndarray [shape=(..., bands', frames')]
        Such as `class_maps` gives.
    shape
        Bands and frames of the spectrogram.

    Returns
    -------
    np.ndarray [shape=(..., bands, frames), dtype=float32]
        Never beyond the values of `maps`. See `harness.explain.scale` for maps from 0 to 1.
    """
    maps = np.asarray(maps, np.float32)
    pictures = torch.from_numpy(maps.reshape(-1, 1, *maps.shape[-2:]))
    enlarged = functional.interpolate(pictures, size=tuple(shape), mode="bilinear", align_corners=False)
    return enlarged.numpy().reshape(*maps.shape[:-2], *shape)
