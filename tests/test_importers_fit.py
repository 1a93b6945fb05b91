"""The check that an imported calibration fits its videos: right, wrong in every usual way, and of other videos."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_fixtures import look_from
from textured_room import room, texture
from tiny_scene import ANGLE, picture, write_video

from syncnerf.importers.calibration import CalibratedCamera, Calibration
from syncnerf.importers.fit_check import check_fit, odd_cameras
from syncnerf.importers.formats import read_calibration
from syncnerf.importers.import_scene import import_scene
from syncnerf.scene import load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.conventions import Reading, better_reading, is_best_reading

FPS, FRAMES, SIDE = 12, 84, 32
FOCAL = 0.5 * SIDE / np.tan(0.5 * ANGLE)
MATRIX = np.array([[FOCAL, 0.0, SIDE / 2], [0.0, FOCAL, SIDE / 2], [0.0, 0.0, 1.0]])
GL = np.diag([1.0, -1.0, -1.0])
DATA = Path(__file__).parents[2] / "shared" / "data"
PLACES = [(3.4, 0.3, 2.0), (0.9, 3.3, 1.1), (-3.2, 0.8, 2.7), (-0.6, -3.6, 1.7)]
"""In no symmetry: on a ring, shifted cameras are those of a turned world, and fit."""
Change = Callable[[int, CalibratedCamera], CalibratedCamera]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Seven seconds of the blobs, not synchronised."""
    root = tmp_path_factory.mktemp("videos")
    for index, pose in enumerate(map(look_from, PLACES)):
        times = np.arange(FRAMES) / FPS + (0.07, 0.0, -0.31, 0.18)[index]
        moved = times + 0.5 * np.sin(2.3 * times) + 0.3 * np.sin(5.1 * times + 1)
        write_video(root / f"cam{index}.mp4", [picture(pose.numpy(), t, SIDE) for t in moved], FPS)
    return root


def calibration_of_blobs(folder: Path) -> Calibration:
    """World to camera in OpenCV axes, as most files hold it."""
    cameras = []
    for index, pose in enumerate(map(look_from, PLACES)):
        rotation = GL @ pose.numpy()[:3, :3].T
        place = -rotation @ pose.numpy()[:3, 3]
        cameras.append(CalibratedCamera(f"cam{index}", MATRIX, rotation, place, (SIDE, SIDE)))
    return Calibration(folder / "Calib.toml", "Pose2Sim", tuple(cameras), 1.0)


def said_of(calibration: Calibration, videos: Path, scene: Path, change: Change, extrinsics: bool = True) -> str:
    """What is said of a calibration that was changed."""
    cameras = tuple(change(index, camera) for index, camera in enumerate(calibration.cameras))
    import_scene(replace(calibration, cameras=cameras), videos, scene)
    return check_fit(load_scene(scene, ReadOptions(max_side=320)), extrinsics)


def inverted(camera: CalibratedCamera) -> CalibratedCamera:
    """Camera-to-world in the place of world-to-camera."""
    turned = np.swapaxes(camera.rotation, -1, -2)
    return replace(camera, rotation=turned, translation=-(turned @ camera.translation[..., None])[..., 0])


def other_axes(camera: CalibratedCamera) -> CalibratedCamera:
    """World to camera in OpenGL axes."""
    return replace(camera, rotation=GL @ camera.rotation, translation=camera.translation @ GL)


def place_for_translation(camera: CalibratedCamera) -> CalibratedCamera:
    return replace(camera, translation=-camera.rotation.T @ camera.translation)


def resized(camera: CalibratedCamera, scale: float) -> CalibratedCamera:
    """The matrix of images of another size."""
    return replace(camera, matrix=np.diag([scale, scale, 1.0]) @ camera.matrix)


def in_order(calibration: Calibration, order: list[int]) -> Change:
    """Each camera with another's calibration."""
    return lambda index, camera: replace(calibration.cameras[order[index]], name=camera.name)


