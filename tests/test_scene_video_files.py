"""Which files are whose videos: suffixes, folders, chapters, order, and cameras that are left out."""

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from format_scenes import CAMERAS, FRAMES, HEIGHT, WIDTH, blender_frames, blender_video, n3v, rig, syncam
from odd_videos import grey, write_timed
from tiny_scene import edit_json

from syncnerf.errors import UserError
from syncnerf.scene import load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.video import file_begins, probe_video
from syncnerf.scene.video_files import find_videos

PLAIN = [f"cam{k:02d}" for k in range(CAMERAS)]


def poses(scene):
    """Camera-to-world matrices by name."""
    return {camera.name: camera.camera_to_world for camera in scene.cameras}


def rename(root, names):
    """Give the videos cam00.mp4 ... other names; returns what the poses should then be."""
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"cam{k:02d}.mp4").rename(root / name)


@pytest.mark.parametrize("names", [[f"{name}.MP4" for name in PLAIN], [f"{name}.MOV" for name in PLAIN]])
def test_suffixes_of_cameras_and_what_macos_leaves_beside(tmp_path, names):
    blender_video(tmp_path)
    rename(tmp_path, names)
    for name in names:
        (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7" + bytes(100))
    scene = load_scene(tmp_path)
    assert scene.names == PLAIN
    for index, pose in enumerate(rig()):
        torch.testing.assert_close(scene.cameras[index].camera_to_world, pose)


def test_a_folder_per_camera_gives_the_names(tmp_path):
    blender_video(tmp_path)
    rename(tmp_path, [f"{name}/video.mp4" for name in PLAIN])
    assert load_scene(tmp_path).names == PLAIN
    entries = [{"file_path": f"{name}/video.mp4", "transform_matrix": pose.tolist()} for name, pose in
               zip(PLAIN, rig(), strict=True)]  # fmt: skip
    edit_json(tmp_path / "transforms.json", lambda record: record.update(frames=entries))
    assert load_scene(tmp_path).names == PLAIN
    shutil.copy(tmp_path / "cam01" / "video.mp4", tmp_path / "cam01" / "again.mp4")
    edit_json(tmp_path / "transforms.json", lambda record: [e.pop("file_path") for e in record["frames"]])
    with pytest.raises(UserError, match="cam01: holds 2 videos"):
        load_scene(tmp_path)


def test_a_single_folder_may_hold_all_videos(tmp_path):
    blender_video(tmp_path)
    rename(tmp_path, [f"videos/{name}.mp4" for name in PLAIN])
    (tmp_path / "notes").mkdir()
    scene = load_scene(tmp_path)
    assert scene.names == PLAIN
    for index, pose in enumerate(rig()):
        torch.testing.assert_close(scene.cameras[index].camera_to_world, pose)


def test_a_name_in_the_json_may_lack_the_suffix_or_its_case(tmp_path):
    blender_video(tmp_path)
    rename(tmp_path, [f"{name}.MOV" for name in PLAIN])
    names = ["cam03", "cam01.mov", "./cam00", "cam02.MOV"]
    edit_json(
        tmp_path / "transforms.json",
        lambda record: [entry.update(file_path=name) for entry, name in zip(record["frames"], names, strict=True)],
    )
    assert load_scene(tmp_path).names == ["cam03", "cam01", "cam00", "cam02"]
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][2].pop("file_path"))
    with pytest.raises(UserError, match=r"frames\[2\]: has no 'file_path'"):
        load_scene(tmp_path)


def test_a_name_in_the_json_may_be_of_windows(tmp_path):
    blender_video(tmp_path)
    (tmp_path / "videos").mkdir()
    for name in PLAIN:
        (tmp_path / f"{name}.mp4").rename(tmp_path / "videos" / f"{name}.mp4")

    def change(record):
        for entry, name in zip(record["frames"], PLAIN, strict=True):
            entry["file_path"] = f".\\videos\\{name}.mp4"

    edit_json(tmp_path / "transforms.json", change)
    assert load_scene(tmp_path).names == PLAIN


def chapters(root, name):
    """Replace cam00.mp4 by a recording in three files of 2, 2 and 1 frames, whose greys are 20, 30, ..., 60."""
    (root / "cam00.mp4").unlink()
    for part, (first, count) in enumerate([(0, 2), (2, 2), (4, 1)], start=1):
        greys = [grey(20 + 10 * k, WIDTH, HEIGHT) for k in range(first, first + count)]
        write_timed(root / name.format(part), greys, np.arange(count) / 10, rate=10)


