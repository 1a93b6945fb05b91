"""``syncnerf info``: the table, the common stretch of time, the picture."""

import argparse
import os
import shutil
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from format_scenes import FORMATS, HEIGHT, WIDTH
from matplotlib.axes import Axes
from odd_videos import add_sound, grey, planar_video, remux, turn, write_timed
from PIL import Image
from tiny_scene import edit_json

from syncnerf.cli import main, report_user_errors
from syncnerf.errors import UserError
from syncnerf.scene import load_scene, rig_picture
from syncnerf.scene.info_command import add_parser, overlap_line, table
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.remarks import blind_cameras, remarks
from syncnerf.scene.rig_picture import draw_rig


def info(arguments):
    """Run the subcommand."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["info", *arguments])
    return parsed.run(parsed)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_shown(name, tmp_path, capsys):
    (tmp_path / "scene").mkdir()
    FORMATS[name](tmp_path / "scene")
    picture = tmp_path / "rig.png"
    assert info([f"--datadir={tmp_path / 'scene'}", f"--picture={picture}"]) == 0
    shown = capsys.readouterr().out
    scene = load_scene(tmp_path / "scene")
    for word in (*scene.names, scene.format, "common time", "train", "test"):
        assert word in shown
    with Image.open(picture) as image:
        assert min(image.size) > 400
    assert not (tmp_path / "scene" / ".syncnerf_cache").exists()


def test_the_common_time_follows_the_true_offsets(tmp_path):
    FORMATS["blender-video"](tmp_path)
    scene = load_scene(tmp_path)
    # Five frames at 10 fps; offsets 0, 0.1, 0.2 and 0.3 s.
    assert overlap_line(scene).startswith("0.100 s of 0.400 s, 0.300 to 0.400 (by the true offsets)")
    scene.true_offsets = scene.true_offsets * 2
    # Now 0.6 s from first to last: no video is that long, until one is that spans all the others.
    assert overlap_line(scene).startswith("none")
    assert "0.6 s apart, longer than any video: are they in seconds?" in overlap_line(scene)
    cameras = scene.cameras
    scene.cameras = (cameras[0], replace(cameras[1], frame_count=20), *cameras[2:])
    assert overlap_line(scene).endswith("never ran at the same time (by the true offsets)")
    scene.cameras = cameras
    scene.true_offsets = None
    assert overlap_line(scene).startswith("0.400 s of 0.400 s")
    assert len(table(scene).splitlines()) == 1 + len(scene.cameras)


def test_the_box_is_drawn_as_it_is_seen_from_above(tmp_path, monkeypatch):
    """Edge by edge: one that stands askew has a larger rectangle around it than it is."""
    FORMATS["per-camera-json"](tmp_path)
    scene, drawn = load_scene(tmp_path), []
    monkeypatch.setattr(Axes, "plot", lambda _, x, y, *args, **options: drawn.append((x, y, options)) or [])
    draw_rig(scene, tmp_path / "rig.png")
    edges = [np.array([x, y]).T for x, y, options in drawn if options.get("linestyle") == ":"]
    assert len(edges) == 12
    # The sum over all edges of what is seen of each is four times that over the box's three axes.
    across, forward, _ = rig_picture._plane(scene.cameras)
    sides = torch.diag((scene.bounds[1] - scene.bounds[0]).double())
    seen = 4 * sum(float(torch.stack([side @ across, side @ forward]).norm()) for side in sides)
    assert sum(np.linalg.norm(edge[1] - edge[0]) for edge in edges) == pytest.approx(seen)


def test_a_picture_that_cannot_be_written_is_said_so(tmp_path):
    FORMATS["blender-video"](tmp_path)
    with pytest.raises(UserError, match=r"rig\.png: cannot be written"):
        info([f"--datadir={tmp_path}", f"--picture={tmp_path / 'missing' / 'rig.png'}"])


def test_a_picture_takes_no_videos_place(tmp_path):
    FORMATS["blender-video"](tmp_path)
    before = (tmp_path / "cam01.mp4").read_bytes()
    with pytest.raises(UserError, match="is no PNG; name another"):
        info([f"--datadir={tmp_path}", f"--picture={tmp_path / 'cam01.mp4'}"])
    assert (tmp_path / "cam01.mp4").read_bytes() == before
    for _ in range(2):
        info([f"--datadir={tmp_path}", f"--picture={tmp_path / 'rig.png'}"])


def test_what_could_surprise_of_images_is_said(tmp_path):
    FORMATS["blender-frames"](tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in (tmp_path / "frames_1" / "cam01").iterdir():
        Image.open(path).convert("RGB").save(path, exif=exif)
    for path in (tmp_path / "frames_1" / "cam02").iterdir():
        Image.fromarray(257 * np.array(Image.open(path).convert("L")).astype(np.uint16)).save(path)
    assert remarks(load_scene(tmp_path)) == [
        "cam01: images are stored turned or mirrored, and read upright",
        "cam02: images have 16 bits of grey, read as 8",
    ]


def test_numbers_of_images_that_were_left_out_everywhere_are_said(tmp_path):
    """Every second image is deleted in all cameras: a slower recording, or the rate of another one."""
    FORMATS["blender-frames"](tmp_path)
    assert not remarks(load_scene(tmp_path))
    for folder in (tmp_path / "frames_1").iterdir():
        for path in sorted(folder.iterdir())[1::2]:
            path.unlink()
    scene = load_scene(tmp_path)
    (said,) = remarks(scene)
    assert said.startswith(f"all cameras: images are numbered by 2, and taken for {scene.cameras[0].fps:g} a second")


def test_a_dry_run_says_what_could_surprise(tmp_path, capsys):
    FORMATS["blender-frames"](tmp_path)
    (tmp_path / "frames_1" / "cam02" / "000002.png").unlink()
    assert main(["train", f"--datadir={tmp_path}", "--dry-run"]) == 0
    assert "cam02: a gap between frames, of at most 0.067 s; the first after frame 1" in capsys.readouterr().out


WHOLE = {"bf": "2", "preset": "medium", "g": "4", "keyint_min": "4", "sc_threshold": "0"}
GREYS = [grey(40 + 10 * k, WIDTH, HEIGHT) for k in range(12)]
EVEN = np.arange(12) / 10


def gaps(path):
    write_timed(path, GREYS[:9], np.array([0, 1, 2, 3, 5, 6, 9, 10, 11]) / 10)


def uneven(path):
    # Intervals of 100 + 10 (sin(k + 1) - sin(k)) ms: 98.0 is the median, 90.4 and 109.4 are the extremes.
    write_timed(path, GREYS, EVEN + 0.01 * np.sin(np.arange(12)))


def turned(path):
    write_timed(path, [image.swapaxes(0, 1) for image in GREYS], EVEN, rate=10)
    turn(path, 0, 1, -1, 0)


def cut(path):
    whole = write_timed(path.with_name("whole.mkv"), GREYS, EVEN, rate=10, **WHOLE)
    remux(whole, path, 0.4, 0.6, avoid_negative_ts="disabled")
    whole.unlink()


def interlaced(path):
    write_timed(path, GREYS, EVEN, rate=10, **{"x264-params": "tff=1"})


def woven(path):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    bars = [(columns + 2 * k + rows % 2) % 16 < 8 for k in range(len(EVEN))]
    write_timed(path, [np.repeat(bar[..., None] * np.uint8(255), 3, axis=-1) for bar in bars], EVEN, rate=10)


def late(path):
    write_timed(path, GREYS, EVEN + 0.7, rate=10)


def late_with_sound(path):
    late(path.with_name("silent.mkv"))
    add_sound(path.with_name("silent.mkv"), path, 1.5)
    path.with_name("silent.mkv").unlink()


def deep(path):
    planes = [np.full((HEIGHT, WIDTH), 400, np.uint16)] + [np.full((HEIGHT // 2, WIDTH // 2), 512, np.uint16)] * 2
    planar_video(path, *planes, "libx264", "yuv420p10le", **{"x264-params": "transfer=arib-std-b67:fullrange=on"})


SURPRISES = {
    "gaps": (gaps, "cam02: 2 gaps between frames, of at most 0.300 s; the first after frame 3"),
    "uneven": (uneven, "cam02: the rate varies: 90.4 to 109.4 ms from frame to frame, usually 98.0"),
    "turned": (turned, f"cam02: stored turned or mirrored, read upright: {WIDTH}x{HEIGHT}"),
    "cut": (cut, "cam02: cut without being encoded again: 2 frames before its beginning are skipped"),
    "interlaced": (interlaced, "cam02: interlaced: each frame shows two moments"),
    "woven": (woven, "cam02: its rows show two moments in turn (interlaced, and not marked so); deinterlace it first"),
    "late": (late, "cam02: its picture begins at 0.700 s of the file's clock"),
    "late, with sound": (late_with_sound, "cam02: its picture begins 0.700 s after its sound"),
    "with sound": (late_with_sound, "cam02: has sound: aac, 44100 Hz"),
    "deep": (deep, "cam02: 10 bits a colour, read as 8"),
    "bright": (deep, "cam02: high dynamic range (HLG): read as it is stored, without tone mapping"),
    "full range": (deep, "cam02: full-range colours (a tag of the file, which is followed)"),
}


@pytest.mark.parametrize("name", SURPRISES)
def test_what_could_surprise_is_said(tmp_path, capsys, name):
    FORMATS["blender-video"](tmp_path)
    make, line = SURPRISES[name]
    plain = remarks(load_scene(tmp_path))
    assert plain == []
    (tmp_path / "cam02.mp4").unlink()
    make(tmp_path / "cam02.mp4")
    assert info([f"--datadir={tmp_path}"]) == 0
    assert line in capsys.readouterr().out


def test_what_is_true_of_all_is_said_once(tmp_path):
    FORMATS["blender-video"](tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record.update(row_time=0.015, exposure=0.004))
    assert remarks(load_scene(tmp_path)) == [
        "all cameras: rolling shutter: 15 ms from the first row to the last",
        "all cameras: exposed for 4 ms; half of it is added to the frames' times",
    ]


def test_cameras_that_have_the_same_recording_are_named(tmp_path, caplog):
    FORMATS["blender-video"](tmp_path)
    load_scene(tmp_path)
    assert "same recording" not in caplog.text
    shutil.copy(tmp_path / "cam01.mp4", tmp_path / "cam03.mp4")
    load_scene(tmp_path)
    assert "cam01, cam03 have the same recording" in caplog.text


def test_a_file_that_is_spoilt_meanwhile_is_named(tmp_path):
    """What a video holds is known from reading the scene; what could surprise is looked up in the file again."""
    FORMATS["blender-video"](tmp_path)
    scene = load_scene(tmp_path)
    path = tmp_path / "cam02.mp4"
    status, size = path.stat(), path.stat().st_size
    path.write_bytes(bytes(size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match=r"cam02\.mp4: cannot be read again"):
        remarks(scene)


def test_a_camera_that_turns_to_the_box_is_not_blind(tmp_path):
    """A moving camera is looked at twice: it may begin with its back to the box."""
    FORMATS["dnerf"](tmp_path)
    scene = load_scene(tmp_path)
    camera = scene.cameras[0]
    assert camera.is_moving
    assert camera.frame_count > 2
    back = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    poses = camera.camera_to_world.clone()
    poses[: camera.frame_count // 2] = poses[: camera.frame_count // 2] @ back
    scene.cameras = (replace(camera, camera_to_world=poses), *scene.cameras[1:])
    assert blind_cameras(scene) == []
    scene.cameras = (replace(camera, camera_to_world=camera.camera_to_world @ back), *scene.cameras[1:])
    assert blind_cameras(scene) == [camera.name]


@pytest.mark.parametrize("factor", [0.1, 12.0])
def test_cameras_that_see_next_to_nothing_of_the_box_are_named(tmp_path, capsys, caplog, factor):
    """A rendered scene of another scale, whose box and distances are the usual ones; info and train both say it."""
    FORMATS["dnerf"](tmp_path)
    assert remarks(load_scene(tmp_path)) == []

    def scale(record):
        for entry in record["frames"]:
            for row in entry["transform_matrix"][:3]:
                row[3] *= factor

    for split in ("train", "val", "test"):
        if (tmp_path / f"transforms_{split}.json").exists():
            edit_json(tmp_path / f"transforms_{split}.json", scale)
    assert info([f"--datadir={tmp_path}"]) == 0
    assert "sees next to nothing of the box" in capsys.readouterr().out
    assert main(["train", f"--datadir={tmp_path}", "--dry-run"]) == 0
    assert "sees next to nothing of the box" in caplog.text
    box = tuple(1.3 * factor * sign for sign in (-1, -1, -1, 1, 1, 1))
    options = ReadOptions(bounds=box, near=2 * factor, far=6 * factor)
    assert blind_cameras(load_scene(tmp_path, options)) == []


@pytest.mark.filterwarnings("error")
def test_frames_of_one_moment_have_no_rate_that_varies(tmp_path):
    FORMATS["dnerf"](tmp_path)
    for path in tmp_path.glob("transforms_*.json"):
        edit_json(path, lambda record: [entry.update(time=0.5) for entry in record["frames"]])
    assert not any("varies" in remark for remark in remarks(load_scene(tmp_path)))


def test_cameras_in_one_place_are_said_to_be(tmp_path, caplog):
    """As world-to-camera poses say of cameras that look at one point from one distance; not where it is far away."""
    FORMATS["blender-video"](tmp_path)
    path = tmp_path / "transforms.json"

    def move(record):
        for entry in record["frames"]:
            entry["transform_matrix"][0][3] += 5e6  # metres on a map

    def gather(record):
        for entry in record["frames"]:
            for row, value in zip(entry["transform_matrix"], (0.0, 0.0, -4.0, 1.0), strict=True):
                row[3] = value

    edit_json(path, move)
    assert not any("one place" in remark for remark in remarks(load_scene(tmp_path)))
    edit_json(path, gather)
    (remark,) = remarks(load_scene(tmp_path))
    assert remark.startswith("all cameras: stand in one place")
    assert main(["train", f"--datadir={tmp_path}", "--dry-run"]) == 0
    assert "are the poses world-to-camera?" in caplog.text


def test_who_reads_only_the_beginning_gets_no_traceback(tmp_path, monkeypatch, capsys):
    """As ``syncnerf info | head`` does: a pipe whose reader has gone before all is written."""
    FORMATS["blender-video"](tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert report_user_errors(lambda: info([f"--datadir={tmp_path}"])) == 128 + signal.SIGPIPE
        assert capsys.readouterr().err == ""
