"""Copies of a part of a video look and sound like the original, whatever it is coded in."""

import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from odd_videos import grey, remux, turn, write_timed
from run_damages import largest_file

from syncnerf.errors import UserError
from syncnerf.export.copies import copy_streams
from syncnerf.export.scheduling import usual_scheduling
from syncnerf.export.trim import ENCODERS, trim_video
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.video import VideoSource, probe_video

SHOWN = [2, 3, 4, 5, 6, 7, 7, 9]
BT601, BT709, BT2020 = 6, 1, 9
PQ, HLG, SRGB = 16, 18, 13
LIMITED, FULL = 1, 2
KINDS = {
    "bt.709": ("a.mp4", "libx264", "yuv420p", (LIMITED, BT709, BT709, BT709), None, {"crf": "6"}),
    "full range": ("a.mp4", "libx264", "yuvj420p", (FULL, BT601, BT601, BT601), None, {"crf": "6"}),
    "anamorphic": ("a.mov", "libx264", "yuv420p", (LIMITED, BT601, BT601, BT601), "16/11", {"crf": "6"}),
    "10 bit, HLG": ("a.mov", "libx264", "yuv420p10le", (LIMITED, BT2020, HLG, BT2020), None, {"crf": "6"}),
    "transport stream": ("a.ts", "libx264", "yuv422p", (LIMITED, BT709, BT709, BT709), "4/3", {"crf": "6"}),
    "hevc, 10 bit, PQ": (
        "a.mp4", "libx265", "yuv420p10le", (LIMITED, BT2020, PQ, BT2020), "2", {"x265-params": "crf=6:log-level=none"},
    ),
    "av1": ("a.mp4", "libsvtav1", "yuv420p", (FULL, BT709, SRGB, BT709), "4/3", {"crf": "5"}),
    "av1, 10 bit": ("a.mkv", "libsvtav1", "yuv420p10le", (LIMITED, BT2020, PQ, BT2020), None, {"crf": "5"}),
    "vp9": ("a.webm", "libvpx-vp9", "yuv420p", (FULL, BT709, BT709, BT709), None, {"crf": "8", "b": "0"}),
    "motion jpeg": ("a.avi", "mjpeg", "yuvj422p", (FULL, 2, 2, 5), None, {}),
    "prores": ("a.mov", "prores_ks", "yuv422p10le", (LIMITED, 2, 2, BT709), None, {}),
}  # fmt: skip
"""File, encoder, pixel format, tags (range, primaries, transfer, matrix; ITU-T H.273), aspect of pixels, options."""


