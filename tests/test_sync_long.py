"""Long recordings: the pass and the windows find planted clocks, excerpts are the very frames, lines are robust."""

import json
import sys
import tracemalloc
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from moving_spheres import Arc, sphere_scene
from tiny_scene import ANGLE, camera_poses, picture

from syncnerf.errors import UserError
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.excerpts import Excerpt
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.video import VideoSource
from syncnerf.sync import synchronize
from syncnerf.sync.long import Windows, synchronize_long
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.result import SyncResult
from syncnerf.sync.tracks import Tracks
from syncnerf.sync.window_clocks import fit_line

OFFSETS = (0.07, 0.0, -0.83, 1.18)
RATES = (0.0, 0.0, 900.0, -700.0)
"""Parts per million: over a minute as much as a real clock's over an hour."""
FPS, SECONDS, SIDE = 12, 60, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A minute of the blobs, whose motion stops and goes, with key frames every four seconds."""
    root = tmp_path_factory.mktemp("minute")
    entries = []
    for index, pose in enumerate(camera_poses()):
        with av.open(str(root / f"cam{index:02d}.mp4"), "w") as container:
            options = {"crf": "10", "preset": "veryfast", "g": "60"}
            stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
            stream.width = stream.height = SIDE
            stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
            for frame in range(FPS * SECONDS):
                time = frame / FPS * (1 + 1e-6 * RATES[index]) + OFFSETS[index]
                # A clock of motion that never repeats: fast and slow by turns.
                moved = time + 0.9 * np.sin(0.61 * time) + 0.5 * np.sin(1.73 * time + 1.0)
                image = picture(pose.numpy(), moved, SIDE)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        entries.append({"file_path": f"cam{index:02d}.mp4", "transform_matrix": pose.tolist()})
    (root / "transforms.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": entries}))
    return root


@pytest.fixture
def shortened(monkeypatch):
    """What is long, and the windows, at a tenth of their real lengths."""
    monkeypatch.setattr("syncnerf.sync.long.LONG", 30.0)
    monkeypatch.setattr("syncnerf.sync.long.STILL", Windows(8.0, 5))


def test_clocks_of_a_long_recording(folder, shortened):
    scene = load_scene(folder)
    result = synchronize(scene, drift=True, max_offset=4.0)
    assert result.reasons == {}
    truth = torch.tensor(OFFSETS, dtype=torch.float64)
    assert float((result.offsets - truth).abs().max()) * FPS < 0.25
    assert float((result.rates * 1e6 - torch.tensor(RATES)).abs().max()) < 250
    error = (result.offsets - truth) / result.stderr
    assert float(error.abs().max()) < 5
    # Nothing is left of what passed through the cache.
    assert not list((folder / ".syncnerf_cache").glob("excerpt-*"))
    assert not list((folder / ".syncnerf_cache").glob("*.npy"))


def test_clocks_that_begin_later_keep_their_own_zero(folder, shortened):
    """What is found in excerpts, whose clocks begin at 0, and what priors say of whole recordings, fit together."""
    scene = load_scene(folder)
    first, second, *others = scene.cameras
    later = replace(second, given_times=second.frame_times + 0.5)
    scene = replace(scene, cameras=(first, later, *others))
    seen = []

    def short(part, max_offset, priors=()):
        """All first frames of an excerpt are of one moment."""
        seen.extend(prior.lag for prior in priors)
        zeros = torch.zeros(len(part.cameras), dtype=torch.float64)
        return SyncResult(part.names, part.reference, "epipolar", zeros, zeros + 0.01, [], [])

    priors = [PriorLag(0, 1, 2.0, 0.1), PriorLag(1, 2, 2.0, 0.1), PriorLag(0, 2, 2.0, 0.1)]
    result = synchronize_long(scene, short, None, False, priors)
    assert seen == [1.5, 2.5, 2.0]
    relative = result.offsets - result.offsets[0]
    np.testing.assert_allclose(relative, [0.0, -0.5, 0.0, 0.0], atol=0.6 / FPS)


def test_clocks_with_rates_are_told_without_drift(folder, shortened):
    result = synchronize(load_scene(folder), max_offset=4.0)
    assert result.rates is None
    assert "--drift" in result.warnings["cam02"]
    assert result.stderr[2] > 0.005


@pytest.mark.parametrize("frames", [(0, 1, 2), (57, 58, 59, 60, 61), (400, 407, 671), (719,)])
def test_excerpts_are_the_very_frames(folder, frames):
    """Whatever key frame lies before them."""
    source, size = VideoSource(folder / "cam02.mp4"), Intrinsics(SIDE, SIDE, 1.0, 1.0, 0.0, 0.0)
    everything = list(source.decode(size))
    found = list(Excerpt(source, frames).decode(size))
    assert len(found) == len(frames)
    for index, image in zip(frames, found, strict=True):
        assert (image == everything[index]).all()


def test_excerpts_of_a_recording_in_two_files(folder):
    source = VideoSource(folder / "cam02.mp4", chapters=(folder / "cam01.mp4",))
    size, count = Intrinsics(SIDE, SIDE, 1.0, 1.0, 0.0, 0.0), FPS * SECONDS
    everything = list(source.decode(size))
    frames = (5, count - 1, count, count + 300)
    for exact in (True, False):
        found = list(Excerpt(source, frames, exact).decode(size))
        assert len(found) == len(frames)
    for index, image in zip(frames, list(Excerpt(source, frames).decode(size)), strict=True):
        assert (image == everything[index]).all()


def test_inexact_excerpts_are_frames_shortly_after(folder):
    source, size = VideoSource(folder / "cam01.mp4"), Intrinsics(SIDE, SIDE, 1.0, 1.0, 0.0, 0.0)
    everything = np.stack(list(source.decode(size)))
    frames = tuple(range(0, 720, 3))
    found = list(Excerpt(source, frames, exact=False).decode(size))
    assert len(found) == len(frames)
    for index, image in zip(frames, found, strict=True):
        near = everything[max(0, index - 5 if index > 710 else index) : index + 5]
        assert (near == image).all((1, 2, 3)).any()


def test_a_line_through_windows_ignores_the_outlying():
    """Against numpy's polyfit without the outliers."""
    generator = np.random.default_rng(0)
    times = np.linspace(10, 1800, 12)
    values = 0.25 + 30e-6 * times + generator.normal(0, 1e-3, 12)
    values[[3, 8]] += 0.4
    line, covariance, kept = fit_line(*(torch.from_numpy(v) for v in (times, values, np.full(12, 1e-3))), True)
    inliers = np.delete(np.arange(12), [3, 8])
    slope, intercept = np.polyfit(times[inliers], values[inliers], 1)
    assert line.tolist() == pytest.approx([intercept, slope], abs=1e-9)
    assert kept.nonzero()[:, 0].tolist() == inliers.tolist()
    assert abs(float(line[1]) - 30e-6) < 4 * float(covariance[1, 1].sqrt())


