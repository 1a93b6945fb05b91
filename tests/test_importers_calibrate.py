"""``syncnerf calibrate``: cameras of a textured room found again from its videos; skipped without pycolmap."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from format_scenes import pose_from, write_video
from textured_room import FOCAL, room, texture

from syncnerf.cli import main
from syncnerf.importers.structure import _turned
from syncnerf.scene import load_scene


def aligned(found, true):
    """Places found, moved by the similarity that brings them nearest to the true ones (Umeyama); [C, 3]."""
    source, target = found - found.mean(0), true - true.mean(0)
    u, values, vt = np.linalg.svd(target.T @ source)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (values * np.diag(sign)).sum() / (source**2).sum()
    return scale * source @ (u @ sign @ vt).T + true.mean(0)


def view(picture, moved):
    """The picture, or one with a white patch that is there for a moment: medians leave it out."""
    copy = picture.copy()
    if moved:
        copy[100:140, 100:140] = 255
    return copy


def test_still_and_moving_cameras_of_a_textured_room(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pycolmap")
    textures = [texture(seed) for seed in range(3)]
    places = [(4.0, 0.6 * k - 1.2 + 3.0, 3.0 + 0.5 * (k % 2)) for k in range(4)]
    poses = [pose_from(place) for place in places]
    videos = tmp_path / "videos"
    videos.mkdir()
    for k, pose in enumerate(poses):
        picture = room(pose.numpy(), textures)
        images = [view(picture, frame % 4 == 3) for frame in range(12)]
        if k == 3:  # went on in a second file
            write_video(videos / "GX010003.mp4", images[:5])
            write_video(videos / "GX020003.mp4", images[5:])
        else:
            write_video(videos / f"cam{k}.mp4", images)
    path = [pose_from((4.3, 2.0 + 0.12 * frame, 3.6 - 0.05 * frame)) for frame in range(6)]
    write_video(videos / "phone.mp4", [room(pose.numpy(), textures) for pose in path])

    # The command of the documentation.
    page = (Path(__file__).parents[1] / "docs" / "recordings.md").read_text(encoding="utf-8")
    words = shlex.split(re.search(r"^syncnerf (calibrate .*)$", page, flags=re.MULTILINE).group(1))
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "mean reprojection error" in shown
    assert (tmp_path / "found" / "rig.png").is_file()
    cameras = load_scene(tmp_path / "found").cameras
    # GX010003 sorts before cam0.
    cameras = [*cameras[1:4], cameras[0], cameras[4]]
    assert [camera.name for camera in cameras] == [*(f"cam{k}" for k in range(3)), "GX010003", "phone"]
    assert [camera.is_moving for camera in cameras] == [False] * 4 + [True]
    assert cameras[3].frame_count == 12
    found = torch.cat([camera.camera_to_world.reshape(-1, 4, 4)[:, :3, 3] for camera in cameras]).numpy()
    true = torch.stack([pose[:3, 3] for pose in (*poses, *path)]).numpy()
    assert np.abs(aligned(found, true) - true).max() < 0.05
    assert cameras[0].intrinsics.focal_x == pytest.approx(FOCAL, rel=0.03)


@pytest.mark.slow
def test_each_camera_has_intrinsics_of_its_own(tmp_path):
    pytest.importorskip("pycolmap")
    textures = [texture(seed) for seed in range(3)]
    places = [(4.0, 1.8, 3.0), (3.6, 2.6, 2.2), (3.0, 3.2, 3.4), (2.4, 3.8, 2.6), (3.9, 3.1, 3.9), (3.2, 2.2, 1.6)]
    focals = [FOCAL * (1.0, 1.25)[k % 2] for k in range(6)]
    (tmp_path / "videos").mkdir()
    for k, (place, focal) in enumerate(zip(places, focals, strict=True)):
        picture = room(pose_from(place).numpy(), textures, focal)
        write_video(tmp_path / "videos" / f"cam{k}.mp4", [picture] * 4)
    assert main(["calibrate", str(tmp_path / "videos"), f"--out={tmp_path / 'found'}"]) == 0
    cameras = load_scene(tmp_path / "found").cameras
    found = torch.stack([camera.camera_to_world[:3, 3] for camera in cameras]).numpy()
    assert np.abs(aligned(found, np.array(places)) - np.array(places)).max() < 0.15
    for camera, focal in zip(cameras, focals, strict=True):
        assert camera.intrinsics.focal_x == pytest.approx(focal, rel=0.03)


def test_poses_between_pictures_lie_on_the_way():
    """Against scipy's spherical interpolation."""
    from scipy.spatial.transform import Rotation, Slerp

    ends = Rotation.from_rotvec([[0.1, -0.4, 0.2], [0.5, 0.3, -1.1]])
    for share in (0.0, 0.3, 1.0):
        expected = Slerp([0, 1], ends)(share).as_matrix()
        np.testing.assert_allclose(_turned(*ends.as_matrix(), share), expected, atol=1e-12)


def test_folders_without_enough_videos_are_refused(tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    arguments = ["calibrate", str(videos), f"--out={tmp_path / 'scene'}"]
    assert main(arguments) == 2
    assert "holds 0 videos" in capsys.readouterr().err
    for k in range(2):
        (videos / f"cam{k}.mp4").write_bytes(b"no video")
    assert main(arguments) == 2
    assert "at least 3" in capsys.readouterr().err
    (videos / "cam2.mp4").write_bytes(b"no video")
    assert main([*arguments, "--moving=phone"]) == 2
    assert "'phone'" in capsys.readouterr().err
    assert main(arguments) == 2
    assert "cam0.mp4: cannot be read as a video" in capsys.readouterr().err
    assert not (tmp_path / "scene").exists()
