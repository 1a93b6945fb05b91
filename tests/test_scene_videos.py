"""Videos as people have them: cut, turned, with thumbnails, broken off; colours where their samples were taken."""

from fractions import Fraction

import av
import numpy as np
import pytest
from odd_videos import grey, planar_video, remux, turn, write_timed

from syncnerf.errors import UserError
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.video import VideoSource, probe_video

GREYS = [grey(20 + 5 * k) for k in range(40)]
TIMES = [k / 30 for k in range(40)]
WHOLE = {"bf": "2", "preset": "medium", "g": "10", "keyint_min": "10", "sc_threshold": "0"}


def decoded(path, width=32, height=24):
    """All frames, uint8 [T, height, width, 3]."""
    return np.stack(list(VideoSource(path).decode(Intrinsics(width, height, 30.0, 30.0, width / 2, height / 2))))


def numbers(path):
    """Which of the greys the frames are."""
    return [round((float(frame.mean()) - 20) / 5) for frame in decoded(path)]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_what_an_edit_list_discards_does_not_count(tmp_path, suffix):
    whole = write_timed(tmp_path / "whole.mp4", GREYS, TIMES, **WHOLE)
    cut = remux(whole, tmp_path / f"cut.{suffix}", 10 / 30, 16 / 30, avoid_negative_ts="disabled")
    properties = probe_video(cut)
    assert (properties.frame_count, properties.times, properties.start_time) == (24, None, 0.0)
    assert numbers(cut) == list(range(16, 40))


def test_a_stream_that_begins_between_whole_pictures(tmp_path):
    whole = write_timed(tmp_path / "whole.mp4", GREYS, TIMES, **WHOLE)
    cut = remux(whole, tmp_path / "cut.ts", 13 / 30, 13 / 30)
    found = numbers(cut)
    assert len(found) == probe_video(cut).frame_count
    assert found[-20:] == list(range(20, 40))


def test_a_thumbnail_is_not_the_video(tmp_path):
    video = write_timed(tmp_path / "plain.mp4", GREYS, TIMES)
    for marked in (True, False):
        path = tmp_path / f"thumbnail{marked}.mkv"
        with av.open(str(video)) as given, av.open(str(path), "w") as container:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            if marked:
                picture.disposition = av.stream.Disposition.attached_pic
            copied = container.add_stream_from_template(given.streams.video[0])
            frame = av.VideoFrame.from_ndarray(grey(200, 64, 48), format="rgb24")
            container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
            for packet in given.demux(given.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = copied
                    container.mux(packet)
        properties = probe_video(path)
        assert (properties.width, properties.height, properties.frame_count) == (32, 24, 40)
        assert numbers(path) == list(range(40))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(UserError, match=r"sound\.mp4: holds no pictures"):
        probe_video(tmp_path / "sound.mp4")


def test_a_video_that_changes_its_shape_is_refused(tmp_path):
    """A larger version of the same picture goes on; another shape would show everything elsewhere."""
    parts = {}
    for name, width, height in (("first", 32, 24), ("larger", 64, 48), ("wider", 64, 24)):
        begin = 0 if name == "first" else 8
        images = [grey(20 + 5 * k, width, height) for k in range(begin, begin + 8)]
        parts[name] = write_timed(tmp_path / f"{name}.ts", images, TIMES[begin : begin + 8], bf="0").read_bytes()
    (tmp_path / "zoomed.ts").write_bytes(parts["first"] + parts["larger"])
    assert numbers(tmp_path / "zoomed.ts") == list(range(16))
    (tmp_path / "changed.ts").write_bytes(parts["first"] + parts["wider"])
    with pytest.raises(UserError, match=r"changed\.ts: changes from 32x24 to 64x24 pixels at frame 8"):
        numbers(tmp_path / "changed.ts")


def test_damaged_frames_are_told(tmp_path, caplog):
    images = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    path = write_timed(tmp_path / "a.mp4", images, TIMES[:12], bf="0")
    assert len(decoded(path, 64, 48)) == 12
    assert "damaged" not in caplog.text
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 60] = bytes(60)
    path.write_bytes(data)
    assert len(decoded(path, 64, 48)) == 12
    assert len(decoded(path, 32, 24)) == 12
    assert caplog.text.count("a.mp4: 1 of its frames are damaged") == 1


@pytest.mark.parametrize(("name", "between"), [("a.flv", "0"), ("a.flv", "2"), ("a.mkv", "0"), ("a.avi", "0")])
def test_a_picture_within_which_the_file_ends_is_left_out(tmp_path, caplog, name, between):
    images = list(np.random.default_rng(2).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8))
    path = write_timed(tmp_path / name, images, TIMES[:20], Fraction(1, 30), bf=between, preset="medium")
    whole = decoded(path, 48, 32)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    middle = (packets[12].pos + packets[13].pos) // 2
    shown = sorted(round(30 * packet.pts * packet.time_base) for packet in packets[:12])
    shown = [number - round(30 * packets[0].pts * packets[0].time_base) for number in shown]
    path.write_bytes(path.read_bytes()[:middle])
    assert (decoded(path, 48, 32) == whole[shown]).all()
    assert probe_video(path).frame_count == 12
    assert ("within a picture" in caplog.text) == (name != "a.mkv")


