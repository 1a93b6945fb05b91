"""Cells between the cameras that hardly any of them sees, against hulls by linear programs and counts one by one."""

import math
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from camera_rigs import camera, wall
from evaluation_fixtures import look_from
from scipy.optimize import linprog

from syncnerf.scene import Scene
from syncnerf.scene.camera import Camera
from syncnerf.scene.overlooked_cells import _faces, lies_between, overlooked_cells
from syncnerf.scene.placement import camera_counts

BOX = torch.tensor([[-4.0] * 3, [4.0] * 3])


def ball(count: int) -> tuple[Camera, ...]:
    """Cameras on a sphere that look at its middle."""
    places = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    places = 3.0 * places / places.norm(dim=-1, keepdim=True)
    return tuple(camera(look_from(place), focal=100.0) for place in places.tolist())


def made_up(root, cameras, **changes) -> Scene:
    """A scene of cameras, of which the first is once more there as its test camera."""
    scene = Scene(root, "made up", (*cameras, cameras[0]), Mock(), (len(cameras),), BOX, 0.1, 20.0)
    return replace(scene, **changes)


def mixes(point: torch.Tensor, corners: torch.Tensor) -> bool:
    """Whether a point is a mean of corners with some weights."""
    equations = torch.cat([corners.T, torch.ones(1, len(corners), dtype=torch.float64)])
    right = torch.cat([point, torch.ones(1, dtype=torch.float64)])
    return linprog([0.0] * len(corners), A_eq=equations.numpy(), b_eq=right.numpy()).status == 0


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_what_lies_between_is_a_mean_of_the_corners(size):
    generator = torch.Generator().manual_seed(0)
    corners = torch.randn(9, 3, dtype=torch.float64, generator=generator)
    points = 0.8 * torch.randn(60, 3, dtype=torch.float64, generator=generator)
    found = lies_between(size * (points + 5.0), size * (corners + 5.0))
    assert found.tolist() == [mixes(point, corners) for point in points]
    assert 5 < int(found.sum()) < 55


def test_many_corners_in_a_plane_are_one_face():
    """Two rings of 60: the drum that they bound."""
    angles = torch.arange(60, dtype=torch.float64) * 2.0 * torch.pi / 60
    ring = torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], dim=1)
    corners = torch.cat([ring, ring + torch.tensor([0.0, 0.0, 0.5])])
    points = 2.0 * torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1.0
    sides = torch.stack([(angles + torch.pi / 60).cos(), (angles + torch.pi / 60).sin()])
    expected = (points[:, :2] @ sides < math.cos(math.pi / 60)).all(dim=1) & (points[:, 2] > 0) & (points[:, 2] < 0.5)
    assert lies_between(points, corners).tolist() == expected.tolist()
    assert len(_faces(corners)) < 100


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_nothing_lies_between_few_cameras_or_those_of_a_wall(count):
    corners = torch.stack([one.pose(0)[:3, 3] for one in wall()])[:count]
    assert not lies_between(torch.tensor([[0.1, 0.1, 0.0], [0.1, 0.1, -1.0]], dtype=torch.float64), corners).any()


@pytest.mark.parametrize(("count", "enough"), [(6, 2), (24, 3)])
def test_cells_are_overlooked_that_fewer_than_two_or_a_tenth_of_the_cameras_see(tmp_path, count, enough):
    cameras = ball(count)
    cells = overlooked_cells(made_up(tmp_path, cameras), 16)
    ticks = torch.arange(-4.0, 4.0, 0.5, dtype=torch.float64) + 0.25
    points = torch.cartesian_prod(ticks, ticks, ticks)
    between = lies_between(points, torch.stack([one.pose(0)[:3, 3] for one in cameras]))
    expected = between & (camera_counts(points, cameras) < enough)
    assert cells.flatten().tolist() == expected.tolist()
    assert 0 < int(expected.sum()) < int(between.sum())


def test_no_cell_is_overlooked_where_nothing_can_be_told(tmp_path):
    scene = made_up(tmp_path, ball(12))
    walking = replace(scene.cameras[0], camera_to_world=scene.cameras[0].pose(0).repeat(3, 1, 1))
    assert overlooked_cells(scene) is not None
    assert overlooked_cells(replace(scene, cameras=(walking, *scene.cameras[1:]))) is None
    assert overlooked_cells(replace(scene, space="ndc")) is None
    assert overlooked_cells(made_up(tmp_path, wall())) is None
    wide = tuple(camera(one.pose(0), focal=2.0) for one in ball(12))
    assert overlooked_cells(made_up(tmp_path, wide, bounds=0.2 * BOX)) is None
