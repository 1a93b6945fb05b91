"""Recordings that go on in a second file, or lie on their side, in every export and in sound: as if they did not."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from exported import decoded, run_script
from odd_videos import turn
from sounds import RATE, scene_sound, write_video_with_sound
from tiny_scene import FPS, FRAMES, TRUE_OFFSETS, camera_poses, picture, write_video

from syncnerf.cli import main
from syncnerf.export.trim import trim_video
from syncnerf.scene import load_scene
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.video import VideoSource
from syncnerf.sync.soundtrack import soundtrack

CAMERA, FIRST = 2, 7
"""The camera whose recording goes on in another file, and frames in its first one."""
NAME = f"cam{CAMERA:02d}"


@pytest.fixture
def scene(own_scene) -> Path:
    """The tiny scene with one recording in two files, and its offsets."""
    times = np.arange(FRAMES) / FPS + TRUE_OFFSETS[CAMERA]
    images = [picture(camera_poses()[CAMERA].numpy(), time) for time in times]
    write_video(own_scene / f"{NAME}.mp4", images[:FIRST])
    write_video(own_scene / f"{NAME}_part2.mp4", images[FIRST:])
    record = json.loads((own_scene / "transforms.json").read_text())
    record["frames"][CAMERA]["file_path"] = [f"{NAME}.mp4", f"{NAME}_part2.mp4"]
    (own_scene / "transforms.json").write_text(json.dumps(record))
    cameras = {f"cam{k:02d}": {"offset": offset, "stderr": 0.001} for k, offset in enumerate(TRUE_OFFSETS)}
    record = {"unit": "seconds", "reference": "cam01", "cameras": cameras, "source": "sync"}
    (own_scene / "found.json").write_text(json.dumps(record))
    return own_scene


def export(scene: Path, form: str) -> Path:
    arguments = [f"--datadir={scene}", f"--offsets={scene / 'found.json'}", f"--to={form}", f"--out={scene / 'out'}"]
    assert main(["export", *arguments]) == 0
    return scene / "out"


def shown(copy: np.ndarray, frames: np.ndarray) -> list[int]:
    """Which frame each picture of a copy is."""
    return [int(np.abs(frames - image).mean((1, 2, 3)).argmin()) for image in copy]


def expected_frames() -> list[int]:
    """Frames of the camera nearest to the moments of the common time; they lie in both files."""
    begin, end = max(TRUE_OFFSETS), min(TRUE_OFFSETS) + (FRAMES - 1) / FPS
    moments = begin + np.arange(int((end - begin) * FPS + 1e-6) + 1) / FPS
    frames = [round((moment - TRUE_OFFSETS[CAMERA]) * FPS) for moment in moments]
    assert frames[0] < FIRST < frames[-1]
    return frames


def test_aligned_copies(scene):
    frames = np.array(list(load_scene(scene).frames(CAMERA))).astype(int)
    assert len(frames) == FRAMES
    assert shown(decoded(export(scene, "aligned") / "aligned" / f"{NAME}.mp4"), frames) == expected_frames()


def test_caliscope_gets_one_file(scene, capsys):
    folder = export(scene, "caliscope") / "caliscope"
    assert "2 files are joined in cam_2.mp4" in capsys.readouterr().out
    with av.open(str(folder / "cam_2.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, times[0] + np.arange(FRAMES) / FPS, atol=1e-4)
    frames = np.array(list(load_scene(scene).frames(CAMERA))).astype(int)
    assert shown(decoded(folder / "cam_2.mp4"), frames) == list(range(FRAMES))
    assert (folder / "timestamps.csv").read_text().count("\n2,") == FRAMES


def test_a_timeline_holds_both_clips(scene):
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_file(str(export(scene, "otio") / "timeline.otio"))
    first, second = timeline.tracks[CAMERA].find_clips()
    assert (first.duration().value, second.duration().value) == (FIRST, FRAMES - FIRST)
    assert second.range_in_parent().start_time == first.range_in_parent().end_time_exclusive()
    assert second.media_reference.target_url.endswith(f"{NAME}_part2.mp4")
    assert "syncnerf" in first.metadata


def test_the_script_joins_the_files(scene):
    folder = export(scene, "ffmpeg")
    run_script(folder)
    frames = np.array(list(load_scene(scene).frames(CAMERA))).astype(int)
    assert shown(decoded(folder / "aligned" / f"{NAME}.mp4"), frames) == expected_frames()
    assert sorted(path.suffix for path in (folder / "aligned").iterdir()) == [".mp4"] * 4


def halves(folder: Path, sound: np.ndarray, codec: str, suffix: str) -> list[Path]:
    """A recording of three and two seconds, whose sound begins with each file's first frame."""
    black, paths = [np.zeros((32, 32, 3), np.uint8)], []
    for number, (begin, end) in enumerate(((0, 3), (3, 5))):
        paths.append(folder / f"part{number}.{suffix}")
        own = sound[begin * RATE : end * RATE]
        write_video_with_sound(paths[-1], black * (10 * (end - begin)), 10, own, 0.0, codec)
    return paths