def test_an_mp4_that_ends_within_its_last_picture_lacks_that_alone(tmp_path, caplog):
    """Its index comes first and lists that picture too; an earlier end is refused, as more are listed than there."""
    images = list(np.random.default_rng(3).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8))
    path = write_timed(tmp_path / "a.mp4", images, TIMES[:20], bf="0")
    path = remux(path, tmp_path / "b.mp4", movflags="faststart")
    whole = decoded(path, 48, 32)
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
    path.write_bytes(path.read_bytes()[: last.pos + last.size // 2])
    assert (decoded(path, 48, 32) == whole[:19]).all()
    assert "within a picture" in caplog.text
    path.write_bytes(path.read_bytes()[: last.pos // 2])
    with pytest.raises(UserError, match="breaks off after"):
        probe_video(path)


MATRICES = {
    "a quarter clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "a quarter counterclockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "half": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down and mirrored": ((1, 0, 0, -1), np.flipud),
    "rows for columns": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_turned_videos_are_upright(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    path = write_timed(tmp_path / "turned.mp4", [image] * 3, TIMES[:3])
    plain = decoded(path)
    matrix, upright = MATRICES[name]
    wanted = np.stack([upright(frame) for frame in plain])
    turn(path, *matrix)
    properties = probe_video(path)
    assert (properties.height, properties.width) == wanted.shape[1:3]
    np.testing.assert_array_equal(decoded(path, properties.width, properties.height), wanted)


def test_what_cannot_be_turned_by_quarters_is_refused(tmp_path):
    path = turn(write_timed(tmp_path / "askew.mp4", GREYS[:3], TIMES[:3]), 1, 1, -1, 1)
    with pytest.raises(UserError, match=r"askew\.mp4: .*quarters"):
        probe_video(path)


def test_a_file_that_ends_with_a_whole_packet_breaks_off_all_the_same(tmp_path):
    path = write_timed(tmp_path / "whole.mp4", GREYS, TIMES, **WHOLE)
    with av.open(str(path)) as given, av.open(str(tmp_path / "first.mp4"), "w", options={"movflags": "faststart"}) as c:
        copied = c.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copied
                c.mux(packet)
    with av.open(str(tmp_path / "first.mp4")) as container:
        places = [packet.pos for packet in container.demux(container.streams.video[0]) if packet.size]
    data = (tmp_path / "first.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: places[25]])
    with pytest.raises(UserError, match=r"cut\.mp4: breaks off after 25 of 40 frames"):
        probe_video(tmp_path / "cut.mp4")


SITES = {
    # codec, pixel format, options, place of the first colour sample in pixels to the right of the first pixel's centre
    "left": ("libx264", "yuv420p", {"qp": "0"}, 0.0),
    "left of ten bits": ("libx264", "yuv420p10le", {"qp": "0"}, 0.0),
    "centre": ("libx264", "yuv420p", {"qp": "0", "x264-params": "chromaloc=1"}, 0.5),
    "centre of ten bits": ("libx264", "yuv420p10le", {"qp": "0", "x264-params": "chromaloc=1"}, 0.5),
    "jpeg": ("mjpeg", "yuvj420p", {"qmin": "1", "qmax": "1"}, 0.5),
    "vp9": ("libvpx-vp9", "yuv420p", {"lossless": "1"}, 0.0),
}


@pytest.mark.parametrize("side", [64, 32, 48])
@pytest.mark.parametrize("name", SITES)
def test_colours_are_where_their_samples_were_taken(tmp_path, name, side):
    """A ramp of red by 2 levels a pixel, sampled at every second pixel, tells where the samples are taken to lie."""
    codec, pixels, options, place = SITES[name]
    ramp = 64 + 2 * (2 * np.arange(32) + place)
    scale, kind = (4, np.uint16) if "10" in pixels else (1, np.uint8)
    planes = [np.full((64, 64), 128), np.full((32, 32), 128), np.broadcast_to(ramp, (32, 32))]
    path = tmp_path / ("ramp.mkv" if codec != "mjpeg" else "ramp.avi")
    planar_video(path, *((scale * plane).astype(kind) for plane in planes), codec, pixels, **options)
    red = decoded(path, side, side)[0, :, :, 0].astype(float).mean(0)
    # BT.601: R = 1.164 (Y - 16) + 1.596 (V - 128), in full range R = Y + 1.402 (V - 128).
    grey, slope = (128, 1.402) if "j" in pixels else (1.164384 * (128 - 16), 1.596027)
    column = ((red - grey) / slope + 128 - 64) / 2
    wanted = (np.arange(side) + 0.5) * 64 / side - 0.5
    inside = slice(side // 4, 3 * side // 4)
    assert np.abs(column - wanted)[inside].max() < 0.2
    assert abs((column - wanted)[inside].mean()) < 0.05
