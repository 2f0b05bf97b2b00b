"""Deep Feature Factorization (Collins et al. 2018): the concepts that a network sees in a clip, and their names.

The activations of one stage, channel x position, are factorised without negative numbers into a few concepts (a vector
over the channels each) and their heat maps (where each concept is present). The factorisation is the ``grad-cam``
package's, seeded, as study 000 used it. What a concept is called depends on the network: the classifier of ResNet-50
takes a channel vector, so it can be asked; that of VGGish takes a flattened map, which is where study 000 had to stop
(IV.H). There we compare the concept with what the network's channels do on average for the clips of each class.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pytorch_grad_cam.feature_factorization.deep_feature_factorization import dff
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from harness.errors import RepriseError
from harness.explain.cam import as_spectrogram, divide, evaluating, scale


@dataclass(frozen=True)
class Concepts:
    """What a network sees in a clip.

    Parameters
    ----------
    maps : np.ndarray [shape=(concepts, bands, frames), dtype=float32]
        Where each concept is present, from 0 to 1, at the resolution of the spectrogram; strongest concept first.
    vectors : np.ndarray [shape=(concepts, channels), dtype=float32]
        What each concept is made of.
    scores : np.ndarray [shape=(concepts, classes), dtype=float32]
        How well each class names each concept: probability (`factorize`) or cosine (`factorize_windows`).
    """

    maps: np.ndarray
    vectors: np.ndarray
    scores: np.ndarray


def _activations(model: nn.Sequential, inputs: torch.Tensor, target: str) -> np.ndarray:
    """Feature maps at a stage: (rows, channels, height, width), float32."""
    head, _ = divide(model, target)
    with evaluating(model) as device, torch.no_grad():
        activations = head(inputs.to(device))
    if activations.ndim != 4:
        raise RepriseError(f"the stage {target!r} has no feature maps over frequency and time; name an earlier one")
    return activations.float().cpu().numpy()


def _factorize(activations: np.ndarray, concepts: int) -> tuple[np.ndarray, np.ndarray]:
    """Concept vectors (concepts, channels) and heat maps (concepts, rows, height, width), strongest concept first."""
    with warnings.catch_warnings():
        # 200 iterations are the package's; more move the concepts less than a cell's width.
        warnings.simplefilter("ignore", ConvergenceWarning)
        vectors, heat = dff(activations, n_components=concepts)
    vectors, heat = vectors.T, heat.transpose(1, 0, 2, 3)
    offset = activations.min(axis=(0, 2, 3))
    strength = heat.sum(axis=(1, 2, 3)) * np.linalg.norm(vectors - offset, axis=1)
    order = np.argsort(-strength, kind="stable")
    return np.float32(vectors[order]), np.float32(heat[order])


def factorize(model: nn.Sequential, inputs: torch.Tensor, *, target: str, concepts: int = 5) -> Concepts:
    """Concepts of a clip, named by the network's own classifier.

    For networks that pool globally behind the target stage, such as ResNet-50 at ``"layer4.2"``: there a concept
    vector is a picture of one cell, and the rest of the chain says which classes it would predict from it.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`).
    inputs : Tensor (1, 1, bands, frames)
        One clip as the network takes it.
    target
        The stage to factorise.
    concepts
        How many concepts; the package's default is 5.

    Returns
    -------
    Concepts
        The scores are sigmoid probabilities, for the network's labels do not exclude each other. (The package's
        ready-made figure takes a softmax; the order of the classes is the same.)

    Raises
    ------
    RepriseError
        The network has no such stage, or its output there is not 2-d feature maps.
    """
    vectors, heat = _factorize(_activations(model, inputs, target), concepts)
    _, tail = divide(model, target)
    with evaluating(model) as device, torch.no_grad():
        scores = tail(torch.from_numpy(vectors)[:, :, None, None].to(device)).sigmoid().cpu().numpy()
    return Concepts(scale(heat[:, 0], tuple(inputs.shape[-2:])), vectors, scores)


def factorize_windows(
    model: nn.Sequential, inputs: torch.Tensor, means: np.ndarray, *, target: str, concepts: int = 5
) -> Concepts:
    """Concepts of a clip that the network takes as windows, named by the training clips they resemble.

    All windows of the clip are factorised together, so that a concept is the same thing in each of them.

    Parameters
    ----------
    model
        A chain of stages that starts with ``windows``: VGGish, at its last pooling ``"features.15"``.
    inputs : Tensor (1, patches, frames, bands)
        One clip as the network takes it.
    means : np.ndarray [shape=(classes, channels)]
        What the channels do on average for the clips of each class, see `class_means`.
    target
        The stage to factorise; the means must be of the same one.
    concepts
        How many concepts.

    Returns
    -------
    Concepts
        The scores are cosines, of the concept with the mean of each class, after the mean over all classes has been
        taken from both: what all clips share names nothing. They are -1 for classes without a mean, 0 where nothing
        is left to compare.

    Raises
    ------
    RepriseError
        The network has no such stage, or its output there is not 2-d feature maps.
    """
    vectors, heat = _factorize(_activations(model, inputs, target), concepts)
    _, patches, frames, bands = inputs.shape
    maps = scale(as_spectrogram(heat), (bands, patches * frames))
    return Concepts(maps, vectors, _cosines(vectors, means))


def _cosines(vectors: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Cosines of concepts (k, channels) with class means (classes, channels), both without what the classes share."""
    known = ~np.isnan(means).any(axis=1)
    shared = means[known].mean(axis=0)
    # A concept's vector has no scale of its own (its heat map carries it): compare directions, then differences.
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    left = unit - shared / max(np.linalg.norm(shared), 1e-12)
    right = means[known] - shared
    norms = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    scores = np.full((len(vectors), len(means)), -1.0, np.float32)
    scores[:, known] = np.divide(left @ right.T, norms, out=np.zeros_like(norms), where=norms > 1e-12)
    return scores


def pooled(model: nn.Sequential, inputs: np.ndarray, *, target: str, batch_size: int = 16) -> np.ndarray:
    """Average every channel of a stage over a whole clip.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`).
    inputs : np.ndarray [shape=(n, ...)]
        Clips as the network takes them; a memory-mapped store will do.
    target
        The stage to read.
    batch_size
        How many clips pass the network at a time.

    Returns
    -------
    np.ndarray [shape=(n, channels), dtype=float32]
        Means over frequency, time and windows.

    Raises
    ------
    RepriseError
        The network has no such stage, or its output there is not 2-d feature maps.
    """
    means = []
    for start in range(0, len(inputs), batch_size):
        batch = torch.from_numpy(np.array(inputs[start : start + batch_size], np.float32))
        activations = _activations(model, batch, target)
        _, channels, height, width = activations.shape
        means.append(activations.reshape(len(batch), -1, channels, height, width).mean(axis=(1, 3, 4)))
    return np.concatenate(means)


def class_means(vectors: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of the clips of each class.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, channels)]
        One vector per training clip, see `pooled`.
    labels, mask : np.ndarray [shape=(n, classes)]
        Labels, and whether each was observed.

    Returns
    -------
    np.ndarray [shape=(classes, channels), dtype=float32]
        Over the clips that are known to be positive; NaN for a class without any.
    """
    positive = (np.asarray(labels) > 0) & np.asarray(mask, bool)
    count = positive.sum(axis=0)[:, None]
    means = positive.T.astype(np.float32) @ vectors
    return np.divide(means, count, out=np.full(means.shape, np.nan, np.float32), where=count > 0)


def concept_names(scores: np.ndarray, classes: Sequence[str], *, top: int = 2) -> list[str]:
    """Name concepts by the classes that fit best.

    Parameters
    ----------
    scores : np.ndarray [shape=(concepts, classes)]
        As in `Concepts`.
    classes
        Names of the classes.
    top
        How many classes a name holds.

    Returns
    -------
    list of str
        Such as ``"organ 0.62, flute 0.20"``, best class first.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [", ".join(f"{classes[c]} {row[c]:.2f}" for c in order) for row, order in zip(scores, best, strict=True)]
