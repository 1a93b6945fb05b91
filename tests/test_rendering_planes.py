"""Plane lookups: the fused kernel, its torch twin, scipy's interpolation and finite differences agree."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from random_planes import SIZES, random_planes, random_points

from syncnerf_kplanes import plane_lookup
from syncnerf_kplanes.plane_lookup import PAIRS, plane_features, plane_features_torch
from syncnerf_kplanes.planes import PlaneGrid, blur_along_time

needs_kernel = pytest.mark.skipif(plane_lookup._library() is None, reason="no C compiler: the fused kernel is not used")


def scipy_features(coordinates: np.ndarray, planes: list[torch.Tensor]) -> np.ndarray:
    """The definition, with scipy's linear interpolation and clamped borders."""
    scales = []
    for start in range(0, len(planes), 6):
        product = np.ones((len(coordinates), planes[0].shape[-1]))
        for (first, second), plane in zip(PAIRS, planes[start : start + 6], strict=True):
            values = plane.detach().numpy().astype(np.float64)
            rows = (coordinates[:, second] + 1) / 2 * (values.shape[0] - 1)
            columns = (coordinates[:, first] + 1) / 2 * (values.shape[1] - 1)
            for channel in range(values.shape[2]):
                product[:, channel] *= scipy.ndimage.map_coordinates(
                    values[..., channel], [rows, columns], order=1, mode="nearest"
                )
        scales.append(product)
    return np.concatenate(scales, axis=-1)


