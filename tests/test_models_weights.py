"""Weights: from a file, damaged, of another network, absent."""

import re

import pytest
import torch
from safetensors.torch import save_file
from timm.models.inception_resnet_v2 import InceptionResnetV2
from torch import nn

from harness.errors import RepriseError
from harness.models import inception_resnet_v2, resnet50, weights


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    torch.manual_seed(1)
    return resnet50(1000)


@pytest.fixture
def own_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return weights.PUBLISHED["resnet50"].path


def test_random_leaves_the_network_alone():
    network = resnet50(20)
    before = network.conv1.weight.clone()
    assert weights.load(network, "resnet50", "random") == {"kind": "random"}
    assert torch.equal(network.conv1.weight, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_fills_all_but_the_classifier(trained, tmp_path, suffix):
    path = tmp_path / f"some{suffix}"
    if suffix == ".pth":
        torch.save(trained.state_dict(), path)
    else:
        save_file(trained.state_dict(), path)
    network = resnet50(20)
    classifier = network.fc.weight.clone()
    description = weights.load(network, "resnet50", str(path))
    assert description["kind"] == "file"
    assert len(description["sha256"]) == 64
    assert torch.equal(network.layer4[2].conv3.weight, trained.layer4[2].conv3.weight)
    assert torch.equal(network.fc.weight, classifier)


def test_files_from_before_batches_were_counted_are_taken(trained, tmp_path):
    torch.save({k: v for k, v in trained.state_dict().items() if "num_batches" not in k}, tmp_path / "old.pth")
    network = resnet50(20)
    weights.load(network, "resnet50", str(tmp_path / "old.pth"))
    assert torch.equal(network.conv1.weight, trained.conv1.weight)


def test_absent_published_weights_name_the_way_out(own_hub):
    with pytest.raises(RepriseError, match=r"reprise data fetch resnet50.*--weights random"):
        weights.load(resnet50(20), "resnet50", "published")


def test_published_weights_with_another_hash_are_refused(own_hub, trained):
    own_hub.parent.mkdir(parents=True)
    torch.save(trained.state_dict(), own_hub)
    with pytest.raises(RepriseError, match="is damaged"):
        weights.load(resnet50(20), "resnet50", "published")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(RepriseError, match="another network"):
        weights.load(resnet50(20), "resnet50", str(tmp_path / "other.pth"))


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(RepriseError, match="cannot be read as weights"):
        weights.load(resnet50(20), "resnet50", str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(RepriseError, match=r"no weights file .*gone\.pth"):
        weights.load(resnet50(20), "resnet50", str(tmp_path / "gone.pth"))


def test_the_file_of_inception_resnet_fits_all_but_its_classifier(tmp_path):
    """A network as timm has it, classifier included, as its published file holds it."""
    theirs = InceptionResnetV2(num_classes=1000)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    network = inception_resnet_v2(7, hidden=(16,))
    dense = network.head[0].weight.clone()
    weights.load(network, "inception_resnet_v2", str(tmp_path / "model.safetensors"))
    state = network.state_dict()
    assert all(torch.equal(tensor, state[k]) for k, tensor in theirs.state_dict().items() if k[:8] != "classif.")
    assert torch.equal(network.head[0].weight, dense)
    with pytest.raises(RepriseError, match="another network"):
        weights.load(resnet50(20), "resnet50", str(tmp_path / "model.safetensors"))


def test_published_files_carry_the_start_of_their_hash():
    for name, published in weights.PUBLISHED.items():
        assert re.fullmatch(r"[0-9a-f]{8,16}", published.hash_prefix), name
        assert published.path.suffix in (".pth", ".safetensors")
    assert weights.PUBLISHED["inception_resnet_v2"].path.name != "model.safetensors"
