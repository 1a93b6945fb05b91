"""tools/desync.py: which frames it keeps, and the offsets it writes down."""

import json
import sys
from pathlib import Path

import desync
import numpy as np
import pytest
from evaluation_fixtures import look_from
from format_scenes import FORMATS
from odd_videos import turn, write_timed
from PIL import Image
from scipy.spatial.transform import Rotation
from tiny_scene import ANGLE, picture

from syncnerf.scene import load_scene
from syncnerf.scene.video import probe_video
from syncnerf.sync import synchronize

TOOLS = Path(__file__).resolve().parent.parent / "tools"
SOURCE_FPS = 30.0
LENGTHS = (40, 44, 42)


def grey_of(frame: int) -> int:
    return 20 + 4 * frame


@pytest.fixture
def source(tmp_path):
    """Three cameras whose frames carry their number as brightness."""
    folder = tmp_path / "source"
    folder.mkdir()
    entries = []
    for camera, length in enumerate(LENGTHS):
        name = f"cam{camera:02d}.mp4"
        with desync.SceneVideo(folder / name, 32, 24, SOURCE_FPS, 0) as video:
            for frame in range(length):
                video.write_rgb(np.full((24, 32, 3), grey_of(frame), dtype=np.uint8))
        entries.append({"file_path": name, "transform_matrix": np.eye(4).tolist(), "fl_x": 30.0 + camera})
    desync.write_json(folder / "transforms.json", {"fps": SOURCE_FPS, "camera_model": "OPENCV", "frames": entries})
    return folder


def frame_numbers(video: Path) -> list[int]:
    av = sys.modules["av"]
    with av.open(str(video)) as container:
        greys = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    return [round((grey - grey_of(0)) / 4) for grey in greys]


def read(folder: Path) -> tuple[dict, dict]:
    return tuple(json.loads((folder / name).read_text()) for name in ("transforms.json", "offsets.json"))


def test_random_crops_are_what_the_offsets_say(source, tmp_path):
    output = tmp_path / "out"
    assert desync.main([str(source), str(output), "--crop", "12", "--seed", "3"]) == 0
    transforms, offsets = read(output)
    assert offsets["unit"] == "seconds"
    starts = [round(value * SOURCE_FPS) for value in offsets["seconds"]]
    assert len(set(starts)) > 1
    assert all(0 <= start <= 12 for start in starts)
    np.testing.assert_allclose(offsets["seconds"], np.array(starts) / SOURCE_FPS, atol=1e-12)
    shortest = min(length - start for length, start in zip(LENGTHS, starts, strict=True))
    for camera, start in enumerate(starts):
        assert frame_numbers(output / f"cam{camera:02d}.mp4") == list(range(start, start + shortest))
    assert transforms["fps"] == SOURCE_FPS
    assert transforms["camera_model"] == "OPENCV"
    assert transforms["frames"][2]["fl_x"] == 32.0


def test_every_third_frame_divides_the_frame_rate(source, tmp_path):
    output = tmp_path / "out"
    assert desync.main([str(source), str(output), "--every", "3", "--crops", "0,4,1", "--seed", "1"]) == 0
    transforms, offsets = read(output)
    assert transforms["fps"] == pytest.approx(SOURCE_FPS / 3)
    starts = [round(value * SOURCE_FPS) for value in offsets["seconds"]]
    phases = np.array(starts) - np.array([0, 4, 1])
    assert len(set(phases.tolist())) > 1
    assert set(phases.tolist()) <= {0, 1, 2}
    for camera, start in enumerate(starts):
        numbers = frame_numbers(output / f"cam{camera:02d}.mp4")
        assert numbers == list(range(start, start + 3 * len(numbers), 3))
        with sys.modules["av"].open(str(output / f"cam{camera:02d}.mp4")) as container:
            assert float(container.streams.video[0].average_rate) == pytest.approx(SOURCE_FPS / 3)


def test_frame_rates_stay_with_their_cameras_when_they_differ(source, tmp_path):
    transforms = json.loads((source / "transforms.json").read_text())
    del transforms["fps"]
    desync.write_json(source / "transforms.json", transforms)
    with desync.SceneVideo(source / "cam01.mp4", 32, 24, 60.0, 0) as video:
        for frame in range(LENGTHS[1]):
            video.write_rgb(np.full((24, 32, 3), grey_of(frame), dtype=np.uint8))
    output = tmp_path / "out"
    assert desync.main([str(source), str(output), "--crops", "6,6,6", "--every", "2", "--seed", "0"]) == 0
    transforms, offsets = read(output)
    assert [entry["fps"] for entry in transforms["frames"]] == [15.0, 30.0, 15.0]
    first = np.array(offsets["desync"]["first_frames"])
    np.testing.assert_allclose(offsets["seconds"], first / np.array([30.0, 60.0, 30.0]))


