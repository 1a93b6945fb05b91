"""Camera paths: rigid poses among the cameras that look where the cameras look; and the videos along them."""

import math
from dataclasses import replace

import av
import pytest
import torch
from evaluation_fixtures import look_from, pattern_scene, synced_pattern
from torch.nn.functional import normalize

from syncnerf.evaluation import render_videos
from syncnerf.evaluation.camera_paths import camera_poses, ellipse_path, smooth_path, spiral_path
from syncnerf.evaluation.render_videos import common_moments, render_paths, render_test_videos
from syncnerf.scene.placement import looked_at_point

TARGET = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)


def on_sphere(azimuths, elevations, radius=4.0):
    """Poses around TARGET that look at it; angles in degrees."""
    poses = []
    for a, e in zip(map(math.radians, azimuths), map(math.radians, elevations), strict=True):
        direction = torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)]).double()
        poses.append(look_from((TARGET + radius * direction).tolist(), TARGET))
    return torch.stack(poses)


RIGS = {
    "cap": on_sphere([-60, -60, 0, 60, 60, 0], [15, 50, 60, 15, 50, 10]),
    "ring": on_sphere(range(0, 360, 30), [25] * 12),
    "level ring": on_sphere(range(0, 360, 30), [0] * 12),
    "arc": on_sphere(range(-40, 50, 10), [0] * 9),
    "two": on_sphere([0, 30], [20, 20]),
}


def check_rigid(poses):
    rotations = poses[:, :3, :3]
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(len(poses), dtype=torch.float64))
    assert torch.equal(poses[:, 3], torch.tensor([0.0, 0.0, 0.0, 1.0]).double().expand(len(poses), 4))


