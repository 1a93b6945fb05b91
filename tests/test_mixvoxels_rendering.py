"""MixVoxels' rendering against a slow loop, its time queries, its choice of field, its schedule."""

import math

import numpy as np
import pytest
import torch

from syncnerf.backend import Execution
from syncnerf.batch import RayBatch
from syncnerf.errors import UserError
from syncnerf.option import configured
from syncnerf.questions import RayQuestion
from syncnerf.rendering.compositing import render_weights
from syncnerf.testing.samples import scene_geometry, some_rays
from syncnerf_mixvoxels.adapter import MixVoxelsBackend, look_moments
from syncnerf_mixvoxels.losses import variation_loss
from syncnerf_mixvoxels.moment_cells import MOVING, NOTHING, STILL
from syncnerf_mixvoxels.pair_products import Pairs
from syncnerf_mixvoxels.series import PackedSamples
from syncnerf_mixvoxels.spec import MixVoxelsConfig
from syncnerf_mixvoxels.time_query import TimeLatents, TimeSeries, TimeWaves

SMALL = {
    "grid_resolution": 10, "final_resolution": 20, "upsample_steps": "4,8", "hidden_width": 16, "query_width": 12,
    "time_waves": 8, "ray_steps": 20, "mask_resolution": 8, "mask_start": 2,
    "mask_every": 2, "shrink_step": 6, "ray_threshold": 0.5, "point_threshold": 0.5, "colour_threshold": 0.0,
}  # fmt: skip


def make(changes: dict | None = None, seed: int = 0, **geometry) -> MixVoxelsBackend:
    """A small backend whose weights are stirred, so that about half of its points change."""
    torch.manual_seed(seed)
    config = configured(MixVoxelsConfig, SMALL | (changes or {}))
    backend = MixVoxelsBackend(config, scene_geometry(**geometry), Execution())
    with torch.no_grad():
        for parameter in backend.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        backend.variation.bias.fill_(0.0)
    return backend


def moments(count: int = 40, length: int = 3) -> torch.Tensor:
    return torch.linspace(0.1, 0.9, length, dtype=torch.float64).expand(count, -1).clone()


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


@pytest.mark.parametrize("kind", ["waves", "latents"])
def test_queries_are_of_unit_length_and_finite_everywhere(kind):
    torch.manual_seed(0)
    query = TimeWaves(10, 32) if kind == "waves" else TimeLatents(20, 32)
    times = torch.tensor([-5.0, -1e-9, 0.0, 0.31, 1.0, 1.0 + 1e-9, 40.0], dtype=torch.float64, requires_grad=True)
    queries = query(times)
    torch.testing.assert_close(queries.norm(dim=-1), torch.ones(7))
    (gradient,) = torch.autograd.grad(queries[:, 0].sum(), times)
    assert torch.isfinite(gradient).all()
    assert (gradient[2:4] != 0).all()


def test_latents_are_the_frames_own_and_mixed_between():
    torch.manual_seed(0)
    query = TimeLatents(5, 8)
    unit = torch.nn.functional.normalize(query.latents, dim=-1)
    torch.testing.assert_close(query(torch.linspace(0, 1, 5, dtype=torch.float64)), unit)
    mixed = torch.nn.functional.normalize(0.75 * query.latents[1] + 0.25 * query.latents[2], dim=-1)
    torch.testing.assert_close(query(torch.tensor([1.25 / 4], dtype=torch.float64))[0], mixed)
    torch.testing.assert_close(query(torch.tensor([-3.0, 9.0], dtype=torch.float64)), unit[[0, 4]])


def test_waves_open_one_after_the_other():
    torch.manual_seed(0)
    query = TimeWaves(8, 8)
    # A period of the fifth wave apart, of which neither the third nor the fourth has a whole number.
    late = torch.tensor([0.2, 0.2 + 2 / 5], dtype=torch.float64)
    query.set_sharpness(0.0)
    torch.testing.assert_close(*query(late))
    with torch.no_grad():  # the fifth alone: its sine and its cosine
        query.linear.weight[:, [1, 2, 3, 4, 9, 10, 11, 12]] = 0.0
    query.set_sharpness(4.0)
    torch.testing.assert_close(*query(late + torch.tensor([0.0, 0.1], dtype=torch.float64)))
    query.set_sharpness(5.0)
    torch.testing.assert_close(*query(late))
    assert (query(late[:1]) - query(late[:1] + 0.1)).abs().max() > 1e-3