def test_sound_goes_on(tmp_path):
    times = np.arange(5 * RATE) / RATE
    sound = (0.3 * np.sin(2 * np.pi * (200 + 40 * times) * times)).astype(np.float32)  # never silent for long
    first, second = halves(tmp_path, sound, "pcm_s16le", "mov")
    parts = soundtrack(first, [second])
    write_video_with_sound(tmp_path / "w.mov", [np.zeros((32, 32, 3), np.uint8)] * 50, 10, sound, 0.0, "pcm_s16le")
    whole = soundtrack(tmp_path / "w.mov")
    assert parts.duration == pytest.approx(whole.duration, abs=1e-3)
    for begin in (0.0, 2.5, 3.2):
        one, two = parts.samples(begin, 1.5), whole.samples(begin, 1.5)
        # Resampling begins anew with each file, up to a third of a sample aside: 0.08 of a turn's phase at 600 Hz.
        assert np.abs(one - two).max() < 0.1 * 0.3


def test_aligned_copies_keep_the_sound_of_both_files(tmp_path):
    """The copy's sound is the scene's from the copy's first frame on, over the seam."""
    sound = scene_sound(5.0, seed=3)
    first, second = halves(tmp_path, sound, "aac", "mp4")
    trim_video(VideoSource(first, chapters=(second,)), tmp_path / "copy.mp4", range(12, 45), 10.0)
    copy = soundtrack(tmp_path / "copy.mp4")
    assert copy.duration == pytest.approx(3.3, abs=0.1)
    heard = copy.samples(0.0, 3.0)
    source = np.interp(np.arange(len(heard)) / 16_000 + 1.2, np.arange(len(sound)) / RATE, sound)
    for begin, end in ((4_000, 24_000), (32_000, 44_000)):
        shifts = np.arange(-200, 201)
        agreement = [np.dot(heard[begin + s : end + s], source[begin:end]) for s in shifts]
        assert abs(int(shifts[int(np.argmax(agreement))])) <= 16  # a millisecond


def test_turned_recordings_are_shown_upright(own_scene):
    """A quarter turn is in the file's display matrix: copies keep it, and ffmpeg's own are turned."""
    turn(own_scene / f"{NAME}.mp4", 0, 1, -1, 0)
    cameras = {f"cam{k:02d}": {"offset": offset, "stderr": 0.001} for k, offset in enumerate(TRUE_OFFSETS)}
    (own_scene / "found.json").write_text(json.dumps({"unit": "seconds", "reference": "cam01", "cameras": cameras}))
    frames = np.array(list(load_scene(own_scene).frames(CAMERA))).astype(int)
    assert np.abs(frames[0] - decoded(own_scene / f"{NAME}.mp4")[0]).mean() > 5  # stored, it lies on its side
    folder = export(own_scene, "aligned,ffmpeg")
    (folder / "aligned").rename(folder / "copies")
    run_script(folder)
    size = Intrinsics(frames.shape[2], frames.shape[1], 1.0, 1.0, 0.0, 0.0)
    for copy in (folder / "copies" / f"{NAME}.mp4", folder / "aligned" / f"{NAME}.mp4"):
        upright = np.stack(list(VideoSource(copy).decode(size))).astype(int)
        assert shown(upright, frames) == expected_frames()
        assert np.abs(upright - frames[expected_frames()]).mean() < 3
