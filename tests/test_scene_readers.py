"""Every input format is recognised and read into the same scene: poses, intrinsics and frames agree with each other."""

import json

import numpy as np
import pytest
import torch
from format_scenes import CAMERAS, FORMATS, HEIGHT, WIDTH, pose_from, rig
from PIL import Image
from scipy.spatial.transform import Rotation

from syncnerf.errors import UserError
from syncnerf.rendering.space import to_ndc
from syncnerf.scene import load_scene
from syncnerf.scene.geometry import NormalizedDeviceCoordinates
from syncnerf.scene.read_options import ReadOptions


@pytest.fixture(scope="session")
def formats(tmp_path_factory):
    """One folder per format."""
    root = tmp_path_factory.mktemp("formats")
    for name, write in FORMATS.items():
        (root / name).mkdir()
        write(root / name)
    return root


def ball_places(scene):
    """Projections [P, 3, 4] of all cameras and frames, and the ball's centre in each frame [P, 2], in pixels."""
    projections, places = [], []
    for index, camera in enumerate(scene.cameras):
        for frame in range(camera.frame_count if camera.is_moving else 1):
            image = scene.frames(index)[frame, 1:, 1:, 0].astype(np.float64)
            weight = np.clip(image - 90, 0, None) * (image < 250)
            row, column = np.mgrid[: image.shape[0], : image.shape[1]] + 1.5
            places.append([(weight * column).sum() / weight.sum(), (weight * row).sum() / weight.sum()])
            projections.append(camera.projection(frame))
    return torch.stack(projections), torch.tensor(places, dtype=torch.float64)


def triangulated(projections, places):
    """The point that projects nearest to the places (algebraic least squares), float64 [4]."""
    rows = places[..., None] * projections[:, 2:3] - projections[:, :2]
    point = torch.linalg.svd(rows.reshape(-1, 4)).Vh[-1]
    return point / point[3]


@pytest.mark.parametrize("name", FORMATS)
def test_one_point_explains_all_pictures(formats, name):
    scene = load_scene(formats / name)
    assert scene.format == name.replace("per-camera-json", "blender-video")
    projections, places = ball_places(scene)
    point = triangulated(projections, places)
    seen = projections @ point
    assert (seen[:, 2] > 0).all()
    assert (seen[:, :2] / seen[:, 2:] - places).abs().max() < 0.25


