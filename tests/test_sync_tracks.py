"""Tracks: the Sampson error against kornia, planted offsets of moving cameras, Lucas-Kanade, files of any tracker."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.geometry.epipolar import fundamental_from_projections, sampson_epipolar_distance
from moving_spheres import Arc, Spheres, sphere_scene

from syncnerf.errors import UserError
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.sync import synchronize
from syncnerf.sync.sampson import at_times, matched_energy, ray_tracks, squared_sampson, static_error
from syncnerf.sync.track_files import read_tracks
from syncnerf.sync.tracks import Tracks, follow_points

OFFSETS = [0.0, 0.12, -0.09, 0.21]


def point_scene(folder: Path, sweep: float, frames: int = 50) -> tuple[Scene, dict[str, Tracks]]:
    """Cameras and exact tracks of points that wander, and of points that stand still."""
    scene = sphere_scene(folder, OFFSETS, frames=frames, arc=Arc(sweep=sweep), size=(320, 240))
    generator = np.random.default_rng(0)
    count = 40
    centre = generator.uniform(-0.6, 0.6, (count, 3))
    reach, phase = generator.uniform(0.1, 0.3, (2, count, 3)), generator.uniform(0, 6, (2, count, 3))
    speed = np.array([2.1, 5.3])[:, None, None] * generator.uniform(0.8, 1.2, (2, count, 3))
    reach[:, 30:] = 0.0  # the last ten stand still

    tracks = {}
    for camera, offset in zip(scene.cameras, OFFSETS, strict=True):
        points = []
        for frame in range(frames):
            time = frame / camera.fps + offset
            place = torch.from_numpy(centre + (reach * np.sin(speed * time + phase)).sum(0))
            homogeneous = torch.cat([place, torch.ones(count, 1)], 1) @ camera.projection(frame).T
            points.append(homogeneous[:, :2] / homogeneous[:, 2:])
        points = torch.stack(points).float()
        order = torch.from_numpy(generator.permutation(count))
        visible = torch.from_numpy(generator.random((frames, count)) > 0.1)
        tracks[camera.name] = Tracks(points[:, order], visible, None)
    return scene, tracks


def save(folder: Path, tracks: dict[str, Tracks], **extra) -> Path:
    folder.mkdir(exist_ok=True)
    for name, track in tracks.items():
        np.savez(folder / f"{name}.npz", points=track.points.numpy(), visibility=track.visible.numpy(), **extra)
    return folder


@pytest.mark.parametrize("sweep", [0.0, 30.0])
def test_planted_offsets_from_exact_tracks(tmp_path, sweep):
    scene, tracks = point_scene(tmp_path / "cache", sweep)
    result = synchronize(scene, tracks=save(tmp_path / "tracks", tracks))
    assert result.method == "tracks"
    assert result.reasons == {}
    error = align_gauge(result.offsets, scene.true_offsets) / scene.frame_interval
    assert float(error.abs().max()) < 0.1
    assert result.offsets[scene.reference] == 0.0
    assert (result.stderr > 0).all()


def test_tracks_in_other_pixels_are_scaled(tmp_path):
    scene, tracks = point_scene(tmp_path / "cache", 0.0)
    doubled = {name: replace(track, points=2 * track.points) for name, track in tracks.items()}
    folder = save(tmp_path / "tracks", doubled, size=np.array([640, 480]))
    read = read_tracks(folder, scene.cameras[0])
    torch.testing.assert_close(read.points, tracks["cam00"].points)


def test_tracks_are_enlarged_as_undistorted_pictures_are(tmp_path):
    """A point of an undistorted picture of the calibration's focal length lies on the same ray of the scene's."""
    scene, tracks = point_scene(tmp_path / "cache", 0.0)
    stated, given = scene.cameras[0], tracks["cam00"].points[:3]
    enlarged = replace(stated, intrinsics=stated.intrinsics.zoomed(1.25))
    read = read_tracks(save(tmp_path / "tracks", tracks), enlarged, zoom=1.25).points[:3]
    torch.testing.assert_close(enlarged.intrinsics.directions(read), stated.intrinsics.directions(given))


def test_sampson_error_matches_kornia(tmp_path):
    """To first order: small errors, in pixels, at the middle of the images."""
    scene, tracks = point_scene(tmp_path, 0.0)
    first, second = scene.cameras[:2]
    generator = torch.Generator().manual_seed(0)
    points = [tracks[camera.name].points[:1].double() for camera in (first, second)]
    points = [p + 0.5 * torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in points]
    fundamental = fundamental_from_projections(first.projection()[None], second.projection()[None])
    expected = torch.stack(
        [
            sampson_epipolar_distance(points[0][:, [i]].expand(-1, 40, -1), points[1], fundamental, squared=True)[0]
            for i in range(40)
        ]
    )
    rays = []
    for camera, point in zip((first, second), points, strict=True):
        intrinsics, pose = camera.intrinsics, camera.pose(0)
        x = (point[0, :, 0] - intrinsics.centre_x) / intrinsics.focal_x
        y = -(point[0, :, 1] - intrinsics.centre_y) / intrinsics.focal_y
        local = torch.stack([x, y, -torch.ones_like(x)], -1)
        rays.append(torch.nn.functional.normalize(local @ pose[:3, :3].T, dim=-1)[None])
    centres = tuple(camera.pose(0)[None, :3, 3] for camera in (first, second))
    found = squared_sampson(centres, tuple(rays))[0].sqrt() * first.intrinsics.focal_x
    near = expected.sqrt() < 5
    assert near.sum() > 40
    # An angle is a little smaller than its tangent: 8% at most over this field of view.
    torch.testing.assert_close(found[near], expected.sqrt()[near], rtol=0.09, atol=1e-3)


@pytest.mark.parametrize("sweep", [0.0, 30.0])
def test_still_points_are_told_from_moving_ones(tmp_path, sweep):
    scene, tracks = point_scene(tmp_path, sweep)
    track, camera = tracks["cam01"], scene.cameras[1]
    rays = ray_tracks(track, camera)
    assert rays.rays.shape[1] == 30
    assert float(static_error(rays).min()) > 0.6


def test_matched_energy_is_least_at_the_true_shift(tmp_path):
    scene, tracks = point_scene(tmp_path, 30.0)
    # In the order of points, not of tracks, so that the matches are known.
    order = {name: track.points[0].sum(-1) for name, track in tracks.items()}
    assert len(order) == 4
    rays = [ray_tracks(tracks[name], camera) for name, camera in zip(scene.names, scene.cameras, strict=True)]
    shift = OFFSETS[1] - OFFSETS[3]
    pairs = torch.cartesian_prod(torch.arange(30), torch.arange(30))
    energy, common = matched_energy(rays[1], rays[3], shift, *pairs.T)
    assert energy.shape == common.shape == (50,)
    assert (energy <= common + 1e-6).all()
    moments = torch.tensor([0.0, 10.5, 60.0], dtype=torch.float64) / scene.cameras[1].fps
    centres, between, visible = at_times(rays[1], moments)
    assert centres.shape == (3, 3)
    torch.testing.assert_close(between.norm(dim=-1)[visible], torch.ones(int(visible.sum())).double())
    assert not visible[2].any()


def test_lucas_kanade_follows_a_moving_texture():
    generator = np.random.default_rng(0)
    texture = torch.nn.functional.interpolate(
        torch.from_numpy(generator.uniform(0, 255, (1, 3, 30, 40))), (240, 320), mode="bicubic"
    )[0]
    texture = texture.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    video = np.stack([texture[2 * k : 2 * k + 120, 3 * k : 3 * k + 160] for k in range(20)])
    tracks = follow_points(video)
    assert tracks.points.shape[1] > 30
    step = tracks.points[1:] - tracks.points[:-1]
    both = tracks.visible[1:] & tracks.visible[:-1]
    error = (step[both] - torch.tensor([-3.0, -2.0])).norm(dim=-1)
    assert float(error.median()) < 0.1
    assert float((error < 0.5).float().mean()) > 0.95


def test_moving_cameras_without_any_files(tmp_path):
    offsets = [0.0, 0.13, -0.07, 0.05]
    spheres = Spheres(8, 5, checked=True)
    scene = sphere_scene(tmp_path, offsets, frames=40, size=(224, 224), arc=Arc(30.0, 20.0), spheres=spheres)
    result = synchronize(scene)
    assert result.method == "tracks"
    error = align_gauge(result.offsets, scene.true_offsets) / scene.frame_interval
    assert result.reasons == {}
    assert float(error.abs().mean()) < 0.3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": np.zeros((50, 3, 2))}, "'points' and 'visibility'"),
        ({"points": np.zeros((50, 3)), "visibility": np.zeros((50, 3))}, r"\[T, N, 2\]"),
        ({"points": np.zeros((40, 3, 2)), "visibility": np.zeros((40, 3))}, "40 frames, but the video has 50"),
        ({"points": np.zeros((50, 3, 2)), "visibility": np.full((50, 3), "x")}, "should be numbers"),
        ({"points": np.zeros((50, 3, 2)), "visibility": np.ones((50, 3)), "size": np.zeros(2)}, "width and height"),
    ],
)
def test_unfit_track_files_are_named(tmp_path, arrays, message):
    scene, _ = point_scene(tmp_path / "cache", 0.0)
    np.savez(tmp_path / "cam00.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        read_tracks(tmp_path, scene.cameras[0])
    assert "cam00.npz" in str(caught.value)


def test_missing_or_broken_track_files_are_named(tmp_path):
    scene, _ = point_scene(tmp_path / "cache", 0.0)
    with pytest.raises(UserError, match="no such file"):
        synchronize(scene, tracks=tmp_path)
    (tmp_path / "cam00.npz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="cannot be read"):
        read_tracks(tmp_path, scene.cameras[0])
    np.savez(tmp_path / "cam00.npz", points=np.array([{}], dtype=object), visibility=np.zeros(1))
    with pytest.raises(UserError, match="cannot be read"):
        read_tracks(tmp_path, scene.cameras[0])


@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_pictures_too_small_for_corners_have_no_tracks(side):
    frames = np.random.default_rng(0).integers(0, 256, (12, side, side, 3), dtype=np.uint8)
    assert follow_points(frames).points.shape == (12, 0, 2)
