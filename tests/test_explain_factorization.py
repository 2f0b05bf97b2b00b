"""Deep Feature Factorization: against the grad-cam package, and on concepts that were planted."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from pytorch_grad_cam import DeepFeatureFactorization
from torch import nn

from harness.errors import RepriseError
from harness.explain import class_means, concept_names, factorize, factorize_windows, pooled
from harness.explain.factorization import _activations, _cosines, _factorize
from harness.models import resnet50
from harness.models.vggish import Windows


def planted_windows() -> tuple[nn.Sequential, torch.Tensor, np.ndarray]:
    """Chain of windows whose stage ``mix`` sees three rectangles as three blends of six channels."""
    blends = np.array([[5, 1, 0, 0, 0, 0], [0, 0, 4, 2, 0, 0], [0, 0, 0, 0, 1, 6]], np.float32)
    bits = nn.Conv2d(6, 6, 1, bias=False)
    model = nn.Sequential(OrderedDict(windows=Windows(), bits=Decode(), mix=bits, flatten=nn.Flatten()))
    with torch.no_grad():
        bits.weight.zero_()
        bits.weight[:, :3, 0, 0] = torch.tensor(blends.T)
    clip = torch.zeros(1, 2, 12, 8)  # windows, time, frequency; the number is the concept
    clip[0, 0, :5, :4] = 1
    clip[0, 1, 6:, :4] = 1
    clip[0, 0, 7:, 5:] = 2
    clip[0, 1, :4, 6:] = 3
    return model, clip, blends


class Decode(nn.Module):
    """One-hot channels from the numbers 1 to 3; three channels stay empty."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Decode."""
        return torch.cat(
            [*((pictures == k).float() for k in (1, 2, 3)), torch.zeros_like(pictures).repeat(1, 3, 1, 1)], 1
        )


def test_resnet_equals_the_package() -> None:
    torch.manual_seed(0)
    model = resnet50(20).eval()
    inputs = torch.randn(1, 1, 128, 160)
    ours = factorize(model, inputs, target="layer4.2", concepts=4)
    package = DeepFeatureFactorization(model, model.layer4[2], computation_on_concepts=model.fc)
    vectors, heat, logits = package(inputs, n_components=4)
    # The package leaves concepts in the order of their random start, ours come by strength.
    order = [int(np.argmin(np.abs(vectors.T - v).max(axis=1))) for v in ours.vectors]
    assert sorted(order) == [0, 1, 2, 3]
    np.testing.assert_allclose(ours.vectors, vectors.T[order], rtol=1e-5)
    np.testing.assert_allclose(ours.scores, 1 / (1 + np.exp(-logits[order])), rtol=1e-4)
    for mine, theirs in zip(ours.maps, heat[0][order], strict=True):
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.9999
    assert ours.maps.shape == (4, 128, 160)
    assert ours.maps.min() >= 0
    assert ours.maps.max() <= 1


def test_planted_concepts_are_found_and_named() -> None:
    model, clip, blends = planted_windows()
    means = np.vstack([blends, np.full((1, 6), np.nan)])
    found = factorize_windows(model, clip, means, target="mix", concepts=3)
    assert found.maps.shape == (3, 8, 24)
    picture = clip[0].reshape(24, 8).T.numpy()
    named = found.scores.argmax(axis=1)
    assert sorted(named) == [0, 1, 2]
    for number, heat, vector in zip(named, found.maps, found.vectors, strict=True):
        assert np.corrcoef(heat.ravel(), (picture == number + 1).ravel())[0, 1] > 0.99
        assert vector @ blends[number] / np.linalg.norm(vector) / np.linalg.norm(blends[number]) > 0.99
    assert (found.scores[:, 3] == -1).all()  # a class without training clips names nothing
    # Area times size of the blend: 40 bins of |(5, 1)|, 15 of |(4, 2)|, 8 of |(1, 6)|.
    assert list(named) == [0, 1, 2]


def test_the_factors_give_the_activations_back() -> None:
    model, clip, _ = planted_windows()
    activations = _activations(model, clip, "mix")
    vectors, heat = _factorize(activations, 3)
    np.testing.assert_allclose(np.einsum("kc,krhw->rchw", vectors, heat), activations, atol=0.02)


def test_twice_the_same_and_with_nothing_to_see() -> None:
    model, clip, blends = planted_windows()
    first, second = (factorize_windows(model, clip, blends, target="mix") for _ in range(2))
    np.testing.assert_array_equal(first.maps, second.maps)
    np.testing.assert_array_equal(first.scores, second.scores)
    silent = factorize_windows(model, torch.zeros_like(clip), blends, target="mix", concepts=2)
    assert not silent.maps.any()
    assert np.isfinite(silent.scores).all()


def test_pooled_is_the_mean_over_a_clip_in_batches_of_any_size() -> None:
    model, clip, blends = planted_windows()
    clips = torch.cat([clip, clip.flip(1), torch.zeros_like(clip)]).numpy()
    vectors = pooled(model, clips, target="mix", batch_size=2)
    counts = np.array([(clip == k).sum() for k in (1, 2, 3)])
    np.testing.assert_allclose(vectors[0], counts @ blends / (2 * 12 * 8), rtol=1e-5)
    np.testing.assert_allclose(vectors[1], vectors[0], rtol=1e-6)
    np.testing.assert_allclose(vectors, pooled(model, clips, target="mix"), rtol=1e-6)
    assert not vectors[2].any()


def test_class_means_take_known_positives_only() -> None:
    vectors = np.array([[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]], np.float32)
    labels = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]])
    mask = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1]], bool)
    means = class_means(vectors, labels, mask)
    np.testing.assert_allclose(means[:2], [[2, 3], [100, 100]])
    assert np.isnan(means[2]).all()


def test_cosines_leave_out_what_all_classes_share() -> None:
    means = np.array([[3.0, 1.0], [1.0, 3.0], [np.nan, np.nan]])
    # Shared (2, 2); concept (3, 1) / sqrt(10) - (1, 1) / sqrt(2) against (1, -1) and (-1, 1), by hand.
    np.testing.assert_allclose(
        _cosines(np.array([[3.0, 1.0], [60.0, 20.0]]), means), [[0.9733, -0.9733, -1]] * 2, atol=1e-4
    )
    np.testing.assert_allclose(_cosines(np.array([[5.0, 5.0]]), means), [[0, 0, -1]], atol=1e-12)


def test_names_come_best_first() -> None:
    scores = np.array([[0.1, 0.25, 0.9], [0.5, 0.5, 0.4]])
    assert concept_names(scores, ["flute", "organ", "piano"]) == ["piano 0.90, organ 0.25", "flute 0.50, organ 0.50"]


def test_mistakes_are_named() -> None:
    model, clip, blends = planted_windows()
    with pytest.raises(RepriseError, match="no feature maps"):
        factorize_windows(model, clip, blends, target="flatten")
    with pytest.raises(RepriseError, match="no stage 'head'"):
        pooled(model, clip.numpy(), target="head")