def test_memory_does_not_grow_with_the_recording(folder, shortened):
    """Excerpts never hold more than a few frames."""
    source, size = VideoSource(folder / "cam03.mp4"), Intrinsics(SIDE, SIDE, 1.0, 1.0, 0.0, 0.0)
    for _ in Excerpt(source, (0,)).decode(size):
        pass
    tracemalloc.start()
    for _ in Excerpt(source, tuple(range(0, 720, 3)), exact=False).decode(size):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * SIDE * SIDE * 3


@dataclass(frozen=True)
class Numbered:
    """Frames that hold nothing but the camera's number and their own, in place of a video."""

    camera: int
    count: int
    path: Path = Path("numbered")

    def fingerprint(self) -> str:
        return f"{self.camera} of {self.count}"

    def decode(self, intrinsics: Intrinsics):
        for frame in range(self.count):
            shape = (intrinsics.height, intrinsics.width, 1)
            yield np.tile(np.array([self.camera, *divmod(frame, 256)], np.uint8), shape)


@pytest.fixture
def carried(tmp_path, monkeypatch) -> Scene:
    """Half a minute of cameras that move round wandering points, whose exact tracks stand in for followed ones."""
    frames, generator = 30 * FPS, np.random.default_rng(0)
    scene = sphere_scene(tmp_path, CARRIED, frames=frames, fps=FPS, arc=Arc(sweep=40.0), size=(160, 120))
    centre, reach = generator.uniform(-0.6, 0.6, (40, 3)), generator.uniform(0.1, 0.3, (2, 40, 3))
    speed, phase = generator.uniform(2, 6, (2, 40, 3)), generator.uniform(0, 6, (2, 40, 3))

    def exact(images: np.ndarray) -> Tracks:
        """The points' places in the frames that the images name."""
        index, points = int(images[0, 0, 0, 0]), []
        for high, low in images[:, 0, 0, 1:].astype(int):
            time = (256 * high + low) / FPS * (1 + 1e-6 * CARRIED_RATES[index]) + CARRIED[index]
            place = torch.from_numpy(centre + (reach * np.sin(speed * time + phase)).sum(0))
            seen = torch.cat([place, torch.ones(40, 1)], 1) @ scene.cameras[index].projection(int(256 * high + low)).T
            points.append(seen[:, :2] / seen[:, 2:])
        return Tracks(torch.stack(points).float(), torch.ones(len(images), 40, dtype=torch.bool), None)

    monkeypatch.setattr("syncnerf.sync.track_pairs.follow_points", exact)
    monkeypatch.setattr("syncnerf.sync.long.LONG", 20.0)
    monkeypatch.setattr("syncnerf.sync.long.MOVING", Windows(4.0, 4))
    sources = {camera.name: Numbered(index, frames) for index, camera in enumerate(scene.cameras)}
    return replace(scene, frame_cache=FrameCache(tmp_path, sources), _frames={})


