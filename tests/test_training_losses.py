"""The two readings of a missing label."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from harness.training import masked_bce


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