@pytest.mark.parametrize("name", FORMATS)
def test_sizes_clocks_and_split(formats, name):
    scene = load_scene(formats / name, ReadOptions(downsample=2))
    assert {(c.intrinsics.width, c.intrinsics.height) for c in scene.cameras} <= {
        (WIDTH // 2, HEIGHT // 2),
        (WIDTH, HEIGHT),  # the json of per-camera-json describes images of twice the size
    }
    assert len(scene.test) == 1
    assert len(scene.train) == len(scene.cameras) - 1
    assert scene.near < scene.far
    for index, camera in enumerate(scene.cameras):
        assert scene.frames(index).shape[0] == camera.frame_count == len(camera.frame_times)


def test_llff_is_turned_to_face_away_and_scaled(formats):
    scene = load_scene(formats / "n3v")
    assert scene.space == "ndc"
    poses = torch.stack([camera.camera_to_world for camera in scene.cameras])
    torch.testing.assert_close(poses[:, :3, 3].mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    mean_back = poses[:, :3, 2].mean(0)
    torch.testing.assert_close(mean_back[:2], torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    # Near content of every camera lies beyond the near plane of the warped space.
    content = poses[:, 2, 3] - scene.near / 0.9 * poses[:, 2, 2]
    assert content.max() == pytest.approx(-4 / 3)


def test_the_box_in_device_coordinates_holds_all_rays(formats):
    scene = load_scene(formats / "n3v")
    box = scene.field_bounds
    size = scene.cameras[0].intrinsics
    reference = NormalizedDeviceCoordinates(size.width, size.height, size.focal_x)
    for camera in scene.cameras:
        rays = to_ndc(camera.all_rays(scene.near, scene.far), reference)
        for end in (rays.origins, rays.origins + rays.far[:, None] * rays.directions):
            assert (end >= box[0]).all()
            assert (end <= box[1]).all()
    torch.testing.assert_close(box[:, 2], torch.tensor([-1.04, 1.04]))


def test_contraction_instead_of_device_coordinates(formats):
    scene = load_scene(formats / "n3v")
    scene.space = "contraction"
    assert scene.field_bounds is scene.bounds
    rendered = load_scene(formats / "blender-video")
    rendered.space = "ndc"
    with pytest.raises(UserError, match="contraction"):
        _ = rendered.field_bounds


def test_llff_rig_that_looks_inwards_is_contracted(formats, tmp_path):
    FORMATS["n3v"](tmp_path)
    table = np.load(tmp_path / "poses_bounds.npy")
    for k in range(CAMERAS):
        angle = 2 * np.pi * k / CAMERAS
        right, up, back, centre = pose_from((4 * np.cos(angle), 4 * np.sin(angle), 1.0))[:3].unbind(-1)
        matrix = table[k, :15].reshape(3, 5)
        matrix[:, :4] = torch.stack([-up, right, back, centre], dim=-1).numpy()
    np.save(tmp_path / "poses_bounds.npy", table)
    assert load_scene(tmp_path).space == "contraction"


def test_a_camera_is_left_out_by_name(formats):
    scene = load_scene(formats / "n3v", ReadOptions(exclude_cameras=("cam02",)))
    assert scene.names == ["cam00", "cam01", "cam03"]
    offsets = load_scene(formats / "blender-video", ReadOptions(exclude_cameras=("cam02",))).true_offsets
    torch.testing.assert_close(offsets, torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64))


def test_panoptic_split_and_names(formats):
    scene = load_scene(formats / "panoptic")
    assert scene.names == ["0", "1", "2", "3"]
    assert scene.test == (3,)
    torch.testing.assert_close(scene.cameras[1].camera_to_world, rig()[1])


def test_technicolor_poses_columns_and_window(tmp_path, formats):
    """A grid of sixteen: rows by number, aspect ratio, frames as their numbers say, the usual test camera."""
    generator = np.random.default_rng(4)
    turns, lines = Rotation.random(16, random_state=4), ["focal ppx ppy aspect skew q0 q1 q2 q3 t0 t1 t2"]
    for camera, turn in enumerate(turns):
        x, y, z, w = turn.as_quat()
        row = [80.0 + camera, 23.0, 17.0, 1.1, 0.0, w, x, y, z, *(0.1 * camera, 0.2, 0.3)]
        lines.append(" ".join(map(str, row)))
        for frame in (151, 152, 155):
            image = Image.fromarray(generator.integers(0, 255, (32, 48, 3), dtype=np.uint8))
            image.save(tmp_path / f"Birthday_undist_{frame:05d}_{camera:02d}.png")
    (tmp_path / "cameras_parameters.txt").write_text("\n".join(lines))
    scene = load_scene(tmp_path)
    assert scene.format == "technicolor"
    assert scene.names == [f"cam{k:02d}" for k in range(16)]
    assert scene.test == (5,)
    for index, camera in enumerate(scene.cameras):
        own = camera.intrinsics
        assert (own.focal_x, own.centre_x, own.centre_y) == (80.0 + index, 23.0, 17.0)
        assert own.focal_y == pytest.approx(1.1 * (80 + index))
        rotation, place = turns[index].as_matrix(), np.array([0.1 * index, 0.2, 0.3])
        world_to_camera = np.diag([1, -1, -1, 1]) @ np.linalg.inv(scene.world_pose(index).numpy())
        np.testing.assert_allclose(world_to_camera[:3], np.hstack([rotation, place[:, None]]), atol=1e-9)
        np.testing.assert_allclose(camera.frame_times, np.array([0, 1, 4]) / 30, atol=1e-9)
    torch.testing.assert_close(load_scene(formats / "technicolor").cameras[1].camera_to_world, rig()[1])


def test_technicolor_images_of_two_sequences_are_refused(tmp_path):
    FORMATS["technicolor"](tmp_path)
    (tmp_path / "Walk_undist_00052_01.png").rename(tmp_path / "Run_undist_00052_01.png")
    with pytest.raises(UserError, match=r"several sequences.*Run_undist, Walk_undist"):
        load_scene(tmp_path)


def test_syncam_is_relative_to_its_first_camera_in_metres(formats):
    scene = load_scene(formats / "syncam")
    torch.testing.assert_close(scene.cameras[0].camera_to_world, torch.eye(4, dtype=torch.float64))
    relative = torch.linalg.inv(rig()[0]) @ rig()[2]
    found = scene.cameras[2].camera_to_world
    assert torch.linalg.det(found[:3, :3]) == pytest.approx(1.0)
    # A mirror image of the world has the same distances and angles.
    assert found[:3, 3].norm() == pytest.approx(relative[:3, 3].norm().item())
    assert found[:3, :3].trace() == pytest.approx(relative[:3, :3].trace().item())


def test_dnerf_times_are_given_and_offsets_stay_off(formats):
    scene = load_scene(formats / "dnerf")
    assert scene.synchronised
    assert scene.names == ["train", "test"]
    camera = scene.cameras[0]
    torch.testing.assert_close(camera.frame_times, torch.linspace(0, 1, CAMERAS, dtype=torch.float64))
    torch.testing.assert_close(camera.camera_to_world[0], rig()[CAMERAS - 1])
    assert camera.duration == 1.0
    assert scene.frames(0)[0, 0, 0].tolist() == [255, 255, 255]


def test_lens_distortion_is_undone(formats, tmp_path):
    FORMATS["per-camera-json"](tmp_path)
    record = json.loads((tmp_path / "transforms.json").read_text())
    for entry in record["frames"]:
        entry["k1"] = 0.08
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    plain, spoilt = load_scene(formats / "per-camera-json"), load_scene(tmp_path)
    # Distortion k1 moves the picture's point at radius r (over the focal length) out to r (1 + k1 r^2).
    _, before = ball_places(plain)
    _, after = ball_places(spoilt)
    size = plain.cameras[0].intrinsics
    centre = torch.tensor([size.centre_x, size.centre_y], dtype=torch.float64)
    radius = (after - centre) / size.focal_x
    expected = radius * (1 + 0.08 * radius.square().sum(-1, keepdim=True)) * size.focal_x + centre
    assert (expected - before).abs().max() < 0.3


def test_formats_are_forced_by_name_or_refused(formats):
    assert load_scene(formats / "blender-frames", dataset="blender-frames").format == "blender-frames"
    with pytest.raises(UserError, match="did you mean 'n3v'"):
        load_scene(formats / "n3v", dataset="n3")
    with pytest.raises(UserError, match=r"transforms\.json: no such file"):
        load_scene(formats / "n3v", dataset="blender-video")


def test_standard_videos_of_n3v_are_read_at_half_size():
    options = ReadOptions()
    assert options.size(2704, 2028, 2.0) == (1352, 1014)
    assert ReadOptions(downsample=4).size(2704, 2028, 2.0) == (676, 507)
    assert ReadOptions(max_side=320).size(2704, 2028, 2.0) == (320, 240)
    with pytest.raises(UserError, match="downsample"):
        ReadOptions(downsample=0.5)
