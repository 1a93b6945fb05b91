"""Frames' own times: uneven rates, gaps, clocks that begin late, and rows that are read one after another."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_spheres import Clocks, Spheres, sphere_scene

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Camera, Intrinsics, Scene
from syncnerf.sync import synchronize
from syncnerf.sync.coincidence import coincidence, grid_begin
from syncnerf.sync.energy import MotionEnergy
from syncnerf.sync.resampling import points_at_frames, resample, unrolled

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02]
"""Planted, seconds."""
FRAMES, FPS = 60, 30.0


def even(count: int = FRAMES) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float64) / FPS


def error(scene: Scene) -> float:
    """Mean error of the offsets in frames."""
    return float(align_gauge(synchronize(scene).offsets, scene.true_offsets).abs().mean()) * FPS


class Kept:
    """A frame cache that holds some frames of another."""

    def __init__(self, scene: Scene, kept: list[np.ndarray]):
        self.scene, self.kept = scene, kept

    def prepare(self, cameras):
        pass

    def open(self, camera):
        index = self.scene.index_of(camera.name)
        return self.scene.frames(index)[self.kept[index]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("even"), OFFSETS, frames=FRAMES, size=(72, 72), spheres=Spheres(6, 3))
    made.frame_cache.prepare(made.cameras)
    return made


def test_resampling_is_interpolation_of_what_has_come_so_far():
    generator = np.random.default_rng(0)
    times = np.cumsum(generator.uniform(0.5, 1.5, 40)) + 7.0
    signals = torch.from_numpy(generator.uniform(size=(3, 39)))
    found = resample(signals, torch.from_numpy(times), 1.3)
    edges = times[0] + 1.3 * np.arange(found.shape[1] + 1)
    assert edges[-1] <= times[-1] < edges[-1] + 1.3
    for row, values in zip(found.numpy(), signals.numpy(), strict=True):
        so_far = np.interp(edges, times, np.append(0.0, np.cumsum(values)))
        np.testing.assert_allclose(row, np.diff(so_far), atol=1e-12)
    later = resample(signals, torch.from_numpy(times), 1.3, times[0] + 0.7)
    edges = times[0] + 0.7 + 1.3 * np.arange(later.shape[1] + 1)
    assert edges[-1] <= times[-1] < edges[-1] + 1.3
    so_far = np.interp(edges, times, np.append(0.0, np.cumsum(signals[0].numpy())))
    np.testing.assert_allclose(later[0].numpy(), np.diff(so_far), atol=1e-12)
    steady = torch.from_numpy(5.0 + 1.3 * np.arange(40))
    assert resample(signals, steady, 1.3) is signals


def test_frames_come_together_at_a_lag():
    """As far as they come at even times: of the jitter u, the mean of exp(2 pi i u) is left."""
    generator = torch.Generator().manual_seed(0)
    step = 1 / FPS
    assert coincidence(even(), even(30), step) == (0.0, 1.0)
    lag, share = coincidence(even() + 3.27 * step, even()[[0, 1, 2, 9, 30]] - 0.06 * step, step)
    assert share == 1.0
    # Frames of own times k + 3.27 and k - 0.06 are exposed together where the second's offset is 0.33 larger.
    assert lag / step == pytest.approx(-0.33 - round(-0.33 - lag / step), abs=1e-9)
    jittered = even(4000) + 0.2 * step * (2 * torch.rand(4000, generator=generator, dtype=torch.float64) - 1)
    lag, share = coincidence(jittered, even(4000) + 0.1 * step, step)
    assert lag / step == pytest.approx(0.1, abs=0.01)
    assert share == pytest.approx(np.sinc(0.4), abs=0.01)
    assert coincidence(even(200), even(200) * 25 / 30, step)[1] < 0.01


def test_steps_lie_where_frames_do():
    """Not where the first one does, which may be early or late; and after it, whatever was rounded."""
    step = 1 / FPS
    assert grid_begin(even(), step) == 0.0
    assert grid_begin(even() + 7.3, step) == 7.3
    for late, begin in ((0.2, 0.8), (-0.2, 0.2)):
        times = even(2000)
        times[1:] -= late * step
        assert grid_begin(times, step) / step == pytest.approx(begin, abs=1e-3)


def test_a_frame_that_comes_early_moves_nothing(scene, tmp_path):
    """Only the first frame of each video comes early or late, as its file tells: 59 others are where they were."""
    times = [even() for _ in OFFSETS]
    for own, by in zip(times, (-0.4, 0.3, 0.0, -0.3, 0.4), strict=True):
        own[0] += by / FPS
    clocks = Clocks(times=[own - own[0] for own in times])
    offsets = [offset + float(own[0]) for offset, own in zip(OFFSETS, times, strict=True)]
    odd = sphere_scene(tmp_path, offsets, frames=FRAMES, size=(72, 72), spheres=Spheres(6, 3), clocks=clocks)
    found = synchronize(odd).offsets - odd.true_offsets
    difference = found - (synchronize(scene).offsets - scene.true_offsets)
    assert float((difference - difference.median()).abs().max()) * FPS < 0.05


def test_what_changes_fast_moves_as_far_as_what_changes_slowly():
    """Waves of four intervals: sharing amounts between two of these would be off by a fifth of the waves."""
    camera = Camera(
        "a", Intrinsics(4, 40, 50.0, 50.0, 2.0, 20.0), torch.eye(4, dtype=torch.float64), FPS, 41, row_time=0.015
    )
    late = (((torch.arange(40) + 0.5) / 40 - 0.5) * camera.row_time * FPS)[:, None]

    def wave(moment: torch.Tensor) -> torch.Tensor:
        return 2.0 + torch.sin(0.5 * torch.pi * moment + 0.4)

    energy = MotionEnergy(
        wave(torch.arange(40.0) + late), torch.arange(0, 160, 4), 1, 4, 40, torch.ones(40, dtype=torch.bool)
    )
    found = unrolled(energy, camera)
    off = (found.values - wave(torch.arange(40.0) + found.late * FPS)).abs()[:, 2:-2]
    assert float(off.max()) < 0.03


def test_rows_read_late_move_by_their_time():
    """The mean time of a pixel's energy is what its row is late, up or down, and its total stays; of film as well."""
    for row_time, pace in ((0.015, 1.0), (-0.02, 1.0), (0.02, 0.8)):
        camera = Camera(
            "a", Intrinsics(4, 40, 50.0, 50.0, 2.0, 20.0), torch.eye(4, dtype=torch.float64), FPS, 31, row_time=row_time
        )
        amounts, rows = torch.linspace(1, 7, 40).double(), ((torch.arange(40) + 0.5) / 40 - 0.5).double() * row_time
        values = torch.zeros(40, 30)
        values[:, 12:17] = torch.tensor([1.0, 4.0, 2.0, 0.0, 3.0])
        values *= amounts[:, None].float()
        everything = torch.ones(30, dtype=torch.bool)
        energy = MotionEnergy(values, torch.arange(0, 160, 4), 1, 4, 40, everything, pace=pace)
        found = unrolled(energy, camera)
        assert found.late == pytest.approx(float(rows @ amounts / amounts.sum()), abs=1e-9)
        moved = found.values.double()
        torch.testing.assert_close(moved.sum(1), values.double().sum(1))
        shift = (moved - values).double() @ even(30) / pace / values.double().sum(1)
        torch.testing.assert_close(shift + found.late, rows, atol=1e-6, rtol=0)
    assert unrolled(energy, replace(camera, row_time=0.0)) is energy