@pytest.mark.parametrize("sizes", SIZES, ids=["one", "odd", "three"])
@pytest.mark.parametrize("lookup", [plane_features, plane_features_torch])
def test_features_are_the_product_of_bilinear_samples(sizes, lookup):
    planes, points = random_planes(sizes, 8), random_points(300, 1.3)
    points[:6] = torch.tensor([[-1.0] * 4, [1.0] * 4, [0.0] * 4, [1.0, -1.0, 1.0, -1.0], [5.0] * 4, [-9.0] * 4])
    expected = scipy_features(points.double().numpy(), planes)
    np.testing.assert_allclose(lookup(points, planes).numpy(), expected, rtol=2e-5, atol=1e-6)


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("channels", [8, 16, 24])
@pytest.mark.parametrize(("sizes", "count"), [(SIZES[0], 2000), (SIZES[1], 777), (SIZES[2], 2500), (SIZES[1], 1)])
def test_fused_kernel_is_its_torch_twin_in_values_and_gradients(sizes, count, channels, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        results = []
        for lookup in (plane_features, plane_features_torch):
            planes = [plane.requires_grad_() for plane in random_planes(sizes, channels)]
            points = random_points(count, 1.2).requires_grad_()
            features = lookup(points, planes)
            upstream = torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) - 0.3
            features.backward(upstream)
            results.append((features.detach(), points.grad, [plane.grad for plane in planes]))
    finally:
        torch.set_num_threads(before)
    fused, twin = results
    torch.testing.assert_close(fused[0], twin[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fused[1], twin[1], rtol=1e-3, atol=1e-3)
    for found, expected in zip(fused[2], twin[2], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    outside = random_points(count, 1.2).abs() > 1.0
    assert (fused[1][outside] == 0).all()


@needs_kernel
def test_the_kernel_is_really_used_and_only_where_it_can_be(monkeypatch):
    used = []
    original = plane_lookup._FusedLookup.apply
    monkeypatch.setattr(plane_lookup._FusedLookup, "apply", lambda *a: used.append(1) or original(*a))
    plane_features(random_points(9, 1.0), random_planes(SIZES[0], 8))
    assert used == [1]
    odd = plane_features(random_points(9, 1.0), random_planes(SIZES[0], 6))
    assert used == [1]
    assert odd.shape == (9, 6)


@needs_kernel
def test_kernel_takes_no_points_and_inputs_that_are_not_contiguous():
    planes = [plane.transpose(0, 1).contiguous().transpose(0, 1) for plane in random_planes([(6, 6, 6, 6)], 8)]
    points = random_points(50, 1.0).T.contiguous().T
    torch.testing.assert_close(plane_features(points, planes), plane_features_torch(points, planes))
    leaf = [plane.requires_grad_() for plane in planes]
    nothing = plane_features(torch.empty(0, 4), leaf)
    assert nothing.shape == (0, 8)
    nothing.sum().backward()
    assert all((plane.grad == 0).all() for plane in leaf)


@needs_kernel
def test_only_the_gradients_that_are_asked_for_are_made():
    planes, points = random_planes(SIZES[1], 8), random_points(40, 0.9)
    alone = points.clone().requires_grad_()
    plane_features(alone, planes).sum().backward()
    both = points.clone().requires_grad_()
    leaves = [plane.clone().requires_grad_() for plane in planes]
    plane_features(both, leaves).sum().backward()
    torch.testing.assert_close(alone.grad, both.grad)
    only = [plane.clone().requires_grad_() for plane in planes]
    plane_features(points, only).sum().backward()
    for found, expected in zip(only, leaves, strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


@needs_kernel
def test_gradients_of_the_times_alone_are_those_among_all():
    planes, points = random_planes(SIZES[1], 16), random_points(40, 1.2)
    every, times = points.clone().requires_grad_(), points.clone().requires_grad_()
    plane_features(every, planes).sum().backward()
    plane_features(times, planes, times_alone=True).sum().backward()
    torch.testing.assert_close(times.grad[:, 3], every.grad[:, 3])
    assert every.grad[:, :3].any()
    assert not times.grad[:, :3].any()


def test_gradients_of_the_twin_are_those_of_finite_differences():
    planes = [plane.requires_grad_() for plane in random_planes([(4, 3, 5, 4), (6, 6, 6, 4)], 2, torch.float64)]
    # Half-way inside cells at every scale and axis; at edges the derivative is one-sided.
    points = torch.tensor([[0.11, -0.43, 0.27, 0.4], [-0.87, 0.29, -0.61, -0.2], [0.9, 0.9, -0.93, 0.93]]).double()
    assert torch.autograd.gradcheck(
        lambda p, *leaves: plane_features_torch(p, list(leaves)), (points.requires_grad_(), *planes)
    )


def test_blur_is_scipys_gaussian_along_time():
    plane = torch.rand(15, 4, 3, generator=torch.Generator().manual_seed(0))
    grid = PlaneGrid([4], 15, 8)
    grid.set_blur(1.7 / 7)  # 14 cells over [-1, 1]
    radius = len(grid.blur) // 2
    expected = scipy.ndimage.gaussian_filter1d(plane.numpy(), 1.7, axis=0, mode="nearest", radius=radius)
    np.testing.assert_allclose(blur_along_time(plane, grid.blur).numpy(), expected, atol=1e-5)
    grid.set_blur(0.0)
    assert grid.blur is None


def test_fresh_planes_are_static_and_static_means_without_time():
    grid = PlaneGrid([5, 10], 6, 8)
    points, times = random_points(20, 1.0)[:, :3], random_points(20, 1.0)[:, 3]
    torch.testing.assert_close(grid(points, times), grid(points, -times))
    with torch.no_grad():
        for plane in grid._time_planes():
            plane.mul_(torch.rand_like(plane))
    assert not torch.allclose(grid(points, times), grid(points, -times))
    torch.testing.assert_close(grid(points, times, static=True), grid(points, -times, static=True))


def test_plane_regularisers_against_loops():
    grid = PlaneGrid([4, 6], 5, 8)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for plane in grid.planes:
            plane.copy_(torch.rand(plane.shape, generator=generator))
    variation = smoothness = static = 0.0
    for index, plane in enumerate(plane.detach().double().numpy() for plane in grid.planes):
        variation += np.mean(np.diff(plane, axis=1) ** 2)
        if index % 6 < 3:
            variation += np.mean(np.diff(plane, axis=0) ** 2)
        else:
            smoothness += np.mean((plane[2:] - 2 * plane[1:-1] + plane[:-2]) ** 2)
            static += np.mean(np.abs(1 - plane))
    assert grid.total_variation().item() == pytest.approx(variation, rel=1e-5)
    assert grid.time_smoothness().item() == pytest.approx(smoothness, rel=1e-5)
    assert grid.distance_from_static().item() == pytest.approx(static, rel=1e-5)