def write_coloured(path: Path, encoder: str, pixels: str, tags: tuple[int, ...], aspect: str | None, **options: str):
    """Twelve frames of slow waves of colour, 96 x 64 pixels."""
    row, column = np.mgrid[:64, :96]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = tags
        if aspect:
            context.sample_aspect_ratio = Fraction(aspect)
        for k in range(12):
            waves = np.sin(column / 15 + k / 5), np.sin(row / 11 - k / 7), np.cos((row + column) / 20 + k / 6)
            image = (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base, frame.color_range, frame.colorspace = k, Fraction(1, 30), tags[0], tags[3]
            with usual_scheduling():
                packets = stream.encode(frame)
            container.mux(packets)
        container.mux(stream.encode(None))


def decoded(path: Path) -> np.ndarray:
    """All frames as a scene sees them."""
    found = probe_video(path)
    camera = Intrinsics(found.width, found.height, 90.0, 90.0, found.width / 2, found.height / 2)
    return np.stack(list(VideoSource(path).decode(camera))).astype(int)


def coding(path: Path) -> tuple:
    """Codec, pixel format, tags and aspect, as a decoder finds them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        context = stream.codec_context
        tags = (frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace)
        return context.codec.canonical_name, stream.pix_fmt, *map(int, tags), stream.sample_aspect_ratio


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_coded_like_the_original(tmp_path, kind):
    name, encoder, pixels, tags, aspect, options = KINDS[kind]
    source, copy = tmp_path / name, tmp_path / f"copy_{name}"
    write_coloured(source, encoder, pixels, tags, aspect, **options)
    trim_video(VideoSource(source), copy, SHOWN, 30.0)
    assert coding(copy) == coding(source)
    assert coding(source)[2:6] == tags
    difference = np.abs(decoded(copy) - decoded(source)[SHOWN])
    # Lost tags cost 8 levels on the average and more: what is left is a second encoding.
    assert difference.mean() < 2.0
    assert np.abs(difference.mean(axis=(1, 2))).max() < 4.0


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0)])
def test_a_turned_video_is_copied_as_it_is_seen(tmp_path, matrix):
    source, copy = tmp_path / "a.mp4", tmp_path / "copy.mp4"
    images = [np.zeros((24, 32, 3), np.uint8) for _ in range(6)]
    for k, image in enumerate(images):
        image[2 : 6 + k, 3:10] = 200
    turn(write_timed(source, images, [k / 30 for k in range(6)]), *matrix)
    trim_video(VideoSource(source), copy, [1, 2, 3], 30.0)
    assert decoded(copy).shape == decoded(source)[1:4].shape
    assert np.abs(decoded(copy) - decoded(source)[1:4]).max() < 20


def test_frames_are_shown_again_and_left_out(tmp_path):
    source, copy = tmp_path / "a.mp4", tmp_path / "copy.mp4"
    write_timed(source, [grey(20 * k) for k in range(12)], [k / 30 for k in range(12)])
    trim_video(VideoSource(source), copy, [1, 2, 2, 3, 5, 6], 30.0)
    np.testing.assert_allclose(decoded(copy).mean((1, 2, 3)) / 20, [1, 2, 2, 3, 5, 6], atol=0.2)
    assert probe_video(copy).fps == pytest.approx(30)


def with_clicks(source: Path, target: Path, codec: str, moments: list[float], seconds: float, start: float) -> Path:
    """A video's packets, ``start`` seconds later, beside sound from time 0 on that clicks at some moments of it."""
    samples = np.zeros(int(48000 * seconds), np.float32)
    for moment in moments:
        samples[round(48000 * moment) :][:48] = 0.9
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        copied = container.add_stream_from_template(given.streams.video[0])
        sound = container.add_stream(codec, rate=48000, layout="mono")
        kind = sound.codec_context.codec.audio_formats[0].name
        size = 1024 if codec == "aac" else 800
        for first in range(0, len(samples) - size + 1, size):
            block = samples[None, first : first + size]
            block = block if kind.startswith("flt") else (32767 * block).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, format=kind, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, first, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        shift = None
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                shift = round(Fraction(start) / packet.time_base) if shift is None else shift
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copied
                container.mux(packet)
    return target


def flashes_and_clicks(path: Path) -> tuple[list[float], list[float]]:
    """Moments of the file's clock at which the picture becomes white and the sound loud."""
    with av.open(str(path)) as container:
        flashes = [f.time for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 120]
    loud = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            values = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
            scale = 1.0 if frame.format.name.startswith("flt") else 32767.0
            loud += (frame.time + np.flatnonzero(values > 0.3 * scale) / frame.sample_rate).tolist()
    return flashes, [moment for moment, before in zip(loud, [-1.0, *loud], strict=False) if moment - before > 0.02]


@pytest.mark.parametrize("late", [0.0, 0.4, 1.5])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mov", "pcm_s16le"), ("a.mp4", "aac"), ("a.ts", "aac"), ("a.mkv", "pcm_s16le")]
)
def test_sound_stays_with_its_pictures(tmp_path, late, name, codec):
    """Flashes and clicks together, in files whose picture begins later than their sound."""
    flashes = [12, 30, 47]
    images = [grey(250 if k in flashes else 10) for k in range(60)]
    silent = write_timed(tmp_path / "silent.mp4", images, [k / 30 for k in range(60)], bf="0")
    source = with_clicks(silent, tmp_path / name, codec, [late + k / 30 for k in flashes], 3.7, late)
    before = flashes_and_clicks(source)
    np.testing.assert_allclose(before[0], before[1], atol=2e-3)
    copy = tmp_path / f"copy_{name}"
    # Whatever rate the scene gives the camera: the sound is that of the pictures, as the file has them.
    for fps in (30.0, 25.0):
        trim_video(VideoSource(source), copy, range(8, 40), fps)
        seen, heard = flashes_and_clicks(copy)
        begin = probe_video(copy).start_time
        np.testing.assert_allclose(np.subtract(seen, begin), [4 / fps, 22 / fps], atol=2e-3)
        np.testing.assert_allclose(np.subtract(heard, begin), [4 / 30, 22 / 30], atol=2e-3)