WRONG: dict[str, tuple[Callable[[Calibration], Change], str]] = {
    "inverted": (lambda c: lambda i, camera: inverted(camera), "the poses are camera-to-world, not world-to-camera"),
    "OpenGL axes": (lambda c: lambda i, camera: other_axes(camera), "world-to-camera in OpenGL axes"),
    "both": (lambda c: lambda i, camera: inverted(other_axes(camera)), "camera-to-world in OpenGL axes"),
    "places": (lambda c: lambda i, camera: place_for_translation(camera), "the translations are the cameras' places"),
    "transposed": (lambda c: lambda i, camera: replace(camera, rotation=camera.rotation.T), "rotations are transposed"),
    "twice as large": (lambda c: lambda i, camera: resized(camera, 2.0), "images 2 times as large"),
    "smaller": (lambda c: lambda i, camera: resized(camera, 1 / 1.5), "the calibration is of images 0.6"),
    "swapped": (lambda c: in_order(c, [0, 2, 1, 3]), "videos of cam1 and cam2 are swapped"),
    "shifted": (lambda c: in_order(c, [1, 2, 3, 0]), "camera before its own (cam3 for cam0)"),
}  # fmt: skip


def test_a_right_calibration_fits(videos, tmp_path):
    said = said_of(calibration_of_blobs(tmp_path), videos, tmp_path / "scene", lambda index, camera: camera)
    assert said.startswith("calibration and videos fit: ")
    assert not list((tmp_path / "scene" / ".syncnerf_cache").glob("*.npy"))


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_named(videos, tmp_path, wrong):
    calibration = calibration_of_blobs(tmp_path)
    change, named = WRONG[wrong]
    said = said_of(calibration, videos, tmp_path / "scene", change(calibration))
    assert said.startswith("warning: the calibration does not fit")
    assert named in said


def test_a_camera_that_was_not_looked_at_is_found_in_anothers_place(videos, tmp_path, monkeypatch):
    """Of a larger rig only some videos are decoded; their calibrations are compared with everyone's."""
    monkeypatch.setattr("syncnerf.importers.fit_check.MOST_CAMERAS", 3)
    calibration = calibration_of_blobs(tmp_path)
    right = said_of(calibration, videos, tmp_path / "right", lambda index, camera: camera)
    assert right.startswith("calibration and videos fit: 3 of 3")
    said = said_of(calibration, videos, tmp_path / "scene", in_order(calibration, [0, 2, 1, 3]))
    assert said.startswith("warning: the calibration does not fit")
    assert "the video cam2 is that of camera cam1" in said


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (inverted, "world-to-camera in OpenCV axes"),
        (other_axes, "camera-to-world in OpenCV axes"),
        (lambda camera: inverted(other_axes(camera)), "the poses are world-to-camera:"),
    ],
)
def test_matrices_have_other_misreadings(videos, tmp_path, change, named):
    """nerfstudio's are camera-to-world in OpenGL axes: a misread pose is another convention there."""
    calibration = calibration_of_blobs(tmp_path)
    said = said_of(calibration, videos, tmp_path / "scene", lambda index, camera: change(camera), extrinsics=False)
    assert said.startswith("warning: the calibration does not fit")
    assert named in said


def test_a_calibration_of_other_videos_is_doubted(videos, tmp_path):
    """Every camera looks away from where it did, each to another side."""

    def change(index: int, camera: CalibratedCamera) -> CalibratedCamera:
        angle = 0.7 + 0.9 * index
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
        return replace(camera, rotation=turn @ camera.rotation, translation=turn @ camera.translation)

    said = said_of(calibration_of_blobs(tmp_path), videos, tmp_path / "scene", change)
    assert said.startswith("warning: ")
    assert "looks as if" not in said


def test_a_camera_that_was_turned_is_named(videos, tmp_path):
    """All others fit, and no usual misreading explains it."""
    angle = np.radians(12.0)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])

    def change(index: int, camera: CalibratedCamera) -> CalibratedCamera:
        turn = tilt if index == 2 else np.eye(3)
        return replace(camera, rotation=turn @ camera.rotation, translation=turn @ camera.translation)

    said = said_of(calibration_of_blobs(tmp_path), videos, tmp_path / "scene", change)
    assert said.startswith("warning: ")
    assert "few or none of cam2: was it turned" in said


