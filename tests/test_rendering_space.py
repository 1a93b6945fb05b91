"""Warps of space against their published formulas; boxes; sampling along rays."""

import numpy as np
import pytest
import torch

from syncnerf.rendering.ray_samples import RaySamples, importance_samples, uniform_samples
from syncnerf.rendering.space import FieldSpace, contract, to_ndc
from syncnerf.scene.geometry import NormalizedDeviceCoordinates, SceneGeometry
from syncnerf.scene.rays import Rays, clip_to_box


def make_rays(origins, directions, near=0.0, far=100.0) -> Rays:
    origins, directions = torch.tensor(origins), torch.tensor(directions)
    ones = torch.ones(len(origins))
    return Rays(origins, torch.nn.functional.normalize(directions, dim=-1), near * ones, far * ones)


def geometry(**changes) -> SceneGeometry:
    values = {
        "bounds": torch.tensor([[-2.0, -1.0, 0.0], [2.0, 3.0, 1.0]]),
        "near": 0.1, "far": 50.0, "frame_count": 10, "steps": 10,
    }  # fmt: skip
    return SceneGeometry(**{**values, **changes})


def test_contraction_is_mip_nerf_360s_with_the_maximum_norm():
    points = torch.tensor([[0.3, -0.9, 0.2], [1.0, -1.0, 0.5], [2.0, 0.5, -1.0], [0.0, -1e9, 3.0]], dtype=torch.float64)
    expected = []
    for point in points.numpy():
        norm = np.abs(point).max()
        expected.append(point if norm <= 1 else (2 - 1 / norm) * point / norm)
    np.testing.assert_allclose(contract(points).numpy(), np.array(expected), rtol=1e-12)
    assert contract(points).abs().max() <= 2.0
    assert torch.isfinite(contract(torch.zeros(1, 3))).all()


