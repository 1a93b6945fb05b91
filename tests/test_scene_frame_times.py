"""A frame's time is its presentation timestamp; a constant rate is exactly that; contradictions are said."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from format_scenes import FORMATS, FPS, FRAMES, blender_video
from odd_videos import MILLISECONDS, grey, write_timed
from tiny_scene import edit_json

from syncnerf.errors import UserError
from syncnerf.scene import load_scene
from syncnerf.scene.frame_times import timing
from syncnerf.scene.video import VideoSource, probe_video

GREYS = [grey(20 + 10 * k) for k in range(20)]


def times_of(path):
    """Frames' times that the file gives, in seconds."""
    properties = probe_video(path)
    if properties.times is None:
        return np.arange(properties.frame_count) / properties.fps
    return properties.times.numpy()


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60, Fraction(30000, 1001), Fraction(24000, 1001), 15, 6, 119.88])
@pytest.mark.parametrize("tick", [1 / 1000, 1 / 90000, 1 / 12288])
@pytest.mark.parametrize("rounded", [np.round, np.floor])
def test_a_constant_rate_is_seen_through_the_rounding(rate, tick, rounded):
    stamps = rounded((np.arange(500) / float(rate) + 0.0137) / tick) * tick
    fps, times = timing(stamps, tick, [0.0, 1000.0])
    assert times is None
    # A rate that nothing states is known from the last timestamp, which is rounded.
    assert abs(499 / fps - 499 / float(rate)) < 1.5 * tick
    assert timing(stamps, tick, [float(rate)]).fps == float(rate)


@pytest.mark.parametrize("tick", [1 / 16000, 1 / 90000, 1 / 12800])
def test_milliseconds_counted_on_a_finer_clock_are_milliseconds(tick):
    """What a recorder wrote as mkv and then copied to mp4."""
    stamps = np.round(np.round(np.arange(200) / 30, 3) / tick) * tick
    assert timing(stamps, tick, [30.0]) == (30.0, None)
    assert timing(stamps, tick, []).fps == pytest.approx(30, abs=1e-3)
    left = np.delete(np.arange(200), [50, 51, 120])
    for stated in ([30.0], [29.3]):
        fps, times = timing(stamps[left], tick, stated)
        assert fps == 30
        np.testing.assert_allclose(times.numpy(), left / 30, atol=1e-12)


def test_what_varies_is_kept():
    generator = np.random.default_rng(1)
    jittered = (np.arange(60) + generator.uniform(-0.2, 0.2, 60)) / 30
    lost = np.delete(np.arange(60), [20, 33, 34]) / 30
    for stamps in (jittered, lost, np.arange(60) / 30 + 0.004 * (np.arange(60) % 3 == 0)):
        fps, times = timing(stamps + 2.5, 1 / 90000, [30.0, 28.5])
        np.testing.assert_allclose(times.numpy(), stamps - stamps[0], atol=1e-12)
        assert fps == pytest.approx(30, rel=0.05)
    # Ticks as long as frames: a gap of one tick is a gap, and no slower rate.
    _, times = timing(np.delete(np.arange(60), 30) / 30, 1 / 30, [30.0])
    assert times is not None
    assert timing(np.arange(60) / 30, 1 / 30, [30.0]) == (30.0, None)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts"])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_times_of_files_are_those_of_their_frames(tmp_path, suffix, b_frames):
    """Two frames lost, others a little late; the file starts 1.2 s after its clock."""
    wanted = 1.2 + (np.delete(np.arange(20), [7, 12]) + 0.2 * np.sin(np.arange(18))) / 30
    path = write_timed(tmp_path / f"odd.{suffix}", GREYS[:18], wanted, bf=b_frames)
    found = times_of(path)
    tick = 1 / 1000 if suffix == "mkv" else 1 / 90000
    np.testing.assert_allclose(found, wanted - wanted[0], atol=1.01 * tick)
    properties = probe_video(path)
    assert properties.fps == pytest.approx(30, rel=0.03)
    # Transport streams add the muxer's own delay.
    assert properties.start_time == pytest.approx(wanted[0], abs=1.5 if suffix == "ts" else 0.001)
    camera = load_and_decode(path, len(wanted))
    assert [round((frame.mean() - 20) / 10) for frame in camera] == list(range(18))


def load_and_decode(path, count):
    """A file's frames, [T, height, width, 3]."""
    from syncnerf.scene.camera import Intrinsics

    frames = list(VideoSource(path).decode(Intrinsics(32, 24, 30.0, 30.0, 16.0, 12.0)))
    assert len(frames) == probe_video(path).frame_count == count
    return frames


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_constant_files_have_exactly_constant_times(tmp_path, suffix):
    rate = Fraction(30000, 1001)
    base = MILLISECONDS if suffix == "mkv" else 1 / rate
    path = write_timed(tmp_path / f"plain.{suffix}", GREYS, [k / rate for k in range(20)], base, rate, bf="0")
    properties = probe_video(path)
    assert properties.times is None
    assert properties.fps == pytest.approx(30000 / 1001, rel=1e-6)


