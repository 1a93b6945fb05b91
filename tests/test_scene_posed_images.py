"""nerfstudio's and instant-ngp's ``transforms.json``: one entry per image, times, angles and focal lengths, lenses."""

import math

import numpy as np
import pytest
import torch
from format_scenes import (
    CAMERAS,
    FOCAL,
    FRAMES,
    HEIGHT,
    WIDTH,
    blender_video,
    dnerf,
    per_camera_json,
    picture,
    rig,
    write_json,
)
from PIL import Image
from tiny_scene import edit_json

from syncnerf.errors import UserError
from syncnerf.scene import load_scene
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens

OPTICS = {"w": WIDTH, "h": HEIGHT, "fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2}


TIMES = np.linspace(0, 1, FRAMES)


def write_images(root, name_of, times=TIMES, shared=None):
    """A picture per camera and frame, in no particular order in the json; a frame's grey corner is its number."""
    entries = []
    for k, pose in enumerate(rig()):
        for frame in range(FRAMES):
            file = root / name_of(k, frame)
            file.parent.mkdir(parents=True, exist_ok=True)
            image = picture(pose)
            image[:4, :4] = 20 * frame
            Image.fromarray(image).save(file)
            time = {} if times is None else {"time": float(times[frame])}
            entries.append({"file_path": name_of(k, frame), "transform_matrix": pose.tolist()} | time)
    order = np.random.default_rng(0).permutation(len(entries))
    write_json(root / "transforms.json", OPTICS | (shared or {}) | {"frames": [entries[k] for k in order]})


LAYOUTS = {
    "a folder per camera": lambda k, frame: f"images/cam{k:02d}/{frame:04d}.png",
    "a series per camera": lambda k, frame: f"images/cam{k:02d}_{frame:04d}.png",
    "numbers throughout": lambda k, frame: f"images/frame_{k * FRAMES + frame:05d}.png",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_of_a_static_rig_are_grouped_by_camera(tmp_path, layout):
    write_images(tmp_path, LAYOUTS[layout])
    scene = load_scene(tmp_path)
    assert scene.format == "posed-images"
    assert len(scene.cameras) == CAMERAS
    assert not scene.synchronised
    places = {tuple(np.round(pose[:3, 3].tolist(), 6)) for pose in rig()}
    assert {tuple(np.round(camera.camera_to_world[:3, 3].tolist(), 6)) for camera in scene.cameras} == places
    for index, camera in enumerate(scene.cameras):
        torch.testing.assert_close(camera.frame_times, torch.linspace(0, 1, FRAMES, dtype=torch.float64))
        np.testing.assert_array_equal(scene.frames(index)[:, 0, 0, 0], 20 * np.arange(FRAMES))
    if layout != "numbers throughout":
        assert scene.names == [f"cam{k:02d}" for k in range(CAMERAS)]


MOMENTS = {
    "a folder per moment": lambda k, frame: f"{frame:05d}/cam{k:02d}.png",
    "moments first": lambda k, frame: f"images/{frame:05d}_cam{k:02d}.png",
}


@pytest.mark.parametrize("layout", MOMENTS)
@pytest.mark.parametrize("times", [TIMES, None], ids=["timed", "numbered"])
def test_images_of_a_moment_are_no_camera(tmp_path, layout, times):
    write_images(tmp_path, MOMENTS[layout], times)
    scene = load_scene(tmp_path)
    assert scene.names == [f"cam{k:02d}" for k in range(CAMERAS)]
    for index, pose in enumerate(rig()):
        np.testing.assert_allclose(scene.cameras[index].camera_to_world[:3, 3], pose[:3, 3], atol=1e-6)
        np.testing.assert_array_equal(scene.frames(index)[:, 0, 0, 0], 20 * np.arange(FRAMES))


@pytest.mark.parametrize("layout", MOMENTS)
def test_a_moment_that_lacks_an_image_is_a_gap(tmp_path, layout):
    write_images(tmp_path, MOMENTS[layout], None)
    lost = MOMENTS[layout](1, 2)
    edit_json(
        tmp_path / "transforms.json",
        lambda record: record.update(frames=[entry for entry in record["frames"] if entry["file_path"] != lost]),
    )
    scene = load_scene(tmp_path)
    np.testing.assert_allclose(30 * scene.cameras[1].frame_times, [0, 1, 3, 4])
    np.testing.assert_allclose(30 * scene.cameras[0].frame_times, np.arange(FRAMES))


def test_a_rate_makes_the_usual_step_one_frame(tmp_path):
    times = np.array([0, 1, 2, 4, 5]) / 7
    write_images(tmp_path, LAYOUTS["a folder per camera"], times=times, shared={"fps": 20})
    for camera in load_scene(tmp_path).cameras:
        np.testing.assert_allclose(camera.frame_times, np.array([0, 1, 2, 4, 5]) / 20)
        assert camera.fps == pytest.approx(20)


@pytest.mark.parametrize(("last", "shared", "said"), [(1.0, {}, True), (0.5, {}, False), (1.0, {"fps": 20}, False)])
def test_times_that_may_be_shares_of_a_recording_are_told(tmp_path, caplog, last, shared, said):
    write_images(tmp_path, LAYOUTS["a folder per camera"], times=last * TIMES, shared=shared)
    load_scene(tmp_path)
    assert ("run from 0 to 1 and are taken for seconds" in caplog.text) == said


@pytest.mark.parametrize(("step", "shared", "said"), [(1, {}, True), (0.5, {}, False), (1, {"fps": 20}, False)])
def test_times_that_may_count_frames_are_told(tmp_path, caplog, step, shared, said):
    write_images(tmp_path, LAYOUTS["a folder per camera"], times=step * np.arange(FRAMES), shared=shared)
    load_scene(tmp_path)
    assert ("are whole numbers and are taken for seconds" in caplog.text) == said


def test_images_without_times_are_numbered(tmp_path, caplog):
    write_images(tmp_path, LAYOUTS["a folder per camera"], times=None, shared={"fps": 20})
    for camera in load_scene(tmp_path).cameras:
        np.testing.assert_allclose(camera.frame_times, np.arange(FRAMES) / 20)
    assert not caplog.records
    edit_json(tmp_path / "transforms.json", lambda record: record.pop("fps"))
    assert [camera.fps for camera in load_scene(tmp_path).cameras] == [30.0] * CAMERAS
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'transforms.json'}: neither it nor the images give an 'fps' or 'time'; 30 is taken for granted"
    ]