def test_tracks_are_moved_to_the_frames_times():
    """A point on a smooth path, seen when its row was read, comes back to where it is at the frames' times."""
    camera = Camera(
        "a", Intrinsics(100, 100, 90.0, 90.0, 50.0, 50.0), torch.eye(4, dtype=torch.float64), FPS, 30, row_time=0.02
    )
    visible = torch.ones(30, 2, dtype=torch.bool)
    visible[10, 0] = visible[20:, 1] = False

    def place(times: torch.Tensor) -> torch.Tensor:
        return torch.stack([40 + 30 * torch.sin(times), 50 + 35 * torch.cos(2 * times)], dim=-1)

    at_frames = place(even(30))[:, None].expand(30, 2, 2)
    read = even(30)[:, None].expand(30, 2)
    for _ in range(20):
        read = even(30)[:, None] + (place(read)[..., 1] / 100 - 0.5) * camera.row_time
    seen = place(read)
    found = points_at_frames(seen, visible, camera)
    left = (found - at_frames).norm(dim=-1)[visible]
    assert float(left.max()) < 0.1 * float((seen - at_frames).norm(dim=-1)[visible].max())
    assert points_at_frames(seen, visible, replace(camera, row_time=0.0)) is seen


def test_lost_frames_that_the_times_tell_do_no_damage(scene):
    generator = np.random.default_rng(1)
    kept = [np.delete(np.arange(FRAMES), generator.choice(np.arange(5, 55), 3, False)) for _ in OFFSETS]
    cameras = [
        replace(camera, frame_count=len(own), given_times=even()[own])
        for camera, own in zip(scene.cameras, kept, strict=True)
    ]
    lossy = replace(scene, cameras=tuple(cameras), frame_cache=Kept(scene, kept), _frames={})
    plain, told = error(scene), error(lossy)
    untold = error(replace(lossy, cameras=tuple(replace(camera, given_times=None) for camera in cameras)))
    assert told < 1.5 * plain + 0.01
    assert untold > 3 * told


