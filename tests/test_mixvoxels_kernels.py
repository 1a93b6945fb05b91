"""MixVoxels' kernels over samples and moments against loops and plain torch, values and gradients."""

import inspect

import pytest
import torch
from torch.autograd import forward_ad

from syncnerf.rendering.compositing import render_weights
from syncnerf_mixvoxels import pair_products, ray_weights
from syncnerf_mixvoxels.moment_cells import MOVING, NOTHING, MomentCells
from syncnerf_mixvoxels.pair_products import Pairs
from syncnerf_mixvoxels.ray_weights import ray_weights_torch
from syncnerf_mixvoxels.time_query import TimeLatents, TimeSeries, rows_as_met

needs_kernel = pytest.mark.skipif(pair_products._library() is None, reason="no C compiler: plain torch does it all")
COUNTS = (4, 0, 7, 1, 30)


def listed_samples(moments: int, thickest: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Densities from nearly nothing to the thickest, some exactly 0, lengths and rays."""
    generator = torch.Generator().manual_seed(0)
    rays = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    densities = thickest * torch.rand(len(rays), moments, generator=generator) ** 6
    densities[::5] = 0.0
    return densities, 0.05 + torch.rand(len(rays), generator=generator), rays


@needs_kernel
@pytest.mark.parametrize("moments", [1, 5, 64, 130])
@pytest.mark.parametrize("thickest", [1e-3, 3.0, 1e4])
def test_fused_weights_are_each_rays_own(moments, thickest):
    """Against double precision, ray by ray, with its derivatives."""
    densities, lengths, rays = listed_samples(moments, thickest)
    densities.requires_grad_()
    upstream = torch.randn(densities.shape, generator=torch.Generator().manual_seed(1))
    found = ray_weights.ray_weights(densities, lengths, rays, len(COUNTS))
    (gradient,) = torch.autograd.grad(found, densities, upstream)
    exact = densities.detach().double().requires_grad_()
    parts = [
        render_weights(exact[rays == ray].T, lengths.double()[rays == ray].expand(moments, -1)).T
        for ray in range(len(COUNTS))
    ]
    expected = torch.cat(parts)
    (slope,) = torch.autograd.grad(expected, exact, upstream.double())
    torch.testing.assert_close(found.double(), expected, atol=3e-7, rtol=3e-6)
    torch.testing.assert_close(gradient.double(), slope, atol=2e-6, rtol=1e-5)


@needs_kernel
def test_fused_weights_are_the_twins(monkeypatch):
    densities, lengths, rays = listed_samples(6, 3.0)
    fused = ray_weights.ray_weights(densities, lengths, rays, len(COUNTS))
    monkeypatch.setattr(ray_weights, "_library", lambda: None)
    plain = ray_weights.ray_weights(densities, lengths, rays, len(COUNTS))
    torch.testing.assert_close(fused, plain, atol=1e-6, rtol=1e-5)


def test_forward_derivatives_of_weights_are_differences():
    """The test-time fit asks for them; the kernel has none, and the twin answers."""
    densities, lengths, rays = listed_samples(3, 3.0)
    direction = torch.randn(densities.shape, generator=torch.Generator().manual_seed(2))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(densities, direction)
        slope = forward_ad.unpack_dual(ray_weights.ray_weights(dual, lengths, rays, len(COUNTS))).tangent
    starts = torch.tensor([0, *COUNTS]).cumsum(0)
    high, low = (
        ray_weights_torch(densities.double() + sign * 1e-3 * direction, lengths.double(), rays, starts)
        for sign in (1, -1)
    )
    torch.testing.assert_close(slope.double(), (high - low) / 2e-3, atol=1e-4, rtol=1e-3)


def asked_series(width: int, length: int) -> tuple[TimeSeries, torch.Tensor]:
    """A series of three cameras' moments, asked by six rays out of order, and the rays of forty points."""
    torch.manual_seed(0)
    rows = torch.rand(3, length, dtype=torch.float64).sort(dim=1).values
    series = TimeSeries(TimeLatents(9, width), rows[torch.tensor([2, 0, 2, 1, 0, 1])])
    return series, torch.arange(6).repeat_interleave(torch.tensor([9, 3, 0, 12, 10, 6]))


@needs_kernel
@pytest.mark.parametrize("width", [8, 40, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_products_of_pairs_are_those_of_all_moments(width, threads, monkeypatch):
    """Values and both gradients, for a third of the pairs; several threads share the pairs out by points."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    series, rays = asked_series(width, 7)
    vectors = torch.randn(len(rays), 3, width, requires_grad=True)
    pairs = Pairs.where(torch.rand(len(rays), 7) < 0.3)
    upstream = torch.randn(len(pairs.points), 3)
    leaves = (vectors, series.queries)
    found = series.at(vectors, rays, pairs)
    gradients = torch.autograd.grad(found, leaves, upstream, retain_graph=True)
    dense = series.products(vectors, rays)
    expected = dense[pairs.points, :, pairs.moments]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for gradient, slope in zip(gradients, torch.autograd.grad(expected, leaves, upstream), strict=True):
        torch.testing.assert_close(gradient, slope, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(pair_products, "_library", lambda: None)
    torch.testing.assert_close(series.at(vectors, rays, pairs), expected, atol=1e-5, rtol=1e-5)


@needs_kernel
@pytest.mark.parametrize("wrong", [-1, 3])
def test_pairs_beyond_the_vectors_or_queries_are_refused(wrong):
    """The kernel would read beyond a tensor's end."""
    values, right = torch.randn(3, 1, 8), torch.tensor([0, 2])
    for points, asked in ((torch.tensor([0, wrong]), right), (right, torch.tensor([0, wrong]))):
        with pytest.raises(ValueError, match="pairs of numbers"):
            pair_products.pair_products(values, values[:, 0], points, asked)
    with pytest.raises(ValueError, match="width"):
        inspect.unwrap(pair_products.pair_products)(values, values[:, 0, :4], right, right)


def test_no_pairs_are_no_products():
    series, rays = asked_series(8, 7)
    vectors = torch.randn(len(rays), 3, 8, requires_grad=True)
    found = series.at(vectors, rays, Pairs.where(torch.zeros(len(rays), 7, dtype=torch.bool)))
    assert found.shape == (0, 3)
    found.sum().backward()
    assert not vectors.grad.any()


def test_rows_are_numbered_as_they_are_met():
    values = torch.tensor([[5.0, 1.0], [5.0, 1.0], [0.0, 2.0], [5.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    shared, row_of = rows_as_met(values)
    assert row_of.tolist() == [0, 0, 1, 0, 2]
    assert torch.equal(shared[row_of], values)


def test_cells_say_what_they_may_hold_and_when():
    generator = torch.Generator().manual_seed(0)
    hull = torch.rand(4, 5, 5, 5, generator=generator) < 0.7
    moving = hull & (torch.rand(4, 5, 5, 5, generator=generator) < 0.5)
    cells = MomentCells(5, 4, hull, moving)
    points = 2.6 * torch.rand(200, 3, generator=generator) - 1.3
    times = 2.2 * torch.rand(3, 6, generator=generator, dtype=torch.float64) - 1.1
    rows = torch.randint(0, 3, (200,), generator=generator)
    found = cells.at(points, times, rows)
    for point, row, answers in zip(points.tolist(), rows.tolist(), found.tolist(), strict=True):
        place = [int((value + 1.0) * 2.5 // 1) for value in point]
        for time, answer in zip(times[row].tolist(), answers, strict=True):
            interval = min(max(int((time + 1.0) * 2.0 // 1), 0), 3)
            inside = all(0 <= cell < 5 for cell in place)
            there = inside and int(hull[(interval, *place)]) + int(moving[(interval, *place)])
            assert answer == there
    always = MomentCells(5, 4, hull).at(points, times, rows)
    assert torch.equal(always, torch.where(found > NOTHING, MOVING, NOTHING))
