"""A pre-training run: VGGish trained by one objective on another corpus, kept under the cache and found again.

It lies in ``pretrained/<objective>-<corpus>-<key>/``, where the key is made of all that determines it. There are
``history.jsonl`` and ``best.safetensors`` of the whole network, as the fit loop writes them, ``encoder.safetensors``
with VGGish alone under the names of the published weights, and ``pretraining.json``, written last, which says what it
is.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.features import Store
from harness.models import count_parameters
from harness.models.vggish import encoder, glorot_
from harness.storage import atomic_path, cache_home, fingerprint, lock, sha256_of, write_json
from harness.studies import environment
from harness.studies.context import Opened
from harness.studies.networks import on_device
from harness.training import loop
from replications.attention_embeddings import word_vectors
from replications.attention_embeddings.objectives import COMMON, OBJECTIVES, Objective

FORMAT = 1  # of the folder and of the training: a change that gives other weights raises it
SPLIT = "published"
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
MANIFEST = "pretraining.json"
ENCODER = "encoder.safetensors"


@dataclass(frozen=True)
class Pretrained:
    """A finished pre-training.

    Parameters
    ----------
    folder
        Where it lies.
    description
        What ``pretraining.json`` says.
    """

    folder: Path
    description: dict[str, Any]


def prepare(
    objective: str,
    settings: Mapping[str, Any],
    *,
    jobs: int | None = None,
    skip_bad: bool = False,
    opened: Opened | None = None,
) -> dict[str, int]:
    """Make everything that a pre-training starts from, with all cores, so that `run` needs one.

    Parameters
    ----------
    objective
        A key of `replications.attention_embeddings.objectives.OBJECTIVES`.
    settings
        ``corpus``, ``width`` of VGGish, ``epochs`` at most, ``patience`` (0 never to stop early), ``batch_size``,
        ``learning_rate``, and the objective's own.
    jobs
        Number of processes; default: one per core.
    skip_bad
        Whether clips whose audio cannot be used are left out.
    opened
        What this process has opened.

    Returns
    -------
    dict of str to int
        Number of examples of ``"train"`` and ``"valid"``.

    Raises
    ------
    RepriseError
        No such objective, settings missing or unknown, corpus or word vectors absent, audio that cannot be used, or
        too few examples.
    """
    _, rows = _examples(_open(objective, settings, jobs, skip_bad, opened), settings)
    return {part: len(chosen) for part, chosen in rows.items()}


def run(
    objective: str,
    settings: Mapping[str, Any],
    *,
    seed: int,
    device: str = "cpu",
    bf16: bool = False,
    jobs: int | None = None,
    skip_bad: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None,
    opened: Opened | None = None,
) -> Pretrained:
    """Train VGGish by an objective, or go on training it; if that is done already, say where it lies.

    On a CPU weights depend on the number of threads: let there be one.

    Parameters
    ----------
    objective, settings, skip_bad, opened
        As for `prepare`.
    seed
        Of the random weights, of the order of the examples and of all that is random in between.
    device
        ``"cpu"`` or ``"cuda"``.
    bf16
        Whether forward passes run in bfloat16.
    jobs
        Number of processes for features that are not there yet.
    on_epoch
        Called after every epoch with its entry of the history.

    Returns
    -------
    Pretrained
        Finished.

    Raises
    ------
    RepriseError
        As `prepare`; or the loss is not finite, or a file cannot be written.
    """
    inputs = _open(objective, settings, jobs, skip_bad, opened)
    identity = _identity(objective, settings, inputs.corpus, inputs.store, seed)
    folder = _folder(identity)
    with lock(folder):  # a second process that wants the same waits, and finds it finished
        if not (folder / MANIFEST).exists():
            for leftover in folder.glob(".*.part"):  # of a run that was killed while it wrote
                leftover.unlink()
            _train(folder, settings, identity, inputs, device, bf16, on_epoch)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    return read(folder)


def find(
    objective: str,
    settings: Mapping[str, Any],
    *,
    seed: int,
    skip_bad: bool = False,
    opened: Opened | None = None,
) -> Pretrained:
    """Find a finished pre-training, wherever it was trained.

    Parameters
    ----------
    objective, settings, seed, skip_bad, opened
        As for `run`.

    Returns
    -------
    Pretrained
        That run.

    Raises
    ------
    RepriseError
        It was not run yet, or not to the end.
    """
    inputs = _open(objective, settings, None, skip_bad, opened)
    folder = _folder(_identity(objective, settings, inputs.corpus, inputs.store, seed))
    if not (folder / MANIFEST).exists():
        raise RepriseError(
            f"the pre-training {objective} on {settings['corpus']} was not run to its end ({folder}); "
            "run the study again, which does it first"
        )
    return read(folder)


def finished(objective: str, settings: Mapping[str, Any], *, seed: int, opened: Opened | None = None) -> bool:
    """Whether such a pre-training is there, without computing features: for a plan.

    Parameters
    ----------
    objective, settings, seed, opened
        As for `run`.

    Returns
    -------
    bool
        False also where nothing is known of the corpus yet. If its audio has changed meanwhile, `run` trains again
        nonetheless.
    """
    _check(objective, settings)
    corpus = (opened or Opened()).corpus(settings["corpus"])
    wanted = _identity(objective, settings, corpus, None, seed)
    manifests = (cache_home() / "pretrained").glob(f"{objective}-{settings['corpus']}-*/{MANIFEST}")
    return any({**read(path.parent).description["identity"], "features": None} == wanted for path in manifests)


def example_counts(objective: str, settings: Mapping[str, Any], *, opened: Opened | None = None) -> dict[str, int]:
    """How many examples a pre-training sees, without computing features: for a plan.

    Parameters
    ----------
    objective, settings, opened
        As for `run`.

    Returns
    -------
    dict of str to int
        For ``"train"`` and ``"valid"``, if all audio can be used.
    """
    kind = _check(objective, settings)
    corpus = (opened or Opened()).corpus(settings["corpus"])
    patches = kind.front_end(settings).shape(corpus.seconds)[0]
    rows = _rows(kind, kind.labels(corpus, settings), corpus, np.ones(len(corpus.clips), bool))
    return {part: patches * len(chosen) for part, chosen in rows.items()}


def flops_per_example(width: float) -> int:
    """Floating-point operations of one patch's way forward through VGGish, which is nearly all of a pre-training.

    Parameters
    ----------
    width
        Of VGGish.

    Returns
    -------
    int
        Two for each multiplication with addition; 1.73e9 at width 1.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        encoder(width)(torch.zeros(1, 1, 96, 64))
    return counter.get_total_flops()


