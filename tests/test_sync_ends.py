"""Ends of videos that agree with the others' a few samples away: frames lost or held near them."""

import itertools

import numpy as np
import pytest
import torch
from moving_spheres import Spheres, sphere_scene
from spliced_films import OFFSETS as FILMED
from spliced_films import shown

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.sync import synchronize
from syncnerf.sync.ends import NearLags, end_changes, near_lags
from syncnerf.sync.frame_products import frame_products
from syncnerf.sync.jumps import with_jumps
from syncnerf.sync.leaps import Leap
from syncnerf.sync.result import SyncResult

STEP = 0.04
OFFSETS = torch.tensor([0.0, 0.08, -0.04, 0.12], dtype=torch.float64)
"""Seconds: whole samples."""


def filmed(
    offsets: torch.Tensor, shown: dict[int, np.ndarray], seed: int, noise: float = 1.0, fraction: float = 0.0
) -> list[NearLags]:
    """All pairs of cameras that film one signal of 30 lines for 60 samples, each with noise of its own.

    Args:
        offsets: that were found; the true ones are OFFSETS.
        shown: which sample of its own each sample of a camera shows, where that is not itself.
        seed: of signal and noise.
        noise: in what the signal varies by.
        fraction: of a sample by which the second camera begins late.
    """
    generator = torch.Generator().manual_seed(seed)
    source, signals = torch.randn(30, 120, generator=generator), []
    between = (1 - fraction) * source[:, :-1] + fraction * source[:, 1:]
    for camera in range(len(offsets)):
        begin = 20 + round(float(OFFSETS[camera]) / STEP)
        own = (between if camera == 1 else source)[:, begin : begin + 60]
        own = own + noise * torch.randn(own.shape, generator=generator)
        signals.append(own[:, shown.get(camera, np.arange(60))])
    found = []
    for i, j in itertools.combinations(range(len(offsets)), 2):
        lag = float(offsets[i] - offsets[j])
        found.append(near_lags((i, j), frame_products(signals[i], signals[j], lag, STEP), (0.0, 0.0)))
    return found


def without(at: int, lost: int) -> np.ndarray:
    return np.delete(np.arange(60), np.arange(at, at + lost))


def holding(at: int, held: int) -> np.ndarray:
    return np.concatenate([np.arange(at), np.full(held, at), np.arange(at, 60)])


ODD = [
    (without(7, 1), "begin", -1),
    (without(14, 3), "begin", -3),
    (without(50, 1), "end", 1),
    (without(38, 6), "end", 6),
    (holding(44, 5), "end", -5),
    (holding(9, 2), "begin", 2),
]


@pytest.mark.parametrize("camera", [0, 1, 3])
@pytest.mark.parametrize(("frames", "end", "change"), ODD)
def test_the_end_before_or_after_lost_frames_has_another_offset(frames, end, change, camera):
    """The offset found is that of the longer part: of what follows, where frames lack near the beginning.

    A file that lacks frames shows what follows too early, as if it had begun later; the beginning is right by an
    offset that is smaller by as many.
    """
    lost = 60 - len(frames)
    offsets = OFFSETS.clone()
    offsets[camera] += lost * STEP if end == "begin" else 0.0
    for seed in range(5):
        found = end_changes(offsets, filmed(offsets, {camera: frames}, seed), STEP)
        expected = torch.zeros(4, dtype=torch.float64)
        expected[camera] = change * STEP
        assert torch.allclose(found, expected)


@pytest.mark.parametrize(("noise", "fraction"), [(0.5, 0.0), (1.0, 0.5), (2.0, 0.0)])
def test_steady_clocks_have_none(noise, fraction):
    offsets = OFFSETS + torch.tensor([0, fraction * STEP, 0, 0], dtype=torch.float64)
    found = torch.stack([end_changes(offsets, filmed(offsets, {}, seed, noise, fraction), STEP) for seed in range(20)])
    assert int((found != 0).sum()) <= 1


def test_a_camera_that_is_compared_with_jumping_ones_only_is_as_unsure():
    """Of three that have no pair without the jumping one none is sure, nor is either of two."""
    offsets = OFFSETS[:3] + torch.tensor([STEP, 0, 0], dtype=torch.float64)
    near = filmed(offsets, {0: without(12, 1)}, 0)
    assert end_changes(offsets, near, STEP).tolist() == [-STEP, 0, 0]
    told = end_changes(offsets, [each for each in near if each.first == 0], STEP)
    assert told.abs().tolist() == [STEP, STEP, STEP]
    assert end_changes(offsets, near[:1], STEP).abs().tolist() == [STEP, STEP, 0]