def test_at_first_moments_four_frames_apart_have_little_in_common():
    torch.manual_seed(0)
    queries = TimeWaves(32, 64)(torch.linspace(0, 1, 65, dtype=torch.float64))
    alike = (queries @ queries.T).abs()
    assert torch.linalg.matrix_rank(queries, rtol=0.02) > 32
    apart = (torch.arange(65)[:, None] - torch.arange(65)).abs()
    assert alike[apart >= 4].mean() < 0.2 < alike[apart == 1].mean()


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


def test_while_the_variation_field_learns_the_dynamic_one_waits():
    backend = make({"variation_steps": 3})
    backend.before_step(2)
    assert backend(RayQuestion(some_rays(), moments())).extras["dynamic_samples"] == 0
    backend.before_step(3)
    assert backend(RayQuestion(some_rays(), moments())).extras["dynamic_samples"] > 0


def test_the_schedule_refines_and_shrinks_when_it_says(monkeypatch):
    backend = make()
    remade = []
    for step in range(10):
        backend.before_step(step)
        before = backend.static_field.density_grid.lines[0]
        if backend.after_step(step):
            remade.append(step)
            assert backend.static_field.density_grid.lines[0] is not before
        if step == 5:
            # As if the mask had left one corner; the looks at steps 6 and 8 see the same.
            backend.mask.occupied[:] = False
            backend.mask.occupied[:, :4, :4, :2] = True
            backend.mask._fit_box()
            monkeypatch.setattr(backend.mask, "update", lambda *_: None)
    assert remade == [4, 6, 8]
    assert [backend.config.grids.resolution(step) for step in (0, 4, 8)] == [10, 14, 20]
    torch.testing.assert_close(backend.box, torch.tensor([[-1.0, -1.0, -1.0], [0.0, 0.0, -0.5]]))
    # Equal sides, and about as many cells as a cube of 20 has; the lines' order is z y x.
    assert [len(line) for line in backend.static_field.density_grid.lines] == [13, 25, 25]


def test_the_box_that_shrinks_leaves_what_is_in_it_as_it_was():
    backend = make({"upsample_steps": "0", "final_resolution": 10})
    rays = some_rays()
    backend.mask.occupied[:] = False
    backend.mask.occupied[:, 2:6, 2:6, 2:6] = True
    backend.mask._fit_box()
    inside = 0.4 * (2 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 1)
    with torch.no_grad():
        before = backend.static_field.density(backend._in_box(inside))
        backend._shrink(40)
        after = backend.static_field.density(backend._in_box(inside))
        rendering = backend(RayQuestion(rays, moments()))
    # Finer cells of other places sample the same function; products of linear pieces differ a little between them.
    assert (after - before).abs().mean() < 0.05 * before.std()
    assert torch.isfinite(rendering.rgb).all()


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


def test_looks_for_empty_space_miss_no_moment_for_long():
    """Over a few dozen looks every hundredth of the clock is looked at; each look sees each sixteenth once."""
    seen = torch.zeros(100, dtype=torch.bool)
    for step in range(40):
        moments = look_moments(16, torch.Generator().manual_seed(step))
        assert torch.equal((moments * 16).long(), torch.arange(16))
        seen[(moments * 100).long()] = True
    assert seen.all()


def test_what_is_there_for_a_moment_only_is_found_though_it_was_culled():
    backend = make()
    spike = torch.tensor([0.53], dtype=torch.float64)
    whole = backend.mask.possible.sum()

    def look(step: int, present: bool) -> int:
        def density(points, moments):
            there = present and bool(((moments - spike).abs() < 0.015).any())
            return torch.full((len(points),), 1e3 if there else 0.0)

        backend._largest_density = density
        backend._look(step)
        return int(backend.mask.occupied.sum())

    backend.mask.occupied[:] = False
    assert look(1, present=False) == 0
    counts = [look(step, present=True) for step in range(2, 40)]
    assert counts[-1] == whole
