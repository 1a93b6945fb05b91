"""Rigs, poses as the module sees them, and the scenes that are written."""

import json
import math
import re
import shlex
from pathlib import Path

import pytest
import torch
from format_scenes import rig as rig_of_tests
from format_scenes import syncam
from tiny_scene import edit_json

from syncnerf.atomic import atomic_folder
from syncnerf.cli import _parser
from syncnerf.errors import UserError
from syncnerf.generate.poses import Rig, embed_poses, read_rig
from syncnerf.generate.scene_writer import extrinsics, write_scene
from syncnerf.scene import load_scene
from syncnerf.scene.syn_cam_video import read_extrinsics


def relative(poses: torch.Tensor) -> torch.Tensor:
    return torch.linalg.inv(poses[0]) @ poses


def test_embedding_of_two_cameras_by_hand():
    """The second stands 3 m to the right of the first and 1 m above it, and looks 90 degrees to the left."""
    first = torch.eye(4, dtype=torch.float64)
    second = torch.tensor(
        [[0.0, 0.0, 1.0, 3.0], [0.0, 1.0, 0.0, 1.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
    )
    turn = torch.tensor([[0.6, -0.8, 0, 7], [0.8, 0.6, 0, -2], [0, 0, 1, 4], [0, 0, 0, 1]], dtype=torch.float64)
    embedded = embed_poses(torch.stack([turn @ first, turn @ second]), 2)
    assert embedded.shape == (2, 2, 12)
    # OpenCV axes, X right, Y down, Z forward, units of 2 m: looking left is looking along -X.
    expected = [[0, 0, -1, 1.5], [0, 1, 0, -0.5], [1, 0, 0, 0]]
    torch.testing.assert_close(embedded[1, 0].reshape(3, 4), torch.tensor(expected, dtype=torch.float32))
    torch.testing.assert_close(embedded[0, 1].reshape(3, 4), torch.eye(4)[:3])


def test_embedding_agrees_with_the_released_way_of_reading_the_json(tmp_path):
    """Of matrices as they are stored: transpose, columns 1, 2, 0, 3, second negated, relative, centimetres over 200."""
    syncam(tmp_path)
    record = json.loads((tmp_path / "cameras" / "camera_extrinsics.json").read_text())["frame0"]
    matrices = []
    for name in sorted(record):
        values = [float(x) for x in record[name].replace("[", " ").replace("]", " ").split()]
        matrix = torch.tensor(values, dtype=torch.float64).reshape(4, 4).T[:, [1, 2, 0, 3]]
        matrix[:, 1] *= -1
        matrix[:3, 3] /= 200
        matrices.append(matrix)
    expected = torch.stack([torch.linalg.inv(matrices[0]) @ matrix for matrix in matrices])[:, :3].flatten(1)
    scene = load_scene(tmp_path)
    found = embed_poses(torch.stack([camera.pose(0) for camera in scene.cameras]), 1)[:, 0]
    torch.testing.assert_close(found, expected.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("text", ["arc:4,15,3", "raise:3,10,3", "dolly:3,1,3"])
def test_what_is_written_is_read(tmp_path, text):
    rig = read_rig(text)
    path = tmp_path / "rig.json"
    path.write_text(json.dumps(extrinsics(rig, 5)))
    assert len(json.loads(path.read_text())) == 5
    names, poses = read_extrinsics(path)
    assert names == rig.names
    torch.testing.assert_close(poses, relative(rig.camera_to_world), atol=1e-12, rtol=0)
    torch.testing.assert_close(read_rig(str(path)).camera_to_world, poses)


def test_named_rigs_stand_where_they_should():
    arc = read_rig("arc:3,20,2.5").camera_to_world
    torch.testing.assert_close(arc[:, :3, 3].norm(dim=-1), torch.full((3,), 2.5).double())
    assert torch.rad2deg((arc[0, :3, 2] @ arc[1, :3, 2]).arccos()) == pytest.approx(20)
    raised = read_rig("raise:3,10,3").camera_to_world
    assert torch.unique(raised[:, 2, 3]).tolist() == [3.0]
    assert raised[2, 1, 3] == pytest.approx(3 * math.tan(math.radians(20)))
    for pose in [*arc, *raised]:  # all look at the origin
        torch.testing.assert_close(pose[:3, 2] * pose[:3, 3].norm(), pose[:3, 3])
    dolly = read_rig("dolly:3,0.5,2").camera_to_world
    assert dolly[:, 2, 3].tolist() == [2.0, 2.5, 3.0]


def test_rigs_of_scenes_and_of_transforms(own_scene, tmp_path, caplog):
    edit_json(own_scene / "transforms.json", lambda record: record.update(camera_angle_x=0.5))
    scene = load_scene(own_scene)
    rig = read_rig(str(own_scene), metres=0.5)
    assert rig.names == scene.names
    torch.testing.assert_close(
        rig.camera_to_world[:, :3, 3] * 2, torch.stack([c.pose(0)[:3, 3] for c in scene.cameras])
    )
    assert "focal length" in caplog.text
    assert "degrees" in caplog.text
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"frames": [{"transform_matrix": pose.tolist()} for pose in rig_of_tests()]}))
    torch.testing.assert_close(read_rig(str(path)).camera_to_world, torch.stack(rig_of_tests()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arc:1,15,3", "from 2"),
        ("arc:4,15", "a step and a distance"),
        ("arc:4,-1,3", "a step and a distance"),
        ("arc:40,15,3", "too far"),
        ("raise:9,10,3", "too far"),
        ("orbit:3,1,1", "no such file or folder"),
    ],
)
def test_unfit_rigs_are_named(text, message):
    with pytest.raises(UserError, match=message) as caught:
        read_rig(text)
    assert text in str(caught.value)


