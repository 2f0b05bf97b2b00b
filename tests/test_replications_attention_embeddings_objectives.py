"""The five objectives: parameter counts, losses against plain numpy, and that VGGish learns from each."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import RepriseError
from harness.models import count_parameters
from harness.models.vggish import encoder, glorot_
from replications.attention_embeddings import word_vectors
from replications.attention_embeddings.objectives import (
    OBJECTIVES,
    Alignment,
    Corruption,
    cosine_loss,
    decoder,
    denoising,
    nt_xent,
)

SETTINGS = {
    "width": 1 / 16,
    "margin": 0.5,
    "words": "seeded",
    "noise": 0.1,
    "keep": 0.5,
    "temperature": 0.1,
    "optimizer": "adam",
}
LABELS = {"aed": 7, "textual": 10, "den_add": 1, "den_mul": 1, "align": 30}


def built(name, seed=0):
    torch.manual_seed(seed)
    training = OBJECTIVES[name].build(SETTINGS, LABELS[name])
    glorot_(training.network)
    return training


def batch(name, size=8):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (size, LABELS[name]))
    labels[:, 0] |= ~labels.any(axis=1)
    patches = torch.from_numpy(rng.normal(-1, 2, (size, 1, 96, 64)).astype(np.float32))
    return patches, torch.from_numpy(labels.astype(np.float32)), torch.ones(size, LABELS[name])


# Sizes


def behind_vggish(training):
    return count_parameters(training.network) - count_parameters(training.network.encoder)


def test_parameters_of_the_textual_head():
    assert behind_vggish(built("textual")) == 129_256


@pytest.mark.parametrize("name", ["den_add", "den_mul"])
def test_parameters_of_the_decoder(name):
    assert behind_vggish(built(name)) == 614_720


def test_parameters_of_the_alignment_at_a_thousand_tags():
    network = Alignment(1 / 16, 1000)
    assert count_parameters(network.tag_encoder) == 1_370_496
    assert count_parameters(network.tag_projection) == 1152 * 1152
    assert count_parameters(network.affine) == 148_608


def test_parameters_of_event_detection():
    assert behind_vggish(built("aed")) == 7 * 129


def test_the_decoder_leads_from_one_frame_to_a_patch():
    values, lengths, channels = torch.randn(2, 128, 1), [], []
    for stage in decoder():
        values = stage(values)
        if isinstance(stage, nn.ConvTranspose1d):
            lengths.append(values.shape[2])
            channels.append(values.shape[1])
    assert lengths == [10, 30, 60, 96]
    assert channels == [128, 64, 64, 64]
    assert [m.negative_slope for m in decoder() if isinstance(m, nn.LeakyReLU)] == [0.1, 0.25, 0.5]


# Losses


def cosine_loss_in_numpy(predicted, qualities, words, margin):
    """Pair by pair."""
    targets = []
    for row in qualities:
        mean = np.mean([words[i] for i in np.flatnonzero(row)], axis=0)
        targets.append(mean / np.sqrt((mean**2).sum()))
    true, false = [], []
    for i, vector in enumerate(predicted):
        for j, target in enumerate(targets):
            cosine = vector @ target / np.sqrt((vector**2).sum())
            if i == j:
                true.append(1 - cosine)
            elif not set(np.flatnonzero(qualities[i])) & set(np.flatnonzero(qualities[j])):
                false.append(max(0.0, cosine - margin))
    return np.mean(true) + (np.mean(false) if false else 0.0)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_cosine_loss_equals_that_pair_by_pair(seed, margin):
    rng = np.random.default_rng(seed)
    qualities = (rng.random((12, 10)) < 0.15).astype(np.float64)
    qualities[np.arange(12), rng.integers(0, 10, 12)] = 1
    words, directions = word_vectors.load("seeded").astype(np.float64), rng.normal(size=(12, 300))
    predicted = directions / 10 + 3 * qualities @ words  # not all cosines are below the margin
    total, count = cosine_loss(*map(torch.from_numpy, (predicted, qualities, words)), margin=margin)
    assert count == 12
    assert total.item() / 12 == pytest.approx(cosine_loss_in_numpy(predicted, qualities, words, margin), rel=1e-9)


def test_cosine_loss_by_hand():
    words = torch.eye(3)
    qualities = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    # The third target is (1, 1, 0) / sqrt 2. Unlike: the first and the second note only.
    predicted = torch.tensor([[2.0, 0, 0], [0.8, 0.6, 0], [1, 1, 0]])
    total, count = cosine_loss(predicted, qualities, words, margin=0.5)
    assert count == 3
    assert total.item() / 3 == pytest.approx((0 + 0.4 + 0) / 3 + (0 + 0.3) / 2)


def test_the_margin_lets_unlike_notes_be():
    words, qualities = torch.eye(2), torch.eye(2)
    predicted = torch.tensor([[1.0, 0.5], [0.0, 1.0]], requires_grad=True)  # cosine to the other's target: 0.447, 0
    total, _ = cosine_loss(predicted, qualities, words, margin=0.5)
    assert total.item() == pytest.approx(1 - 2 / 5**0.5)
    assert cosine_loss(predicted, qualities, words, margin=0.4)[0] > total


def test_notes_that_share_a_quality_are_no_false_pairs():
    words = torch.eye(2)
    shared, predicted = torch.tensor([[1.0, 1], [1, 0]]), torch.tensor([[1.0, 1], [1, 0]])
    assert cosine_loss(predicted, shared, words, margin=0.0)[0].item() == pytest.approx(0, abs=1e-6)


def nt_xent_in_numpy(sounds, words, temperature):
    """Anchor by anchor, by the definition."""
    places = np.concatenate([sounds, words])
    count, losses = len(sounds), []
    for i, anchor in enumerate(places):
        similarities = [
            np.exp(anchor @ other / np.sqrt((anchor @ anchor) * (other @ other)) / temperature) for other in places
        ]
        partner = i + count if i < count else i - count
        others = sum(s for j, s in enumerate(similarities) if j != i)
        losses.append(-np.log(similarities[partner] / others + 1e-5))
    return losses


@pytest.mark.parametrize(("size", "temperature"), [(1, 0.1), (2, 0.1), (9, 0.1), (9, 1.0)])
def test_nt_xent_equals_that_anchor_by_anchor(size, temperature):
    rng = np.random.default_rng(size)
    sounds = rng.normal(size=(size, 20))
    words = sounds + rng.normal(size=(size, 20))
    total, count = nt_xent(torch.from_numpy(sounds), torch.from_numpy(words), temperature=temperature)
    assert count == 2 * size
    assert total.item() == pytest.approx(sum(nt_xent_in_numpy(sounds, words, temperature)), rel=1e-9)


def test_nt_xent_by_hand():
    """Partners alike, the others at right angles: exp(10) against exp(10) + 2 exp(0)."""
    places = torch.eye(2, dtype=torch.float64)
    total, count = nt_xent(3 * places, places, temperature=0.1)
    assert total.item() / count.item() == pytest.approx(-np.log(np.exp(10) / (np.exp(10) + 2) + 1e-5))
    swapped, _ = nt_xent(places, places.flip(0), temperature=0.1)
    assert swapped.item() / 4 == pytest.approx(-np.log(1 / (np.exp(10) + 2) + 1e-5))
    assert swapped.item() / 4 < 11.6  # what is added within the logarithm bounds the loss


def test_a_sound_of_zeros_does_no_harm():
    sounds = torch.zeros(3, 5, requires_grad=True)
    total, _ = nt_xent(sounds, torch.randn(3, 5), temperature=0.1)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(sounds.grad).all()


# Corruption


def test_noise_has_the_papers_deviation():
    clean = torch.randn(50, 1, 96, 64)
    corrupted = Corruption("add", 0.1).train()(clean)
    assert (corrupted - clean).std().item() == pytest.approx(0.1, rel=0.02)
    assert (corrupted - clean).mean().item() == pytest.approx(0, abs=1e-3)


def test_values_are_kept_or_struck_out():
    clean = torch.randn(50, 1, 96, 64) + 10
    corrupted = Corruption("mul", 0.25).train()(clean)
    kept = corrupted != 0
    assert torch.equal(corrupted[kept], clean[kept])
    assert kept.float().mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("kind", "strength"), [("add", 0.1), ("mul", 0.5)])
def test_corruption_is_fresh_in_training_and_fixed_in_evaluation(kind, strength):
    corrupt, clean = Corruption(kind, strength), torch.randn(4, 1, 96, 64)
    assert not torch.equal(corrupt.train()(clean), corrupt.train()(clean))
    state = torch.get_rng_state()
    assert torch.equal(corrupt.eval()(clean), corrupt.eval()(clean))
    assert not torch.equal(corrupt.eval()(clean), clean)
    assert torch.equal(torch.get_rng_state(), state)  # looking at the validation part changes nothing in training


def test_the_error_is_to_the_clean_patch():
    """A decoder that gives a constant c errs by the mean of (c - clean)^2, whatever was done to the input."""
    training = denoising(SETTINGS, Corruption("mul", 0.5))
    for parameter in training.network.decoder[6].parameters():
        nn.init.zeros_(parameter)
    constant = torch.linspace(-2, 1, 64)
    training.network.decoder[6].bias.data.copy_(constant)
    clean, labels, mask = batch("den_mul")
    total, count = training.loss(training.forward(clean), labels, mask)
    assert count == 8 * 96 * 64
    expected = np.mean((constant.numpy() - clean.numpy()) ** 2)
    assert total.item() / count.item() == pytest.approx(expected, rel=1e-5)


# Training


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_parameter_learns(name):
    training = built(name)
    inputs, labels, mask = batch(name)
    training.network.train()
    total, count = training.loss(training.forward(inputs), labels, mask)
    (total / count).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in training.network.parameters())
    assert all(p.grad.any() for p in training.network.encoder.parameters() if p.ndim > 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_validation_loss_is_a_function_of_the_weights(name):
    training = built(name)
    inputs, labels, mask = batch(name)
    training.network.eval()
    with torch.no_grad():
        losses = [training.loss(training.forward(inputs), labels, mask)[0].item() for _ in range(2)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_few_steps_lower_the_loss(name):
    training = built(name)
    inputs, labels, mask = batch(name)
    optimizer = torch.optim.Adam(training.network.parameters(), lr=1e-3)

    def loss():
        total, count = training.loss(training.forward(inputs), labels, mask)
        return total / count

    training.network.eval()
    before = loss().item()
    training.network.train()
    for _ in range(40):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    for module in training.network.modules():  # statistics of ten batches lag behind
        if isinstance(module, nn.BatchNorm1d):
            module.train()
    assert loss().item() < 0.9 * before


def test_event_detection_takes_the_mean_over_all_classes():
    training = built("aed")
    inputs, labels, mask = batch("aed")
    total, count = training.loss(training.forward(inputs), labels, mask)
    logits = training.network.head(encoder_of(training)(inputs))
    assert count == 8 * 7
    expected = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert (total / count).item() == pytest.approx(expected.item(), rel=1e-6)


def encoder_of(training):
    network = encoder(SETTINGS["width"])
    network.load_state_dict(training.network.encoder.state_dict())
    return network


def test_the_contrastive_loss_counts_ten_times():
    training = built("align")
    inputs, labels, mask = batch("align")
    training.network.eval()
    total, count = training.loss(training.forward(inputs), labels, mask)
    with torch.no_grad():
        sounds = training.network.affine(encoder_of(training)(inputs)).double().numpy()
        tags = training.network.place_tags(labels).double().numpy()
    assert count == 16
    assert total.item() == pytest.approx(10 * sum(nt_xent_in_numpy(sounds, tags, 0.1)), rel=1e-4)


def test_textual_needs_the_ten_qualities():
    with pytest.raises(RepriseError, match=r"needs the 10 qualities of NSynth, and its corpus has 20 classes"):
        OBJECTIVES["textual"].build(SETTINGS, 20)
