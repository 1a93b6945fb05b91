"""Volume rendering against a loop over samples, closed forms and finite differences; directions' harmonics."""

import math

import numpy as np
import pytest
import scipy.special
import torch

from syncnerf.encodings.spherical_harmonics import spherical_harmonics
from syncnerf.rendering.compositing import composite, render_weights, truncated_exponential


def slow_weights(densities: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Opacity of each sample times what is left of the light, sample by sample."""
    weights = np.zeros_like(densities)
    for ray in range(len(densities)):
        light = 1.0
        for sample in range(densities.shape[1]):
            opacity = 1.0 - math.exp(-densities[ray, sample] * lengths[ray, sample])
            weights[ray, sample] = light * opacity
            light *= 1.0 - opacity
    return weights


@pytest.fixture
def rays():
    generator = torch.Generator().manual_seed(3)
    densities = 4 * torch.rand(6, 9, generator=generator, dtype=torch.float64)
    densities[1] = 0.0
    densities[2, 4] = 1e4  # a wall: nothing behind it may count
    lengths = 0.05 + 0.3 * torch.rand(6, 9, generator=generator, dtype=torch.float64)
    return densities, lengths


def test_a_wall_keeps_the_weight_of_what_stands_before_it():
    densities = torch.tensor([[0.7, 1.3, 3e6, 2.0]])
    lengths = torch.tensor([[0.3, 0.2, 0.5, 0.4]])
    expected = slow_weights(densities.double().numpy(), lengths.double().numpy())
    np.testing.assert_allclose(render_weights(densities, lengths).numpy(), expected, rtol=1e-6, atol=1e-12)


def test_weights_and_pixels_are_those_of_a_loop_over_samples(rays):
    densities, lengths = rays
    weights = render_weights(densities, lengths)
    expected = slow_weights(densities.numpy(), lengths.numpy())
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-9, atol=1e-12)
    colours = torch.rand(6, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    distances = torch.rand(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    np.testing.assert_allclose(
        composite(weights, colours).numpy(), np.einsum("ns,nsc->nc", expected, colours.numpy()), atol=1e-12
    )
    np.testing.assert_allclose(
        composite(weights, distances).numpy(), (expected * distances.numpy()).sum(axis=1), atol=1e-12
    )


def test_opacity_of_a_homogeneous_medium_is_beer_lamberts_whatever_the_sampling():
    density, length = 1.7, 2.3
    for count in (1, 7, 500):
        densities = torch.full((1, count), density, dtype=torch.float64)
        weights = render_weights(densities, torch.full((1, count), length / count, dtype=torch.float64))
        assert weights.sum().item() == pytest.approx(1 - math.exp(-density * length), rel=1e-12)


def test_depth_in_a_homogeneous_medium_tends_to_the_integral():
    density, length, count = 1.3, 4.0, 20000
    middles = (torch.arange(count, dtype=torch.float64)[None] + 0.5) * length / count
    weights = render_weights(torch.full_like(middles, density), torch.full_like(middles, length / count))
    expected = 1 / density - math.exp(-density * length) * (length + 1 / density)
    assert composite(weights, middles).item() == pytest.approx(expected, rel=1e-6)


def test_nothing_behind_a_wall_is_seen_and_nothing_overflows():
    densities = torch.tensor([[0.0, 1e30, 5.0, 1e30]])
    weights = render_weights(densities, torch.ones(1, 4))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 1.0, 0.0, 0.0]]))


def test_tiny_optical_depths_keep_their_digits_in_float32():
    weights = render_weights(torch.full((1, 3), 1e-9), torch.ones(1, 3))
    torch.testing.assert_close(weights, torch.full((1, 3), 1e-9), rtol=1e-5, atol=0.0)


def test_gradients_of_compositing_are_those_of_finite_differences(rays):
    densities, lengths = (part[[0, 1, 3]].clone().requires_grad_() for part in rays)
    colours = torch.rand(3, 9, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda d, s, c: composite(render_weights(d, s), c), (densities, lengths, colours), atol=1e-7
    )


def test_density_activation_and_its_gradient_that_survives_the_clamp():
    x = torch.tensor([-80.0, -2.0, 0.0, 3.0, 14.9, 15.1, 400.0], dtype=torch.float64, requires_grad=True)
    result = truncated_exponential(x)
    expected = np.exp(np.minimum(x.detach().numpy(), 15.0))
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-12)
    (2.0 * result).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2.0 * expected, rtol=1e-12)


def sphere_quadrature(degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Polar angles, azimuths and weights that integrate polynomials of the degree exactly over the sphere."""
    nodes, weights = np.polynomial.legendre.leggauss(degree)
    azimuth = 2 * np.pi * np.arange(2 * degree) / (2 * degree)
    polar, azimuth = (part.ravel() for part in np.meshgrid(np.arccos(nodes), azimuth, indexing="ij"))
    return polar, azimuth, np.repeat(weights, 2 * degree) * (2 * np.pi / (2 * degree))


def directions_of(polar: np.ndarray, azimuth: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(
        np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    )


def test_spherical_harmonics_are_orthonormal_by_integration():
    polar, azimuth, weights = sphere_quadrature(8)
    values = spherical_harmonics(directions_of(polar, azimuth)).numpy()
    np.testing.assert_allclose(values.T @ (weights[:, None] * values), np.eye(16), atol=1e-12)


def test_spherical_harmonics_are_scipys_in_real_form():
    """Order -m is the imaginary, m the real part of the complex one of order m, times the square root of two."""
    generator = np.random.default_rng(0)
    polar, azimuth = np.arccos(generator.uniform(-1, 1, 50)), generator.uniform(0, 2 * np.pi, 50)
    expected = []
    for degree in range(4):
        for order in range(-degree, degree + 1):
            value = scipy.special.sph_harm_y(degree, abs(order), polar, azimuth)
            if order == 0:
                expected.append(value.real)
            else:
                expected.append(math.sqrt(2) * (value.real if order > 0 else value.imag))
    values = spherical_harmonics(directions_of(polar, azimuth)).numpy()
    np.testing.assert_allclose(values, np.stack(expected, axis=-1), atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_fewer_degrees_are_the_first_of_all(degree):
    directions = directions_of(*np.random.default_rng(1).uniform(0, 3, (2, 20)))
    assert torch.equal(spherical_harmonics(directions, degree), spherical_harmonics(directions)[:, : (degree + 1) ** 2])
