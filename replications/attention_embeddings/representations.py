"""What the attention model sees of a clip: a representation of it, frame by frame, in [0, 1] (study 003, 2.2 and 4).

Seven of the eight come from VGGish's architecture with weights from different places; the eighth is the log-mel
spectrogram itself. The released codes need neither audio nor a network: they come with the data set.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import features
from harness.corpora import openmic
from harness.errors import RepriseError
from harness.features import FrontEnd, Store
from harness.models import frozen, weights
from harness.models.vggish import Windows, encoder, glorot_
from harness.storage import cache_home, fingerprint
from harness.studies.context import Context, Opened
from replications.attention_embeddings import pretraining

#: Name of the stage whose output is the embedding.
EMBEDDING = "embeddings.5"
#: Eigenvalues below this share of the largest are rounding, not variance: a whitened dimension of them would be noise.
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Representation:
    """A representation of every clip of a corpus.

    Parameters
    ----------
    array : ndarray (n, frames, size)
        float32 in [0, 1], one row per clip of the corpus.
    classes
        Of the corpus.
    rows
        Row numbers by part, without clips whose audio cannot be used.
    weights
        Where the network behind it came from, for the record.
    description
        What it is and was made from, for the record.
    left_out
        Reason by key of every clip whose audio cannot be used.
    """

    array: np.ndarray
    classes: tuple[str, ...]
    rows: Mapping[str, np.ndarray]
    weights: Mapping[str, Any]
    description: Mapping[str, Any]
    left_out: Mapping[str, str]


def objective_of(name: str, protocol: Mapping[str, Any]) -> str | None:
    """The pre-training that a representation needs.

    Parameters
    ----------
    name
        Of the representation.
    protocol
        Resolved settings.

    Returns
    -------
    str or None
        Name of the objective; None where nothing is trained for it.
    """
    if name in ("codes", "aed"):
        needs_network = name == "aed" or protocol["codes"] == "computed"
        return "aed" if needs_network and protocol["weights"]["vggish"] == "pretrained" else None
    return name if name in protocol["pretraining"] else None


def front_end(protocol: Mapping[str, Any]) -> FrontEnd:
    """What turns a clip into VGGish's input.

    Parameters
    ----------
    protocol
        Resolved settings.

    Returns
    -------
    FrontEnd
        As the protocol says.
    """
    return features.front_end(**protocol["front_end"])


def needs_audio(name: str, protocol: Mapping[str, Any]) -> bool:
    """Whether a representation is computed from the corpus's audio.

    Parameters
    ----------
    name
        Of the representation.
    protocol
        Resolved settings.

    Returns
    -------
    bool
        False for the codes that come with the data set.
    """
    return not (name == "codes" and protocol["codes"] == "released")


def needs_embeddings(name: str, protocol: Mapping[str, Any]) -> bool:
    """Whether a representation is what a network makes of the audio.

    Parameters
    ----------
    name
        Of the representation.
    protocol
        Resolved settings.

    Returns
    -------
    bool
        False for the released codes and for the log-mel spectrogram.
    """
    return name != "log_mel" and needs_audio(name, protocol)


def load_encoder(
    name: str, protocol: Mapping[str, Any], opened: Opened | None = None
) -> tuple[nn.Sequential, dict[str, Any], dict[str, Any] | None]:
    """VGGish up to its embedding, with the weights of a representation.

    Parameters
    ----------
    name
        Of the representation.
    protocol
        Resolved settings.
    opened
        What this process has opened of the corpora.

    Returns
    -------
    network : nn.Sequential
        Patches ``(n, patches, 96, 64)`` -> embeddings ``(n * patches, 128)``; a chain that ends in `EMBEDDING`.
    source : dict
        Where its weights came from; ``sha256`` tells them apart.
    trained : dict or None
        What the pre-training says of itself.

    Raises
    ------
    RepriseError
        The weights are not here, or the pre-training has not been run.
    """
    objective, seed = objective_of(name, protocol), protocol["pretraining_seed"]
    if objective is not None:
        settings = settings_of(objective, protocol)
        trained = pretraining.find(objective, settings, seed=seed, opened=opened)
        body = pretraining.load_encoder(trained)
        description = dict(trained.description)
        source = {"kind": f"pre-trained on {settings['corpus']}", "sha256": description["encoder_sha256"]}
    elif name == "random":
        torch.manual_seed(seed)
        body, description = encoder(_width(protocol)), None
        glorot_(body)
        source = {"kind": "random", "seed": seed, "width": _width(protocol)}
    else:
        body, description = encoder(), None
        # What loads published weights leaves a classifier at the chain's end alone, so there is one.
        source = weights.load(_chain(body, head=nn.Identity()), "vggish", protocol["weights"]["vggish"])
    return _chain(_chain(windows=Windows()), body).eval(), source, description


def settings_of(objective: str, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a pre-training.

    Parameters
    ----------
    objective
        By name.
    protocol
        Resolved settings.

    Returns
    -------
    dict
        All that determines it but the seed.
    """
    settings = dict(protocol["pretraining"][objective])
    return settings | {"words": protocol["weights"]["words"]} if objective == "textual" else settings