def check_chapters(scene, name):
    """The recording is one camera whose frames go on."""
    camera = scene.cameras[scene.index_of(name)]
    assert camera.frame_count == FRAMES
    torch.testing.assert_close(camera.frame_times, torch.arange(FRAMES, dtype=torch.float64) / 10)
    greys = scene.frames(scene.index_of(name)).reshape(FRAMES, -1).mean(1)
    np.testing.assert_allclose(greys, 20 + 10 * np.arange(FRAMES), atol=2)


@pytest.mark.parametrize("name", ["GX{:02d}0017.MP4", "GH{:02d}0017.MP4"])
def test_chapters_are_one_recording(tmp_path, name):
    blender_video(tmp_path)
    chapters(tmp_path, name)
    for k in range(1, CAMERAS):
        (tmp_path / f"cam{k:02d}.mp4").rename(tmp_path / f"GX01002{k}.MP4")
    assert [len(video.paths) for video in find_videos(tmp_path)] == [3, 1, 1, 1]
    check_chapters(load_scene(tmp_path), name.format(1)[:-4])


def test_parts_that_nobody_names_are_told(tmp_path, caplog):
    blender_video(tmp_path)
    chapters(tmp_path, "GX{:02d}0017.MP4")
    names: list = ["GX010017.MP4", "cam01.mp4", "cam02.mp4", "cam03.mp4"]

    def name(record):
        for entry, file in zip(record["frames"], names, strict=True):
            entry["file_path"] = file

    edit_json(tmp_path / "transforms.json", name)
    assert load_scene(tmp_path).cameras[0].frame_count == 2
    assert "GX010017.MP4: its recording goes on in GX020017.MP4, GX030017.MP4" in caplog.text
    caplog.clear()
    names[0] = [f"GX0{part}0017.MP4" for part in (1, 2, 3)]
    edit_json(tmp_path / "transforms.json", name)
    check_chapters(load_scene(tmp_path), "GX010017")
    assert "goes on" not in caplog.text


def test_a_list_of_files_is_one_recording(tmp_path):
    blender_video(tmp_path)
    chapters(tmp_path, "part{}.mp4")
    names = [["part1.mp4", "part2.mp4", "part3.mp4"], "cam01.mp4", "cam02.mp4", "cam03.mp4"]
    edit_json(
        tmp_path / "transforms.json",
        lambda record: [entry.update(file_path=name) for entry, name in zip(record["frames"], names, strict=True)],
    )
    check_chapters(load_scene(tmp_path), "part1")
    write_timed(tmp_path / "part2.mp4", [grey(20)] * 2, [0, 0.1], rate=10)
    with pytest.raises(UserError, match=r"part2\.mp4: is of another size"):
        load_scene(tmp_path)


def test_a_first_file_of_one_frame_goes_by_the_others_rate(tmp_path):
    """A transport stream of one frame has no rate but its clock's ticks."""
    parts = [
        write_timed(tmp_path / f"{name}.ts", [grey(20)] * count, np.arange(count) / 10, rate=10)
        for name, count in (("first", 1), ("second", 5), ("third", 1))
    ]
    assert probe_video(parts[0]).fps != pytest.approx(10)
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        first, *chapters = (parts[index] for index in order)
        whole = probe_video(first, tuple(chapters))
        assert (whole.fps, whole.frame_count, whole.times, whole.untimed) == (10, 7, None, "")
    assert file_begins(parts) == pytest.approx([0.0, 0.1, 0.6])


UNEVEN = [f"cam{8 + k}" for k in range(CAMERAS)]
"""cam8, cam9, cam10, cam11."""


@pytest.mark.parametrize("write", [blender_video, n3v])
def test_an_order_that_is_not_certain_is_refused(tmp_path, write):
    write(tmp_path)
    rename(tmp_path, [f"{name}.mp4" for name in UNEVEN])
    with pytest.raises(UserError, match=r"cam8 or cam10 may come first; name"):
        load_scene(tmp_path)


@pytest.mark.parametrize("names", [["Cam00", "cam01", "Cam02", "cam03"], ["b", "B2", "a", "c"]])
def test_an_order_that_capitals_change_is_refused(tmp_path, names):
    blender_video(tmp_path)
    rename(tmp_path, [f"{name}.mp4" for name in names])
    with pytest.raises(UserError, match=r"may come first; name"):
        load_scene(tmp_path)