def test_files_without_timestamps_go_by_their_rate_with_one_warning(tmp_path, caplog):
    blender_video(tmp_path)
    for k, tick in ((1, Fraction(1, 30)), (2, Fraction(1, 90000))):
        (tmp_path / f"cam{k:02d}.mp4").unlink()
        path = write_timed(tmp_path / "raw.h264", [grey(99, 48, 32)] * FRAMES, np.arange(FRAMES) / 30, tick)
        path.rename(tmp_path / f"cam{k:02d}.mp4")
    edit_json(tmp_path / "transforms.json", lambda record: record.update(fps=10))
    with caplog.at_level(logging.WARNING):
        scene = load_scene(tmp_path)
    assert [camera.fps for camera in scene.cameras] == [10.0] * 4
    assert all(camera.given_times is None for camera in scene.cameras)
    warnings = [record.message for record in caplog.records if "taken for granted" in record.message]
    assert len(warnings) == 1
    assert "cam01.mp4, cam02.mp4" in warnings[0]
    contradictions = [record.message for record in caplog.records if "its header says 30" in record.message]
    assert len(contradictions) == 1
    assert "cam01.mp4" in contradictions[0]


def test_bare_streams_go_by_what_their_pictures_say(tmp_path):
    blender_video(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record.pop("fps", None))
    for k, rate in ((1, 15), (2, 30)):
        tick, times = Fraction(1, rate), np.arange(FRAMES) / rate
        path = write_timed(tmp_path / "raw.h264", [grey(99, 48, 32)] * FRAMES, times, tick, rate)
        path.rename(tmp_path / f"cam{k:02d}.mp4")
    assert [camera.fps for camera in load_scene(tmp_path).cameras] == [10.0, 15.0, 30.0, 10.0]


def test_times_that_a_bare_stream_seems_to_have_are_not_believed(tmp_path, caplog):
    """The reader of bare MJPEG numbers its pictures 25 a second, whatever they are."""
    with av.open(str(tmp_path / "raw.mjpeg"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(99, 48, 32), format="rgb24")))
        container.mux(stream.encode(None))
    blender_video(tmp_path / "scene")
    (tmp_path / "raw.mjpeg").rename(tmp_path / "scene" / "cam01.mjpeg")
    (tmp_path / "scene" / "cam01.mp4").unlink()
    edit_json(tmp_path / "scene" / "transforms.json", lambda record: record.update(fps=10))
    assert [camera.fps for camera in load_scene(tmp_path / "scene").cameras] == [10.0] * 4
    assert "cam01.mjpeg: has no timestamps" in caplog.text
    edit_json(tmp_path / "scene" / "transforms.json", lambda record: record.pop("fps"))
    with pytest.raises(UserError, match=r"cam01\.mjpeg: has no frame rate; give 'fps'"):
        load_scene(tmp_path / "scene")


def test_bare_streams_without_a_rate_are_refused(tmp_path):
    blender_video(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record.pop("fps", None))
    with av.open(str(tmp_path / "raw.hevc"), "w") as container:
        options = {"x265-params": "log-level=error:vui-timing-info=0:pools=none"}
        stream = container.add_stream("libx265", rate=15, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(99, 96, 64), format="rgb24")))
        container.mux(stream.encode(None))
    (tmp_path / "raw.hevc").rename(tmp_path / "cam01.mp4")
    with pytest.raises(UserError, match="has no frame rate; give 'fps'"):
        load_scene(tmp_path)


def test_a_rate_that_the_timestamps_contradict_is_said_and_not_believed(tmp_path, caplog):
    blender_video(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][2].update(fps=30))
    with caplog.at_level(logging.WARNING):
        scene = load_scene(tmp_path)
    assert [camera.fps for camera in scene.cameras] == [10.0] * 4
    assert len(caplog.records) == 1
    assert "cam02.mp4" in caplog.text
    caplog.clear()
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][2].update(fps=10))
    load_scene(tmp_path)
    assert not caplog.records


def test_times_of_the_json_overrule_the_files(tmp_path):
    blender_video(tmp_path)
    times = [0.0, 0.1, 0.4, 0.5, 0.62]
    own = {"frame_times": times, "row_time": -0.012, "exposure": 0.008}
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][1].update(own))
    plain, camera = load_scene(tmp_path).cameras[:2]
    torch.testing.assert_close(camera.frame_times, torch.tensor(times, dtype=torch.float64) + 0.004)
    assert (camera.row_time, camera.exposure) == (-0.012, 0.008)
    assert camera.duration == pytest.approx(0.624)
    assert camera.fps == pytest.approx(10)
    assert (plain.row_time, plain.exposure) == (0.0, 0.0)
    torch.testing.assert_close(plain.frame_times, torch.arange(FRAMES, dtype=torch.float64) / 10, rtol=0, atol=0)