def test_clocks_begin_when_they_like(scene):
    begins = [0.0, 100.0, -3.7, 0.013, 12.0]
    cameras = [replace(camera, given_times=even() + begin) for camera, begin in zip(scene.cameras, begins, strict=True)]
    late = replace(scene, cameras=tuple(cameras), true_offsets=scene.true_offsets - torch.tensor(begins).double())
    found, plain = synchronize(late), synchronize(scene)
    difference = found.offsets + torch.tensor(begins).double() - plain.offsets
    assert float((difference - difference.median()).abs().max()) * FPS < 0.005


def test_a_camera_whose_frames_lie_farther_apart_than_videos_are_long_is_set_aside(scene):
    """One picture of it in three seconds, where the others film for two."""
    slow = replace(scene.cameras[2], fps=1 / 3, given_times=3.0 * torch.arange(FRAMES, dtype=torch.float64))
    odd = replace(scene, cameras=(*scene.cameras[:2], slow, *scene.cameras[3:]))
    found, plain, others = synchronize(odd), synchronize(scene), [0, 1, 3, 4]
    assert bool(found.offsets[2].isnan())
    reason = "one video is shorter than the time between two frames of the other"
    assert any(pair.reason == reason for pair in found.pairs if 2 in (pair.first, pair.second))
    difference = (found.offsets - plain.offsets)[others]
    assert float((difference - difference.median()).abs().max()) * FPS < 0.05


@pytest.mark.slow
def test_uneven_frames_are_as_good_as_even_ones(scene, tmp_path):
    generator = np.random.default_rng(2)
    times = [even() + torch.from_numpy(generator.uniform(-0.1, 0.1, FRAMES)) / FPS for _ in OFFSETS]
    jittered = sphere_scene(
        tmp_path,
        OFFSETS,
        frames=FRAMES,
        size=(72, 72),
        spheres=Spheres(6, 3),
        clocks=Clocks(times=[t - t[0] for t in times]),
    )
    assert error(jittered) < 1.5 * error(scene) + 0.01


@pytest.mark.slow
def test_rolling_shutter_biases_unless_it_is_given(tmp_path):
    """Half of the cameras read their rows over 15 ms, half of these upside down; what moves is high up. Two scenes."""
    rows, errors = [0.0, 0.015, 0.0, -0.015] * 2, {"given": 0.0, "ignored": 0.0, "at once": 0.0}
    for seed in (3, 4):
        offsets = [0.0, *np.random.default_rng(seed).normal(0, 0.1, 7)]
        spheres = Spheres(6, seed)
        spheres.centre[:, 2] += 0.6
        rolling, at_once = (
            sphere_scene(
                tmp_path / f"{name}{seed}", offsets, frames=FRAMES, size=(128, 128), spheres=spheres, clocks=clocks
            )
            for name, clocks in (("rolling", Clocks(row_times=rows)), ("at_once", Clocks()))
        )
        unaware = replace(rolling, cameras=tuple(replace(camera, row_time=0.0) for camera in rolling.cameras))
        for name, scene in zip(errors, (rolling, unaware, at_once), strict=True):
            errors[name] += error(scene)
    assert errors["given"] < 1.2 * errors["at once"]
    assert errors["ignored"] > 3 * errors["given"]