def test_where_a_clock_is_known_to_jump_a_pair_alone_says_nothing():
    offsets = OFFSETS[:3] + torch.tensor([STEP, 0, 0], dtype=torch.float64)
    near = filmed(offsets, {0: without(12, 1)}, 0)[:1]
    assert not end_changes(offsets, near, STEP, jumping=torch.tensor([False, False, True])).any()


def test_two_that_lost_frames_are_told_from_the_others():
    offsets = OFFSETS + torch.tensor([STEP, 0, 0, 0], dtype=torch.float64)
    for seed in range(5):
        found = end_changes(offsets, filmed(offsets, {0: without(10, 1), 2: without(45, 2)}, seed), STEP)
        assert torch.allclose(found, torch.tensor([-1.0, 0, 2.0, 0], dtype=torch.float64) * STEP)


def test_what_pairs_of_a_clock_that_is_known_to_jump_say_is_its_own_doing():
    """Three cameras: where the clock jumps in the middle, whose doing it is could be either's."""
    told, offsets = torch.tensor([True, False, False]), OFFSETS[:3]
    for seed in range(5):
        near = filmed(offsets, {0: without(30, 2)}, seed)
        assert end_changes(offsets, near, STEP, jumping=told)[1:].tolist() == [0.0, 0.0]
        assert end_changes(offsets, near, STEP, jumping=told)[0].abs() == 2 * STEP


def test_a_clock_with_a_rate_is_followed():
    """Half a sample to either side over the video: by its rate it is steady, and no rate makes an end of it wrong."""
    nothing = filmed(OFFSETS, {}, 0)
    rates = torch.tensor([0, 0.0, 0, 0.1], dtype=torch.float64)
    assert not end_changes(OFFSETS, nothing, STEP).any()
    assert end_changes(OFFSETS, nothing, STEP, rates)[3] != 0


def test_long_videos_and_still_ones_are_not_looked_at():
    assert near_lags((0, 1), frame_products(torch.randn(2, 3001), torch.randn(2, 3001), 0.0, 1.0), (0, 0)) is None
    assert near_lags((0, 1), frame_products(torch.zeros(2, 60), torch.zeros(2, 60), 0.0, 1.0), (0, 0)) is None
    assert end_changes(OFFSETS, [], STEP).tolist() == [0.0] * 4


@pytest.mark.parametrize(("cameras", "leaping", "doubted"), [(8, 2, 2), (8, 3, 8), (20, 4, 4), (20, 5, 20), (3, 1, 1)])
def test_where_a_quarter_of_the_clocks_are_seen_to_jump_none_is_sure(tmp_path, cameras, leaping, doubted):
    """By leaps in their own videos: what takes frames from them takes some from others too, where it does not show."""
    scene, zeros = sphere_scene(tmp_path, [0.0] * cameras), torch.zeros(cameras, dtype=torch.float64)
    names = scene.names
    leaps = [(Leap(20, 2.0),) if camera < leaping else () for camera in range(cameras)]
    result = with_jumps(scene, SyncResult(names, 0, "epipolar", zeros, zeros + 1e-3, [], []), [], [], leaps)
    assert list(result.warnings) == names[:doubted]
    assert bool((result.stderr[:doubted] > 1 / 30).all())
    assert bool((result.stderr[doubted:] == 1e-3).all())


@pytest.mark.parametrize("seed", [2, 4])
def test_a_frame_that_lacks_early_in_one_video_of_four_is_told(tmp_path, seed):
    """Eight frames before it are too few for a window of time, and all moves too little there for a leap."""
    scene = sphere_scene(tmp_path, FILMED[:4], frames=60, spheres=Spheres(6, seed), size=(84, 72))
    scene.frame_cache.prepare(scene.cameras)
    assert set(synchronize(scene, audio="off").verdicts.values()) == {"sure"}
    odd = shown(scene, "cam01", np.delete(np.arange(60), 8))
    result = synchronize(odd, audio="off")
    assert result.verdicts == dict.fromkeys(scene.names, "sure") | {"cam01": "check"}
    assert "by 0.033 s" in result.warnings["cam01"]
    assert bool((align_gauge(result.offsets, odd.true_offsets).abs() < 3 * result.stderr).all())
