"""Published weights, weights from a file, and random ones: where a network starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torchvggish import torchvggish
from torchvision.models import ResNet50_Weights

from harness.errors import RepriseError
from harness.storage import sha256_of


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that somebody published for a network.

    Parameters
    ----------
    title
        What they are, for people.
    url
        Where they come from.
    licence
        Under what terms.
    megabytes
        Size of the download.
    file
        Name of the file, which carries the start of its SHA-256; default: as in the address.
    """

    title: str
    url: str
    licence: str
    megabytes: int
    file: str = ""

    @property
    def hash_prefix(self) -> str:
        """First digits of the file's SHA-256."""
        return self.path.stem.rpartition("-")[2]

    @property
    def path(self) -> Path:
        """Where torch.hub keeps the file."""
        return Path(torch.hub.get_dir()) / "checkpoints" / (self.file or self.url.rpartition("/")[2])


#: By the network's name, as in the arms of a study.
PUBLISHED = {
    "resnet50": PublishedWeights(
        "ResNet-50 trained on ImageNet (torchvision, IMAGENET1K_V1)",
        ResNet50_Weights.IMAGENET1K_V1.url,
        "BSD-3-Clause",
        98,
    ),
    "vggish": PublishedWeights(
        "VGGish trained on AudioSet (torchvggish)", torchvggish.VGGISH_WEIGHTS, "Apache-2.0", 275
    ),
    "inception_resnet_v2": PublishedWeights(
        "Inception-ResNet-v2 trained on ImageNet (timm, tf_in1k)",
        "https://huggingface.co/timm/inception_resnet_v2.tf_in1k/resolve/"
        "89854797f99e77e1189626b74d7c07013a4308fa/model.safetensors",
        "Apache-2.0",
        224,
        file="inception_resnet_v2.tf_in1k-dbea26b13a5fc835.safetensors",
    ),
}

#: Layers of published files that none of our networks has: VGGish's post-processor, Inception-ResNet-v2's classifier.
LEFT_OUT = ("pproc.", "classif.")


def fetch(network: str) -> Path:
    """Download a network's published weights by the hub's own loader, which checks their hash.

    Parameters
    ----------
    network
        A key of `PUBLISHED`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RepriseError
        No network connection, or what came is not what was published.
    """
    published = PUBLISHED[network]
    if not published.path.exists():
        published.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(published.url, str(published.path), hash_prefix=published.hash_prefix)
        except (OSError, RuntimeError) as error:
            raise RepriseError(
                f"could not fetch {published.url}: {error}; "
                f"download it elsewhere, put it at {published.path} or name it with --weights {network}=FILE"
            ) from error
    return published.path


def locate(name: str, source: str) -> Path:
    """The file of a network's weights.

    Parameters
    ----------
    name
        The network's, as in `PUBLISHED`.
    source
        ``"published"``, or the path of a file.

    Returns
    -------
    Path
        It is there; what it holds is another matter.

    Raises
    ------
    RepriseError
        There are none published, or the file is absent.
    """
    if source != "published":
        if not Path(source).is_file():
            raise RepriseError(f"there is no weights file {source}; check the path given with --weights")
        return Path(source)
    if name not in PUBLISHED:
        raise RepriseError(
            f"nobody has published weights for {name} (only for {', '.join(PUBLISHED)}); "
            f'write weights = "random" in study.toml, or name a file with --weights {name}=FILE'
        )
    path = PUBLISHED[name].path
    if not path.exists():
        raise RepriseError(
            f"the published weights of {name} are not here ({path}): run `reprise data fetch {name}`, "
            f"name a file with --weights {name}=FILE, or train from random ones with --weights random"
        )
    return path


def load(network: nn.Sequential, name: str, source: str) -> dict[str, Any]:
    """Put weights into a freshly built network; its own classifier stays as it is.

    Parameters
    ----------
    network
        As built, randomly initialised; changed in place.
    name
        Its name, as in `PUBLISHED`.
    source
        ``"random"`` (leave it as built), ``"published"``, or the path of a ``.pth`` or ``.safetensors`` file.

    Returns
    -------
    dict
        For the record: kind, and for files title, file name and SHA-256.

    Raises
    ------
    RepriseError
        The file is absent, damaged, or of another network, or nobody has published any.
    """
    if source == "random":
        return {"kind": "random"}
    path, description = locate(name, source), {"kind": "file"}
    if source == "published":
        description = {"kind": "published", "title": PUBLISHED[name].title}
    checksum = sha256_of(path)
    if source == "published" and not checksum.startswith(PUBLISHED[name].hash_prefix):
        raise RepriseError(
            f"{path} is damaged (its SHA-256 starts {checksum[:8]}, not {PUBLISHED[name].hash_prefix}); "
            "remove it and fetch it again"
        )
    _fill(network, _read(path), path)
    return description | {"file": path.name, "sha256": checksum}


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    """Tensors of a file, without unpickling anything but tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise a dozen kinds of their own
        raise RepriseError(f"{path} cannot be read as weights; give a state dict as .pth or .safetensors") from error


def _fill(network: nn.Sequential, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Copy all but the classifier (the chain's last stage) from `state`, which must fit exactly."""
    classifier = list(dict(network.named_children()))[-1] + "."
    own = {k: v for k, v in network.state_dict().items() if not k.startswith(classifier)}
    # Files of before PyTorch 0.4.1 do not count batches; the count is not used where statistics stand still.
    own = {k: v for k, v in own.items() if k in state or not k.endswith("num_batches_tracked")}
    missing = sorted(k for k in own if k not in state or own[k].shape != state[k].shape)
    left_over = sorted(k for k in state if k not in own and not k.startswith((classifier, *LEFT_OUT)))
    if missing or left_over:
        raise RepriseError(
            f"{path} holds the weights of another network "
            f"({len(missing)} tensors missing or of another shape, {len(left_over)} unknown, "
            f"such as {(missing + left_over)[0]}); give the file published for this network"
        )
    network.load_state_dict({k: state[k] for k in own}, strict=False)
