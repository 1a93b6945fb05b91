"""The plain twin of the rasteriser of Gaussians, against loops and finite differences."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from gaussian_scenes import MOMENTS, some_gaussians, some_motion, view

from syncnerf_gaussians import reference
from syncnerf_gaussians.gaussians import Drift, Gaussians, Motion, Poses, Skinning
from syncnerf_gaussians.motion import moved
from syncnerf_gaussians.raster import cast, influence, rasterise, rasterise_rates

VIEWS = [view(7, 6), view(5, 9, yaw=0.8)]


def rotation(quaternion: list[float]) -> torch.Tensor:
    """A rotation matrix as the product q p q*, column by column, written out for one quaternion."""
    w, v = quaternion[0], torch.tensor(quaternion[1:], dtype=torch.float64)
    columns = []
    for axis in torch.eye(3, dtype=torch.float64):
        columns.append(
            axis + 2 * w * torch.linalg.cross(v, axis) + 2 * torch.linalg.cross(v, torch.linalg.cross(v, axis))
        )
    return torch.stack(columns, dim=1)


def one_ray(gaussians: Gaussians, origin, direction) -> list[float]:
    """A ray through resting Gaussians, one after the other: the largest response found by search along the ray."""
    found = []
    for index in range(len(gaussians)):
        turn = rotation(torch.nn.functional.normalize(gaussians.quaternions[index], dim=0).tolist())
        covariance = turn @ torch.diag(torch.exp(2 * gaussians.log_scales[index])) @ turn.T
        inverse = torch.linalg.inv(covariance)
        opacity = 1 / (1 + math.exp(-gaussians.opacity_logits[index].item()))
        away = gaussians.means[index] - origin
        if opacity * math.exp(-0.5 * float(away @ inverse @ away)) >= 1 / 255:
            continue
        curve = [
            float(direction @ inverse @ direction),
            float(direction @ inverse @ away),
            float(away @ inverse @ away),
        ]
        low, high = 0.0, 20.0
        for _ in range(100):  # golden sections: the response along a line has one peak
            a, b = low + 0.382 * (high - low), low + 0.618 * (high - low)
            at_a, at_b = (s * s * curve[0] - 2 * s * curve[1] + curve[2] for s in (a, b))
            low, high = (low, b) if at_a < at_b else (a, high)
        alpha = min(0.99, opacity * math.exp(-0.5 * at_a))
        if alpha >= 1 / 255 and low > 1e-6:
            basis = 0.28209479177387814, 0.48860251190291987
            x, y, z = (away / away.norm()).tolist()
            values = torch.tensor([basis[0], -basis[1] * y, basis[1] * z, -basis[1] * x], dtype=torch.float64)
            colour = [max(0.0, 0.5 + float(values @ gaussians.harmonics[index, :, c])) for c in range(3)]
            found.append((float(away.norm()), alpha, colour, low))
    light, sums = 1.0, [0.0] * 5
    for _, alpha, colour, depth in sorted(found):
        for number, value in enumerate([*colour, 1.0, depth]):
            sums[number] += light * alpha * value
        light *= 1 - alpha
        if light < 1e-4:
            sums[3] = 1.0
            break
    return sums


def at_rest(count: int = 1) -> Motion:
    return Motion(torch.zeros(count, dtype=torch.float64))


@pytest.mark.parametrize("size", [0.05, 0.3])
def test_pixels_are_those_of_a_loop_that_searches_along_each_ray(size):
    gaussians = some_gaussians(40, size=size)
    found = rasterise(gaussians, VIEWS[:1], at_rest())
    rays = VIEWS[0].rays()
    expected = [one_ray(gaussians, o, d.double()) for o, d in zip(rays.origins, rays.directions, strict=True)]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.rgb, expected[:, :3], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.accumulation, expected[:, 3], rtol=0, atol=1e-9)
    # The place of a flat maximum is only found to the root of a float's precision.
    torch.testing.assert_close(found.depth, expected[:, 4], rtol=0, atol=1e-6)
    assert found.accumulation.max() > 0.5


def test_gradients_are_finite_differences():
    gaussians, motion = some_gaussians(6, degree=2, size=0.4, seed=3), some_motion(6, MOMENTS)

    def colours(*values):
        *shapes, weights, places, turns, velocities, fades, times = values
        skinning = replace(motion.skinning, weights=weights, poses=Poses(places, turns))
        drift = replace(motion.drift, velocities=velocities, fades=fades)
        drawn = rasterise(Gaussians(*shapes), VIEWS, Motion(times, skinning, drift))
        return drawn.rgb, drawn.accumulation

    poses, drift = motion.skinning.poses, motion.drift
    inputs = [*vars(gaussians).values(), motion.skinning.weights, poses.positions, poses.quaternions]
    inputs = [t.detach().requires_grad_() for t in [*inputs, drift.velocities, drift.fades, motion.times]]
    assert torch.autograd.gradcheck(colours, inputs, eps=1e-7, atol=1e-5, fast_mode=True)


def test_derivatives_by_time_are_finite_differences():
    gaussians = some_gaussians(20, size=0.3, seed=2)
    step = 1e-6
    _, rates = rasterise_rates(gaussians, VIEWS, some_motion(20, MOMENTS))
    pictures = [
        rasterise(gaussians, VIEWS, some_motion(20, [time + change for time in MOMENTS])) for change in (-step, step)
    ]
    before, after = (torch.cat([one.rgb, one.accumulation[:, None]], dim=1) for one in pictures)
    slopes = (after - before) / (2 * step)
    # A pixel at which a Gaussian crosses the faintest opacity jumps by it.
    smooth = slopes.abs().amax(dim=-1) < 10.0
    assert smooth.float().mean() > 0.95
    torch.testing.assert_close(rates[smooth], slopes[smooth], rtol=0, atol=1e-6)
    assert rates.abs().max() > 0.1


def test_derivatives_by_time_need_no_checkpoints(monkeypatch):
    """Nothing is kept for a backward pass then, and not every torch's let forward mode through."""
    monkeypatch.setattr(reference, "checkpoint", lambda *_, **__: pytest.fail("a checkpoint"))
    _, rates = rasterise_rates(some_gaussians(6), VIEWS, some_motion(6, MOMENTS))
    assert rates.abs().max() > 0.0