@pytest.mark.parametrize(
    ("missing", "odd"),
    [
        ([], []),
        ([(0, 1)], []),
        ([(1, 0), (1, 2), (1, 3)], [1]),
        ([(1, 0), (1, 2), (1, 4), (3, 0), (3, 2), (1, 3)], [1]),
    ],
)
def test_a_camera_stands_out_that_agrees_with_few_of_those_that_agree(missing, odd):
    lost = {tuple(sorted(pair)) for pair in missing}
    agreeing = [pair for pair in combinations(range(5), 2) if pair not in lost]
    assert odd_cameras(5, agreeing) == odd


@pytest.mark.parametrize(("telling", "best", "sure"), [(100, True, False), (100, False, True), (15, True, True)])
def test_few_frames_are_no_proof_of_a_misfit(videos, tmp_path, monkeypatch, telling, best, sure):
    """In less than two seconds half of the pairs agree: that is doubtful if a misreading does as well, or with time."""
    monkeypatch.setattr("syncnerf.importers.fit_check.STRETCH", 1.8)
    monkeypatch.setattr("syncnerf.importers.fit_check.TELLING_FRAMES", telling)
    monkeypatch.setattr("syncnerf.importers.fit_check.is_best_reading", lambda *_: best)
    said = said_of(calibration_of_blobs(tmp_path), videos, tmp_path / "scene", lambda index, camera: camera)
    assert "only 3 of 6 pairs" in said
    assert said.startswith("warning: ") == sure
    assert said.startswith("whether the calibration fits the videos is not sure: ") != sure


@pytest.mark.parametrize(
    ("other", "best"),
    [
        ({(0, 1): 2.0, (0, 2): 2.0, (1, 2): 1.0}, True),
        ({(0, 1): 3.4, (0, 2): 1.8, (1, 2): 1.7}, False),  # nearly as good
        ({(0, 1): 1.0, (0, 2): 3.1, (1, 2): 1.0}, False),  # better for the camera 2
    ],
)
def test_the_given_reading_is_best_for_the_rig_and_for_each_camera(monkeypatch, other, best):
    given = {(0, 1): 4.0, (0, 2): 2.0, (1, 2): 1.9}
    worse = dict.fromkeys(given, 0.5)
    found = {"worse": worse, "other": other}
    monkeypatch.setattr("syncnerf.sync.conventions.agreements", lambda prepared, cameras: found[cameras[0]])
    readings = [Reading(name, (name, name, name), frozenset(range(3))) for name in found]
    assert is_best_reading(None, given, readings) == best


@pytest.mark.parametrize(("agreed", "named"), [(1.4, False), (4.0, False), (6.0, True)])
def test_swapped_cameras_must_agree_about_as_well_as_the_others(monkeypatch, agreed, named):
    """Chance makes some of many readings better; the right one comes near to the pairs that are right already."""
    given = dict.fromkeys(combinations(range(4), 2), 1.0) | {(2, 3): 10.0}
    changed = {pair: agreed for pair in given if pair != (2, 3)}
    monkeypatch.setattr("syncnerf.sync.conventions.agreements", lambda *_: changed)
    monkeypatch.setattr("syncnerf.sync.conventions.seen_by", lambda *_: None)
    monkeypatch.setattr("syncnerf.sync.conventions.compare_pair", lambda _, *pair: Comparison(*pair[:2], None, 1, ""))
    found = better_reading(None, given, [Reading("swapped", (), frozenset((0, 1)))], 1)
    assert (found is not None) == named
    if named:
        assert (found.said, found.gain, found.pairs) == ("swapped", pytest.approx(agreed), 6)


