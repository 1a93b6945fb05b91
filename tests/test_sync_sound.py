"""Sound as a prior: lags of synthetic tracks, stream starts, long recordings, and what they add to motion."""

import importlib
import json
from dataclasses import replace

import av
import numpy as np
import pytest
import scipy.signal
import torch
from moving_spheres import FIELD_OF_VIEW, Spheres, sphere_scene
from sounds import heard, scene_sound, write_video_with_sound

from syncnerf.export.copies import copy_streams
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.video import VideoSource
from syncnerf.sync import synchronize
from syncnerf.sync.creation_time import creation_lags
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.result import SyncResult
from syncnerf.sync.sound import compare_tracks, phase_correlation
from syncnerf.sync.sound_prior import with_sound
from syncnerf.sync.soundtrack import RATE, soundtrack
from syncnerf.sync.timecode import StartTimecode, seconds_of, timecode_lags, timecode_of

OFFSETS = [0.0, 0.11, -0.153, 0.07]
BLACK = np.zeros((32, 32, 3), np.uint8)


def recorded(folder, name, sound, start, seconds, seed, begin=0.0, codec="aac", rate_ppm=0.0, fps=10):
    """A video from ``start`` seconds of scene time on, whose sound begins ``begin`` seconds later; its soundtrack."""
    path = folder / name
    own = heard(sound, start + begin, seconds - begin, seed, rate_ppm)
    write_video_with_sound(path, [BLACK] * round(seconds * fps), fps, own, begin, codec)
    return soundtrack(path)


