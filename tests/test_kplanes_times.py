"""K-Planes and time: the slope of a rendering by finite differences, and what lies beyond the planes' ends."""

import pytest
import torch
from kplanes_fields import assert_time_slopes, build

from syncnerf.questions import RayQuestion
from syncnerf.testing.samples import some_rays


@pytest.mark.parametrize("field", ["kplanes", "kplanes_explicit"])
@pytest.mark.parametrize("sampler", ["occupancy", "proposal"])
@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_time_gradient_is_that_of_finite_differences(field, sampler, blur):
    """Only the field's planes move in time: samples then stay where they are, and the gradient is the whole slope."""
    backend = build(field=field, sampler=sampler, time_blur=blur).eval()
    backend.before_step(10)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for plane in backend.field.features._time_planes():
            plane.copy_(0.3 + 1.7 * torch.rand(plane.shape, generator=generator))
        for plane in backend.field.features.planes:
            plane.mul_(1.5)  # features of a size that shows
    # Times in the middle of a cell (6 cells over [-1, 1]): the slope has steps at the cells' ends.
    native = (torch.tensor([1.5, 2.5, 3.5]) / 5 * 2 - 1).double().repeat(10)
    times = native.requires_grad_()
    upstream = torch.rand(30, 3, generator=generator)
    # A cell has a half, and each network many kinks.
    assert_time_slopes(backend, some_rays(30), times, upstream, step=0.001)


def test_each_time_moves_its_own_ray_alone():
    backend = build().eval()
    with torch.no_grad():
        for plane in backend.field.features._time_planes():
            plane.mul_(torch.rand_like(plane) + 0.5)
    times = torch.full((6,), 0.7, dtype=torch.float64, requires_grad=True)
    rgb = backend(RayQuestion(some_rays(6), times)).rgb
    (gradient,) = torch.autograd.grad(rgb[2].sum(), times)
    assert gradient[2] != 0
    assert (gradient[[0, 1, 3, 4, 5]] == 0).all()


def test_time_is_told_apart_up_to_its_ends_and_stands_still_beyond():
    backend = build().eval()
    with torch.no_grad():
        for plane in backend.field.features._time_planes():
            plane.mul_(torch.rand_like(plane) + 0.5)
    rays = some_rays(8)

    def at(time: float) -> torch.Tensor:
        with torch.no_grad():
            return backend(RayQuestion(rays, torch.full((8,), time, dtype=torch.float64))).rgb

    assert not torch.allclose(at(0.9), at(1.0), atol=1e-5)
    assert not torch.allclose(at(-0.9), at(-1.0), atol=1e-5)
    torch.testing.assert_close(at(1.0), at(9.0), atol=1e-5, rtol=0)