def test_a_rig_of_one_camera_is_refused(tmp_path):
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"frames": [{"transform_matrix": torch.eye(4).tolist()}]}))
    with pytest.raises(UserError, match="at least two"):
        read_rig(str(path))


def test_the_older_layout_is_named(tmp_path):
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"C_01_35mm": "[1 0 0 0]"}))
    with pytest.raises(UserError, match="older layout"):
        read_extrinsics(path)


def test_a_written_scene_opens(tmp_path):
    rig = Rig(["left", "right"], read_rig("arc:2,15,3").camera_to_world)
    colours = torch.rand(2, 3, 32, 48, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(colours.flatten(0, 1).permute(0, 3, 1, 2), 9, 1, 4).permute(0, 2, 3, 1)
    videos = smooth.reshape(2, 3, 32, 48, 3)
    with atomic_folder(tmp_path / "scene") as folder:
        write_scene(folder, rig, ([*frames] for frames in videos), {"prompt": "a ball"})
    scene = load_scene(tmp_path / "scene")
    assert scene.format == "syncam"
    assert scene.names == ["cam01", "cam02"]
    assert {camera.fps for camera in scene.cameras} == {15.0}
    assert scene.cameras[0].intrinsics.focal_x == pytest.approx(48 * 24 / 23.76)
    torch.testing.assert_close(
        torch.stack([c.pose(0) for c in scene.cameras]), relative(rig.camera_to_world), atol=1e-12, rtol=0
    )
    for view in range(2):
        frames = torch.from_numpy(scene.frames(view).copy()).float() / 255
        assert (frames - videos[view]).abs().mean() < 0.03
    record = json.loads((tmp_path / "scene" / "prompt.json").read_text())
    assert record == {"origin": "generated", "prompt": "a ball"}


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    def fail() -> None:
        with atomic_folder(tmp_path / "scene") as folder:
            (folder / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "mine").touch()  # an empty one may be filled, as by import and export
    with pytest.raises(UserError, match="already exists"), atomic_folder(tmp_path / "scene"):
        pass


def test_the_page_on_generated_views_names_commands_that_there_are():
    page = (Path(__file__).parent.parent / "docs" / "generated.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    commands = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True) for line in commands if line.startswith("syncnerf ")]
    assert {words[1] for words in commands} == {"score-views", "convert-view-sync", "generate", "train-generator"}
    for words in commands:
        _parser().parse_args(words[1:])  # raises UserError for an option that is not there