def test_an_order_of_folders_that_is_not_certain_is_refused(tmp_path):
    blender_frames(tmp_path)
    for name, other in zip(PLAIN, UNEVEN, strict=True):
        (tmp_path / "frames_1" / name).rename(tmp_path / "frames_1" / other)
    with pytest.raises(UserError, match=r"cam8 or cam10 may come first; name"):
        load_scene(tmp_path)


def test_names_that_decide_come_in_natural_order(tmp_path):
    syncam(tmp_path)
    path = tmp_path / "cameras" / "camera_extrinsics.json"
    before = load_scene(tmp_path)
    record = json.loads(path.read_text())
    new = dict(zip([f"cam{k + 1:02d}" for k in range(CAMERAS)], UNEVEN, strict=True))
    path.write_text(json.dumps({f: {new[name]: pose for name, pose in frame.items()} for f, frame in record.items()}))
    for name, other in new.items():
        (tmp_path / "videos" / f"{name}.mp4").rename(tmp_path / "videos" / f"{other}.mp4")
    scene = load_scene(tmp_path)
    assert scene.names == UNEVEN
    for name, other in new.items():
        torch.testing.assert_close(poses(scene)[other], poses(before)[name])


@pytest.mark.parametrize("write", [blender_video, n3v, syncam])
def test_a_video_without_a_pose_can_be_left_out(tmp_path, write):
    write(tmp_path)
    (tmp_path / "offsets.json").unlink(missing_ok=True)
    folder = tmp_path / "videos" if write is syncam else tmp_path
    reference = poses(load_scene(tmp_path))
    shutil.copy(next(folder.glob("*.mp4")), folder / "cam01b.mp4")
    with pytest.raises(UserError, match=r"--exclude-cameras|no video"):
        load_scene(tmp_path)
    found = poses(load_scene(tmp_path, ReadOptions(exclude_cameras=("cam01b",))))
    assert list(found) == list(reference)
    for name, pose in found.items():
        torch.testing.assert_close(pose, reference[name])
    with pytest.raises(UserError, match="no camera 'nobody'"):
        load_scene(tmp_path, ReadOptions(exclude_cameras=("cam01b", "nobody")))


def test_an_exclusion_that_leaves_the_order_open_is_told_so(tmp_path):
    blender_video(tmp_path)
    shutil.copy(tmp_path / "cam01.mp4", tmp_path / "phone.mp4")
    with pytest.raises(UserError, match=r"4 poses but 5 videos .*with phone, cam02 left out; move those"):
        load_scene(tmp_path, ReadOptions(exclude_cameras=("phone", "cam02")))


def test_what_is_left_out_need_not_be_there(tmp_path):
    blender_video(tmp_path)
    edit_json(
        tmp_path / "transforms.json",
        lambda record: [
            entry.update(file_path=f"{name}.mp4") for entry, name in zip(record["frames"], PLAIN, strict=True)
        ],
    )
    (tmp_path / "cam02.mp4").unlink()
    assert load_scene(tmp_path, ReadOptions(exclude_cameras=("cam02",))).names == ["cam00", "cam01", "cam03"]


def test_a_video_that_two_entries_name_is_told(tmp_path):
    blender_video(tmp_path)
    entries = [{"file_path": f"{name}.mp4", "transform_matrix": pose.tolist()} for name, pose in
               zip(PLAIN, rig(), strict=True)]  # fmt: skip
    entries[2]["file_path"] = "cam01"
    edit_json(tmp_path / "transforms.json", lambda record: record.update(frames=entries))
    with pytest.raises(UserError, match=r"frames\[2\]: names cam01.mp4, as frames\[1\] does"):
        load_scene(tmp_path)


@pytest.mark.parametrize(("name", "start"), [("a.mkv", 0.0), ("a.mkv", 2.0), ("a.avi", 0.0)])
def test_a_file_that_was_copied_in_part_is_told(tmp_path, caplog, name, start):
    """Its header says where it should end. (An mp4 without its end is refused, as it lists its frames.)"""
    images = list(np.random.default_rng(1).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8))
    moments = [start + k / 30 + (0.4 if k > 7 and start else 0.0) for k in range(20)]
    path = write_timed(tmp_path / name, images, moments, Fraction(1, 1000) if name == "a.mkv" else Fraction(1, 30))
    assert probe_video(path).frame_count == 20
    assert not caplog.messages
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert 5 < probe_video(path).frame_count < 15
    assert f"where its header states {start + 20 / 30 + (0.4 if start else 0.0):.2f}"[:-1] in caplog.text
