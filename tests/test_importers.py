"""Calibrations of other tools: the same rays as computed by hand from the raw numbers, in every format."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from calibration_files import (
    CAMERAS,
    DISTORTION,
    FORMATS,
    HEIGHT,
    NAMES,
    PLACES,
    SHADES,
    WIDTH,
    opencap,
    pose2sim_fisheye,
    rays,
    write_videos,
)

from syncnerf.errors import UserError
from syncnerf.importers.formats import read_calibration
from syncnerf.importers.import_scene import import_scene
from syncnerf.scene import load_scene
from syncnerf.scene.camera import intrinsics_table, pixel_rays
from syncnerf.starting.given_points import given_points

DATA = Path(__file__).parents[2] / "shared" / "data"
real = pytest.mark.skipif(not (DATA / "walk_4cam").is_dir(), reason="the recordings of other projects are not here")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """A video per camera."""
    return write_videos(tmp_path_factory.mktemp("recording") / "videos")


def entries_of(scene: Path) -> list[dict]:
    return json.loads((scene / "transforms.json").read_text())["frames"]


@pytest.mark.parametrize("name", FORMATS)
def test_rays_are_those_of_the_raw_numbers(videos, tmp_path, name):
    pytest.importorskip("yaml")
    write, shown, coefficients, unit_known = FORMATS[name]
    calibration = read_calibration(write(tmp_path / "calibration"))
    assert calibration.format == shown
    imported = import_scene(calibration, videos, tmp_path / "scene")
    assert any("unit is not known" in note for note in imported.notes) != unit_known
    scene = load_scene(tmp_path / "scene")
    assert scene.names == list(NAMES)
    for index, camera in enumerate(scene.cameras):
        origin, directions = rays(index)
        found = camera.all_rays(0.1, 1.0)
        assert np.abs(found.origins.numpy() - origin).max() < 1e-6
        assert np.abs(found.directions.numpy() - directions).max() < 1e-6
    keys = ("k1", "k2", "p1", "p2", "k3")[:coefficients]
    for entry, expected in zip(entries_of(tmp_path / "scene"), DISTORTION, strict=True):
        assert [entry[key] for key in keys] == pytest.approx(expected[:coefficients], abs=1e-15)
        assert entry["camera_model"] == "OPENCV"
        assert "k4" not in entry


@pytest.mark.parametrize("name", ["colmap-binary", "colmap-text", "nerfstudio"])
def test_points_come_along_in_the_scenes_unit(videos, tmp_path, name):
    calibration = read_calibration(FORMATS[name][0](tmp_path / "calibration")).with_unit(0.25)
    imported = import_scene(calibration, videos, tmp_path / "scene")
    assert any(f"{len(PLACES)} points" in note for note in imported.notes)
    scene = load_scene(tmp_path / "scene")
    found = given_points(scene)
    given = found.places.numpy() + scene.origin.numpy()
    order = np.argsort(given[:, 0])
    wanted = sorted(zip(PLACES, SHADES, strict=True))
    places, shades = (np.array(part) for part in zip(*wanted, strict=True))
    assert np.abs(given[order] - 0.25 * places).max() < 1e-6
    assert np.abs(found.colours.numpy()[order] - shades / 255).max() < 1e-6


def test_fisheye_coefficients_keep_their_meaning(videos, tmp_path):
    import_scene(read_calibration(pose2sim_fisheye(tmp_path / "calibration")), videos, tmp_path / "scene")
    for entry in entries_of(tmp_path / "scene"):
        assert entry["camera_model"] == "OPENCV_FISHEYE"
        assert [entry[key] for key in ("k1", "k2", "k3", "k4")] == [0.1, 0.02, 0.003, -0.004]


def test_pickles_may_hold_numbers_alone(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.write_text, (tmp_path / "ran", "it")

    opencap(tmp_path / "calibration")
    spoilt = tmp_path / "calibration" / NAMES[1] / "cameraIntrinsicsExtrinsics.pickle"
    spoilt.write_bytes(pickle.dumps({"intrinsicMat": Evil()}))
    with pytest.raises(UserError, match=r"cam_1.*neither number nor array"):
        read_calibration(tmp_path / "calibration")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["pose2sim", "colmap-binary"])
def test_videos_of_another_size_scale_the_calibration(tmp_path, name):
    videos = write_videos(tmp_path / "videos", size=(WIDTH // 2, HEIGHT // 2))
    imported = import_scene(read_calibration(FORMATS[name][0](tmp_path / "calibration")), videos, tmp_path / "scene")
    assert sum("scaled by 0.5" in note for note in imported.notes) == CAMERAS
    for index, camera in enumerate(load_scene(tmp_path / "scene").cameras):
        _, directions = rays(index)
        # A pixel of the small image covers four of the large one; the ray through their common corner is its own.
        grid = directions.reshape(HEIGHT, WIDTH, 3)
        corner = grid[0, 0] / grid[0, 0].max() + grid[1, 1] / grid[0, 0].max()
        assert np.abs(camera.all_rays(0.1, 1.0).directions[0].numpy() - corner / np.linalg.norm(corner)).max() < 2e-3
        inner = camera.intrinsics
        assert inner.focal_x == pytest.approx((41.0 + index) / 2)
        assert inner.centre_x == pytest.approx((23.1 + 0.7 * index + 0.5) / 2)
        assert inner.centre_y == pytest.approx((15.2 - 0.3 * index + 0.5) / 2)


def test_videos_of_another_shape_are_refused_unless_cropped(tmp_path):
    videos = write_videos(tmp_path / "videos", size=(WIDTH, 16))
    calibration = read_calibration(FORMATS["pose2sim"][0](tmp_path / "calibration"))
    calibration_size = calibration.cameras[0].size
    assert calibration_size == (WIDTH, HEIGHT)
    with pytest.raises(UserError, match="--fit crop"):
        import_scene(
            read_calibration(tmp_path / "calibration"), write_videos(tmp_path / "wide", size=(64, 16)), tmp_path / "s"
        )
    imported = import_scene(calibration, videos, tmp_path / "scene", fit="crop")
    assert imported.cameras[0].note
    centre = load_scene(tmp_path / "scene").cameras[0].intrinsics
    assert (centre.focal_x, centre.centre_x) == pytest.approx((41.0, 23.6))


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (("CAM-0", "CAM-1", "CAM-2"), False),
        (("trial3_cam_0", "trial3_cam_1", "trial3_cam_2"), False),
        (("view1", "view2", "view0"), False),
        (("left", "middle", "right"), True),
    ],
)
def test_videos_find_their_cameras(tmp_path, names, warned):
    videos = write_videos(tmp_path / "videos", names)
    imported = import_scene(read_calibration(FORMATS["pose2sim"][0](tmp_path / "c")), videos, tmp_path / "scene")
    by_video = {camera.name: camera.calibrated.name for camera in imported.cameras}
    expected = {name: f"cam_{name[-1]}" for name in names}
    assert by_video == (dict(zip(names, NAMES, strict=True)) if warned else expected)
    assert any("calibration's order" in note for note in imported.notes) == warned
    assert load_scene(tmp_path / "scene").names == sorted(names)


def test_a_video_in_each_folder(tmp_path):
    for name in NAMES:
        write_videos(tmp_path / "videos" / name, ("recording",))
    import_scene(read_calibration(FORMATS["pose2sim"][0](tmp_path / "c")), tmp_path / "videos", tmp_path / "scene")
    scene = load_scene(tmp_path / "scene")
    assert scene.names == list(NAMES)
    assert scene.frames(0).shape == (5, HEIGHT, WIDTH, 3)


def test_a_recording_in_two_files(tmp_path):
    videos = write_videos(tmp_path / "videos", ("GX010012", "GX020012", "cam_0"))
    text = FORMATS["pose2sim"][0](tmp_path / "c").read_text().replace("cam_1", "GX010012")
    (tmp_path / "c" / "Calib_scene.toml").write_text(text)
    import_scene(read_calibration(tmp_path / "c"), videos, tmp_path / "scene")
    scene = load_scene(tmp_path / "scene")
    assert sorted(scene.names) == ["GX010012", "cam_0"]
    assert scene.cameras[scene.index_of("GX010012")].frame_count == 10


def test_a_camera_per_folder_of_images(videos, tmp_path):
    """nerfstudio with several images of each camera: one stands still, one moves with a pose per frame."""
    file = FORMATS["nerfstudio"][0](tmp_path / "calibration")
    record = json.loads(file.read_text())
    entries = []
    for index, entry in enumerate(record["frames"]):
        for frame in range(5):
            pose = np.array(entry["transform_matrix"])
            pose[0, 3] += 0.1 * frame if index == 2 else 1e-4 * (-1) ** frame
            entries.append({**entry, "file_path": f"cam_{index}/{frame:04d}.png", "transform_matrix": pose.tolist()})
    file.write_text(json.dumps({**record, "frames": entries[::-1]}))
    imported = import_scene(read_calibration(file), videos, tmp_path / "scene")
    assert sum("stands still" in note for note in imported.notes) == 2
    scene = load_scene(tmp_path / "scene")
    assert [camera.is_moving for camera in scene.cameras] == [False, False, True]
    origin = rays(2)[0]
    steps = scene.cameras[2].camera_to_world[:, 0, 3].numpy() - origin[0]
    np.testing.assert_allclose(steps, 0.1 * np.arange(5), atol=1e-9)
    np.testing.assert_allclose(scene.cameras[0].pose(0)[:3, 3].numpy(), rays(0)[0], atol=3e-5)


def test_timestamps_of_the_recording_are_used(tmp_path):
    videos = write_videos(tmp_path / "videos")
    times = {k: 100.0 + 0.013 * k + np.array([0.0, 0.1, 0.21, 0.3, 0.4]) for k in range(CAMERAS)}
    rows = [f"{k},{float(time)!r}" for k in range(CAMERAS) for time in times[k]]
    (videos / "timestamps.csv").write_text("cam_id,frame_time\n" + "\n".join(rows[::-1]) + "\n")
    import_scene(read_calibration(FORMATS["caliscope"][0](tmp_path / "c")), videos, tmp_path / "scene")
    for k, entry in enumerate(entries_of(tmp_path / "scene")):
        np.testing.assert_allclose(entry["frame_times"], times[k] - 100.0, atol=1e-9)
    for k, camera in enumerate(load_scene(tmp_path / "scene").cameras):
        np.testing.assert_allclose(camera.frame_times.numpy(), times[k] - 100.0, atol=1e-9)


def test_an_existing_folder_is_left_alone(videos, tmp_path):
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "mine").write_text("kept")
    with pytest.raises(UserError, match="already exists"):
        import_scene(read_calibration(FORMATS["pose2sim"][0](tmp_path / "c")), videos, tmp_path / "scene")
    assert [path.name for path in (tmp_path / "scene").iterdir()] == ["mine"]


def corner_directions(camera) -> np.ndarray:
    """Directions through the first and the last pixel [2, 3]."""
    last = camera.intrinsics.width * camera.intrinsics.height - 1
    poses, zeros = camera.pose(0).expand(2, 4, 4), torch.zeros(2, dtype=torch.int64)
    return pixel_rays(intrinsics_table([camera]), poses, zeros, torch.tensor([0, last]), 0.1, 1.0).directions.numpy()


@real
def test_three_forms_of_a_real_calibration_give_the_same_rays(tmp_path):
    """Qualisys' own, Pose2Sim's and transforms.json, whose author left out the half pixel."""
    import xml.etree.ElementTree as ElementTree

    from scipy.spatial.transform import Rotation

    text = ""
    for entry in ElementTree.parse(DATA / "walk_4cam" / "Calib.qca.txt").getroot().iter("camera"):
        value = {key: float(v) for tag in ("transform", "intrinsic") for key, v in entry.find(tag).attrib.items()}
        pose = np.array([[value[f"r{j}{i}"] for j in (1, 2, 3)] for i in (1, 2, 3)]) @ np.diag([1, -1, -1])
        place = np.array([value[key] for key in "xyz"]) / 1000
        inner = [[value["focalLengthU"], 0, value["centerPointU"]], [0, value["focalLengthV"], value["centerPointV"]]]
        lens = [value[f"radialDistortion{k}"] for k in (1, 2)] + [value[f"tangentalDistortion{k}"] for k in (1, 2)]
        name = entry.get("serial")
        text += f'[{name}]\nname = "{name}"\nsize = [1088, 1920]\nfisheye = false\ndistortions = {lens}\n'
        text += f"matrix = {[*(np.array(inner) / 64).tolist(), [0, 0, 1]]}\n"
        text += f"rotation = {Rotation.from_matrix(pose.T).as_rotvec().tolist()}\n"
        text += f"translation = {(-pose.T @ place).tolist()}\n"
    toml = tmp_path / "Calib.toml"
    toml.write_text(text)
    scenes = []
    for form in (DATA / "walk_4cam" / "Calib.qca.txt", toml, DATA / "walk_4cam" / "transforms.json"):
        out = tmp_path / f"scene{len(scenes)}"
        import_scene(read_calibration(form), DATA / "walk_4cam", out)
        scenes.append(load_scene(out))
    for name in scenes[0].names:
        cameras = [scene.cameras[scene.names.index(name)] for scene in scenes]
        zooms = [scene.frame_cache.sources[name].lens.zoom for scene in scenes]
        origins = [camera.pose(0)[:3, 3].numpy() for camera in cameras]
        corners = [corner_directions(camera) for camera in cameras[:2]]
        assert np.abs(corners[0] - corners[1]).max() < 1e-6
        assert max(np.abs(origin - origins[0]).max() for origin in origins) < 1e-6
        assert (cameras[2].pose(0)[:3, :3] - cameras[0].pose(0)[:3, :3]).abs().max() < 1e-6
        # Half a pixel aside, the least zoom is another.
        ours, theirs = (cameras[k].intrinsics.zoomed(1 / zooms[k]) for k in (0, 2))
        assert (ours.focal_x, ours.focal_y) == pytest.approx((theirs.focal_x, theirs.focal_y), abs=1e-6)
        assert ours.centre_x - theirs.centre_x == pytest.approx(0.5, abs=1e-6)
        assert ours.centre_y - theirs.centre_y == pytest.approx(0.5, abs=1e-6)


@real
def test_real_timestamps_of_caliscope(tmp_path):
    folder = DATA / "caliscope_4cam"
    import_scene(read_calibration(folder / "camera_array.toml"), folder, tmp_path / "scene")
    rows = [line.split(",") for line in (folder / "timestamps.csv").read_text().splitlines()[1:]]
    for entry in entries_of(tmp_path / "scene"):
        own = [float(time) for _, camera, time in rows if f"cam_{camera}.mp4" == entry["file_path"]]
        assert len(entry["frame_times"]) == len(own) == 48
        first = min(float(row[2]) for row in rows)
        assert entry["frame_times"] == pytest.approx(sorted(time - first for time in own), abs=1e-6)
