"""Rays and cameras against the projection; the tiny scene's reading; memory that does not grow with a video."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_scene import FPS, FRAMES, TRUE_OFFSETS, camera_poses, edit_json, picture, write_scene, write_video

from syncnerf.errors import UserError
from syncnerf.scene import load_scene
from syncnerf.scene.camera import Camera, Intrinsics, intrinsics_table, pixel_rays
from syncnerf.scene.read_options import ReadOptions


@pytest.fixture
def cameras() -> list[Camera]:
    shapes = [Intrinsics(17, 9, 20.0, 22.0, 8.1, 4.9), Intrinsics(8, 12, 15.0, 15.0, 4.0, 6.0)]
    poses = camera_poses(2)
    return [Camera(f"cam{i}", shape, poses[i], 10.0, 5) for i, shape in enumerate(shapes)]


def test_a_pixels_ray_projects_back_to_its_centre(cameras):
    for camera in cameras:
        rays = camera.all_rays(1.0, 5.0)
        size = camera.intrinsics
        assert len(rays) == size.width * size.height
        torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(len(rays)))
        for distance in (1.0, 4.0):
            points = (rays.origins + distance * rays.directions).double()
            projected = torch.cat([points, torch.ones(len(points), 1)], dim=-1) @ camera.projection().T
            assert (projected[:, 2] > 0).all()
            pixels = projected[:, :2] / projected[:, 2:]
            row, column = np.meshgrid(np.arange(size.height), np.arange(size.width), indexing="ij")
            expected = np.stack([column.ravel() + 0.5, row.ravel() + 0.5], axis=-1)
            np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-4)


def test_points_on_a_pixels_ray_lie_in_it_and_those_behind_or_beside_the_picture_in_none(cameras):
    for camera in cameras:
        rays, size = camera.all_rays(1.0, 5.0), camera.intrinsics
        along = rays.directions.double()
        pixels, depths, inside = camera.pixels_of(rays.origins + 2.5 * along)
        assert inside.all()
        assert torch.equal(pixels, torch.arange(size.width * size.height))
        torch.testing.assert_close(depths, -2.5 * along @ camera.camera_to_world[:3, 2], atol=1e-6, rtol=0)
        pixels, depths, inside = camera.pixels_of(rays.origins - 2.5 * along)
        assert not inside.any()
        assert not pixels.any()
        assert (depths < 0).all()
        # A hundredth of a pixel within each side, and without.
        for share, expected in ((0.01, True), (-0.01, False)):
            sides = [[share, 4.0], [size.width - share, 4.0], [4.0, share], [4.0, size.height - share]]
            local = 3.0 * size.directions(torch.tensor(sides, dtype=torch.float64))
            points = local @ camera.camera_to_world[:3, :3].T + camera.camera_to_world[:3, 3]
            assert camera.pixels_of(points)[2].tolist() == [expected] * 4


def test_the_middle_of_the_image_looks_along_minus_z_and_rows_go_down(cameras):
    camera = cameras[1]
    rays = camera.all_rays(1.0, 5.0)
    corners = rays.directions.reshape(12, 8, 3)[5:7, 3:5].reshape(4, 3)  # the four pixels around the centre
    middle = torch.nn.functional.normalize(corners.double().mean(0), dim=0)
    torch.testing.assert_close(middle, -camera.camera_to_world[:3, 2], atol=1e-6, rtol=0)
    up = rays.directions.double().reshape(12, 8, 3) @ camera.camera_to_world[:3, 1]
    assert (up[:-1] > up[1:]).all()


def test_rays_of_many_cameras_at_once_are_each_cameras_own(cameras):
    which, pixels = torch.tensor([1, 0, 1, 0]), torch.tensor([95, 152, 0, 20])
    poses = torch.stack([cameras[i].camera_to_world for i in which])
    rays = pixel_rays(intrinsics_table(cameras), poses, which, pixels, 0.5, 7.0)
    for place, (camera, pixel) in enumerate(zip(which.tolist(), pixels.tolist(), strict=True)):
        own = cameras[camera].all_rays(0.5, 7.0)
        assert torch.equal(rays.directions[place], own.directions[pixel])
        assert torch.equal(rays.origins[place], own.origins[pixel])
    assert rays.near.tolist() == [0.5] * 4
    assert rays.far.tolist() == [7.0] * 4


def test_tiny_scene_is_read_as_it_was_written(tiny_scene):
    scene = load_scene(tiny_scene)
    assert scene.names == ["cam00", "cam01", "cam02", "cam03"]
    assert (scene.test, scene.train, scene.reference) == ((0,), (1, 2, 3), 1)
    assert scene.true_offsets.tolist() == list(TRUE_OFFSETS)
    assert (scene.near, scene.far, scene.background) == (2.0, 6.0, (1.0, 1.0, 1.0))
    assert scene.frame_interval == pytest.approx(1 / FPS)
    for index, camera in enumerate(scene.cameras):
        torch.testing.assert_close(camera.frame_times, torch.arange(FRAMES, dtype=torch.float64) / FPS)
        for frame in range(FRAMES):
            truth = picture(camera_poses()[index].numpy(), frame / FPS + TRUE_OFFSETS[index])
            # Every channel in its place: chroma that is shifted by a pixel would make this 4.
            assert np.abs(scene.frames(index)[frame].astype(int) - truth).mean() < 1.0


def test_smaller_images_are_area_averages(tiny_scene):
    small = load_scene(tiny_scene, ReadOptions(downsample=2.0))
    full = load_scene(tiny_scene)
    assert small.cameras[2].intrinsics.focal_x == pytest.approx(full.cameras[2].intrinsics.focal_x / 2)
    blocks = full.frames(2)[3].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.frames(2)[3] - blocks).mean() < 2.0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "transforms.json").write_text("{"), ["transforms.json", "valid json"]),
        (lambda root: edit_json(root / "transforms.json", lambda r: r.pop("camera_angle_x")), ["camera_angle_x"]),
        (
            lambda root: edit_json(
                root / "transforms.json", lambda r: r["frames"][1]["transform_matrix"][0].__setitem__(0, 5)
            ),
            ["frames[1].transform_matrix", "rigid"],
        ),
        (lambda root: (root / "cam02.mp4").unlink(), ["cam02.mp4", "no such video"]),
        (lambda root: (root / "cam02.mp4").write_bytes(b""), ["cam02.mp4"]),
        (lambda root: edit_json(root / "transforms.json", lambda r: r.update(width=64)), ["32x32", "64x32"]),
        (lambda root: (root / "offsets.json").write_text('{"seconds": [1, 2]}'), ["offsets.json", "4"]),
    ],
)
def test_spoilt_scenes_are_one_line(own_scene, spoil, words):
    spoil(own_scene)
    with pytest.raises(UserError) as caught:
        load_scene(own_scene)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


MEASURE = """
import resource, sys
from syncnerf.scene import load_scene
from syncnerf.sampling.statistics import pixel_statistics
scene = load_scene(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scene.frame_cache.prepare(scene.cameras)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_decoding_takes_no_more_memory_for_a_longer_video(tmp_path):
    """Growth of the peak while decoding, in a process of its own: 150 against 1200 frames of 128 px (7 and 59 MB)."""
    growth = []
    for frames in (150, 1200):
        root = write_scene(tmp_path / str(frames), side=128, cameras=2)
        pictures = [picture(camera_poses()[0].numpy(), frame / FPS, side=128) for frame in range(10)]
        for video in root.glob("*.mp4"):
            write_video(video, pictures * (frames // 10))
        result = subprocess.run([sys.executable, "-c", MEASURE, str(root)], capture_output=True, text=True, check=True)
        growth.append(int(result.stdout) / 1024)
    assert growth[1] - growth[0] < 15, growth