def test_true_offsets_of_the_source_are_added(source, tmp_path):
    by_name = {"cam00": 0.25, "cam01": -0.5, "cam02": 0.0}
    desync.write_json(source / "offsets.json", {"seconds": by_name})
    output, again = tmp_path / "out", tmp_path / "again"
    assert desync.main([str(source), str(output), "--crops", "3,0,6"]) == 0
    np.testing.assert_allclose(read(output)[1]["seconds"], [0.35, -0.5, 0.2])
    assert desync.main([str(output), str(again), "--crops", "0,3,0"]) == 0
    np.testing.assert_allclose(read(again)[1]["seconds"], [0.35, -0.4, 0.2])
    assert frame_numbers(again / "cam01.mp4")[0] == 3


def test_keep_length(source, tmp_path):
    output = tmp_path / "out"
    assert desync.main([str(source), str(output), "--crops", "10,0,2", "--keep-length"]) == 0
    lengths = [len(frame_numbers(output / f"cam{camera:02d}.mp4")) for camera in range(3)]
    assert lengths == [30, 44, 40]


def test_poses_of_a_moving_camera_follow_its_frames(source, tmp_path):
    transforms = json.loads((source / "transforms.json").read_text())
    for entry, length in zip(transforms["frames"], LENGTHS, strict=True):
        poses = np.tile(np.eye(4), (length, 1, 1))
        poses[:, 0, 3] = np.arange(length)
        entry["transform_matrices"] = poses.tolist()
    desync.write_json(source / "transforms.json", transforms)
    output = tmp_path / "out"
    assert desync.main([str(source), str(output), "--crops", "5,0,2", "--every", "2"]) == 0
    for entry in read(output)[0]["frames"]:
        numbers = frame_numbers(output / entry["file_path"])
        assert [pose[0][3] for pose in entry["transform_matrices"]] == numbers
        assert entry["transform_matrix"] == entry["transform_matrices"][0]