def _chain(*bodies: nn.Sequential, **stages: nn.Module) -> nn.Sequential:
    """The stages of some networks and more, one after another under their names."""
    network = nn.Sequential()
    for name, stage in [*(item for body in bodies for item in body.named_children()), *stages.items()]:
        network.add_module(name, stage)
    return network


def _width(protocol: Mapping[str, Any]) -> float:
    """Width of networks that are not loaded: the same as that of the pre-trained ones."""
    return protocol["pretraining"]["aed"]["width"]


@dataclass(frozen=True)
class Embeddings:
    """Where the embeddings of a corpus lie, or will lie.

    Parameters
    ----------
    folder
        The store.
    network
        What computes them.
    key
        What they depend on.
    store
        The network's input.
    source, trained
        As `load_encoder` gives them.
    """

    folder: Path
    network: nn.Sequential
    key: Mapping[str, Any]
    store: Store
    source: Mapping[str, Any]
    trained: Mapping[str, Any] | None


def find_embeddings(name: str, context: Context, corpus: str | None = None) -> Embeddings:
    """Say where a representation's embeddings of a corpus are kept.

    Parameters
    ----------
    name
        Of the representation.
    context
        Of a trial that needs them; the last bits differ between devices.
    corpus
        Name of another corpus than the trial's; of that all audio must be usable.

    Returns
    -------
    Embeddings
        Not necessarily computed yet.
    """
    protocol, opened = context.trial.protocol, context.opened
    if corpus is None:
        store = context.features(front_end(protocol))
    else:
        store = opened.store(opened.corpus(corpus), features.front_end("vggish"))
    network, source, trained = load_encoder(name, protocol, opened)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    key = {
        "weights": fingerprint({k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in state.items()}, length=64),
        "features": store.manifest["array_sha256"],
        "device": context.trial.device,
    }
    label = name if name == "random" or trained else "vggish"
    folder = cache_home() / "embeddings" / (corpus or context.corpus.name) / f"{label}-{fingerprint(key)}"
    return Embeddings(folder, network, key, store, source, trained)


def store_embeddings(embeddings: Embeddings, *, on_rows: Callable[[int], None] = lambda rows: None) -> None:
    """Compute embeddings that are not there yet; work that was killed goes on where it stopped.

    Parameters
    ----------
    embeddings
        From `find_embeddings`.
    on_rows
        Called with the number of clips done since the last call.
    """
    frozen.open_activations(
        embeddings.network,
        {EMBEDDING: embeddings.folder},
        embeddings.store.array,
        statistics_rows=None,
        device=torch.device(embeddings.key["device"]),
        manifest=embeddings.key,
        on_rows=on_rows,
    )


