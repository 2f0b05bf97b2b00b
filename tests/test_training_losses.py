"""The two readings of a missing label, and the losses of one class out of several."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from harness.training import masked_bce
from harness.training.losses import KERAS_EPSILON, cross_entropy, normalised_cross_entropy


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator, requires_grad=True)
    mask = (torch.rand(7, 5, generator=generator) < 0.5).float()
    labels = (torch.rand(7, 5, generator=generator) < 0.5).float() * mask
    return logits, labels, mask


def test_missing_as_negative_is_torch_s_loss(batch):
    total, count = masked_bce(*batch, missing="negative")
    torch.testing.assert_close(total / count, nn.BCEWithLogitsLoss()(batch[0], batch[1]))


def test_masked_is_the_log_loss_of_the_observed_entries(batch):
    logits, labels, mask = batch
    total, count = masked_bce(*batch, missing="masked")
    seen = mask.bool()
    expected = log_loss(labels[seen].numpy(), torch.sigmoid(logits[seen]).detach().numpy().astype(np.float64))
    assert (total / count).item() == pytest.approx(expected, rel=1e-6)


def test_unobserved_logits_get_no_gradient(batch):
    logits, _, mask = batch
    masked_bce(*batch, missing="masked")[0].backward()
    assert (logits.grad[mask == 0] == 0).all()
    assert (logits.grad[mask == 1] != 0).all()


def test_an_unknown_reading_is_refused(batch):
    with pytest.raises(ValueError, match="not 'zero'"):
        masked_bce(*batch, missing="zero")


def test_cross_entropy_is_torch_s_and_sklearn_s():
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(9, 7, generator=generator)).requires_grad_()
    truth = torch.arange(9) % 7
    labels = torch.eye(7)[truth]
    total, count = cross_entropy(logits, labels, torch.ones(9, 7))
    assert count == 9
    torch.testing.assert_close(total / count, nn.CrossEntropyLoss()(logits, truth))
    by_sklearn = log_loss(truth.numpy(), logits.detach().double().softmax(dim=1).numpy(), labels=range(7))
    assert (total / count).item() == pytest.approx(by_sklearn, rel=1e-6)
    (total / count).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(dim=1) - labels) / 9)


def test_cross_entropy_leaves_out_unobserved_clips():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels, mask = torch.eye(3)[[0, 1, 2, 0]], torch.ones(4, 3)
    mask[1] = mask[3, 0] = 0
    total, count = cross_entropy(logits, labels, mask)
    expected, _ = cross_entropy(logits[[0, 2]], labels[[0, 2]], mask[[0, 2]])
    assert count == 2
    torch.testing.assert_close(total, expected)
    total.backward()
    assert (logits.grad[[1, 3]] == 0).all()
    nobody, none = cross_entropy(logits, labels, torch.zeros(4, 3))
    assert nobody == none == 0


def keras_categorical_cross_entropy(outputs, labels):
    """Keras' definition on probabilities, in numpy: divided by their sum, clipped, logarithm."""
    shares = np.clip(outputs / outputs.sum(axis=1, keepdims=True), 1e-7, 1 - 1e-7)
    return -(labels * np.log(shares)).sum(axis=1)


def test_normalised_cross_entropy_is_keras_on_sigmoids():
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(12, 11, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.eye(11, dtype=torch.float64)[torch.arange(12) % 11]
    total, count = normalised_cross_entropy(logits, labels, torch.ones_like(labels))
    expected = keras_categorical_cross_entropy(torch.sigmoid(logits).detach().numpy(), labels.numpy())
    assert count == 12
    assert total.item() == pytest.approx(expected.sum(), rel=1e-12)
    assert torch.autograd.gradcheck(lambda z: normalised_cross_entropy(z, labels, torch.ones_like(z))[0], logits)


def test_normalised_cross_entropy_by_hand():
    """Sigmoids of 1/2 and 1/4: the first's share is 2/3, the second's 1/3."""
    logits = torch.logit(torch.tensor([[0.5, 0.25], [0.5, 0.25]], dtype=torch.float64))
    labels = torch.eye(2, dtype=torch.float64)
    total, count = normalised_cross_entropy(logits, labels, torch.ones(2, 2))
    assert total.item() == pytest.approx(np.log(3 / 2) + np.log(3), rel=1e-9)
    assert count == 2


def test_only_ratios_of_sigmoids_count():
    outputs = torch.rand(6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels, mask = torch.eye(5, dtype=torch.float64)[[0, 1, 2, 3, 4, 0]], torch.ones(6, 5)
    whole, _ = normalised_cross_entropy(torch.logit(outputs), labels, mask)
    tenth, _ = normalised_cross_entropy(torch.logit(outputs / 10), labels, mask)
    torch.testing.assert_close(whole, tenth)


def test_normalised_cross_entropy_is_clipped_and_finite():
    labels = torch.eye(3)[[0, 0, 1]]
    logits = torch.tensor([[-200.0, 50.0, 0.0], [90.0, -90.0, -90.0], [-120.0, -120.0, -120.0]], requires_grad=True)
    each = [
        normalised_cross_entropy(z[None], y[None], torch.ones(1, 3))[0] for z, y in zip(logits, labels, strict=True)
    ]
    assert each[0].item() == pytest.approx(-np.log(KERAS_EPSILON), rel=1e-6)  # hopelessly wrong
    assert each[1].item() == pytest.approx(KERAS_EPSILON, rel=0.2)  # certain
    assert each[2].item() == pytest.approx(np.log(3), rel=1e-6)  # sigmoids that underflow have shares, too
    sum(each).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[2] != 0).all()


def test_normalised_cross_entropy_leaves_out_unobserved_clips():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels, mask = torch.eye(3)[[0, 1, 2, 0]], torch.ones(4, 3)
    mask[1] = mask[3, 0] = 0
    total, count = normalised_cross_entropy(logits, labels, mask)
    expected, _ = normalised_cross_entropy(logits[[0, 2]], labels[[0, 2]], mask[[0, 2]])
    assert count == 2
    torch.testing.assert_close(total, expected)
    total.backward()
    assert (logits.grad[[1, 3]] == 0).all()