def test_one_moving_camera_has_the_times_it_is_given(tmp_path):
    poses = [pose for pose in rig() for _ in range(FRAMES)]
    count = len(poses)
    entries = []
    for k, pose in enumerate(poses):
        pose = pose.clone()
        pose[2, 3] += 0.01 * k
        Image.fromarray(picture(pose)).save(tmp_path / f"{k:03d}.png")
        entries.append({"file_path": f"{k:03d}.png", "time": k / count, "transform_matrix": pose.tolist()})
    write_json(tmp_path / "transforms.json", OPTICS | {"frames": entries})
    scene = load_scene(tmp_path)
    assert scene.synchronised
    assert scene.names == ["test", "train"]
    assert scene.test == (0,)
    test, train = scene.cameras
    np.testing.assert_allclose(test.frame_times, np.arange(0, count, 8) / count)
    np.testing.assert_allclose(train.frame_times, [k / count for k in range(count) if k % 8])
    torch.testing.assert_close(train.pose(0), torch.tensor(entries[1]["transform_matrix"], dtype=torch.float64))
    edit_json(tmp_path / "transforms.json", lambda record: [entry.pop("time") for entry in record["frames"]])
    with pytest.raises(UserError, match="single camera that moves, without times"):
        load_scene(tmp_path)


def test_times_that_cannot_be_are_refused(tmp_path):
    write_images(tmp_path, LAYOUTS["a folder per camera"])
    edit_json(tmp_path / "transforms.json", lambda record: [entry.update(time=0.5) for entry in record["frames"][:9]])
    with pytest.raises(UserError, match="the same 'time'"):
        load_scene(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][4].pop("time"))
    with pytest.raises(UserError, match=r"frames\[4\]: has no 'time'"):
        load_scene(tmp_path)