def open_representation(context: Context) -> Representation:
    """Open the representation of a trial's arm; computes what is missing but pre-trainings.

    Parameters
    ----------
    context
        Of the trial. The training part of its split gives the range that is scaled to [0, 1].

    Returns
    -------
    Representation
        Of all clips; zeros where the audio cannot be used.

    Raises
    ------
    RepriseError
        Codes, audio, weights or a pre-training are not there, or not as they should be; or a part is empty.
    """
    name, protocol = context.trial.arm.options["representation"], context.trial.protocol
    if not needs_audio(name, protocol):
        array = openmic.embeddings(context.corpus).astype(np.float32) / np.float32(255)
        source = {"kind": "published", "title": "VGGish trained on AudioSet (codes of the data set)"}
        return _described(context, array, context.usable(), source, None, {"codes": "released"}, {})
    store = context.features(front_end(protocol))
    rows = context.usable(store.ok)
    made = {"features": dict(store.manifest)}
    if name == "log_mel":
        array, pool = store.array.reshape(len(store.array), -1, store.array.shape[-1]), protocol["log_mel_pool"]
        array = array[:, : array.shape[1] // pool * pool]
        array = array.reshape(len(array), -1, pool, array.shape[-1]).mean(axis=2)
        source, trained = {"kind": "none"}, None
    else:
        embeddings = find_embeddings(name, context)
        store_embeddings(embeddings)
        array, _ = frozen.read_activations(embeddings.folder)
        source, trained = embeddings.source, embeddings.trained
        if name == "codes":
            codes = _codes(array, context)
            return _described(context, codes, rows, source, trained, made | {"codes": "computed"}, store.bad)
    axis = (0, 1) if protocol["scaling"] == "dimension" else None
    # In the training part alone, so that nothing of the test clips is known; theirs may reach beyond and are clipped.
    low, high = array[rows["train"]].min(axis=axis), array[rows["train"]].max(axis=axis)
    span = np.where(high > low, high - low, 1).astype(np.float32)
    scaled = np.clip((array - low) / span, 0, 1).astype(np.float32)
    scaled[~store.ok] = 0
    made["scaled"] = {"low": np.asarray(low, float).tolist(), "high": np.asarray(high, float).tolist()}
    return _described(context, scaled, rows, source, trained, made, store.bad)


def _described(
    context: Context,
    array: np.ndarray,
    rows: Mapping[str, np.ndarray],
    source: Mapping[str, Any],
    trained: Mapping[str, Any] | None,
    made: Mapping[str, Any],
    left_out: Mapping[str, str],
) -> Representation:
    description = {
        "name": context.trial.arm.options["representation"],
        "shape": list(array.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(array)).hexdigest(),
        **made,
        "pretraining": dict(trained) if trained else None,
    }
    return Representation(array, context.corpus.classes, rows, source, description, left_out)


def _codes(embeddings: np.ndarray, context: Context) -> np.ndarray:
    """Embeddings post-processed as AudioSet publishes them: whitened by PCA, clipped to [-2, 2], 8 bits, over 255.

    As AudioSet's, the components are those of the corpus that the network was trained on, not of the one at hand.
    """
    protocol = context.trial.protocol
    if objective_of("codes", protocol) is None:
        raise RepriseError(
            'codes = "computed" needs a network pre-trained here; with published weights use codes = "released"'
        )
    name = settings_of("aed", protocol)["corpus"]
    seen = find_embeddings("aed", context, name)
    store_embeddings(seen)
    train = context.opened.split(context.opened.corpus(name), "published").rows["train"]
    vectors = frozen.read_activations(seen.folder)[0][train].reshape(-1, embeddings.shape[-1]).astype(np.float64)
    mean = vectors.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(vectors.T))
    variances, axes = variances[::-1], axes[:, ::-1]
    kept = variances > LEAST_VARIANCE * variances[0]
    whitened = (embeddings - mean) @ (axes * np.where(kept, 1 / np.sqrt(np.where(kept, variances, 1)), 0))
    return (np.floor((np.clip(whitened, -2, 2) + 2) * (255 / 4)) / 255).astype(np.float32)