def read(folder: Path) -> Pretrained:
    """Read what a finished run says of itself.

    Parameters
    ----------
    folder
        Of the run.

    Returns
    -------
    Pretrained
        That run. Its description has ``objective``, ``corpus``, ``width``, ``seed``, ``settings``, ``parameters``,
        ``examples``, ``best_epoch``, ``epochs``, ``history``, ``seconds``, ``environment``, ``encoder_sha256``, ...

    Raises
    ------
    RepriseError
        It is not finished, or its manifest is damaged.
    """
    try:
        return Pretrained(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise RepriseError(f"{folder} holds no finished pre-training; remove it and run the study again") from None


def load_encoder(pretrained: Pretrained | Path) -> nn.Sequential:
    """Build VGGish with the weights of a pre-training.

    Parameters
    ----------
    pretrained
        The run or its folder.

    Returns
    -------
    nn.Sequential
        As `harness.models.vggish.encoder` builds it, on the CPU, in evaluation mode.

    Raises
    ------
    RepriseError
        The weights are not those that the run wrote.
    """
    if isinstance(pretrained, Path):
        pretrained = read(pretrained)
    path = pretrained.folder / ENCODER
    network = encoder(pretrained.description["width"])
    try:
        if sha256_of(path) != pretrained.description["encoder_sha256"]:
            raise ValueError
        network.load_state_dict(load_safetensors(path.read_bytes()))
    except (OSError, ValueError, RuntimeError, SafetensorError):
        raise RepriseError(
            f"{path} is not what the pre-training wrote; remove {path.parent} and run the study again"
        ) from None
    return network.eval()


@dataclass(frozen=True)
class _Inputs:
    """What a pre-training starts from."""

    kind: Objective
    corpus: Corpus
    store: Store


def _open(
    objective: str, settings: Mapping[str, Any], jobs: int | None, skip_bad: bool, opened: Opened | None
) -> _Inputs:
    kind = _check(objective, settings)
    if "words" in settings:
        word_vectors.load(settings["words"])  # before anything that takes time
    opened = opened or Opened()
    corpus = opened.corpus(settings["corpus"], jobs=jobs)
    store = opened.store(corpus, kind.front_end(settings), jobs=jobs, skip_bad=skip_bad)
    return _Inputs(kind, corpus, store)


def _examples(inputs: _Inputs, settings: Mapping[str, Any]) -> tuple[loop.Examples, dict[str, np.ndarray]]:
    """Every patch with its clip's labels, and the rows to train and to validate on."""
    kind, corpus, array = inputs.kind, inputs.corpus, inputs.store.array
    labels, patches = kind.labels(corpus, settings), array.shape[1]
    rows = {
        part: (clips[:, None] * patches + np.arange(patches)).ravel()
        for part, clips in _rows(kind, labels, corpus, inputs.store.ok).items()
    }
    if len(rows["train"]) < settings["batch_size"] or not len(rows["valid"]):
        raise RepriseError(
            f"{corpus.name} gives {len(rows['train'])} examples to train and {len(rows['valid'])} to validate on, and "
            f"a batch has {settings['batch_size']}; use a larger corpus"
        )
    labels = np.repeat(labels, patches, axis=0)
    mask = np.broadcast_to(np.True_, labels.shape)
    return loop.Examples(array.reshape(-1, 1, *array.shape[2:]), labels, mask), rows


def _check(objective: str, settings: Mapping[str, Any]) -> Objective:
    if objective not in OBJECTIVES:
        raise RepriseError(f"there is no pre-training objective {objective!r}; there are: {', '.join(OBJECTIVES)}")
    wanted = {*COMMON, *OBJECTIVES[objective].settings}
    if different := sorted(wanted ^ settings.keys()):
        raise RepriseError(
            f"pre-training {objective}: {', '.join(different)} missing or unknown; "
            f"its settings are {', '.join(sorted(wanted))}"
        )
    if (optimizer := settings.get("optimizer", "adam")) not in OPTIMIZERS:
        raise RepriseError(
            f"pre-training {objective}: there is no optimizer {optimizer!r}; choose {' or '.join(OPTIMIZERS)}"
        )
    return OBJECTIVES[objective]


def _rows(kind: Objective, labels: np.ndarray, corpus: Corpus, ok: np.ndarray) -> dict[str, np.ndarray]:
    """Clips to train and to validate on."""
    usable = ok & labels.any(axis=1) if kind.labelled else ok
    split = corpus.split(SPLIT)
    return {part: split.rows[part][usable[split.rows[part]]] for part in ("train", "valid")}


def _identity(
    objective: str,
    settings: Mapping[str, Any],
    corpus: Corpus,
    store: Store | None,
    seed: int,
) -> dict[str, Any]:
    """All that determines the weights but the device: one that was trained on a GPU serves a laptop, too."""
    return {
        "format": FORMAT,
        "objective": objective,
        "settings": {key: value for key, value in settings.items() if key != "words"},
        "words": word_vectors.describe(settings["words"]) if "words" in settings else None,
        "corpus": corpus.checksum,
        "features": store.manifest["array_sha256"] if store else None,
        "seed": seed,
    }


def _folder(identity: Mapping[str, Any]) -> Path:
    name = f"{identity['objective']}-{identity['settings']['corpus']}-{fingerprint(identity)}"
    return cache_home() / "pretrained" / name


def _train(
    folder: Path,
    settings: Mapping[str, Any],
    identity: Mapping[str, Any],
    inputs: _Inputs,
    device_name: str,
    bf16: bool,
    on_epoch: Callable[[dict[str, Any]], None],
) -> None:
    examples, rows = _examples(inputs, settings)
    torch.manual_seed(identity["seed"])
    training = inputs.kind.build(settings, examples.labels.shape[1])
    glorot_(training.network)
    device = torch.device(device_name)
    examples = dataclasses.replace(examples, inputs=on_device(examples.inputs, device))
    network = training.network.to(device, memory_format=torch.channels_last)
    fit = loop.fit(
        network,
        training.forward,
        examples,
        rows,
        loss=training.loss,
        scores=None,
        optimizer=OPTIMIZERS[settings.get("optimizer", "adam")](network.parameters(), lr=settings["learning_rate"]),
        scheduler=None,
        epochs=settings["epochs"],
        patience=settings["patience"] or None,
        batch_size=settings["batch_size"],
        seed=identity["seed"],
        folder=folder,
        name=f"{identity['objective']} on {inputs.corpus.name}",
        # A last batch of one example has no variance to normalise by.
        drop_last=inputs.kind.compares or len(rows["train"]) % settings["batch_size"] == 1,
        bf16=bf16,
        on_epoch=on_epoch,
    )
    state = {name: tensor.cpu().contiguous() for name, tensor in network.encoder.state_dict().items()}
    with atomic_path(folder / ENCODER) as temporary:
        temporary.write_bytes(save_safetensors(state))
    write_json(
        folder / MANIFEST,
        {
            "objective": identity["objective"],
            "corpus": inputs.corpus.name,
            "width": settings["width"],
            "seed": identity["seed"],
            "settings": identity["settings"],
            "words": identity["words"],
            "identity": identity,
            "split": inputs.corpus.split(SPLIT).checksum,
            "examples": {part: len(chosen) for part, chosen in rows.items()},
            "labels": examples.labels.shape[1],
            "left_out": dict(inputs.store.bad),
            "parameters": {"encoder": count_parameters(network.encoder), "total": count_parameters(network)},
            "best_epoch": fit.best_epoch,
            "epochs": len(fit.history),
            "history": fit.history,
            "seconds": round(sum(entry["seconds"] for entry in fit.history), 3),
            "peak_memory_bytes": environment.peak_memory(device),
            "environment": environment.describe(device),
            "bf16": bf16,
            "features": {key: inputs.store.manifest[key] for key in ("front_end", "parameters", "array_sha256")},
            "encoder_sha256": sha256_of(folder / ENCODER),
        },
    )