def test_loose_rays_are_pixels_in_any_order():
    gaussians, motion = some_gaussians(30), some_motion(30, MOMENTS)
    pixels = rasterise(gaussians, VIEWS, motion)
    rays = [one.rays() for one in VIEWS]
    every = type(rays[0])(*(torch.cat([getattr(r, name) for r in rays]) for name in vars(rays[0])))
    moments = torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor([len(r) for r in rays]))
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))
    loose = cast(gaussians, every[order], moments[order], motion)
    for one, other in zip(loose, pixels, strict=True):
        torch.testing.assert_close(one, other[order], rtol=0, atol=1e-12)


def test_influence_sums_up_to_the_opacity_and_says_who_is_seen():
    gaussians, motion = some_gaussians(30), some_motion(30, MOMENTS)
    drawn = rasterise(gaussians, VIEWS, motion)
    found = influence(gaussians, VIEWS, motion, torch.full_like(drawn.accumulation, 2.0))
    torch.testing.assert_close(found.weights.sum(), drawn.accumulation.sum())
    torch.testing.assert_close(found.errors, 2.0 * found.weights)
    hidden = found.weights == 0.0
    assert 0 < int(hidden.sum()) < 30
    less = Gaussians(*(value[~hidden] for value in vars(gaussians).values()))
    still = rasterise(less, VIEWS, only(motion, ~hidden))
    torch.testing.assert_close(still.rgb, drawn.rgb)


