"""The five objectives that VGGish is pre-trained by: networks around it, losses, and which clips they take as examples.

``aed``
    Audio-event detection, as the released weights were trained: every patch of a clip has the clip's events.
``textual``
    The word vector of a note's qualities, from the note (study 003, 4.1, "Textual description").
``den_add``, ``den_mul``
    The log-mel patch itself, from a copy of it with noise added or with values struck out ("Signal Recovery").
``align``
    Which tags belong to which sound, among those of a batch ("Audio & Tag Alignment", by COALA's rules).

Adding one means a function that builds it from its settings and an entry in `OBJECTIVES`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness import features
from harness.corpora import Corpus, fsd50k
from harness.errors import RepriseError
from harness.features import FrontEnd
from harness.models.vggish import EMBEDDING, encoder
from harness.training import loop
from harness.training.losses import masked_bce
from replications.attention_embeddings import tags, word_vectors

#: Settings that every objective has.
COMMON = ("corpus", "width", "epochs", "patience", "batch_size", "learning_rate")
#: Seed of the corruption that validation patches get: the same in every epoch, or losses could not be compared.
VALIDATION_SEED = 0
#: Length of COALA's representations of sounds and of tags.
COMMON_SPACE = 1152
#: What COALA multiplies its contrastive loss by; with plain SGD it is a factor on the learning rate.
CONTRASTIVE_WEIGHT = 10.0


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Parameters
    ----------
    network
        Randomly initialised; its VGGish is ``network.encoder``.
    forward
        Patches ``(n, 1, 96, 64)`` -> what `loss` takes.
    loss
        Outputs, labels, mask -> sum and count.
    """

    network: nn.Module
    forward: loop.Forward
    loss: loop.Loss


@dataclass(frozen=True)
class Objective:
    """One of the five.

    Parameters
    ----------
    build
        ``build(settings, number of labels) -> Training``.
    front_end
        What gives the patches of a clip, from the settings.
    labels
        ``labels(corpus, settings) -> (clips, c) uint8``.
    settings
        Names of its own settings, beside `COMMON`.
    labelled
        Whether clips without a single label are left out.
    compares
        Whether the loss compares the clips of a batch, so that one smaller batch at an epoch's end is another loss.
    """

    build: Callable[[Mapping[str, Any], int], Training]
    front_end: Callable[[Mapping[str, Any]], FrontEnd]
    labels: Callable[[Corpus, Mapping[str, Any]], np.ndarray]
    settings: tuple[str, ...] = ()
    labelled: bool = False
    compares: bool = False


def event_detection(settings: Mapping[str, Any], classes: int) -> Training:
    """VGGish with one linear classifier, and binary cross-entropy over all classes.

    Parameters
    ----------
    settings
        ``width``.
    classes
        Number of events.

    Returns
    -------
    Training
        Its outputs are logits ``(n, classes)``.
    """
    network = _stacked(encoder(settings["width"]), nn.Linear(EMBEDDING, classes))
    return Training(network, network, partial(masked_bce, missing="negative"))