def test_focal_lengths_beside_an_angle_are_footage(tmp_path):
    blender_video(tmp_path)
    assert load_scene(tmp_path).background is not None
    edit_json(tmp_path / "transforms.json", lambda record: record.update(fl_x=FOCAL, fl_y=FOCAL))
    scene = load_scene(tmp_path)
    assert scene.background is None
    assert (scene.near, scene.far) != (2.0, 6.0)


def test_d_nerf_with_intrinsics_and_lens(tmp_path):
    dnerf(tmp_path)
    for split in ("train", "test"):
        edit_json(tmp_path / f"transforms_{split}.json", lambda record: record.update(cx=20.0, cy=18.0, k1=0.1))
    scene = load_scene(tmp_path)
    size, lens = scene.cameras[0].intrinsics, scene.frame_cache.sources["train"].lens
    assert (size.centre_x, size.centre_y, size.focal_x) == (20.0, 18.0, pytest.approx(FOCAL * lens.zoom))
    assert lens == Lens(k1=0.1, zoom=lens.zoom)
    assert scene.background is not None
    for split in ("train", "test"):
        edit_json(tmp_path / f"transforms_{split}.json", lambda record: record.update(fl_x=44.0))
    footage = load_scene(tmp_path)
    assert footage.background is None
    zoom = footage.frame_cache.sources["train"].lens.zoom
    assert footage.cameras[0].intrinsics.focal_x == pytest.approx(44.0 * zoom)
    assert (footage.near, footage.far) != (scene.near, scene.far)


def test_d_nerf_with_intrinsics_in_its_entries(tmp_path):
    dnerf(tmp_path)
    for split in ("train", "test"):
        edit_json(
            tmp_path / f"transforms_{split}.json",
            lambda record: [entry.update(fl_x=44.0, cx=20.0, cy=18.0) for entry in record["frames"]],
        )
    intrinsics = load_scene(tmp_path).cameras[0].intrinsics
    assert (intrinsics.focal_x, intrinsics.centre_x, intrinsics.centre_y) == (44.0, 20.0, 18.0)
    edit_json(tmp_path / "transforms_train.json", lambda record: record["frames"][1].update(fl_x=50.0))
    with pytest.raises(UserError, match=r"transforms_train\.json: 'fl_x' changes"):
        load_scene(tmp_path)


def test_a_camera_that_zooms_is_refused(tmp_path):
    write_images(tmp_path, LAYOUTS["a folder per camera"])
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][3].update(fl_x=1.0001 * FOCAL))
    load_scene(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][3].update(fl_x=1.1 * FOCAL))
    with pytest.raises(UserError, match="'fl_x' changes over its images"):
        load_scene(tmp_path)


def test_coefficients_may_be_a_list(tmp_path):
    per_camera_json(tmp_path)
    values = {"distortion_params": [-0.1, 0.02, 0.003, 0, 0.001, -0.002]}

    def change(record):
        own = {key: value for key, value in record["frames"][2].items() if key[0] not in "kp"}
        record["frames"][2] = own | values

    edit_json(tmp_path / "transforms.json", change)
    lens = load_scene(tmp_path).frame_cache.sources["cam02"].lens
    assert lens == Lens(-0.1, 0.02, 0.001, -0.002, 0.003, zoom=lens.zoom)


NUMBERS = {"k1": -0.12, "k2": 0.03, "p1": 0.002, "p2": -0.001, "k3": 0.01, "k4": 0.02, "k5": -0.01, "k6": 0.005}
LENSES = {
    "OPENCV": (NUMBERS, {}),
    "FULL_OPENCV": (NUMBERS, {"camera_model": "FULL_OPENCV"}),
    "fisheye": ({"k1": 0.08, "k2": -0.02, "k3": 0.004, "k4": -0.001}, {"camera_model": "OPENCV_FISHEYE"}),
    "is_fisheye": ({"k1": 0.08, "k2": -0.02, "k3": 0.004, "k4": -0.001}, {"is_fisheye": True}),
    "ideal fisheye": ({}, {"is_fisheye": True}),
}


