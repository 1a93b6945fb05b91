"""tools/make_blender_scene.py: rigs, motion and offsets without Blender; a tiny render where Blender is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import make_blender_scene
import numpy as np
import pytest
import scene_output
from blender_scenes import clocks, rig, scenes, shapes

TOOLS = Path(__file__).resolve().parent.parent / "tools"
SCENES = ("toys", "gyroscope", "dancer", "jelly")


@pytest.mark.parametrize("rig_name", ["cap", "ring", "arc"])
def test_cameras_are_upright_and_look_at_the_origin(rig_name):
    poses = rig.rig_poses(rig_name, cameras=14, frames=5, radius=4.0)
    assert poses.shape == (14, 5, 4, 4)
    rotations, positions = poses[..., :3, :3], poses[..., :3, 3]
    identity = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.swapaxes(-1, -2), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)
    np.testing.assert_allclose(np.linalg.norm(positions, axis=-1), 4.0)
    np.testing.assert_allclose(-4.0 * rotations[..., :, 2], -positions, atol=1e-12)
    assert (rotations[..., 2, 1] > 0).all()
    np.testing.assert_allclose(rotations[..., 2, 0], 0.0, atol=1e-12)


def test_the_test_view_is_surrounded_by_the_others():
    pose = rig.rig_poses("cap", cameras=14, frames=1)[:, 0]
    seen = pose[1:, :3, 3] @ pose[0, :3, :2]
    directions = np.sort(np.arctan2(seen[:, 1], seen[:, 0]))
    gaps = np.diff(np.append(directions, directions[0] + 2 * np.pi))
    assert gaps.max() < np.radians(100)
    units = pose[:, :3, 3] / 4.0
    nearest = np.degrees(np.arccos(np.sort(units @ units.T, axis=1)[:, -2].clip(-1, 1)))
    assert nearest.min() > 12
    assert nearest.max() < 30


def test_arc_cameras_move_slowly_and_the_others_do_not():
    moving = rig.rig_poses("arc", cameras=6, frames=61, sweep=30.0)[..., :3, 3]
    steps = np.linalg.norm(np.diff(moving, axis=1), axis=-1)
    assert steps.min() > 0.005
    assert steps.max() < 0.04
    assert np.ptp(rig.rig_poses("cap", cameras=6, frames=9), axis=1).max() == 0.0


def test_forward_rig_in_llff_axes():
    poses = rig.rig_poses("forward", cameras=9, frames=3)
    assert np.ptp(poses, axis=1).max() == 0.0
    poses = poses[:, 0]
    np.testing.assert_allclose(
        poses[:, :3, :3].swapaxes(1, 2) @ poses[:, :3, :3], np.tile(np.eye(3), (9, 1, 1)), atol=1e-12
    )
    toward_origin = -poses[:, :3, 3] / np.linalg.norm(poses[:, :3, 3], axis=1, keepdims=True)
    np.testing.assert_allclose(-poses[:, :3, 2], toward_origin, atol=1e-12)
    assert (poses[:, :3, 2] @ poses[0, :3, 2] > 0.95).all()
    table = rig.llff_poses_bounds(poses, (160, 120), focal=200.0, near=2.7, far=5.3)
    assert table.shape == (9, 17)
    # The usual reader's step from (down, right, back) to (right, up, back).
    matrices = table[:, :15].reshape(9, 3, 5)
    read_back = np.concatenate([matrices[..., 1:2], -matrices[..., 0:1], matrices[..., 2:4]], axis=-1)
    np.testing.assert_array_equal(read_back, poses[:, :3])
    np.testing.assert_array_equal(matrices[..., 4], np.tile([120.0, 160.0, 200.0], (9, 1)))
    np.testing.assert_array_equal(table[:, 15:], np.tile([2.7, 5.3], (9, 1)))


@pytest.mark.parametrize("name", [*SCENES, "flight"])
def test_scenes_stay_inside_the_view_at_all_times(name):
    build = scenes.build_scene
    for seed in range(3):
        for part in build(name, seed):
            reach = max(np.linalg.norm(part.vertices(time), axis=1).max() for time in np.linspace(-2.0, 8.0, 81))
            assert reach < 1.3, f"{name} with seed {seed}: {part.name} reaches {reach:.2f}"


def tracks(parts, times: np.ndarray) -> np.ndarray:
    """A few vertices of every part that moves, [T, N, 3]."""
    positions = [np.concatenate([part.vertices(time)[::97] for part in parts]) for time in times]
    return np.stack(positions)


@pytest.mark.parametrize("name", SCENES)
def test_motion_is_smooth_and_does_not_repeat(name):
    parts = scenes.build_scene(name, 0)
    moving = [part for part in parts if part.name != "plinth"]
    fine = tracks(moving, np.arange(-0.5, 2.5, 1 / 240))
    speed = np.linalg.norm(np.diff(fine, axis=0), axis=-1) * 240
    assert speed.max() < 8.0
    bend = np.linalg.norm(np.diff(fine, n=2, axis=0), axis=-1) * 240**2
    assert bend.max() < 120.0
    coarse = tracks(moving, np.arange(0.0, 4.0, 1 / 30))
    for lag in range(6, 60):
        assert np.linalg.norm(coarse[lag:] - coarse[:-lag], axis=-1).mean() > 0.03


@pytest.mark.parametrize("name", [*SCENES, "flight"])
def test_the_seed_decides_the_motion(name):
    build = scenes.build_scene
    first, again, other = (tracks(build(name, seed), np.array([0.7])) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05


def test_meshes_are_closed_and_face_outward():
    for mesh in (
        shapes.rounded_solid((0.3, 0.2, 0.1)),
        shapes.rounded_solid((1.0, 1.0, 0.07), exponent=12.0, cylinder=True),
        shapes.torus(0.5, 0.1),
    ):
        edges = np.sort(np.concatenate([mesh.faces[:, [i, (i + 1) % 4]] for i in range(4)]), axis=1)
        assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
        a, b, c, d = (mesh.vertices[mesh.faces[:, i]] for i in range(4))
        volume = (np.cross(b - a, c - a) * a).sum() / 6 + (np.cross(c - a, d - a) * a).sum() / 6
        assert volume > 0
    ball = shapes.rounded_solid((0.5, 0.5, 0.5))
    np.testing.assert_allclose(np.linalg.norm(ball.vertices, axis=1), 0.5)


def test_video_keeps_its_size_and_its_white(tmp_path):
    picture = np.full((18, 34, 3), 255, dtype=np.uint8)
    with scene_output.SceneVideo(tmp_path / "white.mp4", 34, 18, 29.97, 10) as video:
        for _ in range(3):
            video.write_rgb(picture)
    with scene_output.av.open(str(tmp_path / "white.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(np.stack(frames), np.stack([picture] * 3))


def test_missing_blender_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bpy", None)
    monkeypatch.delitem(sys.modules, "blender_scenes.cycles", raising=False)
    assert make_blender_scene.main([str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert 'pip install "syncnerf[blender]"' in message
    assert len(message.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", ["127", "64x33", "big", "8", "1x2x3"])
def test_unfit_sizes_are_refused(size, capsys):
    with pytest.raises(SystemExit) as ended:
        make_blender_scene.main(["out", "--size", size])
    assert ended.value.code == 2
    assert "--size" in capsys.readouterr().err


def render(output: Path, *arguments: str) -> None:
    command = [sys.executable, str(TOOLS / "make_blender_scene.py"), str(output), *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason='needs Blender: pip install "syncnerf[blender]"')
def test_a_tiny_render(tmp_path):
    av = scene_output.av
    common = ("--cameras", "3", "--frames", "2", "--size", "32", "--samples", "4", "--crf", "0", "--seed", "5")
    render(tmp_path / "one", *common, "--synchronised-twin")
    render(tmp_path / "two", *common)
    render(tmp_path / "arc", *common, "--rig", "arc", "--scene", "jelly", "--exposure", "0.02")
    render(tmp_path / "llff", *common, "--rig", "forward", "--offset-range", "3")
    assert np.load(tmp_path / "llff" / "poses_bounds.npy", allow_pickle=False).shape == (3, 17)
    assert not (tmp_path / "llff" / "transforms.json").exists()
    names = ["cam00.mp4", "cam01.mp4", "cam02.mp4", "offsets.json", "transforms.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arc", "llff", "one", "one_sync", "two"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    transforms = json.loads((tmp_path / "one" / "transforms.json").read_text())
    assert [entry["file_path"] for entry in transforms["frames"]] == names[:3]
    offsets = json.loads((tmp_path / "one" / "offsets.json").read_text())["seconds"]
    expected = clocks.draw_offsets(3, 5, 30.0, 5.0)
    np.testing.assert_allclose(offsets, expected)
    assert json.loads((tmp_path / "one_sync" / "offsets.json").read_text())["seconds"] == [0.0] * 3
    moving = json.loads((tmp_path / "arc" / "transforms.json").read_text())["frames"]
    assert all(np.shape(entry["transform_matrices"]) == (2, 4, 4) for entry in moving)
    pictures = {}
    for scene in ("one", "one_sync", "arc"):
        with av.open(str(tmp_path / scene / "cam01.mp4")) as container:
            pictures[scene] = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(int)
        assert pictures[scene].shape == (2, 32, 32, 3)
        assert (pictures[scene][:, 0] == 255).all()
        assert (pictures[scene] < 128).any()
    assert np.abs(pictures["one"] - pictures["one_sync"]).max() > 20
