"""Triangulated points: planted ones come back, a camera whose calibration is off is told, wrong matches go."""

from dataclasses import replace

import pytest
import torch
from camera_rigs import dome

from syncnerf.scene.info_command import points_report
from syncnerf.scene.points import (
    ScenePoints,
    median_picture,
    point_placement,
    scene_points,
    triangulate,
    triangulated,
)
from syncnerf.scene.readers import load_scene

CAMERAS = tuple(camera.resized(640, 480) for camera in dome(6))
PROJECTIONS = {index: camera.projection() for index, camera in enumerate(CAMERAS)}


def planted(count: int = 80, noise: float = 0.2, shifted: int | None = None):
    """Points, and their features in all cameras, linked in a chain; one camera's pixels 5 px beside the truth."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5
    where, owner = [], []
    for index, projection in PROJECTIONS.items():
        seen = torch.cat([places, torch.ones(count, 1)], dim=-1) @ projection.T
        pixel = seen[:, :2] / seen[:, 2:] + noise * torch.randn(count, 2, generator=generator)
        where.append(pixel + 5.0 * (index == shifted))
        owner.append(torch.full((count,), index))
    numbers = torch.arange(count)
    chains = [(index * count + numbers, (index + 1) * count + numbers) for index in range(len(CAMERAS) - 1)]
    links = torch.cat([torch.stack(chain, dim=-1) for chain in chains])
    return places, links, torch.cat(owner), torch.cat(where)


def test_planted_points_come_back():
    places, links, owner, where = planted(noise=0.0)
    points = triangulated(links, owner, where, PROJECTIONS)
    assert len(points.places) == len(places)
    assert (points.places[:, None] - places).norm(dim=-1).min(dim=1).values.max() < 1e-9
    assert points.errors.max() < 1e-6
    assert len(points.point) == len(CAMERAS) * len(places)
    one = triangulate(torch.stack([PROJECTIONS[0], PROJECTIONS[2]]), where[[0, 2 * len(places)]])
    torch.testing.assert_close(one, places[0], atol=1e-9, rtol=0)


def test_a_camera_that_is_off_is_told_from_the_others():
    _, links, owner, where = planted(shifted=3)
    points = triangulated(links, owner, where, PROJECTIONS)
    errors = [points.camera_error(index)[0] for index in range(len(CAMERAS))]
    assert errors[3] > 4.0
    assert max(errors[:3] + errors[4:]) < 2.5


def test_wrong_matches_make_no_points():
    places, links, owner, where = planted()
    wrong = links.clone()
    wrong[:, 1] = wrong[:, 1] // len(places) * len(places) + (wrong[:, 1] + 17) % len(places)
    assert len(triangulated(wrong, owner, where, PROJECTIONS).places) < 0.1 * len(places)


def test_the_median_picture_has_nothing_that_moves():
    frames = torch.full((9, 6, 8, 3), 100, dtype=torch.uint8).numpy()
    for frame in range(8):
        frames[frame, :, frame] = 255
    assert torch.allclose(median_picture(frames), torch.full((6, 8, 3), 100 / 255))


def test_points_place_the_box_and_report_the_cameras(tiny_scene):
    scene = load_scene(tiny_scene)
    generator = torch.Generator().manual_seed(0)
    places = 0.8 * (torch.rand(300, 3, generator=generator, dtype=torch.float64) - 0.5)
    places[:3] = 50.0
    point = torch.arange(300).repeat(3)
    camera = torch.tensor([1, 2, 3]).repeat_interleave(300)
    errors = torch.where(camera == 2, 9.0, 0.5).double()
    points = ScenePoints(places, point, camera, torch.zeros(900, 2).double(), errors)
    bounds, near = point_placement(scene, points)
    assert ((bounds[0] > -0.5) & (bounds[0] < -0.35) & (bounds[1] < 0.5) & (bounds[1] > 0.35)).all()
    nearest = (places[3:, None] - torch.stack([c.pose(0)[:3, 3] for c in scene.cameras[1:]])).norm(dim=-1).min()
    assert near == pytest.approx(float(nearest) / 2, rel=0.1)
    report = points_report(scene, points)
    assert "300 seen 900 times" in report
    assert "cam02        9.00 px" in report
    assert report.count("check its calibration") == 1
    nothing = torch.empty(0, dtype=torch.int64)
    empty = ScenePoints(torch.empty(0, 3).double(), nothing, nothing, torch.empty(0, 2).double(), nothing.double())
    assert point_placement(scene, empty) is None
    assert "--bounds" not in points_report(scene, empty)
    assert "cam03        not known" in points_report(scene, empty)


@pytest.mark.parametrize("still", [0, 1])
def test_less_than_two_still_cameras_see_no_point(tiny_scene, still):
    """As in scenes of one moving camera, and of two of which one is for evaluation."""
    scene = load_scene(tiny_scene)
    scene.test = tuple(range(1, len(scene.cameras)))
    if not still:
        camera = scene.cameras[0]
        poses = camera.camera_to_world.expand(camera.frame_count, 4, 4)
        scene.cameras = (replace(camera, camera_to_world=poses), *scene.cameras[1:])
    points = scene_points(scene)
    assert points.places.shape == (0, 3)
    assert points.pixel.shape == (0, 2)
    assert point_placement(scene, points) is None
    assert points_report(scene, points).count("not known") == 1


@pytest.mark.filterwarnings("error")
def test_tracks_of_two_cameras_check_no_calibration(tiny_scene):
    scene, two = load_scene(tiny_scene), torch.tensor([1, 2])
    unknown = torch.full((2,), torch.nan, dtype=torch.float64)
    points = ScenePoints(torch.zeros(1, 3).double(), torch.zeros(2).long(), two, torch.zeros(2, 2).double(), unknown)
    assert points_report(scene, points).count("not known") == len(scene.train)
