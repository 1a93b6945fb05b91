"""Small networks and spherical harmonics: values by hand, layout, gradients, engines against the twins."""

import importlib.util

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from syncnerf.encodings.fused_mlp import FusedMLP
from syncnerf.encodings.mlp_weights import mlp_values
from syncnerf.encodings.spherical_harmonics import SphericalHarmonics

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
DEVICES = {"torch": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
"""Where each engine's networks are tested."""

SHAPES = [(48, 16, 64, 1), (31, 3, 32, 2), (5, 17, 16, 3), (96, 1, 128, 2)]
"""Inputs, outputs, width, hidden layers: with and without padding at either end."""


def network(shape: tuple[int, int, int, int], engine: str = "torch") -> FusedMLP:
    torch.manual_seed(0)
    return FusedMLP(*shape, engine).to(DEVICES[engine])


def some_values(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


def slow_network(values: np.ndarray, weights: np.ndarray, inputs: int, outputs: int, width: int, layers: int):
    """The definition, a matrix at a time, from the flat layout."""
    padded, last = -(-inputs // 16) * 16, -(-outputs // 16) * 16
    values = np.concatenate([values, np.ones((len(values), padded - inputs))], axis=1)
    for _ in range(layers):
        size = width * values.shape[1]
        matrix, weights = weights[:size].reshape(width, -1), weights[size:]
        values = np.maximum(np.einsum("oi,ni->no", matrix, values), 0.0)
    assert len(weights) == last * width
    return np.einsum("oi,ni->no", weights.reshape(last, width), values)[:, :outputs]


def gradients(module: torch.nn.Module, values: torch.Tensor) -> list[torch.Tensor]:
    values = values.clone().to(DEVICES[module.engine]).requires_grad_()
    outputs = module(values)
    upstream = torch.rand(outputs.shape, generator=torch.Generator().manual_seed(1)) - 0.3
    module.zero_grad()
    outputs.backward(upstream.to(outputs))
    found = [outputs.detach(), values.grad, *(parameter.grad for parameter in module.parameters())]
    return [each.cpu() for each in found]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("engine", ["torch", pytest.param("triton", marks=needs_triton)])
def test_values_are_those_of_the_flat_layout(shape, engine):
    module, values = network(shape, engine), some_values(130, shape[0])
    expected = slow_network(values.double().numpy(), module.weights.detach().double().cpu().numpy(), *shape)
    assert relative(module(values.to(DEVICES[engine])).cpu(), torch.from_numpy(expected)) < 1e-6


@needs_triton
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("count", [1, 130])
def test_triton_is_the_twin_in_values_and_gradients(shape, count):
    values = some_values(count, shape[0])
    found, expected = (gradients(network(shape, engine), values) for engine in ("triton", "torch"))
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < 1e-5


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_the_twin_in_16_bits_is_near_32(kind, tolerance):
    module, values = network(SHAPES[1]), some_values(200, SHAPES[1][0])
    expected = gradients(module, values)
    with torch.autocast("cpu", kind):
        found = gradients(module, values)
    assert found[0].dtype == kind
    assert found[2].dtype == torch.float32
    assert relative(found[0], expected[0]) < tolerance
    for one, other in zip(found[1:], expected[1:], strict=True):
        # Neurons near zero that rounding switches on or off.
        assert relative(one, other) < 15 * tolerance


@needs_triton
def test_triton_is_the_twin_in_16_bits():
    """In float16: the interpreter cannot multiply bfloat16 matrices, which only test_encodings_compile.py sees."""
    values = some_values(200, SHAPES[1][0])
    with torch.autocast("cpu", torch.float16), torch.autocast(DEVICES["triton"], torch.float16):
        found, expected = (gradients(network(SHAPES[1], engine), values) for engine in ("triton", "torch"))
    assert found[0].dtype == torch.float16
    assert found[2].dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < 3e-3


def test_gradients_of_the_twin_are_those_of_finite_differences():
    module = network((5, 3, 16, 2)).double()
    values = some_values(4, 5).double().requires_grad_()

    def outputs(values, weights):
        return mlp_values(values, weights, module.inputs, module.outputs, module.shapes)

    assert torch.autograd.gradcheck(outputs, (values, module.weights), eps=1e-7)


def test_starting_weights_keep_the_size_of_what_passes():
    module = network((64, 16, 64, 2))
    first = module.weights.detach()[: 64 * 64]
    bound = (6 / 128) ** 0.5
    assert 0.95 * bound < first.abs().max() <= bound
    assert first.mean().abs() < 0.01


@pytest.mark.parametrize("wrong", [(8, 3, 48, 1), (8, 3, 64, 0)])
def test_networks_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="hidden layers of 16, 32, 64, 128"):
        FusedMLP(*wrong)


@needs_triton
def test_no_values():
    for engine in ("torch", "triton"):
        module = network(SHAPES[0], engine)
        outputs = module(torch.empty(0, 48, device=DEVICES[engine]))
        assert outputs.shape == (0, 16)
        outputs.sum().backward()
        assert not module.weights.grad.any()


def some_directions(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(some_values(count, 3), dim=-1)


@pytest.mark.parametrize("engine", ["torch", pytest.param("triton", marks=needs_triton)])
def test_spherical_harmonics_are_scipys(engine):
    directions = some_directions(300)
    polar, azimuth = torch.acos(directions[:, 2]).numpy(), torch.atan2(directions[:, 1], directions[:, 0]).numpy()
    expected = []
    for degree in range(4):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), polar, azimuth)
            part = value.real if order >= 0 else value.imag
            expected.append(part * (2**0.5 if order else 1))
    found = SphericalHarmonics(engine)(directions.to(DEVICES[engine])).cpu()
    np.testing.assert_allclose(found, np.stack(expected, axis=-1), atol=2e-6)


@needs_triton
def test_tritons_harmonics_are_the_twins_in_gradients_and_16_bits():
    directions = some_directions(300)
    found, expected = (gradients(SphericalHarmonics(engine), directions) for engine in ("triton", "torch"))
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < 1e-6
    with torch.autocast(DEVICES["triton"], torch.float16):
        half = gradients(SphericalHarmonics("triton"), directions)
    assert half[0].dtype == torch.float16
    for one, other in zip(half, expected, strict=True):
        assert relative(one, other) < 2e-3
