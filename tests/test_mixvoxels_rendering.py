"""MixVoxels' rendering against a slow loop, its choice of field, its losses and options."""

import math

import numpy as np
import pytest
import torch
from mixvoxels_fields import SMALL, make, moments

from syncnerf.batch import RayBatch
from syncnerf.errors import UserError
from syncnerf.option import configured
from syncnerf.questions import RayQuestion
from syncnerf.rendering.compositing import render_weights
from syncnerf.testing.samples import some_rays
from syncnerf_mixvoxels.adapter import MixVoxelsBackend
from syncnerf_mixvoxels.losses import variation_loss
from syncnerf_mixvoxels.moment_cells import MOVING, NOTHING, STILL
from syncnerf_mixvoxels.pair_products import Pairs
from syncnerf_mixvoxels.series import PackedSamples
from syncnerf_mixvoxels.spec import MixVoxelsConfig
from syncnerf_mixvoxels.time_query import TimeSeries


def slow_rendering(
    backend: MixVoxelsBackend, rays, times: torch.Tensor, contents: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and opacities by the definition: sample by sample and moment by moment.

    The contents are those of all samples at all times, 2 everywhere by default.
    """
    config, background = backend.config, np.array(backend.geometry.background)
    always = Pairs.where(torch.ones(1, 1, dtype=torch.bool))
    samples = backend._sample(backend.space.warp(rays), None)
    rgb, opacity = np.zeros((*times.shape, 3)), np.zeros(times.shape)
    for ray in range(len(rays)):
        mine = (samples.rays == ray).nonzero()[:, 0]
        points, direction = samples.points[mine], rays.directions[ray].expand(len(mine), 3)
        chance = backend.variation(points).sigmoid() if len(mine) else torch.zeros(0)
        changes = len(mine) > 0 and chance.max() >= config.mixing.ray_threshold
        for moment in range(times.shape[1]):
            light = 1.0
            series = TimeSeries(backend.query, (1 + times[ray : ray + 1, moment : moment + 1]) / 2)
            first = torch.zeros(1, dtype=torch.int64)
            for number in range(len(mine)):
                point, view = points[number : number + 1], direction[number : number + 1]
                content = 2 if contents is None else int(contents[mine[number], moment])
                asked = changes and chance[number] >= config.mixing.point_threshold
                if asked and content == 0:
                    continue
                if asked and content == 2:
                    density = backend.dynamic_field.density(point, first, series)[0, 0].item()
                    colour = backend.dynamic_field.colour(point, view, first, series, always)[0].numpy()
                else:
                    density = backend.static_field.density(point)[0].item()
                    colour = backend.static_field.colour(point, view)[0].numpy()
                alpha = 1.0 - math.exp(-density * samples.lengths[mine[number]].item())
                rgb[ray, moment] += light * alpha * colour
                opacity[ray, moment] += light * alpha
                light *= 1.0 - alpha
            rgb[ray, moment] += light * background
    return rgb, opacity


@torch.no_grad()
@pytest.mark.parametrize("latents", [False, True])
def test_rendering_is_the_slow_loop(latents):
    backend = make({"field": "mixvoxels_latents" if latents else "mixvoxels"})
    rays, times = some_rays(12), moments(12)
    times[5:] += 0.07  # two groups of rays that share their moments
    rendering = backend(RayQuestion(rays, times))
    share = rendering.extras["dynamic_samples"] / rendering.extras["samples"]
    assert 0.1 < share < 0.9, "the test needs both fields"
    rgb, opacity = slow_rendering(backend, rays, times)
    np.testing.assert_allclose(rendering.rgb.numpy(), rgb, atol=2e-5)
    np.testing.assert_allclose(rendering.accumulation.numpy(), opacity, atol=2e-5)
    assert rgb.std(axis=1).max() > 0.01


@torch.no_grad()
def test_all_moments_at_once_are_each_moment_alone():
    backend, rays, times = make(), some_rays(), moments(length=5)
    together = backend(RayQuestion(rays, times))
    for number in range(5):
        alone = backend(RayQuestion(rays, times[:, number]))
        torch.testing.assert_close(alone.rgb, together.rgb[:, number], atol=2e-6, rtol=0)
        torch.testing.assert_close(alone.depth, together.depth[:, number], atol=2e-5, rtol=0)


def test_derivatives_by_single_times_are_finite_differences():
    backend, rays = make(), some_rays()
    times = torch.full((40,), 0.4, dtype=torch.float64).requires_grad_()
    found = torch.autograd.grad(backend(RayQuestion(rays, times)).rgb[:, 1].sum(), times)[0]
    step = 1e-3
    with torch.no_grad():
        ends = [backend(RayQuestion(rays, times + sign * step)).rgb[:, 1] for sign in (1, -1)]
    expected = (ends[0] - ends[1]).double() / (2 * step)
    torch.testing.assert_close(found, expected, atol=2e-3 * expected.abs().max().item(), rtol=1e-2)


def test_the_gradient_of_an_offset_sums_over_shared_moments():
    backend, rays = make(), some_rays()
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    together = torch.autograd.grad(backend(RayQuestion(rays, moments() + offset)).rgb.square().sum(), offset)[0]
    alone = torch.zeros((), dtype=torch.float64)
    for number in range(3):
        rendering = backend(RayQuestion(rays, moments()[:, number] + offset))  # single times are never shared
        alone += torch.autograd.grad(rendering.rgb.square().sum(), offset)[0]
    assert together.item() == pytest.approx(alone.item(), rel=1e-4)


@torch.no_grad()
def test_packed_weights_are_those_of_each_ray():
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([4, 0, 7, 1])
    rays = torch.repeat_interleave(torch.arange(4), counts)
    lengths = torch.rand(12, generator=generator)
    densities = 5 * torch.rand(12, 3, generator=generator)
    densities[5] = 1e6  # opaque: what follows on the ray is not seen, what follows in the list is
    packed = PackedSamples(rays, torch.zeros(12, 3), torch.zeros(12), lengths, 4).weights(densities)
    for ray, count in enumerate(counts.tolist()):
        start = int(counts[:ray].sum())
        part = slice(start, start + count)
        expected = render_weights(densities[part].T.double(), lengths[part].expand(3, count).double()).T
        torch.testing.assert_close(packed[part].double(), expected, atol=1e-6, rtol=1e-5)


def test_nothing_dynamic_is_asked_where_nothing_changes(monkeypatch):
    backend = make()
    with torch.no_grad():
        backend.variation.bias.fill_(-30.0)
    asked = []
    monkeypatch.setattr(
        backend.dynamic_field.density_grid,
        "forward",
        lambda points: asked.append(len(points)) or points.new_zeros(0, 24),
    )
    times = moments().requires_grad_()
    rendering = backend(RayQuestion(some_rays(), times))
    assert sum(asked) == 0
    assert rendering.extras["dynamic_samples"] == 0
    assert torch.equal(rendering.rgb[:, 0], rendering.rgb[:, 2])
    assert torch.equal(torch.autograd.grad(rendering.rgb.sum(), times)[0], torch.zeros_like(times))


def test_a_ray_below_its_threshold_has_no_dynamic_points():
    backend = make({"ray_threshold": 1.0})
    assert backend(RayQuestion(some_rays(), moments())).extras["dynamic_samples"] == 0
    everywhere = make({"ray_threshold": 0.0, "point_threshold": 0.0})(RayQuestion(some_rays(), moments())).extras
    assert everywhere["dynamic_samples"] == everywhere["samples"] > 0


def test_the_moments_of_others_send_the_static_field_no_gradient():
    backend = make({"ray_threshold": 0.0, "point_threshold": 0.0})
    backend(RayQuestion(some_rays(), moments())).rgb.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in backend.static_field.parameters())
    assert all(p.grad.any() for p in backend.dynamic_field.parameters())


def test_variation_loss_is_the_weighted_cross_entropy():
    logits, changes = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([True, False, False])
    chance = 1 / (1 + np.exp(-logits.numpy()))
    expected = (-np.log(chance[0]) - 0.25 * (np.log(1 - chance[1]) + np.log(1 - chance[2]))) / 3
    assert variation_loss(logits, changes, 0.25).item() == pytest.approx(expected, rel=1e-5)


def batch(rgb: torch.Tensor) -> RayBatch:
    statistics = {"mean": rgb.mean(dim=1), "deviation": rgb.std(dim=1).amax(dim=-1)}
    return RayBatch(some_rays(), torch.zeros(40, dtype=torch.int64), moments(), torch.zeros(40), rgb, statistics)


def test_the_static_field_is_led_by_mean_or_median():
    rgb = torch.rand(40, 3, 3, generator=torch.Generator().manual_seed(0))
    for target, truth in (("mean", rgb.mean(dim=1)), ("median", rgb.median(dim=1).values)):
        backend = make({"static_target": target, "static_weight": 2.0})
        rendering = backend(RayQuestion(some_rays(), moments()))
        expected = 2 * (rendering.extras["static_rgb"] - truth).square().mean()
        torch.testing.assert_close(backend.losses(rendering, batch(rgb), 0)["static"], expected)


def test_where_nothing_can_be_at_a_moment_the_dynamic_field_is_not_seen_then():
    """Also after the box has shrunk: the carved cells keep their places in space."""
    carved = torch.ones(3, 8, 8, 8, dtype=torch.bool)
    carved[1] = False
    everywhere = {"mask_intervals": 3, "static_target": "median", "ray_threshold": 0.0, "point_threshold": 0.0}
    backend = make(everywhere, occupied_at=carved)
    carved[1, :4] = True
    half = make(everywhere, occupied_at=carved)
    times = torch.tensor([-0.9, -0.2, 0.2, 0.9], dtype=torch.float64).expand(40, -1)
    for field in (backend, half):
        field.box = torch.tensor([[-1.0] * 3, [0.5] * 3])
    dense = backend(RayQuestion(some_rays(), times)).extras
    opacity = backend(RayQuestion(some_rays(), times)).accumulation
    assert dense["dynamic_samples"] == dense["samples"] > 0
    assert opacity[:, [0, 3]].max() > 0.1
    assert not opacity[:, 1:3].any()
    points = backend._sample(backend.space.warp(some_rays()), None).points
    low = 0.75 * (points[:, 0] + 1.0) - 1.0 < 0.0
    assert 0 < int(low.sum()) < len(low)
    contents = half._contents(points, times[:1], torch.zeros(len(points), dtype=torch.int64))
    assert torch.equal(contents[:, 1], torch.where(low, MOVING, NOTHING))


@torch.no_grad()
def test_where_nothing_moves_at_a_moment_the_static_field_is_seen_then():
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(3, 8, 8, 8, generator=generator) < 0.7
    moving = occupied & (torch.rand(3, 8, 8, 8, generator=generator) < 0.5)
    backend = make({"mask_intervals": 3, "static_target": "median"}, occupied_at=occupied, moving_at=moving)
    rays, times = some_rays(), moments()
    samples = backend._sample(backend.space.warp(rays), None)
    contents = backend._contents(samples.points, times, samples.rays)
    assert contents.unique().tolist() == [NOTHING, STILL, MOVING]
    rgb, opacity = slow_rendering(backend, rays, times, contents)
    rendering = backend(RayQuestion(rays, times))
    np.testing.assert_allclose(rendering.rgb.detach().numpy(), rgb, atol=2e-5)
    np.testing.assert_allclose(rendering.accumulation.detach().numpy(), opacity, atol=2e-5)


@pytest.mark.parametrize("space", ["contraction", "ndc"])
def test_unbounded_and_forward_facing_space_render(space):
    from syncnerf.scene.geometry import NormalizedDeviceCoordinates

    geometry = {"contraction": True} if space == "contraction" else {"ndc": NormalizedDeviceCoordinates(32, 32, 30.0)}
    backend = make(near=0.5, far=50.0, background=None, bounds=torch.tensor([[-1.0] * 3, [1.0] * 3]), **geometry)
    rays = some_rays()
    if space == "ndc":
        rays.origins[:] = 0.1 * rays.origins
        rays.directions[:, 2] = -1.0 - rays.directions[:, 2].abs()
    rendering = backend(RayQuestion(rays, moments()), torch.Generator().manual_seed(0))
    assert torch.isfinite(rendering.rgb).all()
    assert rendering.rgb.std() > 1e-4
    rendering.rgb.sum().backward()
    assert backend.dynamic_field.density_grid.planes[0].grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("density_ranks", "16,4", "three whole numbers"),
        ("appearance_ranks", "16,0,4", "appearance_ranks = 0"),
        ("upsample_steps", "soon", "whole numbers"),
        ("final_resolution", 5, "at least grid_resolution"),
        ("static_target", "mode", "mean, median"),
        ("field", "voxels", "mixvoxels_latents"),
    ],
)
def test_bad_options_are_refused(option, value, words):
    with pytest.raises(UserError, match=words):
        configured(MixVoxelsConfig, SMALL | {option: value})
