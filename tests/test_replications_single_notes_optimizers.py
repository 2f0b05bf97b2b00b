"""Keras' SGD by hand, beside PyTorch's, and resumed."""

import io

import pytest
import torch

from replications.single_notes.optimizers import KerasSGD, szegedy


def trajectory(steps: int, **options) -> list[float]:
    """Positions on the parabola p^2 / 2, whose gradient is p, from 1 on."""
    p = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = KerasSGD([p], **options)
    positions = []
    for _ in range(steps):
        optimizer.zero_grad()
        (p**2 / 2).backward()
        optimizer.step()
        positions.append(p.item())
    return positions


@pytest.mark.parametrize(
    ("options", "by_hand"),
    [
        # Rates 0.1, 0.1 / 1.5, 0.1 / 2; velocities -0.1, -0.09 - 0.06, -0.135 - 0.0375.
        ({"momentum": 0.9}, [0.9, 0.75, 0.5775]),
        # Velocities -0.1, -0.09 - 0.054, -0.1296 - 0.03132; positions move by 0.9 of them and by rate times gradient.
        ({"momentum": 0.9, "nesterov": True}, [0.81, 0.6264, 0.450252]),
        ({}, [0.9, 0.84, 0.798]),
        ({"nesterov": True}, [0.9, 0.84, 0.798]),
    ],
)
def test_trajectory_by_hand(options, by_hand):
    assert trajectory(3, lr=0.1, decay=0.5, **options) == pytest.approx(by_hand, abs=1e-15)


def test_rates_of_study_004():
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = KerasSGD([p], 0.045, decay=0.9)
    rates = []
    for _ in range(2101):
        before = p.item()
        p.grad = torch.ones_like(p)
        optimizer.step()
        rates.append(before - p.item())
    assert [rates[t] for t in (0, 1, 2, 42)] == pytest.approx([0.045, 0.0237, 0.0161, 0.0012], abs=5e-5)
    assert rates[2100] == pytest.approx(2.4e-5, abs=5e-7)
    assert sum(rates[:2100]) == pytest.approx(0.40, abs=0.005)


def descend(make, *, schedule=None, steps=30) -> torch.Tensor:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    inputs = torch.randn(20, 6, dtype=torch.float64)
    optimizer = make(network.parameters())
    scheduler = schedule(optimizer) if schedule else None
    for _ in range(steps):
        optimizer.zero_grad()
        (network(inputs) - inputs.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("nesterov", [False, True])
def test_equals_pytorch_at_a_constant_rate_only(nesterov):
    def keras(parameters):
        return KerasSGD(parameters, 0.05, momentum=0.9, nesterov=nesterov)

    def pytorch(parameters):
        return torch.optim.SGD(parameters, 0.05, momentum=0.9, nesterov=nesterov)

    torch.testing.assert_close(descend(keras), descend(pytorch), rtol=1e-12, atol=1e-12)
    changed = descend(keras, schedule=szegedy) - descend(pytorch, schedule=szegedy)
    assert changed.abs().max() > 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
def test_resumed_it_takes_the_very_same_steps(nesterov):
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(10, 7, generator=generator)

    def run(p, optimizer, rows):
        for gradient in gradients[rows]:
            p.grad = gradient.clone()
            optimizer.step()

    def fresh(start):
        p = torch.nn.Parameter(start.clone())
        return p, KerasSGD([p], 0.045, decay=0.9, momentum=0.9, nesterov=nesterov)

    p, optimizer = fresh(torch.ones(7))
    run(p, optimizer, slice(0, 4))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    again, resumed = fresh(p.detach())
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    run(p, optimizer, slice(4, 10))
    run(again, resumed, slice(4, 10))
    assert torch.equal(p, again)
    forgetful, restarted = fresh(torch.ones(7))
    run(forgetful, restarted, slice(0, 4))
    run(forgetful, KerasSGD([forgetful], 0.045, decay=0.9, momentum=0.9, nesterov=nesterov), slice(4, 10))
    assert not torch.equal(p, forgetful)


def test_parameters_without_a_gradient_stay():
    p, q = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = KerasSGD([p, q], 0.1, momentum=0.9)
    p.grad = torch.ones(2)
    optimizer.step()
    assert p[0] != 1
    assert torch.equal(q, torch.ones(2))


def test_szegedy_lowers_the_rate_every_second_epoch():
    optimizer = KerasSGD([torch.nn.Parameter(torch.zeros(1))], 0.045)
    scheduler = szegedy(optimizer)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.045, 0.045, 0.0423, 0.0423, 0.039762], rel=1e-12)


@pytest.mark.parametrize("options", [{"lr": -1}, {"lr": 0.1, "decay": -0.1}, {"lr": 0.1, "momentum": float("nan")}])
def test_negative_numbers_are_refused(options):
    with pytest.raises(ValueError, match="must not be negative, but is"):
        KerasSGD([torch.nn.Parameter(torch.zeros(1))], **options)
