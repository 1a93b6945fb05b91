"""Epipolar pencils: both images of a point in space lie on the same line, wherever the epipoles are."""


import numpy as np
import pytest
import torch
from moving_spheres import pose_at

from syncnerf.scene import Camera, Intrinsics
from syncnerf.sync.energy import MotionEnergy
from syncnerf.sync.pencils import PencilView, _splat, half_plane_angles, line_signals, pencil_view

INTRINSICS = Intrinsics(120, 80, 110.0, 105.0, 61.0, 39.0)


def shifted(pose: torch.Tensor, move: tuple[float, float, float]) -> torch.Tensor:
    moved = pose.clone()
    moved[:3, 3] += pose[:3, :3] @ torch.tensor(move, dtype=torch.float64)
    return moved


FRONT = pose_at(0.0, 20.0)
RIGS = {
    "converging": (FRONT, pose_at(50.0, 35.0)),
    "epipoles at infinity": (FRONT, shifted(FRONT, (0.7, 0.0, 0.0))),
    "epipoles inside": (FRONT, shifted(FRONT, (0.1, 0.05, -1.0))),
    "facing each other": (FRONT, pose_at(178.0, -18.0)),
    "epipole near the border": (FRONT, shifted(FRONT, (1.2, 0.1, -2.4))),
}


def camera(pose: torch.Tensor) -> Camera:
    return Camera("camera", INTRINSICS, pose, 30.0, 2)


def view_through(pose: torch.Tensor, points: torch.Tensor) -> PencilView:
    """A view whose rays go through given points in space."""
    rays = torch.nn.functional.normalize(points - pose[:3, 3], dim=-1)
    return PencilView(pose[:3, 3].float(), -pose[:3, 2].float(), rays.float(), 0.01)


@pytest.mark.parametrize("rig", RIGS)
def test_images_of_a_point_share_their_half_plane(rig):
    points = torch.from_numpy(np.random.default_rng(0).uniform(-0.8, 0.8, (500, 3)))
    first, second = (view_through(pose, points) for pose in RIGS[rig])
    one, two = half_plane_angles(first, second)
    difference = torch.remainder(one - two + torch.pi, 2 * torch.pi) - torch.pi
    # Next to the baseline the angle is ill-conditioned: single precision.
    distance = torch.linalg.cross(first.rays, second.rays).norm(dim=-1)
    assert float((difference.abs() * distance).max()) < 1e-4


def test_rays_go_through_the_pixels():
    pose = RIGS["converging"][1]
    pixels = torch.arange(30 * 20)
    energy = MotionEnergy(torch.ones(600, 3), pixels, 4, 30, 20, torch.ones(3, dtype=torch.bool))
    view = pencil_view(camera(pose), energy)
    depth = 3.0
    points = pose[:3, 3] + depth * view.rays.double()
    homogeneous = torch.cat([points, torch.ones(600, 1, dtype=torch.float64)], 1) @ camera(pose).projection().T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], energy.pixel_centres, atol=1e-4)


@pytest.mark.parametrize("rig", RIGS)
def test_a_flash_lights_the_same_line_in_both(rig):
    """Points that flash one after the other: at each moment both signals have their energy on the same line."""
    points = torch.from_numpy(np.random.default_rng(1).uniform(-0.6, 0.6, (40, 3)))
    views, energies = [], []
    grid = torch.arange(120 * 80)
    for pose in RIGS[rig]:
        homogeneous = torch.cat([points, torch.ones(40, 1, dtype=torch.float64)], 1) @ camera(pose).projection().T
        pixel = (homogeneous[:, :2] / homogeneous[:, 2:]).floor().long()
        inside = (homogeneous[:, 2] > 0) & (pixel >= 0).all(1) & (pixel[:, 0] < 120) & (pixel[:, 1] < 80)
        values = torch.zeros(120 * 80, 40)
        moment = torch.arange(40)[inside]
        values[pixel[inside, 1] * 120 + pixel[inside, 0], moment] = 1.0
        energy = MotionEnergy(values, grid, 1, 120, 80, torch.ones(40, dtype=torch.bool))
        views.append(pencil_view(camera(pose), energy))
        energies.append(energy)
    first, second = line_signals(views[0], views[1], tuple(energies))
    assert first.shape == second.shape
    both = (first.sum(0) > 0.5) & (second.sum(0) > 0.5)
    assert both.sum() >= 10
    lines = torch.arange(len(first), dtype=torch.float32)
    centre = [(signal[:, both] * lines[:, None]).sum(0) / signal[:, both].sum(0) for signal in (first, second)]
    # Where the epipole is near, a pixel spans several lines; two lines is the most a pixel's corner is off elsewhere.
    assert float((centre[0] - centre[1]).abs().median()) < 1.5


def test_sharing_between_lines_matches_a_loop():
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(300, generator=generator) * 14 - 2
    usable = torch.rand(300, generator=generator) > 0.2
    values = torch.rand(300, 5, generator=generator)
    expected = torch.zeros(10, 5)
    for pixel in range(300):
        for row in range(10):
            share = max(0.0, 1.0 - abs(float(place[pixel]) - row))
            if usable[pixel]:
                expected[row] += share * values[pixel]
    torch.testing.assert_close(_splat(place, usable, 10, values), expected, atol=1e-4, rtol=1e-4)


def test_cameras_that_share_no_lines_give_none():
    always = torch.ones(3, dtype=torch.bool)
    energy = MotionEnergy(torch.ones(2, 3), torch.tensor([0, 1]), 1, 120, 80, always)
    other = MotionEnergy(torch.ones(2, 3), torch.tensor([120 * 79, 120 * 79 + 1]), 1, 120, 80, always)
    poses = RIGS["epipoles at infinity"]
    views = pencil_view(camera(poses[0]), energy), pencil_view(camera(poses[1]), other)
    signals = line_signals(*views, (energy, other))
    assert [signal.shape for signal in signals] == [(0, 3), (0, 3)]