@pytest.mark.parametrize("rig", RIGS.values(), ids=list(RIGS))
def test_looked_at_point_is_found(rig):
    torch.testing.assert_close(looked_at_point(rig), TARGET, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rig", RIGS.values(), ids=list(RIGS))
def test_ellipse_looks_at_the_centre_from_the_cameras_distance(rig):
    path = ellipse_path(rig, TARGET, 40)
    check_rigid(path)
    spokes = path[:, :3, 3] - TARGET
    torch.testing.assert_close(spokes.norm(dim=-1), torch.full((40,), 4.0, dtype=torch.float64))
    torch.testing.assert_close(normalize(spokes, dim=-1), path[:, :3, 2])
    # Upright, as the cameras are.
    assert (path[:, 2, 1] > 0).all()
    # Smooth and closed: no step is much longer than the mean one, the one back to the start included.
    steps = (path.roll(-1, 0)[:, :3, 3] - path[:, :3, 3]).norm(dim=-1)
    assert steps.max() < 2.5 * steps.mean()
    # No farther from the nearest camera than neighbouring cameras can be from each other.
    gaps = (path[:, None, :3, 3] - rig[None, :, :3, 3]).norm(dim=-1).min(dim=1).values
    assert gaps.max() < 2.6


@pytest.mark.parametrize("name", ["ring", "level ring"])
def test_a_ring_gives_back_the_ring(name):
    elevation = 25 if name == "ring" else 0
    heights = ellipse_path(RIGS[name], TARGET, 24)[:, 2, 3] - TARGET[2]
    torch.testing.assert_close(
        heights, torch.full((24,), 4 * math.sin(math.radians(elevation)), dtype=torch.float64), atol=0.02, rtol=0
    )


def forward_facing_rig():
    poses = torch.eye(4, dtype=torch.float64).repeat(9, 1, 1)
    poses[:, 0, 3] = torch.tensor([-1.0, 0.0, 1.0]).repeat(3)
    poses[:, 1, 3] = torch.tensor([-0.5, 0.0, 0.5]).repeat_interleave(3)
    return poses


def test_spiral_stays_among_forward_facing_cameras():
    path = spiral_path(forward_facing_rig(), 1.0, math.inf, 30)
    check_rigid(path)
    assert path[:, 0, 3].abs().max() == pytest.approx(1.0)
    assert path[:, 1, 3].abs().max() < 0.51
    focus = torch.tensor([0.0, 0.0, -4.0], dtype=torch.float64)
    torch.testing.assert_close(path[:, :3, 2], normalize(path[:, :3, 3] - focus, dim=-1))


def test_parallel_cameras_get_the_spiral(tmp_path):
    scene = pattern_scene(tmp_path, None)
    ring = smooth_path(scene, 8, 15.0)
    torch.testing.assert_close(
        ring.camera_to_world,
        ellipse_path(torch.stack([c.pose(0) for c in scene.cameras]), torch.zeros(3, dtype=torch.float64), 8),
        atol=1e-4,
        rtol=0,
    )
    poses = forward_facing_rig()
    scene.cameras = tuple(replace(c, camera_to_world=pose) for c, pose in zip(scene.cameras, poses, strict=False))
    spiral = smooth_path(scene, 8, 15.0).camera_to_world
    torch.testing.assert_close(spiral, spiral_path(poses[:3], scene.near, scene.far * 5 / 1.1, 8))


def test_moving_cameras_count_with_their_poses(tmp_path):
    scene = pattern_scene(tmp_path, None)
    turning = on_sphere([0, 10, 20, 30, 40, 50], [20] * 6)
    scene.cameras = (*scene.cameras[:2], replace(scene.cameras[2], camera_to_world=turning))
    poses = camera_poses(scene.cameras)
    assert torch.equal(poses[:2], torch.stack([camera.pose(0) for camera in scene.cameras[:2]]))
    assert torch.equal(poses[2:], turning)
    assert torch.equal(camera_poses(scene.cameras[2:], at_most=2), turning[[0, 5]])
    check_rigid(smooth_path(scene, 5, 15.0).camera_to_world)


def test_common_moments_are_seen_by_all_training_cameras(tmp_path):
    scene = pattern_scene(tmp_path, [0.0, 0.0, 0.1, -0.1])
    assert common_moments(synced_pattern(scene, [9.0, 0.0, 0.1, -0.1]).clock, scene) == pytest.approx((0.1, 0.4))
    assert common_moments(synced_pattern(scene, [9.0, 0.0, 7.0, -0.1]).clock, scene) == pytest.approx((0.0, 0.5))


def test_common_moments_count_from_each_cameras_own_first_frame(tmp_path):
    """A camera whose own times begin later, as images whose first numbers are missing, and one whose clock is fast."""
    scene = pattern_scene(tmp_path, [0.0, 0.0, 0.0, 0.0])
    late = torch.arange(6, dtype=torch.float64) / 10 + 0.2
    scene.cameras = (*scene.cameras[:2], replace(scene.cameras[2], given_times=late), scene.cameras[3])
    clock = synced_pattern(scene, [0.0, 0.0, 0.05, 0.0]).clock
    with torch.no_grad():
        clock.skews[3] = -0.1 * clock.halves[3]
        clock.shifts[3] = -0.1 * clock.middles[3]
    assert common_moments(clock, scene) == pytest.approx((0.25, 0.45))


def test_paths_are_filmed_at_a_fixed_and_in_moving_time(tmp_path, monkeypatch):
    seen = {}
    original = render_videos.render_shot

    def record(synced, shot):
        seen[shot.name] = (shot.camera, shot.times)
        return original(synced, shot)

    monkeypatch.setattr(render_videos, "render_shot", record)
    scene = pattern_scene(tmp_path, None)
    videos = render_paths(synced_pattern(scene), scene, tmp_path, 7)
    assert [video.name for video in videos] == ["path_fixed_moment.mp4", "path_moving.mp4"]
    for video in videos:
        with av.open(str(video)) as container:
            assert container.streams.video[0].frames == 7
    assert seen["path_fixed_moment"][1].unique().numel() == 1
    assert seen["path_moving"][1].tolist() == pytest.approx(torch.linspace(0, 0.5, 7).tolist())
    assert torch.equal(seen["path_moving"][0].camera_to_world, seen["path_fixed_moment"][0].camera_to_world)


def test_test_views_are_filmed_without_scores(tmp_path):
    scene = pattern_scene(tmp_path, None)
    (video,) = render_test_videos(synced_pattern(scene), scene, tmp_path, 3)
    with av.open(str(video)) as container:
        assert video.name == "test_cam_00.mp4"
        assert container.streams.video[0].frames == 3
        assert float(container.streams.video[0].average_rate) == pytest.approx(5.0)
