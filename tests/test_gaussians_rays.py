"""Loose rays through Gaussians: the kernel's against the plain twin's, and against the pixels of pictures."""

import pytest
import torch
from gaussian_scenes import MOMENTS, VIEWS, assert_alike, leaves, near_the_camera, single, some_gaussians, some_motion

from syncnerf.scene.rays import Rays
from syncnerf_gaussians import kernel
from syncnerf_gaussians.gaussians import Gaussians, Motion
from syncnerf_gaussians.raster import cast, cast_rates, influence, rasterise, rasterise_rates, ray_influence

pytestmark = pytest.mark.skipif(kernel.library() is None, reason="no C compiler")


def all_round(count: int) -> tuple[Rays, torch.Tensor]:
    """Rays in all directions from three places, one amid the Gaussians, each with its own range, at two moments."""
    generator = torch.Generator().manual_seed(2)
    places = torch.tensor([[0.0, 0.0, 4.0], [1.5, -2.0, 0.5], [0.1, 0.2, -0.1]], dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    which = torch.randint(0, 3, (count,), generator=generator)
    near = 2.0 * torch.rand(count, generator=generator)
    rays = Rays(places[which], directions, near, near + 4.0 * torch.rand(count, generator=generator))
    return rays, torch.randint(0, 2, (count,), generator=generator)


def cast_with_gradients(gaussians: Gaussians, motion: Motion, rays: Rays, moments: torch.Tensor):
    inputs = leaves(gaussians, motion)
    found = cast(gaussians, rays, moments, motion)
    weights = torch.linspace(-1.0, 2.0, len(rays), dtype=torch.float64)
    loss = (weights[:, None] * found.rgb).sum() + (weights.square() * found.accumulation).sum()
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    values = {name: value.detach() for name, value in found._asdict().items()}
    return values, dict(zip(inputs, gradients, strict=True))


@pytest.mark.parametrize("degree", [0, 2])
def test_rays_in_all_directions_are_those_of_the_twin_in_64_bits(degree):
    rays, moments = all_round(600)
    scene = some_gaussians(150, degree, size=0.3), some_motion(150, MOMENTS)
    values, gradients = cast_with_gradients(
        single(some_gaussians(150, degree, size=0.3)), single(some_motion(150, MOMENTS)), rays, moments
    )
    expected_values, expected_gradients = cast_with_gradients(*scene, rays, moments)
    assert_alike(values, expected_values, 2e-5)
    assert_alike(gradients, expected_gradients, 5e-5)
    rates = cast_rates(single(some_gaussians(150, degree, size=0.3)), rays, moments, single(some_motion(150, MOMENTS)))[
        1
    ]
    expected_rates = cast_rates(some_gaussians(150, degree, size=0.3), rays, moments, some_motion(150, MOMENTS))[1]
    assert_alike({"rates": rates}, {"rates": expected_rates}, 2e-5)


def test_loose_rays_are_pixels_of_pictures_in_any_order():
    """Also of those Gaussians that reach across the plane of the camera; and the same derivatives by time."""
    gaussians, motion = single(near_the_camera()), single(some_motion(60, MOMENTS))
    pixels, rates = rasterise(gaussians, VIEWS, motion), rasterise_rates(gaussians, VIEWS, motion)[1]
    rays = [one.rays() for one in VIEWS]
    every = Rays(*(torch.cat([getattr(part, name) for part in rays]) for name in vars(rays[0])))
    moments = torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor([len(part) for part in rays]))
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))
    loose = cast(gaussians, every[order], moments[order], motion)
    for one, other in zip(loose, pixels, strict=True):
        torch.testing.assert_close(one, other[order], rtol=1e-4, atol=1e-4)
    slopes = cast_rates(gaussians, every[order], moments[order], motion)[1]
    assert_alike({"rates": slopes}, {"rates": rates[order]}, 1e-4)
    errors = torch.rand(len(every), generator=torch.Generator().manual_seed(4))
    blamed = ray_influence(gaussians, every[order], moments[order], motion, errors[order])
    assert_alike(blamed._asdict(), influence(gaussians, VIEWS, motion, errors)._asdict(), 1e-4)


def test_threads_and_the_way_rays_are_asked_do_not_change_a_bit():
    gaussians, motion = single(some_gaussians(100)), single(some_motion(100, MOMENTS))
    rays, moments = all_round(1500)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = cast_with_gradients(gaussians, motion, rays, moments)
        torch.set_num_threads(3)
        together = cast_with_gradients(gaussians, motion, rays, moments)
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    some = torch.arange(0, 1500, 7)
    torch.testing.assert_close(cast(gaussians, rays[some], moments[some], motion).rgb, alone[0]["rgb"][some])


def test_there_may_be_no_rays_and_no_gaussians():
    rays, moments = all_round(20)
    nothing = cast(single(some_gaussians(0)), rays, moments, single(some_motion(0, MOMENTS)))
    assert all(value.shape[0] == 20 and not value.any() for value in nothing)
    none = cast(single(some_gaussians(5)), rays[:0], moments[:0], single(some_motion(5, MOMENTS)))
    assert none.rgb.shape == (0, 3)