def textual(settings: Mapping[str, Any], classes: int) -> Training:
    """VGGish, batch normalisation and two dense layers, the first with tanh, that give a word vector.

    Parameters
    ----------
    settings
        ``width``, ``margin``, and ``words``, the source of the word vectors.
    classes
        Number of qualities; ten.

    Returns
    -------
    Training
        Its outputs are word vectors ``(n, 300)``; 129,256 parameters follow VGGish.

    Raises
    ------
    RepriseError
        The corpus has other labels than qualities, or the word vectors are not here.
    """
    if classes != len(word_vectors.WORDS):
        raise RepriseError(
            f"the textual objective needs the {len(word_vectors.WORDS)} qualities of NSynth, and its corpus has "
            f"{classes} classes; name nsynth or pocket-nsynth as its corpus"
        )
    size = word_vectors.DIMENSIONS
    dense = nn.Sequential(nn.BatchNorm1d(EMBEDDING), nn.Linear(EMBEDDING, size), nn.Tanh(), nn.Linear(size, size))
    network = _stacked(encoder(settings["width"]), dense)
    words = torch.from_numpy(word_vectors.load(settings["words"]))

    def loss(outputs: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return cosine_loss(outputs, labels, words.to(outputs.device), margin=settings["margin"])

    return Training(network, network, loss)


def cosine_loss(
    predicted: torch.Tensor, qualities: torch.Tensor, words: torch.Tensor, *, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine embedding loss of predicted word vectors: near their own target, not near those of unlike notes.

    A note's target is the mean of the vectors of its qualities, scaled to length 1; the paper does not say what becomes
    of several. A note and its own target cost 1 - cos. The margin, which the paper gives, acts on pairs that do not
    belong together, so there must be some: a note and the target of every note of the batch with which it shares no
    quality cost max(0, cos - margin). The two kinds are averaged each for itself and then added. In one common mean the
    n true pairs would be drowned by up to n (n - 1) others, most of which cost nothing.

    Parameters
    ----------
    predicted : Tensor (n, d)
        Of any length.
    qualities : Tensor (n, words)
        1 for those that a note has; every note has one at least.
    words : Tensor (words, d)
        Word vector of each quality.
    margin
        Cosine up to which a pair of unlike notes costs nothing.

    Returns
    -------
    total : Tensor ()
        n times the sum of the two means.
    count : Tensor ()
        n.
    """
    targets = F.normalize(qualities @ words / qualities.sum(dim=1, keepdim=True))
    cosines = F.normalize(predicted) @ targets.T
    unlike = (qualities @ qualities.T == 0).to(cosines.dtype)
    true_pairs = (1 - cosines.diagonal()).mean()
    false_pairs = (unlike * F.relu(cosines - margin)).sum() / unlike.sum().clamp(min=1)
    count = cosines.new_tensor(len(cosines))
    return count * (true_pairs + false_pairs), count


def denoising(settings: Mapping[str, Any], corrupt: "Corruption") -> Training:
    """Auto-encoder of corrupted patches: VGGish, and a decoder of its embedding; squared error to the clean patch.

    The paper names no loss. The log-mel values are taken as they are: its noise has an absolute deviation.

    Parameters
    ----------
    settings
        ``width``.
    corrupt
        What is done to the clean patches.

    Returns
    -------
    Training
        Its outputs are errors ``(n, 96, 64)``, so that the target need not travel beside the input.
    """
    network = nn.Sequential(
        OrderedDict(corrupt=corrupt, encoder=encoder(settings["width"]), unsqueeze=nn.Unflatten(1, (EMBEDDING, 1)))
    )
    network.add_module("decoder", decoder())
    return Training(network, lambda clean: network(clean).mT - clean.squeeze(1), _squared_error)


def decoder() -> nn.Sequential:
    """Build the paper's decoder: four transposed convolutions along time, 1 -> 10 -> 30 -> 60 -> 96 frames.

    Returns
    -------
    nn.Sequential
        Takes embeddings ``(n, 128, 1)``, gives patches ``(n, 64, 96)``, mel band by time; 614,720 parameters.
    """
    return nn.Sequential(
        *(nn.ConvTranspose1d(EMBEDDING, 128, 10), nn.LeakyReLU(0.1)),
        *(nn.ConvTranspose1d(128, 64, 21), nn.LeakyReLU(0.25)),
        *(nn.ConvTranspose1d(64, 64, 31), nn.LeakyReLU(0.5)),
        nn.ConvTranspose1d(64, 64, 37),
    )


class Corruption(nn.Module):
    """Noise on log-mel patches: fresh in training, always the same in evaluation.

    Parameters
    ----------
    kind
        ``"add"``: normal noise of deviation `strength` is added. ``"mul"``: every value is kept with probability
        `strength` and else becomes 0.
    strength
        See `kind`.
    """

    def __init__(self, kind: str, strength: float) -> None:
        super().__init__()
        self.kind, self.strength = kind, strength

    def forward(self, clean: torch.Tensor) -> torch.Tensor:
        """Corrupt patches.

        Parameters
        ----------
        clean : Tensor (n, ...)
            Log-mel values.

        Returns
        -------
        Tensor (n, ...)
            Of the same shape.
        """
        if self.training:
            draw = partial(torch.empty, clean.shape, device=clean.device)
            generator = None
        else:
            # Every batch meets the same noise; it comes from the CPU, so that it does not depend on the device.
            draw = partial(torch.empty, clean.shape)
            generator = torch.Generator().manual_seed(VALIDATION_SEED)
        if self.kind == "add":
            return clean + draw().normal_(0, self.strength, generator=generator).to(clean.device)
        return clean * draw().bernoulli_(self.strength, generator=generator).to(clean.device)


def _squared_error(errors: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return errors.square().sum(), errors.new_tensor(errors.numel())


class Alignment(nn.Module):
    """VGGish and an encoder of tags, side by side, both ending in a space of 1,152 dimensions.

    The paper puts an affine map behind VGGish. The tag side is COALA's, with the bias-free map and the dropout behind
    its encoder.

    Parameters
    ----------
    width
        Of VGGish.
    vocabulary
        Number of tags; 1,000 in COALA.
    """

    def __init__(self, width: float, vocabulary: int) -> None:
        super().__init__()
        self.encoder = encoder(width)
        self.affine = nn.Linear(EMBEDDING, COMMON_SPACE)
        self.tag_encoder = nn.Sequential(
            *_dense(vocabulary, 512),
            *_dense(512, 512),
            *_dense(512, COMMON_SPACE),
        )
        self.tag_projection = nn.Sequential(nn.Linear(COMMON_SPACE, COMMON_SPACE, bias=False), nn.Dropout(0.25))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Place sounds: patches ``(n, 1, 96, 64)`` -> ``(n, 1152)``."""
        return self.affine(self.encoder(patches))

    def place_tags(self, marks: torch.Tensor) -> torch.Tensor:
        """Place tags: marks ``(n, vocabulary)`` of 0 and 1 -> ``(n, 1152)``."""
        return self.tag_projection(self.tag_encoder(marks))


def _dense(inputs: int, units: int) -> list[nn.Module]:
    return [nn.Linear(inputs, units), nn.BatchNorm1d(units), nn.ReLU(), nn.Dropout(0.25)]


def alignment(settings: Mapping[str, Any], vocabulary: int) -> Training:
    """VGGish beside COALA's tag encoder, by its contrastive loss.

    Parameters
    ----------
    settings
        ``width`` and ``temperature``.
    vocabulary
        Number of tags.

    Returns
    -------
    Training
        Its outputs are the places of the sounds, ``(n, 1152)``; the loss places the tags.
    """
    network = Alignment(settings["width"], vocabulary)

    def loss(outputs: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total, count = nt_xent(outputs, network.place_tags(labels), temperature=settings["temperature"])
        return CONTRASTIVE_WEIGHT * total, count

    return Training(network, network, loss)


def nt_xent(sounds: torch.Tensor, words: torch.Tensor, *, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrastive loss of n sounds and their n sets of tags: each must find its partner among all 2 n - 1 others.

    As COALA computes it: with s = exp(cos / temperature), the mean over all 2 n of -log(s of the partner / sum of s of
    all others + 1e-5).

    Parameters
    ----------
    sounds, words : Tensor (n, d)
        Rows that belong together; of any length.
    temperature
        Divides the cosines.

    Returns
    -------
    total : Tensor ()
        Sum over all 2 n.
    count : Tensor ()
        2 n.
    """
    places = F.normalize(torch.cat([sounds, words]))
    itself = torch.eye(len(places), dtype=torch.bool, device=places.device)
    similarities = torch.exp(places @ places.T / temperature).masked_fill(itself, 0)
    others = similarities.sum(dim=1)
    partners = similarities.diagonal(len(sounds))
    ratios = torch.cat([partners, partners]) / others
    return -torch.log(ratios + 1e-5).sum(), others.new_tensor(len(others))


def _stacked(body: nn.Sequential, head: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(encoder=body, head=head))


def _patches(settings: Mapping[str, Any]) -> FrontEnd:
    return features.front_end("vggish_patch", which=settings["patch"])


def _own_labels(corpus: Corpus, settings: Mapping[str, Any]) -> np.ndarray:
    return corpus.labels


def _no_labels(corpus: Corpus, settings: Mapping[str, Any]) -> np.ndarray:
    return np.zeros((len(corpus.clips), 1), np.uint8)


def _tag_labels(corpus: Corpus, settings: Mapping[str, Any]) -> np.ndarray:
    """Marks of the tags; the vocabulary is that of the clips that are trained and validated on."""
    given = fsd50k.tags(corpus)
    seen = [clip for clip, part in zip(given, corpus.clips["partition"], strict=True) if part != "test"]
    words = tags.vocabulary(seen, size=settings["tags"], least_uses=settings["least_uses"])
    return tags.multi_hot(given, words)


OBJECTIVES = {
    "aed": Objective(event_detection, lambda settings: features.front_end("vggish"), _own_labels),
    "textual": Objective(textual, _patches, _own_labels, ("patch", "margin", "words"), labelled=True),
    "den_add": Objective(
        lambda settings, labels: denoising(settings, Corruption("add", settings["noise"])),
        _patches,
        _no_labels,
        ("patch", "noise"),
    ),
    "den_mul": Objective(
        lambda settings, labels: denoising(settings, Corruption("mul", settings["keep"])),
        _patches,
        _no_labels,
        ("patch", "keep"),
    ),
    "align": Objective(
        alignment,
        _patches,
        _tag_labels,
        ("patch", "temperature", "optimizer", "tags", "least_uses"),
        labelled=True,
        compares=True,
    ),
}