def test_a_recording_in_two_files_is_copied_across_the_seam(tmp_path):
    parts = []
    for part in range(2):
        levels = [grey(250 if k in (5, 14) else 10 + 20 * part) for k in range(20)]
        silent = write_timed(tmp_path / f"silent{part}.mp4", levels, [k / 30 for k in range(20)], bf="0")
        parts.append(with_clicks(silent, tmp_path / f"{part}.mov", "pcm_s16le", [5 / 30, 14 / 30], 2 / 3 + 1e-6, 0.0))
    copy = tmp_path / "copy.mov"
    trim_video(VideoSource(parts[0], chapters=(parts[1],)), copy, range(10, 32), 30.0)
    seen, heard = flashes_and_clicks(copy)
    np.testing.assert_allclose(seen, [4 / 30, 15 / 30], atol=1e-3)
    np.testing.assert_allclose(heard, [4 / 30, 15 / 30], atol=2e-3)
    assert len(decoded(copy)) == 22


def test_a_cut_video_is_copied_from_its_shown_beginning(tmp_path):
    """Packets that the file marks to be discarded do not count as frames."""
    images = [grey(10 * k) for k in range(24)]
    whole = write_timed(tmp_path / "whole.mp4", images, [k / 30 for k in range(24)], bf="0", g="12")
    source = remux(whole, tmp_path / "cut.mp4", 0.0, 4 / 30)
    assert probe_video(source).discarded > 0
    trim_video(VideoSource(source), tmp_path / "copy.mp4", [0, 1, 5], 30.0)
    np.testing.assert_allclose(decoded(tmp_path / "copy.mp4").mean((1, 2, 3)) / 10, [4, 5, 9], atol=0.3)


def test_an_encoder_leaves_all_threads_their_turns(tmp_path):
    """SVT-AV1 makes them real-time ones where it may, as root; anybody may ask for the turns of a batch job."""
    source, began, ended = tmp_path / "a.mp4", threading.Event(), threading.Event()
    write_coloured(source, "libsvtav1", "yuv420p", (FULL, BT709, SRGB, BT709), None)
    trim_video(VideoSource(source), tmp_path / "copy.mp4", [0, 1, 2], 30.0)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER

    def wait() -> None:
        began.set()
        ended.wait()

    thread = threading.Thread(target=wait)
    with usual_scheduling():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        thread.start()
        began.wait()
        assert os.sched_getscheduler(thread.native_id) == os.SCHED_BATCH
    policies = os.sched_getscheduler(0), os.sched_getscheduler(thread.native_id)
    ended.set()
    thread.join()
    assert policies == (os.SCHED_OTHER, os.SCHED_OTHER)


def test_a_lost_aspect_is_told(tmp_path, monkeypatch, caplog):
    """Matroska's own aspect is out of reach here, and AV1 has none within."""
    source = tmp_path / "a.mp4"
    write_coloured(source, "libx264", "yuv420p", (LIMITED, BT709, BT709, BT709), "4/3")
    monkeypatch.setitem(ENCODERS, "h264", "libsvtav1")
    trim_video(VideoSource(source), tmp_path / "copy.mkv", [0, 1], 30.0)
    assert "pixels are 4:3" in caplog.text


@pytest.mark.parametrize("encoder", ["libsvtav1", "unheard_of"])
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, encoder):
    """An encoder that lacks the pixel format, and one that is not there."""
    source = write_timed(tmp_path / "a.mp4", [grey(20)] * 3, [0.0, 0.1, 0.2])
    monkeypatch.setitem(ENCODERS, "h264", encoder)
    with pytest.raises(UserError, match=r"a\.mp4: .*H\.264"):
        trim_video(VideoSource(source), tmp_path / "copy.mp4", [0], 30.0)


@pytest.mark.parametrize("room", [0, 1000, 5000])
def test_a_full_disk_is_no_fault_of_the_video(tmp_path, room):
    """The error names what could not be written, and the system's reason; encoding again would not help."""
    images = list(np.random.default_rng(1).integers(0, 256, (9, 32, 48, 3), dtype=np.uint8))
    path = write_timed(tmp_path / "source.mp4", images, [k / 30 for k in range(9)])
    with largest_file(room), pytest.raises(OSError, match="File too large") as caught:
        trim_video(VideoSource(path), tmp_path / "copy.mp4", list(range(1, 9)), 30.0)
    assert caught.value.filename == str(tmp_path / "copy.mp4")
    with largest_file(room), pytest.raises(UserError, match=r"copy\.mp4: cannot be written \(File too large\)"):
        copy_streams([path], tmp_path / "copy.mp4")
