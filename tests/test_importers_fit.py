"""The check that an imported calibration fits its videos: right, in another convention, and of other videos."""

import json

import numpy as np
import pytest
from tiny_scene import ANGLE, camera_poses, picture, write_video

from syncnerf.importers.fit_check import check_fit
from syncnerf.scene import load_scene

FPS, FRAMES, SIDE = 12, 84, 32


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Seven seconds of the blobs, not synchronised."""
    root = tmp_path_factory.mktemp("videos")
    for index, pose in enumerate(camera_poses()):
        times = np.arange(FRAMES) / FPS + (0.07, 0.0, -0.31, 0.18)[index]
        moved = times + 0.5 * np.sin(2.3 * times) + 0.3 * np.sin(5.1 * times + 1)
        write_video(root / f"cam{index}.mp4", [picture(pose.numpy(), t, SIDE) for t in moved], FPS)
    return root


def report(videos, tmp_path, change) -> str:
    """What is said of poses that are changed before they are written."""
    entries = [
        {"file_path": str(videos / f"cam{index}.mp4"), "transform_matrix": change(index, pose.numpy()).tolist()}
        for index, pose in enumerate(camera_poses())
    ]
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": entries}))
    return check_fit(load_scene(tmp_path))


def test_a_right_calibration_fits(videos, tmp_path):
    said = report(videos, tmp_path, lambda index, pose: pose)
    assert said.startswith("calibration and videos fit: ")
    assert not list((tmp_path / ".syncnerf_cache").iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda index, pose: pose @ np.diag([1.0, -1.0, -1.0, 1.0]), "OpenCV axes"),
        (lambda index, pose: np.linalg.inv(pose @ np.diag([1.0, -1.0, -1.0, 1.0])), "world-to-camera"),
    ],
)
def test_another_convention_is_named(videos, tmp_path, change, named):
    said = report(videos, tmp_path, change)
    assert said.startswith("warning: the calibration does not fit")
    assert named in said


def test_a_calibration_of_other_videos_is_doubted(videos, tmp_path):
    """Every camera with another's pose."""
    poses = [pose.numpy() for pose in camera_poses()]
    said = report(videos, tmp_path, lambda index, pose: poses[(0, 2, 3, 1)[index]])
    assert said.startswith("warning: ")