@pytest.mark.parametrize(("codec", "suffix"), [("aac", "mp4"), ("pcm_s16le", "mov"), ("aac", "mkv")])
def test_lags_of_recordings_with_echoes_noise_and_late_sound(tmp_path, codec, suffix):
    """Sound begins with the first frame, a quarter of a second later, and by the coder's priming."""
    sound = scene_sound(14.0)
    starts, begins = (2.0, 3.137, 1.5), (0.0, 0.25, 0.021)
    tracks = [
        recorded(tmp_path, f"{k}.{suffix}", sound, starts[k], 7.0, k, begins[k], codec) for k in range(len(starts))
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        lag, rate = compare_tracks(tracks[first], tracks[second])
        assert lag == pytest.approx(starts[first] - starts[second], abs=1e-3)
        assert rate is None
    assert tracks[1].begin == pytest.approx(0.25, abs=0.03)


def test_recordings_of_different_events_do_not_agree(tmp_path):
    tracks = [recorded(tmp_path, f"{k}.mp4", scene_sound(12.0, seed=k), 1.0, 8.0, k) for k in range(2)]
    assert compare_tracks(*tracks) is None


def test_a_beat_leaves_several_lags_and_so_none(tmp_path):
    beat = scene_sound(14.0, period=0.5)
    quiet = np.where(np.abs(beat) > 0.05, beat, 0).astype(np.float32)  # the beat alone, without the noise between
    tracks = [recorded(tmp_path, f"{k}.mov", quiet, 1.0 + 0.2 * k, 8.0, 0, codec="pcm_s16le") for k in range(2)]
    assert compare_tracks(*tracks) is None


def test_largest_offset_is_respected(tmp_path):
    sound = scene_sound(14.0)
    tracks = [recorded(tmp_path, f"{k}.mp4", sound, 1.0 + 2.0 * k, 8.0, k) for k in range(2)]
    assert compare_tracks(*tracks, max_offset=1.0) is None
    assert compare_tracks(*tracks, max_offset=3.0)[0] == pytest.approx(-2.0, abs=1e-3)


def test_long_recordings_tell_rates(tmp_path, monkeypatch):
    """Windows of 80 seconds: the second clock runs 80 parts per million slow, which is 6 ms by the end."""
    monkeypatch.setattr("syncnerf.sync.sound.SHORT", 30.0)
    sound = scene_sound(95.0, seed=4)
    ppm = 80.0
    tracks = [
        recorded(tmp_path, f"{k}.mov", sound, start, 80.0, k, 0.0, "pcm_s16le", rate, fps=1)
        for k, (start, rate) in enumerate(((5.0, 0.0), (8.25, ppm)))
    ]
    lag, rate = compare_tracks(*tracks)
    # Scene time is own time * (1 + rate) + offset: the offset is that of the first frames.
    assert lag == pytest.approx(5.0 - 8.25, abs=1e-3)
    assert rate * 1e6 == pytest.approx(-ppm, abs=6.0)


def test_videos_without_sound_have_no_soundtrack(tiny_scene):
    assert soundtrack(tiny_scene / "cam00.mp4") is None


def test_whitening_ignores_colour_and_echo():
    """The peak is at the true shift, a whole number of samples, and sharp; that of plain correlation is broad."""
    generator = np.random.default_rng(3)
    source = generator.standard_normal(RATE)
    one = np.convolve(source, np.exp(-np.arange(200) / 60))[: len(source)]
    two = np.convolve(np.roll(source, 137), np.exp(-np.arange(200) / 20))[: len(source)]
    two += 0.9 * np.roll(np.convolve(np.roll(source, 137), np.ones(40) / 6)[: len(source)], 300)
    shifts, values = phase_correlation(one, two, RATE)
    assert len(shifts) == len(values) == 2 * RATE - 1
    assert round(shifts[values.argmax()] * RATE) == 137
    plain = scipy.signal.correlate(two, one, mode="full")
    sharpness = [float(v[v.argmax() + 5] / v.max()) for v in (values, plain)]
    assert sharpness[0] < 0.3
    assert sharpness[1] > 0.6


def result_of(offsets: list[float], reasons: dict[str, str]) -> tuple[Scene, SyncResult]:
    names = [f"cam{k}" for k in range(len(offsets))]

    class Named:
        pass

    scene = Named()
    scene.names = names
    values = torch.tensor(offsets, dtype=torch.float64)
    stderr = torch.where(values.isnan(), torch.nan, 0.001).double()
    return scene, SyncResult(names, 1, "epipolar", values, stderr, [], [], reasons=reasons)


def test_sound_places_what_motion_does_not():
    """Camera 2 by camera 0, and camera 3 by camera 2 in turn."""
    nan = float("nan")
    scene, result = result_of([0.5, 0.0, nan, nan], {"cam2": "nothing moves", "cam3": "nothing moves"})
    lags = [PriorLag(0, 2, 0.2, 0.012), PriorLag(2, 3, -1.0, 0.016)]
    correlations = torch.full((4, 4), nan, dtype=torch.float64)
    correlations[:2, :2] = torch.tensor([[1.0, -0.4], [-0.4, 1.0]])
    filled = with_sound(scene, replace(result, correlations=correlations), lags)
    assert filled.covariance.diagonal().tolist() == pytest.approx(filled.stderr.square().tolist())
    assert filled.covariance[0, 1] == pytest.approx(-0.4e-6)
    assert not filled.covariance[:, 2:].isnan().any()
    assert filled.offsets.tolist() == pytest.approx([0.5, 0.0, 0.3, 1.3])
    assert filled.stderr[2] == pytest.approx((0.012**2 + 0.001**2) ** 0.5)
    assert filled.stderr[3] == pytest.approx((0.016**2 + 0.012**2 + 0.001**2) ** 0.5)
    assert filled.reasons == {}
    assert all("sound" in filled.warnings[name] for name in ("cam2", "cam3"))
    assert torch.equal(filled.offsets[:2], result.offsets[:2])


def test_sound_places_a_camera_by_the_median_of_its_pairs():
    """Camera 3 by 0, 1 and 2, the wrong way round and not in order; the surest pair alone would say 1.31."""
    scene, result = result_of([0.5, 0.0, 0.2, float("nan")], {"cam3": "nothing moves"})
    lags = [PriorLag(0, 3, -0.80, 0.014), PriorLag(3, 1, 1.26, 0.016), PriorLag(2, 3, -1.11, 0.012)]
    filled = with_sound(scene, result, lags)
    assert filled.offsets.tolist() == pytest.approx([0.5, 0.0, 0.2, 1.30])
    assert filled.stderr[3] == pytest.approx((0.012**2 + 0.001**2) ** 0.5)


def test_cameras_that_sound_places_have_rates_with_errors():
    nan = float("nan")
    scene, result = result_of([0.5, 0.0, nan, nan], {"cam2": "nothing moves", "cam3": "nothing moves"})
    rates = torch.tensor([2e-5, 0.0, nan, nan], dtype=torch.float64)
    drifting = replace(result, rates=rates, rates_stderr=torch.where(rates.isnan(), nan, 1e-6).double())
    lags = [PriorLag(0, 2, 0.2, 0.012, rate=-3e-5), PriorLag(1, 3, -1.0, 0.016)]
    filled = with_sound(scene, drifting, lags)
    assert filled.rates.tolist() == pytest.approx([2e-5, 0.0, 5e-5, 0.0])
    assert filled.rates_stderr[2] == pytest.approx((3e-6**2 + 1e-6**2) ** 0.5)
    assert filled.rates_stderr[3] == pytest.approx(5e-5, rel=0.01)


def test_contradictions_name_the_camera():
    scene, result = result_of([0.5, 0.0, 0.2, -0.4], {})
    true = [0.5, 0.0, 0.2, 0.6]
    lags = [PriorLag(i, j, true[i] - true[j] + 0.004, 0.012) for i in range(4) for j in range(i + 1, 4)]
    judged = with_sound(scene, result, lags)
    assert set(judged.warnings) == {"cam3"}
    assert "+0.99" in judged.warnings["cam3"] or "+1.00" in judged.warnings["cam3"]
    assert torch.equal(judged.offsets, result.offsets)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Scene:
    """Moving spheres, rendered once."""
    scene = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=50, size=(80, 80), spheres=Spheres(6, 3))
    scene.frame_cache.prepare(scene.cameras)
    return scene