def test_contraction_is_continuous_at_the_box_and_differentiable_outside():
    on = torch.tensor([[1.0, 0.2, -0.4]], dtype=torch.float64)
    torch.testing.assert_close(contract(on * (1 + 1e-9)), contract(on * (1 - 1e-9)), atol=1e-8, rtol=0)
    outside = torch.tensor([[1.7, 0.3, -0.6], [-0.2, 4.0, 1.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(contract, (outside,))


def test_box_maps_to_the_cube_and_contracted_space_too():
    plain, contracted = FieldSpace(geometry()), FieldSpace(geometry(contraction=True))
    corners = torch.tensor([[-2.0, -1.0, 0.0], [2.0, 3.0, 1.0], [0.0, 1.0, 0.5]])
    ones = torch.ones(3)
    seen = plain.warp(Rays(corners, torch.eye(3), 0.1 * ones, 50.0 * ones))
    # The longest side is 4: lengths are halved there, and the box keeps its shape.
    torch.testing.assert_close(seen.origins, torch.tensor([[-1.0, -1.0, -0.25], [1.0, 1.0, 0.25], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(torch.stack([seen.near, seen.far]), torch.tensor([[0.05] * 3, [25.0] * 3]))
    assert plain.unit == 2.0
    torch.testing.assert_close(plain.bounds, seen.origins[:2])
    torch.testing.assert_close(plain.normalize(seen.origins), torch.tensor([[-1.0] * 3, [1.0] * 3, [0.0] * 3]))
    # Contraction fits the whole of space into the cube, the box into its inner half.
    torch.testing.assert_close(contracted.normalize(seen.origins), torch.tensor([[-0.5] * 3, [0.5] * 3, [0.0] * 3]))
    assert contracted.normalize(torch.tensor([[1e6, -1e6, 3.0]])).abs().max() <= 1.0


def test_device_coordinates_are_the_perspective_map_of_points_on_the_ray():
    """NeRF, appendix C, equation 25 (far plane at infinity): warped rays run through the warped points."""
    camera = NormalizedDeviceCoordinates(width=40, height=30, focal=35.0)
    generator = torch.Generator().manual_seed(0)
    origins = torch.rand(20, 3, generator=generator).double() - 0.5
    directions = torch.cat([torch.rand(20, 2, generator=generator) - 0.5, -torch.ones(20, 1)], dim=-1).double()
    directions = torch.nn.functional.normalize(directions, dim=-1)
    ones = torch.ones(20, dtype=torch.float64)
    warped = to_ndc(Rays(origins, directions, ones, ones), camera)
    near = 1.0

    def project(point: torch.Tensor) -> torch.Tensor:
        x, y, z = point.unbind(-1)
        scale_x, scale_y = camera.focal / (camera.width / 2), camera.focal / (camera.height / 2)
        return torch.stack([-scale_x * x / z, -scale_y * y / z, 1 + 2 * near / z], dim=-1)

    for distance in (2.0, 5.0, 1000.0):
        expected = project(origins + distance * directions)
        # The parameter at which the warped ray has the expected depth must give the expected x and y.
        parameter = (expected[:, 2] - warped.origins[:, 2]) / warped.directions[:, 2]
        found = warped.origins + parameter[:, None] * warped.directions
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
        assert ((parameter >= 0) & (parameter <= warped.far)).all()
    torch.testing.assert_close(warped.origins[:, 2], -ones)
    torch.testing.assert_close(warped.directions.norm(dim=-1), ones)
    torch.testing.assert_close((warped.origins + warped.far[:, None] * warped.directions)[:, 2], ones)
    assert (warped.near == 0).all()


def test_clipping_agrees_with_stepping_along_the_ray():
    generator = torch.Generator().manual_seed(1)
    origins = 3 * torch.randn(60, 3, generator=generator)
    directions = torch.randn(60, 3, generator=generator) - origins
    directions[0], origins[0] = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.1, 0.2, -4.0])  # along an axis
    directions[1], origins[1] = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([5.0, 4.0, 0.1])  # beside the box
    rays = make_rays(origins.tolist(), directions.tolist(), near=0.5, far=6.0)
    bounds = torch.tensor([[-1.0, -0.5, -1.5], [1.0, 1.5, 0.5]])
    enter, leave = clip_to_box(rays, bounds)
    distances = torch.linspace(0.5, 6.0, 5501)
    points = rays.origins[:, None] + distances[None, :, None] * rays.directions[:, None]
    inside = ((points >= bounds[0]) & (points <= bounds[1])).all(dim=-1)
    hits = 0
    for ray in range(len(rays)):
        seen = distances[inside[ray]]
        if len(seen):
            hits += 1
            assert enter[ray].item() == pytest.approx(seen[0].item(), abs=2e-3)
            assert leave[ray].item() == pytest.approx(seen[-1].item(), abs=2e-3)
        else:
            assert (leave - enter)[ray] <= 2e-3
    assert hits > 10


@pytest.mark.parametrize("disparity", [False, True])
def test_uniform_intervals_tile_the_ray(disparity):
    near, far = torch.tensor([1.0, 0.5]), torch.tensor([5.0, 40.0])
    plain = uniform_samples(near, far, 8, None, disparity)
    for ray in range(2):
        a, b = near[ray].item(), far[ray].item()
        expected = 1 / np.linspace(1 / a, 1 / b, 9) if disparity else np.linspace(a, b, 9)
        np.testing.assert_allclose(plain.edges[ray].numpy(), expected, rtol=1e-5)
    jittered = uniform_samples(near, far, 8, torch.Generator().manual_seed(0), disparity)
    assert (jittered.lengths > 0).all()
    torch.testing.assert_close(jittered.edges[:, [0, -1]], plain.edges[:, [0, -1]])
    assert (jittered.edges[:, 1:-1] != plain.edges[:, 1:-1]).all()


def test_importance_sampling_inverts_the_cumulative_distribution():
    generator = torch.Generator().manual_seed(2)
    edges = torch.rand(5, 13, generator=generator).cumsum(dim=-1)
    weights = torch.rand(5, 12, generator=generator).pow(4)
    weights[3] = 0.0
    found = importance_samples(RaySamples(edges), weights, 20, None)
    for ray in range(5):
        mass = weights[ray].double().numpy() + 1e-5
        cumulative = np.concatenate([[0.0], np.cumsum(mass) / mass.sum()])
        expected = np.interp(np.linspace(0, 1, 21), cumulative, edges[ray].numpy())
        np.testing.assert_allclose(found.edges[ray].numpy(), expected, atol=2e-4)


def test_importance_sampling_jitters_by_less_than_a_quantile_and_stays_sorted():
    edges = torch.linspace(2.0, 6.0, 33).expand(200, -1)
    weights = torch.exp(-0.5 * ((edges[:, 1:] - 4.0) / 0.3) ** 2)
    found = importance_samples(RaySamples(edges), weights, 16, torch.Generator().manual_seed(0))
    assert (found.lengths >= 0).all()
    assert found.edges.min() >= 2.0
    assert found.edges.max() <= 6.0
    plain = importance_samples(RaySamples(edges), weights, 16, None)
    assert (found.edges[:, 1:-1] > plain.edges[:, :-2]).all()
    assert (found.edges[:, 1:-1] < plain.edges[:, 2:]).all()
    assert found.edges[:, 8].std() > 0.005
    # On the average the jitter does not push samples to either side.
    torch.testing.assert_close(found.edges[:, 8].mean(), plain.edges[0, 8], atol=0.01, rtol=0)
    assert not importance_samples(RaySamples(edges), weights.requires_grad_(), 16, None).edges.requires_grad