@pytest.mark.parametrize("name", LENSES)
def test_lenses_are_those_of_opencv(tmp_path, name):
    """Against OpenCV's formulas written out, and read from the json."""
    given, model = LENSES[name]
    per_camera_json(tmp_path)

    def change(record):
        for entry in record["frames"]:
            entry.update(given | model)

    edit_json(tmp_path / "transforms.json", change)
    lens = load_scene(tmp_path).frame_cache.sources["cam01"].lens
    intrinsics = Intrinsics(100, 80, 60.0, 55.0, 48.0, 43.0)
    column, row = np.meshgrid(np.linspace(0, 100, 11), np.linspace(0, 80, 9))
    x, y = (column - 48.0) / 60.0, (row - 43.0) / 55.0
    k = {f"k{n}": given.get(f"k{n}", 0.0) for n in range(1, 7)}
    square = x**2 + y**2
    if model.get("is_fisheye") or "FISHEYE" in model.get("camera_model", ""):
        radius = np.sqrt(square)
        angle = np.arctan(radius)
        bent = angle * (1 + k["k1"] * angle**2 + k["k2"] * angle**4 + k["k3"] * angle**6 + k["k4"] * angle**8)
        scale = np.divide(bent, radius, out=np.ones_like(radius), where=radius > 0)
        far_x, far_y = scale * x, scale * y
    else:
        p1, p2 = given["p1"], given["p2"]
        radial = 1 + k["k1"] * square + k["k2"] * square**2 + k["k3"] * square**3
        radial /= 1 + k["k4"] * square + k["k5"] * square**2 + k["k6"] * square**3
        far_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x**2)
        far_y = y * radial + p1 * (square + 2 * y**2) + 2 * p2 * x * y
    points = torch.from_numpy(np.stack([column, row], axis=-1).reshape(-1, 2))
    found = lens.distorted(points, intrinsics).numpy()
    wanted = np.stack([60.0 * far_x + 48.0, 55.0 * far_y + 43.0], axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert not lens.is_ideal


def test_a_ray_through_a_fisheye_lens_is_bent_as_far_as_it_should_be(tmp_path):
    """What is 35 degrees off the axis lies at f times that angle, and after undoing at f tan."""
    angle, focal = math.radians(35), 40.0
    intrinsics = Intrinsics(WIDTH, HEIGHT, focal, focal, WIDTH / 2, HEIGHT / 2)
    ideal = torch.tensor([[WIDTH / 2 + focal * math.tan(angle), HEIGHT / 2]], dtype=torch.float64)
    found = Lens(fisheye=True).distorted(ideal, intrinsics)
    assert float(found[0, 0]) == pytest.approx(WIDTH / 2 + focal * angle)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"),
        ({"camera_model": "THIN_PRISM_FISHEYE"}, "THIN_PRISM_FISHEYE"),
        ({"camera_model": "OPENCV_FISHEYE", "p1": 0.01}, "'p1' is no coefficient"),
        ({"camera_model": "PINHOLE", "k1": 0.01}, "'k1' is no coefficient"),
        ({"camera_model": "OPENCV", "is_fisheye": True}, "contradicts"),
        ({"is_fisheye": "yes"}, "true or false"),
        ({"s1": 0.01}, "'s1' cannot be undone"),
        ({"distortion_params": [0.1, 0, 0, 0.01, 0, 0]}, "k4"),
        ({"distortion_params": [0.1, 0, 0, 0, 0, 0], "k1": 0.2}, "contradicts 'k1'"),
        ({"distortion_params": ["0.1", 0, 0, 0, 0, 0]}, "finite number"),
        ({"distortion_params": [0.1]}, "should hold k1"),
    ],
)
def test_lenses_that_cannot_be_undone_are_refused_by_name(tmp_path, values, part):
    per_camera_json(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][2].update(values))
    with pytest.raises(UserError, match=rf"transforms\.json: frames\[2\].*{part}"):
        load_scene(tmp_path)