def filmed(folder, made, sounds, hidden=()) -> Scene:
    """The scene in files with sound; cameras in ``hidden`` see a wall of noise instead."""
    entries = []
    for index, camera in enumerate(made.cameras):
        images = list(made.frames(index))
        if index in hidden:
            generator = np.random.default_rng(index)
            noise = generator.integers(60, 160, (len(images), 12, 12, 3), dtype=np.uint8)
            images = list(noise.repeat(8, 1).repeat(8, 2))
        own = heard(sounds[index], 1.0 + OFFSETS[index], 1.7, index)
        write_video_with_sound(folder / f"{camera.name}.mp4", images, 30, own)
        entries.append({"file_path": f"{camera.name}.mp4", "transform_matrix": camera.pose(0).tolist()})
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": FIELD_OF_VIEW, "frames": entries}))
    return load_scene(folder)


def test_a_camera_that_shares_no_motion_is_placed_by_its_sound(tmp_path, made):
    sound = scene_sound(6.0, seed=7)
    scene = filmed(tmp_path, made, [sound] * 4, hidden=(3,))
    alone, together = synchronize(scene, audio="off"), synchronize(scene)
    assert "cam03" in alone.reasons
    assert together.reasons == {}
    assert "sound" in together.warnings["cam03"]
    # The sound of this scene comes from nowhere: it reaches all cameras at once.
    assert float(together.offsets[3]) == pytest.approx(OFFSETS[3] - OFFSETS[1], abs=0.005)
    assert 0.01 < float(together.stderr[3]) < 0.05
    assert torch.equal(together.offsets[:3], alone.offsets[:3])


def test_sound_of_another_moment_is_reported(tmp_path, made):
    """A dubbed recording: its sound is of half a second later than its pictures."""
    sound = scene_sound(6.0, seed=8)
    late = np.roll(sound, round(0.5 * 48_000))
    scene = filmed(tmp_path, made, [sound, sound, late, sound])
    alone, together = synchronize(scene, audio="off"), synchronize(scene)
    assert set(together.warnings) - set(alone.warnings) == {"cam02"}
    assert "-0.50" in together.warnings["cam02"] or "-0.49" in together.warnings["cam02"]
    assert torch.equal(together.offsets, alone.offsets)


def test_timecodes_keep_the_clock():
    """At 29.97 frames per second an hour of dropped numbers is an hour to a tenth of a second; without, 3.6 s more."""
    ntsc = 30000 / 1001
    assert seconds_of("01:00:00;00", ntsc) == pytest.approx(3600, abs=0.01)
    assert seconds_of("01:00:00:00", ntsc) == pytest.approx(3603.6, abs=1e-6)
    assert seconds_of("00:00:59;29", ntsc) == pytest.approx(1799 / ntsc)
    assert seconds_of("00:01:00;02", ntsc) == pytest.approx(1800 / ntsc)
    assert seconds_of("10:11:12:13", 25.0) == 36672.52
    assert seconds_of("noon", 25.0) is None


@pytest.mark.parametrize("fps", [24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001])
@pytest.mark.parametrize("drops", [False, True])
def test_timecodes_are_written_as_they_are_read(fps, drops):
    for count in np.random.default_rng(1).integers(0, round(23 * 3600 * fps), 300).tolist():
        text = timecode_of(StartTimecode(count / fps, drops), fps)
        assert seconds_of(text, fps) == pytest.approx(count / fps, abs=1e-6)
        assert (";" in text) == (drops and fps not in (24.0, 25.0, 30.0, 50.0))


def test_dropped_numbers_are_those_of_the_standard():
    """SMPTE 12M's examples: numbers 0 and 1 of every minute but the tenth are left out."""
    ntsc = 30000 / 1001
    shown = [(1799, "00:00:59;29"), (1800, "00:01:00;02"), (17981, "00:09:59;29"), (17982, "00:10:00;00")]
    for count, text in [*shown, (107892, "01:00:00;00")]:
        assert timecode_of(StartTimecode(count / ntsc, True), ntsc) == text