CARRIED, CARRIED_RATES = [3.1, 0.0, -1.7], (0.0, 0.0, 3000.0)
"""Offsets in seconds, and a rate in parts per million that half a minute shows."""


def test_moving_cameras_are_placed_by_sound_and_then_by_points(carried, monkeypatch):
    lags = [PriorLag(0, 1, CARRIED[0] + 0.02, 0.012), PriorLag(1, 2, -CARRIED[2] - 0.03, 0.012)]
    monkeypatch.setattr(sys.modules["syncnerf.sync.synchronize"], "sound_lags", lambda scene, max_offset: lags)
    result = synchronize(carried, drift=True)
    assert result.reasons == {}
    # Against the reference, which the drifting clock is compared with at the beginning of its own.
    for camera in range(3):
        assert float(result.offsets[camera]) == pytest.approx(CARRIED[camera] - CARRIED[1], abs=0.1 / FPS)
        # A tenth of a frame in the seventeen seconds between the windows.
        assert float(result.rates[camera]) * 1e6 == pytest.approx(CARRIED_RATES[camera], abs=500)


def test_moving_cameras_are_sought_within_the_largest_offset(carried):
    result = synchronize(carried, max_offset=4.0, drift=True)
    for camera in range(3):
        assert float(result.offsets[camera]) == pytest.approx(CARRIED[camera] - CARRIED[1], abs=0.1 / FPS)


def test_moving_cameras_that_nothing_places_are_refused(carried):
    with pytest.raises(UserError, match=r"no sound places 'cam00'.*--max-offset"):
        synchronize(carried)


def test_recordings_that_hardly_meet_are_refused(folder, shortened, monkeypatch):
    monkeypatch.setattr("syncnerf.sync.long.STILL", Windows(70.0, 5))
    with pytest.raises(UserError, match="share less than"):
        synchronize(load_scene(folder), max_offset=4.0)
