"""The interpretable loss: exact on small maps, its gradients by calculus and by differences, and what training adds."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import RepriseError
from harness.models import count_parameters
from harness.models.masking import templates
from harness.training import loop
from harness.training.losses import cross_entropy
from replications.gtzan_cam.interpretable_loss import (
    MOMENTUM,
    TAU,
    InterpretableLoss,
    categories,
    chosen_templates,
    likelihoods,
    mutual_information,
    relative_information,
    strengths,
    template_bank,
)
from replications.gtzan_cam.networks import base, masked

CLASSES, SHAPE = 4, (16, 24)


@pytest.fixture
def maps() -> torch.Tensor:
    """Six clips' maps of three filters, 4 x 5 cells, loud enough for their templates to differ."""
    return 30 * torch.rand(6, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def positive() -> torch.Tensor:
    return torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) < 0.5


def blobs(clips: int = 8, side: int = 5) -> torch.Tensor:
    """One filter: each clip's map has one loud cell, every clip's another."""
    maps = torch.zeros(clips, 1, side, side, dtype=torch.float64)
    for clip in range(clips):
        maps[clip, 0, clip % side, (3 * clip) % side] = 400.0
    return maps


def by_loops(maps: np.ndarray) -> float:
    """The paper's definition for one filter's maps (n, h, w), sum by sum, templates around all cells and a negative."""
    height, width = maps.shape[1:]
    cells = height * width
    tau, alpha = 0.5 / cells, cells / (1 + cells)
    ys, xs = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    priors, drawn = [1 - alpha], [-tau * np.ones((height, width))]
    for y in ys:
        for x in xs:
            distance = abs(ys - y)[:, None] + abs(xs - x)[None]
            drawn.append(tau * np.maximum(1 - 2 * distance, -1))
            priors.append(alpha / cells)
    joint = np.array([[math.exp((x * template).sum()) for x in maps] for template in drawn])
    joint /= joint.sum(axis=1, keepdims=True)
    evidence = np.array(priors) @ joint
    information = 0.0
    for prior, given in zip(priors, joint, strict=True):
        information += prior * sum(p * math.log(p / q) for p, q in zip(given, evidence, strict=True))
    return information


def make(seed: int = 0, **settings) -> tuple[nn.Sequential, InterpretableLoss]:
    torch.manual_seed(seed)
    network = masked(CLASSES, SHAPE)
    return network, InterpretableLoss(network, **settings)