def with_metadata(made, folder, metadata):
    """The scene in files that note these things."""
    sources = {}
    for camera, own in zip(made.cameras, metadata, strict=True):
        path = folder / f"{camera.name}.mov"
        with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
            container.metadata.update(own)
            stream = container.add_stream("libx264", rate=30)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(BLACK, format="rgb24")))
            container.mux(stream.encode(None))
        sources[camera.name] = VideoSource(path)
    return replace(made, frame_cache=FrameCache(folder, sources), _frames={})


def test_creation_times_are_coarse_lags(made, tmp_path):
    """One in UTC, one with a zone, one that may be either end, and one of a clock that was never set."""
    notes = [
        {"creation_time": "2026-06-01T10:00:07.000000Z"},
        {"com.apple.quicktime.creationdate": "2026-06-01T12:00:03+0200", "creation_time": "2026-06-01T10:00:44Z"},
        {"creation_time": "2026-06-01T10:00:05.000000Z", "com.android.version": "15"},
        {"creation_time": "1904-01-01T00:00:00.000000Z"},
    ]
    lags = {(lag.first, lag.second): lag for lag in creation_lags(with_metadata(made, tmp_path, notes))}
    duration = made.cameras[2].duration
    assert set(lags) == {(0, 1), (0, 2), (1, 2)}
    assert lags[0, 1].lag == 4.0
    assert lags[0, 1].deviation == pytest.approx(3 * 2**0.5)
    assert lags[0, 2].lag == pytest.approx(2.0 + 0.5 * duration)
    assert lags[0, 2].deviation == pytest.approx((3**2 + (3 + 0.5 * duration) ** 2) ** 0.5)
    assert {lag.share for lag in lags.values()} == {0.9}


def test_creation_times_are_those_of_the_first_frame_on_any_clock(made, tmp_path):
    """The first frame of the second camera is half a second after its clock's 0."""
    notes = [{"creation_time": f"2026-06-01T10:00:0{second}Z"} for second in (7, 3, 5, 5)]
    scene = with_metadata(made, tmp_path, notes)
    first, second, *others = scene.cameras
    later = replace(second, given_times=second.frame_times + 0.5)
    lags = {(lag.first, lag.second): lag.lag for lag in creation_lags(replace(scene, cameras=(first, later, *others)))}
    assert lags[0, 1] == pytest.approx(7 - 3 + 0.5)
    assert lags[1, 2] == pytest.approx(3 - 5 - 0.5)
    assert lags[0, 2] == pytest.approx(7 - 5)


def test_sound_goes_before_timecodes_and_these_before_creation_times(made, monkeypatch):
    module = importlib.import_module("syncnerf.sync.synchronize")
    # Pairs of which all three, two and one tell a lag.
    told = {"creation_lags": ((0, 1), (0, 2), (1, 2)), "timecode_lags": ((0, 1), (0, 2)), "sound_lags": ((0, 1),)}
    for index, (name, pairs) in enumerate(told.items()):
        lags = [PriorLag(*pair, 0.1 * index, 1.0) for pair in pairs]
        monkeypatch.setattr(module, name, lambda *_, lags=lags: lags)
    seen, compare = {}, module.compare_pair

    def compared(cameras, first, second, max_offset, expected):
        seen[first, second] = expected.get((first, second))
        return compare(cameras, first, second, max_offset, expected)

    monkeypatch.setattr(module, "compare_pair", compared)
    synchronize(made)
    found = {pair: prior.lag for pair, prior in seen.items() if prior is not None}
    assert found == {(0, 1): 0.2, (0, 2): 0.1, (1, 2): 0.0}


def test_equal_creation_times_say_nothing(made, tmp_path):
    assert creation_lags(with_metadata(made, tmp_path, [{"creation_time": "2026-06-01T10:00:07Z"}] * 4)) == []


def test_start_timecodes_are_lags(made, tmp_path):
    starts = ["10:00:00:15", "10:00:01:00", "09:59:59:29", None]
    for camera, start in zip(made.cameras, starts, strict=True):
        write_video_with_sound(tmp_path / f"{camera.name}.mov", [BLACK] * 4, 30, scene_sound(1.0), 0.0, "pcm_s16le")
        if start:
            copy_streams([tmp_path / f"{camera.name}.mov"], tmp_path / f"{camera.name}.mov", start)
    sources = {camera.name: VideoSource(tmp_path / f"{camera.name}.mov") for camera in made.cameras}
    scene = replace(made, frame_cache=FrameCache(tmp_path, sources), _frames={})
    lags = {(lag.first, lag.second): lag.lag for lag in timecode_lags(scene)}
    assert lags == {(0, 1): pytest.approx(-0.5), (0, 2): pytest.approx(16 / 30), (1, 2): pytest.approx(31 / 30)}
