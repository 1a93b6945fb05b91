"""Small networks in C: the torch twin in values and gradients, and what is not theirs."""

import inspect

import pytest
import torch

from syncnerf.encodings import small_network
from syncnerf.encodings.fused_mlp import FusedMLP
from syncnerf.encodings.mlp_weights import mlp_values
from syncnerf.encodings.small_network import native_network, network_fits

needs_kernel = pytest.mark.skipif(small_network._library() is None, reason="no C compiler: the kernel is not used")

SHAPES = [(48, 16, 64, 1), (31, 3, 64, 2), (5, 17, 16, 3), (96, 1, 128, 2), (128, 16, 32, 1), (16, 33, 48, 7)]
"""Inputs, outputs, width, hidden layers: with and without padding, all numbers of vectors, and the most layers."""


def random_network(inputs: int, outputs: int, width: int, hidden: int) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    sides = [-(-inputs // 16) * 16, *[width] * hidden, -(-outputs // 16) * 16]
    shapes = list(zip(sides[1:], sides[:-1], strict=True))
    generator = torch.Generator().manual_seed(inputs)
    scale = torch.cat([torch.full((a * b,), (2.0 / b) ** 0.5) for a, b in shapes])
    return scale * torch.randn(len(scale), generator=generator), shapes


def answers(network, values: torch.Tensor, weights: torch.Tensor, *sizes) -> list[torch.Tensor]:
    values, weights = values.clone().requires_grad_(), weights.clone().requires_grad_()
    output = network(values, weights, *sizes)
    upstream = torch.rand(output.shape, generator=torch.Generator().manual_seed(1)) - 0.3
    output.backward(upstream)
    return [output.detach(), values.grad, weights.grad]


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1500])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_is_its_torch_twin_in_values_and_gradients(shape, count, threads):
    weights, shapes = random_network(*shape)
    values = torch.randn(count, shape[0], generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, expected = (answers(f, values, weights, *shape[:2], shapes) for f in (native_network, mlp_values))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max() if count else 1.0))


@needs_kernel
def test_only_the_gradients_that_are_asked_for_are_made():
    weights, shapes = random_network(*SHAPES[1])
    values = torch.randn(40, 31, generator=torch.Generator().manual_seed(3)).T.contiguous().T
    _, of_values, of_weights = answers(native_network, values, weights, 31, 3, shapes)
    upstream = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) - 0.3
    alone = values.clone().requires_grad_()
    native_network(alone, weights, 31, 3, shapes).backward(upstream)
    torch.testing.assert_close(alone.grad, of_values)
    alone = weights.clone().requires_grad_()
    native_network(values, alone, 31, 3, shapes).backward(upstream)
    torch.testing.assert_close(alone.grad, of_weights)
    assert not native_network(values, weights, 31, 3, shapes).requires_grad


@needs_kernel
def test_the_kernel_is_used_where_it_can_be_and_nowhere_else(monkeypatch):
    used = []
    original = small_network._Network.apply
    monkeypatch.setattr(small_network._Network, "apply", lambda *a: used.append(1) or original(*a))
    FusedMLP(48, 16, 64, 1)(torch.rand(9, 48))
    assert used == [1]
    with torch.autocast("cpu", torch.bfloat16):
        FusedMLP(48, 16, 64, 1)(torch.rand(9, 48))
    FusedMLP(160, 16, 64, 1)(torch.rand(9, 160))
    FusedMLP(48, 16, 64, 8)(torch.rand(9, 48))
    assert used == [1]
    assert not network_fits(torch.rand(9, 48).double(), torch.rand(4096).double(), [(64, 48), (16, 64)])


@needs_kernel
def test_what_does_not_belong_together_is_refused():
    weights, shapes = random_network(48, 16, 64, 1)
    unchecked = inspect.unwrap(native_network)
    for wrong in (
        (torch.rand(9, 47), weights, 48, 16, shapes),
        (torch.rand(9, 48), weights[:-1], 48, 16, shapes),
        (torch.rand(9, 49), weights, 49, 16, shapes),
        (torch.rand(9, 48), weights, 48, 17, shapes),
        (torch.rand(9, 48), weights, 48, 16, [(32, 48), (32, 80)]),
        (torch.rand(9, 8), torch.rand(8 * 8 + 16 * 8), 8, 16, [(8, 8), (16, 8)]),
    ):
        with pytest.raises(ValueError, match="matrices"):
            unchecked(*wrong)