def batch(clips: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.eye(CLASSES)[torch.arange(clips) % CLASSES]
    return torch.rand(clips, *SHAPE, generator=generator), labels, torch.ones(clips, CLASSES)


def maps_of(network: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """What enters the upper mask layer."""
    for name, stage in network.named_children():
        if name == "mask3":
            return inputs
        inputs = stage(inputs)
    raise AssertionError


def test_the_bank_holds_the_template_around_every_cell_and_the_negative_one():
    bank = template_bank(3, 4, 1.5)
    assert bank.shape == (13, 3, 4)
    assert (bank[-1] == -1).all()
    for cell in range(12):
        single = torch.zeros(12, dtype=torch.float64)
        single[cell] = 1
        torch.testing.assert_close(bank[cell], templates(single.reshape(1, 1, 3, 4), 1.5)[0, 0], rtol=0, atol=0)


def test_the_information_is_the_paper_s_sum(maps):
    expected = [by_loops(maps[:, filter].numpy()) for filter in range(3)]
    np.testing.assert_allclose(mutual_information(maps).numpy(), expected, rtol=1e-10)
    assert min(expected) > 0.01


def test_the_probabilities_are_ones(maps):
    given, evidence = likelihoods(maps, template_bank(4, 5))
    torch.testing.assert_close(given.exp().sum(dim=0), torch.ones(21, 3, dtype=torch.float64))
    torch.testing.assert_close(evidence.exp().sum(dim=0), torch.ones(3, dtype=torch.float64))


def test_the_information_lies_between_zero_and_the_clips_entropy():
    same = torch.rand(1, 2, 4, 4, dtype=torch.float64).expand(5, -1, -1, -1)
    torch.testing.assert_close(mutual_information(same), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    apart = mutual_information(1e4 * blobs())
    assert 0.5 * math.log(8) < apart.item() <= math.log(8)


def test_one_place_at_a_time_says_more_than_many():
    one = blobs()
    spread = one.mean(dim=(2, 3), keepdim=True).expand_as(one)
    shuffled = 0.5 * one + 0.5 * one.flip(2)
    assert mutual_information(one) > mutual_information(shuffled) > mutual_information(spread)


def test_networks_are_compared_whatever_their_loudness(maps):
    relative = relative_information(maps)
    assert relative.min() > 0
    louder = maps * torch.tensor([1.0, 7.0, 0.01], dtype=torch.float64)[:, None, None]
    assert mutual_information(louder)[1] > 2 * mutual_information(maps)[1]
    torch.testing.assert_close(relative_information(louder), relative)
    torch.testing.assert_close(relative_information(maps, filters=1), relative)
    torch.testing.assert_close(mutual_information(maps / maps.mean(dim=(0, 2, 3), keepdim=True)), relative)
    assert relative_information(maps * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)[:, None, None])[1] == 0


def test_the_exact_gradient_by_differences_and_in_closed_form(maps):
    small = maps[:4, :2, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mutual_information(x).sum(), small)
    (found,) = torch.autograd.grad(-mutual_information(small).sum(), small)
    torch.testing.assert_close(exact_gradient(small.detach()), found, rtol=1e-9, atol=1e-15)
    step, cell = 1e-4, (2, 1, 0, 1)  # and by hand, at one cell
    up, down = small.detach().clone(), small.detach().clone()
    up[cell] += step
    down[cell] -= step
    difference = -(mutual_information(up) - mutual_information(down)).sum() / (2 * step)
    assert difference.item() == pytest.approx(found[cell].item(), rel=1e-5)


def constant_partition_gradient(maps: torch.Tensor) -> torch.Tensor:
    """The paper's gradient before it drops templates: autograd with Z_T and the logarithm held constant."""
    bank = template_bank(*maps.shape[2:]).to(maps)
    leaf = maps.clone().requires_grad_()
    scores = TAU / bank[0].numel() * torch.einsum("kij,nfij->nkf", bank, leaf)
    given, evidence = likelihoods(maps, bank)
    still = scores.detach().logsumexp(dim=0)
    moving = (scores - still).exp()
    information = (moving * (given - evidence[:, None])).sum() / len(bank)
    return torch.autograd.grad(-information, leaf)[0]


def test_the_practical_gradient_is_one_template_s_share_of_the_paper_s(maps, positive):
    bank = template_bank(4, 5)
    given, evidence = likelihoods(maps, bank)
    pulls = given.exp() * (given - evidence[:, None])  # of every template
    terms = -(TAU / 20 / 21) * pulls[..., None, None] * bank[None, :, None]
    torch.testing.assert_close(terms.sum(dim=1), constant_partition_gradient(maps))
    found = practical_gradient(maps, positive)
    for clip, filter in np.ndindex(6, 3):
        template = int(maps[clip, filter].argmax()) if positive[clip, filter] else 20
        torch.testing.assert_close(found[clip, filter], terms[clip, template, filter])


def test_the_exact_gradient_is_the_paper_s_less_a_baseline_for_every_template(maps):
    bank = template_bank(4, 5)
    given, evidence = likelihoods(maps, bank)
    divergence = (given.exp() * (given - evidence[:, None])).sum(dim=0)
    baseline = torch.einsum("kij,nkf->nfij", bank, given.exp() * divergence) * TAU / 20 / 21
    torch.testing.assert_close(exact_gradient(maps), constant_partition_gradient(maps) + baseline)
    assert baseline.abs().max() > 0.1 * exact_gradient(maps).abs().max()  # it is no small thing


def exact_gradient(maps: torch.Tensor) -> torch.Tensor:
    """Gradient of each filter's loss at its maps, in closed form."""
    bank = template_bank(*maps.shape[2:]).to(maps)
    given, evidence = likelihoods(maps, bank)
    gain = given - evidence[:, None]
    centred = given.exp() * (gain - (given.exp() * gain).sum(dim=0))
    return -(TAU / bank[0].numel() / len(bank)) * torch.einsum("kij,nkf->nfij", bank, centred)


def practical_gradient(maps: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """The paper's gradient of each filter's loss at its maps: Z_T held constant, one template per map."""
    cells = maps[0, 0].numel()
    pull = strengths(maps, positive)[:, :, None, None]
    return -(TAU / cells / (cells + 1)) * pull * chosen_templates(maps, positive)


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return torch.cosine_similarity(first.flatten(), second.flatten(), dim=0).item()


def test_on_quiet_maps_with_a_peak_the_practical_gradient_raises_the_information():
    maps = blobs() / 20 + torch.rand(8, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    exact, gradient = exact_gradient(maps), practical_gradient(maps, torch.ones(8, 1, dtype=torch.bool))
    assert cosine(constant_partition_gradient(maps), exact) > 0.9
    assert 0.3 < cosine(gradient, exact) < 0.7
    moved = maps - gradient / gradient.abs().max()
    assert mutual_information(moved) > mutual_information(maps)


def test_on_the_loudest_maps_it_may_point_the_other_way():
    maps = 4000 * torch.rand(8, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    gradient = practical_gradient(maps, torch.ones(8, 1, dtype=torch.bool))
    assert mutual_information(maps) > 0.4 * math.log(8)
    assert cosine(gradient, exact_gradient(maps)) < 0


def test_a_map_that_fits_its_template_is_raised_at_its_peak_and_lowered_far_away():
    maps = blobs()
    positive = torch.ones(8, 1, dtype=torch.bool)
    drawn = strengths(maps, positive).squeeze(1) > 0
    assert drawn.any()
    gradient = practical_gradient(maps, positive)
    for clip in np.flatnonzero(drawn.numpy()):
        assert gradient[clip, 0].flatten()[maps[clip, 0].argmax()] < 0 < gradient[clip, 0].max()


def test_a_map_that_fits_its_template_badly_is_driven_away():
    maps = torch.zeros(4, 1, 5, 5, dtype=torch.float64)
    maps[:3, 0, 1, 1] = 200.0
    maps[3] = 100.0  # loud everywhere, in a clip of another class
    positive = torch.tensor([[True], [True], [True], [False]])
    assert strengths(maps, positive)[3] < 0  # so it is made louder still


def test_the_chosen_templates_are_of_the_bank(maps, positive):
    bank, found = template_bank(4, 5), chosen_templates(maps, positive)
    for clip, filter in np.ndindex(6, 3):
        chosen = int(maps[clip, filter].argmax()) if positive[clip, filter] else 20
        torch.testing.assert_close(found[clip, filter], bank[chosen])


def test_training_adds_the_practical_gradient_at_the_maps_and_nothing_to_the_value():
    network, loss = make(weight=0.05)
    with torch.no_grad():
        network.conv3.weight *= 20  # loud enough for single precision to tell the templates apart
    inputs, labels, mask = batch()
    network.train()
    logits = network(inputs)
    maps = loss._maps
    torch.testing.assert_close(maps, maps_of(network, inputs))
    plain, count = cross_entropy(logits, labels, mask)
    total, same_count = loss(logits, labels, mask)
    assert (total.item(), same_count.item()) == (plain.item(), count.item())
    (before,) = torch.autograd.grad(plain, maps, retain_graph=True)
    (after,) = torch.autograd.grad(total, maps)
    added = after - before

    still = maps.detach().double()
    positive = labels[:, categories(network.mask3)] > 0
    assert positive.any()
    assert not positive.all()
    pulls = strengths(still, positive)
    drawn = chosen_templates(still, positive)
    cells = still[0, 0].numel()
    # The practical gradient, but for one factor for each filter.
    wanted = -0.05 / cells**0.5 * (pulls / pulls.abs().mean(dim=0))[:, :, None, None] * drawn
    torch.testing.assert_close(added.double(), wanted, rtol=1e-3, atol=1e-5)
    assert wanted.abs().max() > 5e-3


def test_no_weight_adds_nothing():
    inputs, labels, mask = batch()
    gradients = []
    for weight in (0.0, None):
        network, loss = make(weight=0.0) if weight is not None else (make()[0], cross_entropy)
        network.train()
        loss(network(inputs), labels, mask)[0].backward()
        gradients.append([p.grad for p in network.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_gradient_reaches_what_lies_below_the_maps_and_nothing_above():
    inputs, labels, mask = batch()
    gradients = []
    for weight in (0.0, 1.0):
        network, loss = make(weight=weight)
        network.train()
        loss(network(inputs), labels, mask)[0].backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    same = {name for name in gradients[0] if torch.equal(gradients[0][name], gradients[1][name])}
    assert same == {"fc.weight", "fc.bias"}


def test_in_evaluation_it_is_the_cross_entropy_and_nothing_is_kept():
    network, loss = make()
    inputs, labels, mask = batch()
    network.eval()
    before = network.mask3.activity.clone()
    logits = network(inputs)
    found, expected = loss(logits, labels, mask), cross_entropy(logits, labels, mask)
    assert found == expected
    assert loss._maps is None
    assert torch.equal(network.mask3.activity, before)


def test_the_batch_s_maps_are_let_go():
    network, loss = make()
    inputs, labels, mask = batch()
    loss(network.train()(inputs), labels, mask)
    assert loss._maps is None


def test_categories_are_kept_over_batches_by_hand():
    network, loss = make()
    network.train()
    expected = None
    for seed, classes in enumerate(([0, 0, 1, 2], [1, 1, 2, 2], [0, 1, 2, 0])):  # class 3 is never there
        inputs, _, mask = batch(4, seed)
        labels = torch.eye(CLASSES)[classes]
        found = maps_of(network, inputs).detach().mean(dim=(2, 3))
        means = {k: found[[c == k for c in classes]].mean(dim=0) for k in set(classes)}
        if expected is None:
            expected = {k: -torch.ones(128) for k in range(CLASSES)}
        for k, mean in means.items():
            old = expected[k]
            expected[k] = mean if (old < 0).all() else MOMENTUM * old + (1 - MOMENTUM) * mean
        loss(network(inputs), labels, mask)
    wanted = torch.stack([expected[k] for k in range(CLASSES)])
    torch.testing.assert_close(network.mask3.activity, wanted)
    assert torch.equal(categories(network.mask3), wanted.argmax(dim=0))
    assert 3 not in categories(network.mask3)


def test_a_batch_of_one_clip_and_a_silent_filter_leave_no_nan():
    network, loss = make(weight=1.0)
    with torch.no_grad():
        network.conv3.weight[0] = 0
        network.conv3.bias[0] = -1
    network.train()
    for clips in (1, 5):
        inputs, labels, mask = batch(clips)
        network.zero_grad()
        loss(network(inputs), labels, mask)[0].backward()
        assert all(p.grad.isfinite().all() for p in network.parameters())


def train(folder, on_epoch=lambda entry: None) -> nn.Sequential:
    network, loss = make(weight=0.05)
    folder.mkdir(exist_ok=True)
    inputs, labels, mask = (tensor.numpy() for tensor in batch(36))
    loop.fit(
        network,
        network,
        loop.Examples(inputs, labels.astype(np.uint8), mask.astype(bool)),
        {"train": np.arange(26), "valid": np.arange(26, 36)},
        loss=loss,
        scores=None,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
        scheduler=None,
        epochs=3,
        patience=None,
        batch_size=8,
        seed=0,
        folder=folder,
        name="masked_loss",
        keep="last",
        on_epoch=on_epoch,
    )
    return network


def test_a_run_broken_off_ends_as_one_that_was_not(tmp_path):
    def stop(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    unbroken = train(tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop)
    again = train(tmp_path / "broken")
    states = unbroken.state_dict(), again.state_dict()
    assert "mask3.activity" in states[0]
    assert (states[0]["mask3.activity"] >= 0).all()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_a_network_trained_with_it_knows_its_templates_better():
    generator = torch.Generator().manual_seed(0)
    _, labels, mask = batch(24)
    inputs = 0.1 * torch.rand(24, *SHAPE, generator=generator)
    for clip, start in enumerate(torch.randint(0, 20, (24,), generator=generator).tolist()):
        band = 4 * (clip % CLASSES)  # a class's band, at any time
        inputs[clip, band : band + 4, start : start + 4] += 0.9
    found = {}
    for weight in (0.0, 0.01):
        network, loss = make(weight=weight)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(20):
            network.train()
            total, count = loss(network(inputs), labels, mask)
            optimizer.zero_grad()
            (total / count).backward()
            optimizer.step()
        maps = maps_of(network, inputs).detach().double()
        found[weight] = relative_information(maps).mean()
        accuracy = (network.eval()(inputs).argmax(1) == labels.argmax(1)).float().mean()
        assert accuracy > 0.9
    assert found[0.01] > 1.2 * found[0.0]


def test_a_network_without_the_mask_is_refused():
    with pytest.raises(RepriseError, match="no mask layer 'mask3'; its stages are channel, conv1"):
        InterpretableLoss(base(CLASSES, SHAPE))
    with pytest.raises(RepriseError, match="no mask layer 'relu3'"):
        InterpretableLoss(masked(CLASSES, SHAPE), stage="relu3")


def test_the_network_has_no_more_parameters_for_it():
    network, _ = make()
    assert count_parameters(network) == count_parameters(masked(CLASSES, SHAPE))
    assert network.mask3.activity.shape == (CLASSES, 128)
    lower = InterpretableLoss(masked(CLASSES, SHAPE), stage="mask2")
    assert lower.mask.activity.shape == (CLASSES, 64)