def test_the_same_seed_gives_the_same_files(source, tmp_path):
    for name in ("one", "two"):
        assert desync.main([str(source), str(tmp_path / name), "--crop", "9", "--every", "2", "--seed", "7"]) == 0
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["--crops", "1,2"], "2 numbers for 3 cameras"), (["--crops", "0,0,99"], "nothing is left")],
)
def test_bad_requests_end_with_one_line(source, tmp_path, capsys, arguments, part):
    assert desync.main([str(source), str(tmp_path / "out"), *arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert part in message
    assert len(message.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_bad_sources_end_with_one_line(source, tmp_path, capsys):
    assert desync.main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no known format" in capsys.readouterr().err
    (source / "cam01.mp4").write_bytes(b"not a video")
    assert desync.main([str(source), str(tmp_path / "out")]) == 2
    assert "cam01.mp4" in capsys.readouterr().err
    (source / "cam01.mp4").unlink()
    assert desync.main([str(source), str(tmp_path / "out")]) == 2
    assert "cam01.mp4" in capsys.readouterr().err


def test_an_interrupted_copy_leaves_nothing(source, tmp_path, monkeypatch):
    def interrupt(writer, frame, seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(desync.SceneVideo, "write_frame", interrupt)
    with pytest.raises(KeyboardInterrupt):
        desync.main([str(source), str(tmp_path / "out")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_existing_output_needs_force(source, tmp_path, capsys):
    output = tmp_path / "out"
    assert desync.main([str(source), str(output)]) == 0
    assert desync.main([str(source), str(output), "--crops", "1,1,1"]) == 2
    assert "--force" in capsys.readouterr().err
    assert frame_numbers(output / "cam00.mp4")[0] == 0
    assert desync.main([str(source), str(output), "--crops", "1,1,1", "--force"]) == 0
    assert frame_numbers(output / "cam00.mp4")[0] == 1
    assert desync.main([str(source), str(source), "--force"]) == 2


def test_force_does_not_delete_other_folders(source, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("...")
    assert desync.main([str(source), str(precious), "--force"]) == 2
    assert (precious / "thesis.tex").exists()


def test_uneven_times_stay_and_decide_the_offsets(source, tmp_path):
    """Two frames lost and the rest a little early or late, in one camera."""
    times = np.delete(np.arange(44), [8, 20]) / SOURCE_FPS + 0.004 * np.sin(np.arange(42))
    write_timed(source / "cam01.mp4", [np.full((24, 32, 3), grey_of(k), np.uint8) for k in range(42)], times)
    output = tmp_path / "out"
    assert desync.main([str(source), str(output), "--crops", "3,5,0", "--every", "2", "--seed", "2"]) == 0
    starts = read(output)[1]["desync"]["first_frames"]
    np.testing.assert_allclose(
        read(output)[1]["seconds"], [starts[0] / 30, times[starts[1]] - times[0], starts[2] / 30], atol=2e-5
    )
    copied = probe_video(output / "cam01.mp4")
    kept = times[starts[1] :: 2][: copied.frame_count]
    np.testing.assert_allclose(copied.times, kept - kept[0], atol=3e-5)
    assert frame_numbers(output / "cam01.mp4") == list(range(starts[1], starts[1] + 2 * copied.frame_count, 2))
    scene = load_scene(output)
    assert [camera.fps for camera in scene.cameras][::2] == [15.0, 15.0]


def test_turned_videos_are_copied_upright(source, tmp_path):
    image = np.zeros((32, 24, 3), dtype=np.uint8)
    image[:16] = 200
    path = write_timed(source / "cam01.mp4", [image] * LENGTHS[1], np.arange(LENGTHS[1]) / SOURCE_FPS)
    turn(path, 0, 1, -1, 0)
    assert desync.main([str(source), str(tmp_path / "out")]) == 0
    scene = load_scene(tmp_path / "out")
    assert scene.cameras[1].intrinsics.width == 32
    frame = scene.frames(1)[3]
    assert frame[:, 20:].mean() > 190
    assert frame[:, :12].mean() < 10


@pytest.mark.parametrize("name", ["n3v", "panoptic", "syncam", "technicolor", "blender-frames"])
def test_every_format_of_several_cameras_can_be_put_out_of_step(tmp_path, name):
    (tmp_path / "scene").mkdir()
    FORMATS[name](tmp_path / "scene")
    (tmp_path / "scene" / "offsets.json").unlink(missing_ok=True)
    assert desync.main([str(tmp_path / "scene"), str(tmp_path / "out"), "--crops", "0,2,1,0", "--crf", "0"]) == 0
    before, after = load_scene(tmp_path / "scene"), load_scene(tmp_path / "out")
    assert after.names == before.names
    np.testing.assert_allclose(after.true_offsets, np.array([0, 2, 1, 0]) / before.cameras[0].fps)
    assert (after.near, after.far) == (before.near, before.far)
    for index, (one, other) in enumerate(zip(before.cameras, after.cameras, strict=True)):
        assert other.frame_count == one.frame_count - 2
        assert other.intrinsics == one.intrinsics
        np.testing.assert_allclose(other.camera_to_world, one.camera_to_world, atol=1e-9)
        change = after.frames(index)[0].astype(int) - before.frames(index)[0]
        assert np.abs(change).max() <= 6


def test_what_one_camera_filmed_cannot_be(tmp_path, capsys):
    (tmp_path / "scene").mkdir()
    FORMATS["dnerf"](tmp_path / "scene")
    assert desync.main([str(tmp_path / "scene"), str(tmp_path / "out")]) == 2
    assert "from one place only" in capsys.readouterr().err


def test_a_grid_put_out_of_step_is_synchronised_again(tmp_path):
    """Technicolor's layout, five seconds of moving blobs: what desync writes as the truth is what sync finds."""
    fps, side, crops = 30, 32, (0, 9, 21, 4)
    focal = 0.5 * side / np.tan(0.5 * ANGLE)
    (tmp_path / "scene").mkdir()
    lines = []
    for camera, place in enumerate([(3.4, 0.3, 2.0), (0.9, 3.3, 1.1), (-3.2, 0.8, 2.7), (-0.6, -3.6, 1.7)]):
        pose = look_from(place).numpy()
        world_to_camera = np.diag([1.0, -1.0, -1.0, 1.0]) @ np.linalg.inv(pose)
        x, y, z, w = Rotation.from_matrix(world_to_camera[:3, :3]).as_quat()
        row = [focal, side / 2, side / 2, 1.0, 0.0, w, x, y, z, *world_to_camera[:3, 3]]
        lines.append(" ".join(map(repr, map(float, row))))
        for frame in range(150):
            time = frame / fps
            image = picture(pose, time + 0.5 * np.sin(2.3 * time) + 0.3 * np.sin(5.1 * time + 1), side)
            Image.fromarray(image).save(tmp_path / "scene" / f"Blobs_undist_{frame:05d}_{camera:02d}.png")
    (tmp_path / "scene" / "cameras_parameters.txt").write_text("\n".join(lines))
    assert desync.main([str(tmp_path / "scene"), str(tmp_path / "out"), "--crops", ",".join(map(str, crops))]) == 0
    scene = load_scene(tmp_path / "out")
    np.testing.assert_allclose(scene.true_offsets, np.array(crops) / fps)
    found = synchronize(scene).offsets
    truth = scene.true_offsets - scene.true_offsets[scene.reference]
    assert float((found - truth).abs().max()) * fps < 0.3