@pytest.mark.parametrize(("metres", "warned"), [(1.0, False), (1e-3, True), (1e3, True)])
def test_a_wrong_unit_is_doubted(videos, tmp_path, metres, warned):
    """Lines know no scale: it is the rig's size that tells."""
    calibration = replace(calibration_of_blobs(tmp_path), metres=metres)
    notes = import_scene(calibration, videos, tmp_path / "scene").notes
    assert any("--unit" in note for note in notes) == warned


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """Videos of two phones carried past textured walls, and their poses."""
    root, textures, poses = tmp_path_factory.mktemp("walked"), [texture(seed) for seed in range(3)], []
    for index in range(2):
        path = [look_from((4.3, 2.0 + 0.03 * frame + 0.5 * index, 3.6 - 0.02 * frame)) for frame in range(14)]
        poses.append(torch.stack(path).double().numpy())
        images = [room(pose, textures)[::2, ::2] for pose in poses[-1]]
        write_video(root / f"phone{index}.mp4", images, 30)
    return root, poses


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda camera: camera, "the moving cameras' poses fit: "),
        (inverted, "the poses are camera-to-world, not world-to-camera"),
        (other_axes, "the poses are world-to-camera in OpenGL axes"),
        (lambda camera: replace(camera, translation=np.zeros_like(camera.translation)), "frame by frame?"),
    ],
)
def test_poses_of_moving_cameras(walked, tmp_path, change, named):
    """What a moving camera sees of walls must hold still in space."""
    videos, poses = walked
    size, cameras = (160, 120), []
    matrix = np.array([[150.0, 0.0, 80.0], [0.0, 150.0, 60.0], [0.0, 0.0, 1.0]])
    for index, pose in enumerate(poses):
        rotation = GL @ pose[:, :3, :3].swapaxes(1, 2)
        place = -(rotation @ pose[:, :3, 3:])[..., 0]
        cameras.append(change(CalibratedCamera(f"phone{index}", matrix, rotation, place, size)))
    import_scene(Calibration(tmp_path / "sparse", "COLMAP", tuple(cameras), None), videos, tmp_path / "scene")
    said = check_fit(load_scene(tmp_path / "scene", ReadOptions(max_side=320)), extrinsics=True)
    assert named in said
    assert said.startswith("warning: ") == (not named.endswith("fit: "))


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "walk_4cam").is_dir(), reason="the recordings of other projects are not here")
@pytest.mark.parametrize("wrong", [None, *WRONG])
def test_a_real_recording(tmp_path, wrong):
    """1.7 seconds of a person who walks, in the four real cameras of Pose2Sim's demonstration."""
    calibration = read_calibration(DATA / "walk_4cam" / "Calib.qca.txt")
    right = (lambda c: lambda i, camera: camera), "calibration and videos fit: 6 of 6"
    change, named = WRONG[wrong] if wrong else right
    said = said_of(calibration, DATA / "walk_4cam", tmp_path / "scene", change(calibration))
    names = {f"cam{k}": f"cam0{k + 1}" for k in range(4)}
    for short in reversed(names):
        named = named.replace(f"{short} ", f"{names[short]} ").replace(f"{short})", f"{names[short]})")
    assert named in said


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "caliscope_4cam").is_dir(), reason="the recordings of other projects are not here")
@pytest.mark.parametrize("wrong", [None, "turned", *WRONG])
def test_a_real_recording_of_few_frames(tmp_path, wrong):
    """48 frames in 8 seconds do not tell that the calibration fits, and still that others do not."""
    calibration = read_calibration(DATA / "caliscope_4cam" / "camera_array.toml")

    def turned(index: int, camera: CalibratedCamera) -> CalibratedCamera:
        """The third camera looks elsewhere."""
        turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        return replace(camera, rotation=turn @ camera.rotation) if index == 2 else camera

    changes = {None: lambda index, camera: camera, "turned": turned}
    change = changes[wrong] if wrong in changes else WRONG[wrong][0](calibration)
    said = said_of(calibration, DATA / "caliscope_4cam", tmp_path / "scene", change)
    assert said.startswith("warning: " if wrong else "whether the calibration fits the videos is not sure: ")
