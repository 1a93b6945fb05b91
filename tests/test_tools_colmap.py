"""tools/prepare_colmap.py: cameras of a textured room found again from its videos; skipped without pycolmap."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from format_scenes import pose_from, write_video

TOOLS = Path(__file__).resolve().parent.parent / "tools"
WIDTH, HEIGHT, FOCAL = 320, 240, 300.0


@pytest.fixture
def tool(monkeypatch):
    """The tool's module."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("prepare_colmap")


def texture(seed, size=512):
    """Noise of several scales, [size, size, 3] in 0..255."""
    generator, result = np.random.default_rng(seed), np.zeros((size, size, 3))
    for cells in (16, 64, 256):
        result += np.kron(generator.uniform(0, 85, (cells, cells, 3)), np.ones((size // cells, size // cells, 1)))
    return result


def room(pose, textures):
    """A corner of three textured walls (x, y, z = -2, 4 wide) from a pose, uint8 [height, width, 3]."""
    row, column = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    local = np.stack([(column - WIDTH / 2) / FOCAL, -(row - HEIGHT / 2) / FOCAL, -np.ones_like(row)], axis=-1)
    directions, origin = local @ pose[:3, :3].T, pose[:3, 3]
    distances = (-2.0 - origin) / np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    wall = np.where(distances > 0, distances, np.inf).argmin(axis=-1)
    points = origin + directions * np.take_along_axis(distances, wall[..., None], axis=-1)
    image = np.zeros((HEIGHT, WIDTH, 3))
    for axis in range(3):
        across = np.delete(points, axis, axis=-1)
        cell = np.clip(((across + 2.0) / 6.0 * 512).astype(int), 0, 511)
        image = np.where((wall == axis)[..., None], textures[axis][cell[..., 0], cell[..., 1]], image)
    return image.round().astype(np.uint8)


def aligned(found, true):
    """Places found, moved by the similarity that brings them nearest to the true ones (Umeyama); [C, 3]."""
    source, target = found - found.mean(0), true - true.mean(0)
    u, values, vt = np.linalg.svd(target.T @ source)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (values * np.diag(sign)).sum() / (source**2).sum()
    return scale * source @ (u @ sign @ vt).T + true.mean(0)


def test_cameras_of_a_textured_room(tool, tmp_path):
    pytest.importorskip("pycolmap")
    textures = [texture(seed) for seed in range(3)]
    places = [(4.0, 0.6 * k - 1.2 + 3.0, 3.0 + 0.5 * (k % 2)) for k in range(5)]
    poses = [pose_from(place) for place in places]
    for k, pose in enumerate(poses):
        picture = room(pose.numpy(), textures)
        moved = picture.copy()
        moved[100:140, 100:140] = 255  # in the last frame only: the median leaves it out
        write_video(tmp_path / f"cam{k}.mp4", [picture, picture, moved])
    assert tool.main([str(tmp_path), "--intrinsics=shared"]) == 0
    from syncnerf.scene import load_scene

    cameras = load_scene(tmp_path).cameras
    assert [camera.name for camera in cameras] == [f"cam{k}" for k in range(5)]
    found = torch.stack([camera.camera_to_world[:3, 3] for camera in cameras]).numpy()
    true = torch.stack([pose[:3, 3] for pose in poses]).numpy()
    assert np.abs(aligned(found, true) - true).max() < 0.05
    assert cameras[0].intrinsics.focal_x == pytest.approx(FOCAL, rel=0.03)
    # A second run does not overwrite.
    assert tool.main([str(tmp_path)]) == 2


def test_folders_without_enough_videos_are_refused(tool, tmp_path, capsys):
    assert tool.main([str(tmp_path)]) == 2
    assert "at least 3" in capsys.readouterr().err
    for k in range(3):
        (tmp_path / f"cam{k}.mp4").write_bytes(b"no video")
    assert tool.main([str(tmp_path)]) == 2
    assert "cam0.mp4" in capsys.readouterr().err