def only(motion: Motion, chosen: torch.Tensor) -> Motion:
    skinning, drift = motion.skinning, motion.drift
    own = {name: getattr(skinning, name)[chosen] for name in ("nodes", "weights", "moments")}
    return Motion(motion.times, replace(skinning, **own), Drift(*(value[chosen] for value in vars(drift).values())))


def test_a_scaffold_that_moves_as_one_carries_gaussians_as_one():
    """All nodes turn about a point and move on: so do the centres and the axes, whatever the weights."""
    gaussians, motion = some_gaussians(9), some_motion(9, [0.3])
    turn = torch.nn.functional.normalize(torch.tensor([0.8, 0.1, -0.5, 0.3], dtype=torch.float64), dim=0)
    matrix, offset = rotation(turn.tolist()), torch.tensor([0.4, -1.0, 2.0], dtype=torch.float64)
    nodes = torch.randn(5, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    ones = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).expand(5, 4)
    rest = Poses(nodes.expand(2, 5, 3), ones.expand(2, 5, 4))
    now = Poses((nodes @ matrix.T + offset)[None], turn.expand(1, 5, 4))
    chosen = motion.skinning.nodes[:, :1].ge(0).squeeze(1)
    skinning = Skinning(motion.skinning.nodes, motion.skinning.weights, motion.skinning.moments, rest, now)
    found = moved(gaussians, Motion(motion.times, skinning))
    torch.testing.assert_close(found.means[0, chosen], gaussians.means[chosen] @ matrix.T + offset)
    torch.testing.assert_close(found.means[0, ~chosen], gaussians.means[~chosen])
    for index in chosen.nonzero()[:, 0].tolist():
        own = rotation(torch.nn.functional.normalize(gaussians.quaternions[index], dim=0).tolist())
        carried = rotation(torch.nn.functional.normalize(found.quaternions[0, index], dim=0).tolist())
        torch.testing.assert_close(carried, matrix @ own)


def test_a_life_has_a_plateau_and_fades():
    gaussians = some_gaussians(3)
    drift = Drift(
        velocities=torch.tensor([[1.0, 0.0, -2.0]], dtype=torch.float64).expand(3, 3),
        centres=torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64),
        plateaus=torch.tensor([0.5, 0.1, 0.1], dtype=torch.float64),
        fades=torch.tensor([0.1, 0.2, math.inf], dtype=torch.float64),
    )
    found = moved(gaussians, Motion(torch.tensor([0.3], dtype=torch.float64), drift=drift))
    share = found.opacities[0] / torch.sigmoid(gaussians.opacity_logits)
    torch.testing.assert_close(share, torch.tensor([1.0, math.exp(-0.5), 1.0], dtype=torch.float64))
    torch.testing.assert_close(found.means[0] - gaussians.means, 0.3 * drift.velocities)


def test_shapes_that_do_not_fit_are_refused():
    gaussians, motion = some_gaussians(3), some_motion(3, MOMENTS)

    def changed(whole, **tensors):
        """As what a caller without checks of its own may hand over."""
        wrong = copy.copy(whole)
        for name, value in tensors.items():
            object.__setattr__(wrong, name, value)
        return wrong

    with pytest.raises(ValueError, match="log_scales has the shape"):
        rasterise(changed(gaussians, log_scales=gaussians.means[:, :1]), VIEWS, motion)
    with pytest.raises(ValueError, match=r"harmonics have the shape .* 1 \| 4 \| 9 \| 16"):
        rasterise(changed(gaussians, harmonics=gaussians.harmonics[:, :2]), VIEWS, motion)
    with pytest.raises(ValueError, match="times has the shape"):
        rasterise(gaussians, VIEWS[:1], motion)
    beyond = changed(motion.skinning, nodes=motion.skinning.nodes + 9)
    with pytest.raises(ValueError, match="beyond the 5 nodes"):
        rasterise(gaussians, VIEWS, changed(motion, skinning=beyond))
