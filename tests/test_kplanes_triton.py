"""The fused plane lookup in Triton: in its interpreter it is the torch twin; and a real compiler takes it."""

import pytest
import torch
from random_planes import SIZES, random_planes, random_points
from triton_compiler import compiled_kernels

from syncnerf.assembly import assemble
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.questions import RayQuestion
from syncnerf_kplanes.plane_lookup import plane_features, plane_features_torch
from syncnerf_kplanes.planes import PlaneGrid

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def values_and_gradients(lookup, sizes, channels: int, count: int) -> list[torch.Tensor]:
    """Features, then gradients to the points and to every plane."""
    planes = [plane.to(DEVICE).requires_grad_() for plane in random_planes(sizes, channels)]
    points = random_points(count, 1.2)
    edges = torch.tensor([[-1.0] * 4, [1.0] * 4, [0.0] * 4, [1.0, -1.0, 1.0, -1.0], [5.0] * 4, [-9.0] * 4])
    points[: len(edges)] = edges[: len(points)]
    points = points.to(DEVICE).requires_grad_()
    features = lookup(points, planes)
    upstream = torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) - 0.3
    features.backward(upstream.to(DEVICE))
    return [features.detach(), points.grad, *[plane.grad for plane in planes]]


@pytest.mark.parametrize("channels", [8, 6, 32])
@pytest.mark.parametrize(("sizes", "count"), [(SIZES[0], 300), (SIZES[1], 77), (SIZES[2], 130), (SIZES[1], 1)])
def test_fused_lookup_is_its_torch_twin_in_values_and_gradients(sizes, count, channels):
    """To 1e-5 of each tensor's largest number, in 32 bits: what is left is the order of the sums.

    The twin's slope at the very border is its own choice (clamped points feel none here), so edges are left out there.
    """
    found = values_and_gradients(lambda *a: plane_features(*a, engine="triton"), sizes, channels, count)
    expected = values_and_gradients(plane_features_torch, sizes, channels, count)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        if number == 1:
            one, other = one[6:], other[6:]
        if other.numel():
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * other.abs().max().item())


def test_it_is_triton_that_runs_when_asked_for(monkeypatch):
    from syncnerf_kplanes import plane_lookup_triton

    used = []
    original = plane_lookup_triton.TritonLookup.apply
    monkeypatch.setattr(plane_lookup_triton.TritonLookup, "apply", lambda *a: used.append(1) or original(*a))
    points, planes = random_points(9, 1.0).to(DEVICE), [plane.to(DEVICE) for plane in random_planes(SIZES[0], 8)]
    for engine, times in (("torch", 0), ("triton", 1)):
        plane_features(points, planes, engine)
        assert len(used) == times
    torch.manual_seed(0)
    grid = PlaneGrid([5], 4, 8, "triton").to(DEVICE)
    grid(points[:, :3], points[:, 3])
    assert len(used) == 2


def test_it_takes_no_points_and_makes_only_the_gradients_that_are_asked_for():
    planes = [plane.to(DEVICE).requires_grad_() for plane in random_planes(SIZES[0], 8)]
    nothing = plane_features(torch.empty(0, 4, device=DEVICE), planes, "triton")
    assert nothing.shape == (0, 8)
    nothing.sum().backward()
    assert all((plane.grad == 0).all() for plane in planes)
    fixed = [plane.detach() for plane in planes]
    points = random_points(20, 0.9).to(DEVICE)
    alone, both = points.clone().requires_grad_(), points.clone().requires_grad_()
    plane_features(alone, fixed, "triton").sum().backward()
    plane_features(both, planes, "triton").sum().backward()
    torch.testing.assert_close(alone.grad, both.grad)
    leaves = [plane.clone().requires_grad_() for plane in fixed]
    plane_features(points, leaves, "triton").sum().backward()
    for found, expected in zip(leaves, planes, strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_whole_field_renders_alike_with_either_engine(tiny_arguments):
    colours = {}
    for engine in ("torch", "triton"):
        config = parse([*tiny_arguments, f"--engine={engine}", f"--device={DEVICE}"])
        job = Job.of(config)
        scene, synced = job.scene, assemble(job).eval()
        rays = scene.cameras[1].all_rays(scene.near, scene.far)[::40].to(DEVICE)
        times = torch.full((len(rays),), 0.3, dtype=torch.float64, device=DEVICE)
        with torch.no_grad():
            colours[engine] = synced.backend(RayQuestion(rays, synced.clock.moments(times))).rgb
    torch.testing.assert_close(colours["triton"], colours["torch"], rtol=0, atol=1e-5)


COMPILE = """
from syncnerf_kplanes import plane_lookup_triton as kernels
planes, sizes = ("*fp32",) * 6, ("i32",) * 4
shared = {"coordinates": "*fp32", "planes": planes, "sizes": sizes, "points": "i32"}
constants = {"SCALES": 1, "CHANNELS": 8, "LANES": 8, "BLOCK": 16}
more = {"OF_PLANES": True, "OF_COORDINATES": True}
arguments = {"upstream": "*fp32", "plane_gradients": planes, "coordinate_gradients": "*fp32"}
for kernel, own, values in (
    (kernels._forward_kernel, {"features": "*fp32"}, constants), (kernels._backward_kernel, arguments, constants | more)
):
    check(kernel, {name: kind for name, kind in (shared | own).items() if name in kernel.arg_names}, values)
"""


def test_kernels_compile_for_a_gpu(tmp_path):
    assert compiled_kernels(COMPILE, tmp_path) == 2
