"""The mask layer: templates by hand, on maps of any shape, and a gradient that leaves the templates alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.errors import RepriseError
from harness.models.masking import Mask, peaks, templates

FORMATS = (torch.contiguous_format, torch.channels_last)


def one_map(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows)[None, None]


def by_loops(maps: np.ndarray, steepness: float) -> np.ndarray:
    """The definition, cell by cell."""
    drawn = np.empty_like(maps)
    height, width = maps.shape[2:]
    ys, xs = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    for n, c in np.ndindex(maps.shape[:2]):
        row, column = np.unravel_index(maps[n, c].argmax(), (height, width))
        for i, j in np.ndindex(height, width):
            drawn[n, c, i, j] = max(1 - steepness * (abs(ys[i] - ys[row]) + abs(xs[j] - xs[column])), -1)
    return drawn


@pytest.fixture
def maps() -> torch.Tensor:
    """Maps of different height and width, with zeros as a ReLU leaves them."""
    return torch.relu(torch.randn(3, 5, 6, 9, generator=torch.Generator().manual_seed(0)))


def test_a_template_by_hand():
    # Rows lie at -1, 0 and 1, columns at -1, -1/3, 1/3 and 1; the strongest cell is the middle row's second.
    found = templates(one_map([[0.0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 0, 8]]), steepness=0.75)
    near = [0.5, 1, 0.5, 0]
    far = [-0.25, 0.25, -0.25, -0.75]
    torch.testing.assert_close(found, one_map([far, near, far]))


def test_a_masked_map_by_hand():
    masked = Mask(steepness=0.75)(one_map([[1.0, 1, 1, 1], [2, 9, 2, 2], [1, 1, 1, 8]]))
    torch.testing.assert_close(masked, one_map([[0, 0.25, 0, 0], [1, 9, 1, 0], [0, 0.25, 0, 0]]))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("steepness", [0.5, 2.0])
def test_templates_are_as_defined_in_any_memory_format(maps, memory_format, steepness):
    maps = maps.contiguous(memory_format=memory_format)
    found = templates(maps, steepness)
    np.testing.assert_allclose(found.numpy(), by_loops(maps.double().numpy(), steepness), atol=1e-6)
    assert found.is_contiguous(memory_format=memory_format)
    assert Mask(steepness)(maps).is_contiguous(memory_format=memory_format)


@given(
    arrays(np.float32, st.tuples(*4 * [st.integers(1, 6)]), elements=st.floats(0, 100, width=32)),
    st.floats(0, 8),
)
def test_a_template_lies_between_minus_one_and_one_and_is_one_where_the_map_is_strongest(values, steepness):
    maps = torch.from_numpy(values)
    drawn = templates(maps, steepness)
    assert drawn.min() >= -1
    assert drawn.max() <= 1
    rows, columns = peaks(maps)
    for n, c in np.ndindex(*values.shape[:2]):
        assert drawn[n, c, rows[n, c], columns[n, c]] == 1
    out = Mask(steepness)(maps)
    assert out.min() >= 0
    assert (out <= maps).all()
    torch.testing.assert_close(out.amax((2, 3)), maps.amax((2, 3)), rtol=0, atol=0)  # it passes as it is


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_first_of_several_peaks_counts(memory_format):
    maps = torch.randint(0, 3, (20, 8, 5, 7), generator=torch.Generator().manual_seed(0)).float()
    rows, columns = peaks(maps.contiguous(memory_format=memory_format))
    expected = maps.flatten(2).numpy().argmax(2)  # the first, by NumPy's word
    np.testing.assert_array_equal((rows * 7 + columns).numpy(), expected)


def test_a_map_of_zeros_stays_one():
    zeros = torch.zeros(2, 3, 4, 5, requires_grad=True)
    drawn = templates(zeros, 2.0)
    assert (drawn[:, :, 0, 0] == 1).all()
    out = Mask(2.0)(zeros)
    out.sum().backward()
    assert not out.any()
    assert zeros.grad.isfinite().all()


def test_the_gradient_is_that_of_the_maximum_with_the_templates_held_still():
    signal = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(signal.shape, generator=torch.Generator().manual_seed(2))
    gradients = []
    for layer in (Mask(1.5), lambda maps: torch.relu(maps * templates(maps, 1.5).detach())):
        leaf = signal.clone().requires_grad_()
        out = layer(torch.relu(leaf))
        (out * weights).sum().backward()
        gradients.append((out.detach(), leaf.grad))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    assert gradients[0][1].any()


def test_the_layer_runs_where_nothing_is_computed():
    assert Mask()(torch.empty(2, 3, 4, 5, device="meta")).shape == (2, 3, 4, 5)


def test_the_layer_says_what_it_does():
    assert repr(Mask(1.5)) == "Mask(steepness=1.5)"
    assert not Mask().state_dict()


def test_a_rising_template_is_refused(maps):
    with pytest.raises(RepriseError, match="0 or more"):
        templates(maps, -1.0)