@pytest.mark.parametrize(
    "own", [{"frame_times": [0, 1, 2]}, {"frame_times": [0, 1, 1, 2, 3]}, {"exposure": -1}, {"row_time": "fast"}]
)
def test_unfit_times_are_refused(tmp_path, own):
    blender_video(tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][1].update(own))
    with pytest.raises(UserError, match=rf"transforms\.json: frames\[1\].*{next(iter(own))}"):
        load_scene(tmp_path)


@pytest.mark.parametrize("name", ["n3v", "syncam"])
def test_every_format_of_videos_goes_by_timestamps(tmp_path, name):
    FORMATS[name](tmp_path)
    video = sorted(tmp_path.rglob("*.mp4"))[1]
    times = [0.0, 0.1, 0.4, 0.5, 0.6]
    write_timed(video, [grey(99, 48, 32)] * FRAMES, times)
    camera = load_scene(tmp_path).cameras[1]
    torch.testing.assert_close(camera.frame_times, torch.tensor(times, dtype=torch.float64), atol=1e-5, rtol=0)


def frame_times(begins: list[float]):
    """An edit that gives cameras of a ``transforms.json`` the times of their frames, from so many seconds on."""

    def edit(record: dict) -> None:
        for entry, begin in zip(record["frames"], begins, strict=True):
            entry["frame_times"] = (begin + np.arange(FRAMES) / 10).tolist()

    return edit


def test_times_of_day_are_counted_from_the_earliest_frame(tmp_path):
    folder = tmp_path / "scene"
    blender_video(folder)
    begins = [1.7e9 + 0.25, 1.7e9 - 0.5, 1.7e9, 1.7e9]
    edit_json(folder / "transforms.json", frame_times(begins))
    scene = load_scene(folder)
    for camera, begin in zip(scene.cameras, (0.75, 0.0, 0.5, 0.5), strict=True):
        np.testing.assert_allclose(camera.frame_times, begin + np.arange(FRAMES) / 10, atol=1e-6)
    assert scene.duration < 10


def test_clocks_without_a_common_moment_are_said(tmp_path, caplog):
    folder = tmp_path / "scene"
    blender_video(folder)
    edit_json(folder / "transforms.json", frame_times([0.0, 5000.0, 0.1, 0.1]))
    load_scene(folder)
    assert "let the times of each begin at 0" in caplog.text
    assert load_scene(folder).names[1] in caplog.text


@pytest.mark.parametrize("key", ["row_time", "exposure"])
def test_durations_in_milliseconds_are_refused(tmp_path, key):
    """Nothing is exposed or read out for longer than until the next frame, a tenth of a second later."""
    blender_video(tmp_path)
    for seconds in (0.1, 0.03, *((-0.1,) if key == "row_time" else ())):
        edit_json(tmp_path / "transforms.json", lambda record, value=seconds: record.update({key: value}))
        assert getattr(load_scene(tmp_path).cameras[0], key) == seconds
    edit_json(tmp_path / "transforms.json", lambda record: record.update({key: 15}))
    with pytest.raises(UserError, match=rf"frames\[0\]: '{key}' = 15 s is longer than .* seconds"):
        load_scene(tmp_path)


KEYS = [("rowTime", "row_time"), ("frame_time", "frame_times"), ("bound", "bounds")]


@pytest.mark.parametrize(("written", "meant"), KEYS)
def test_keys_that_are_nearly_ours_are_said(tmp_path, written, meant, caplog):
    blender_video(tmp_path)
    load_scene(tmp_path)
    assert "means nothing" not in caplog.text
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][1].update({written: 0.01}))
    load_scene(tmp_path)
    assert f"'{written}' means nothing here; is it '{meant}'?" in caplog.text


def test_frame_times_in_milliseconds_are_asked_about(tmp_path, caplog):
    blender_video(tmp_path)
    seconds = [k / FPS for k in range(FRAMES)]
    edit_json(tmp_path / "transforms.json", lambda record: record["frames"][1].update(frame_times=seconds))
    load_scene(tmp_path)
    assert "are they in seconds" not in caplog.text
    edit_json(tmp_path / "transforms.json", lambda r: r["frames"][1].update(frame_times=[1000 * t for t in seconds]))
    load_scene(tmp_path)
    assert "frames[1]: 'frame_times' say 0.01 frames per second and the file 10" in caplog.text
