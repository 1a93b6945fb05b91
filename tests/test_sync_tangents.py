"""Outlines in pictures, the lags that their epipolar tangents tell, and what these make of offsets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_spheres import Arc, Clocks, Spheres, sphere_scene
from odd_frames import Odd, OddFrames
from torch import Tensor

from syncnerf.sync.epipolar_cameras import prepare_cameras
from syncnerf.sync.outlines import covered, ends, outlines
from syncnerf.sync.shared_tangents import ERROR, shared_tangents
from syncnerf.sync.solve import Lags
from syncnerf.sync.tangent_offsets import tangent_lags, with_tangents
from syncnerf.sync.tangents import Tangent, tangents, tangents_lag

STEP = 1 / 30


def disc(column: float, row: float, radius: float, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A dark disc on white, each pixel averaged over 8 x 8 points, uint8, shape [1, height, width, 3]."""
    rows, columns = ((np.arange(8 * count) + 0.5) / 8 for count in size)
    inside = np.hypot(rows[:, None] - row, columns - column) < radius
    share = inside.reshape(size[0], 8, size[1], 8).mean((1, 3))
    return (255 - share[..., None] * np.array([200, 90, 30])).round().astype(np.uint8)[None]


def test_outlines_are_found_to_a_fraction_of_a_pixel():
    """The four extreme points of a disc at several places between pixels; what is small is nothing."""
    white = np.full(3, 255, dtype=np.uint8)
    for column, row in ((30.0, 20.0), (30.3, 20.6), (29.75, 21.1)):
        frames = disc(column, row, 9.0)
        frames[:, 40:42, 50:53] = 0
        place, cut = ends(*covered(frames, white, 12))
        there = ~np.isnan(place[0, :, 0])
        assert not cut.any()
        found = place[0, there]
        # Between rows, the extreme point is missed by what the circle bends within half a pixel.
        assert np.abs(found.min(0) - (column - 9, row - 9)).max() < 0.1
        assert np.abs(found.max(0) - (column + 9, row + 9)).max() < 0.1
        assert np.abs(np.hypot(*(found - (column, row)).T) - 9.0).mean() < 0.06


def test_what_the_picture_cuts_is_no_outline():
    """A disc that reaches beyond the left border: cut there, and nowhere else; an empty frame has no points."""
    frames = np.concatenate([disc(3.0, 24.0, 9.0), np.full((1, 48, 64, 3), 255, np.uint8)])
    place, cut = ends(*covered(frames, np.full(3, 255, dtype=np.uint8), 12))
    assert cut[0].any()
    assert (place[0, cut[0], 0] == 0).all()
    assert np.nanmax(place[0, :, 0]) == pytest.approx(12.0, abs=0.1)
    assert not cut[1].any()
    assert np.isnan(place[1]).all()


def test_between_its_points_a_tangent_is_a_parabola():
    """Unevenly spaced points of a parabola give it back; where points are too far apart nothing is known."""
    times = torch.tensor([0.0, 0.03, 0.07, 0.1, 0.13, 0.3, 0.33, 0.37]).double()
    tangent = Tangent(times, 2 - 3 * times + 40 * times.square())
    moments = torch.linspace(-0.0111, 0.4, 83).double()
    found = tangent.at(moments, 0.05)
    known = ((moments >= 0) & (moments <= 0.13)) | ((moments >= 0.3) & (moments <= 0.37))
    assert torch.equal(~found.isnan(), known)
    torch.testing.assert_close(found[known], (2 - 3 * moments + 40 * moments.square())[known])


def seen(offset: float, noise: float, generator: torch.Generator) -> Tangent:
    """A smooth angle as a camera sees it that started so many seconds late, sampled thirty times a second."""
    times = torch.arange(60, dtype=torch.float64) * STEP
    moments = times + offset
    angles = 0.03 * torch.sin(5.3 * moments + 0.4) + 0.02 * torch.cos(9.1 * moments)
    return Tangent(times, angles + noise * torch.randn(60, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("lag", [0.0, 0.25, 0.5, 1.37])
def test_lags_of_tangents_are_not_drawn_to_whole_frames(lag):
    """Noisy angles at whole, half and other lags, from a start 0.4 frame off: unbiased, with honest deviations."""
    generator, noise = torch.Generator().manual_seed(round(100 * lag)), 1e-3
    found = []
    for _ in range(150):
        pair = (seen(0.2 + lag * STEP, noise, generator), seen(0.2, noise, generator))
        # The second view shows its edge a little further out.
        pair = (pair[0], Tangent(pair[1].times, pair[1].angles + 0.004))
        found.append(tangents_lag([pair], (lag + 0.4) * STEP, STEP, noise))
    values, deviations = torch.tensor(found, dtype=torch.float64).T / STEP
    errors = values - lag
    assert float(errors.abs().mean()) < 2 * float(deviations.mean())
    assert float(errors.mean().abs()) < 3 * float(errors.std()) / math.sqrt(len(errors))
    assert 0.3 < float(errors.std() / deviations.mean()) < 1.5


def lags_of(offsets: Tensor, error: float, generator: torch.Generator) -> Lags:
    first, second = torch.combinations(torch.arange(len(offsets))).T
    noise = error * torch.randn(len(first), generator=generator, dtype=torch.float64)
    return Lags(first, second, offsets[first] - offsets[second] + noise, torch.full_like(noise, error))


def test_offsets_come_nearer_to_what_tangents_say():
    """Offsets known to 0.06 frame, lags to 0.03: what is joined errs less, with errors that are true."""
    generator, ratios, gains = torch.Generator().manual_seed(3), [], []
    for _ in range(20):
        truth = torch.randn(12, generator=generator, dtype=torch.float64) * STEP
        error = 0.06 * STEP * torch.randn(12, generator=generator, dtype=torch.float64)
        covariance = (0.06 * STEP) ** 2 * torch.eye(12, dtype=torch.float64)
        lags = lags_of(truth, 0.03 * STEP, generator)
        offsets, joint = with_tangents(truth + error, covariance, lags, STEP)
        left = offsets - truth - (offsets - truth).mean()
        ratios.append(left / joint.diagonal().sqrt())
        gains.append(float(left.square().mean() / (error - error.mean()).square().mean()))
    assert np.mean(gains) < 0.2
    # Stated are also what real outlines have in common.
    assert 0.2 < float(torch.cat(ratios).square().mean().sqrt()) < 1.1


def test_outlines_that_are_no_bodies_change_nothing():
    """Lags that contradict each other; and one camera's that contradict what was known of it."""
    generator = torch.Generator().manual_seed(5)
    truth = torch.randn(10, generator=generator, dtype=torch.float64) * STEP
    covariance = (0.02 * STEP) ** 2 * torch.eye(10, dtype=torch.float64)
    wild = lags_of(truth, 0.3 * STEP, generator)
    wild = Lags(wild.first, wild.second, wild.values, 0.03 * wild.deviations)
    offsets, joint = with_tangents(truth, covariance, wild, STEP)
    assert torch.equal(offsets, truth)
    assert torch.equal(joint, covariance)
    moved = truth.clone()
    moved[4] += 0.6 * STEP
    offsets, joint = with_tangents(truth, covariance, lags_of(moved, 0.005 * STEP, generator), STEP)
    errors = offsets - truth
    assert float((errors - errors.mean()).abs().max()) < 0.02 * STEP
    assert float(joint[4, 4]) > 1.3 * float(joint.diagonal().median())


def test_cameras_that_nothing_connects_keep_their_offsets():
    """Two halves of a rig, whose tangents have nothing to do with each other: one of them is told, the other left."""
    generator = torch.Generator().manual_seed(7)
    truth = torch.randn(9, generator=generator, dtype=torch.float64) * STEP
    covariance = (0.05 * STEP) ** 2 * torch.eye(9, dtype=torch.float64)
    lags = lags_of(truth, 0.01 * STEP, generator)
    apart = (lags.first < 5) == (lags.second < 5)
    _, joint = with_tangents(truth, covariance, lags.keep(apart), STEP)
    assert float(joint.diagonal()[:5].max()) < 0.6 * float(covariance[0, 0])
    torch.testing.assert_close(joint[5:, 5:], covariance[5:, 5:])
    # A single pair, or none, changes nothing.
    for kept in (torch.arange(len(lags.values)) == 0, torch.zeros(len(lags.values), dtype=torch.bool)):
        assert torch.equal(with_tangents(truth, covariance, lags.keep(kept), STEP)[1], covariance)


class Floating(Spheres):
    """Spheres with nothing but white around them."""

    def ground(self, origin: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(directions), torch.full((len(directions),), torch.inf)


def test_half_planes_that_touch_a_sphere_are_those_of_geometry(tmp_path):
    """They lie asin(radius / distance from the baseline) on both sides of its middle, whichever camera sees it."""
    spheres, offsets = Floating(1, 3), [0.0, 0.11]
    scene = sphere_scene(tmp_path, offsets, frames=30, spheres=spheres, arc=Arc(60.0))
    scene.background = (1.0, 1.0, 1.0)
    scene.frame_cache.prepare(scene.cameras)
    seen = [outlines(scene, camera, torch.ones(30, dtype=torch.bool)) for camera in (0, 1)]
    first, second = (each.view.centre.double() for each in seen)
    along = (second - first) / (second - first).norm()
    middle = torch.from_numpy(spheres.centre[0]) - first
    across = middle - (middle @ along) * along
    upward, error = torch.linalg.cross(along, across), ERROR * seen[0].view.spacing
    for low, high, offset in zip(*tangents(*seen), offsets, strict=True):
        assert len(low.times) == len(high.times) == 30
        apart = torch.from_numpy(np.stack([spheres.centres(time + offset)[0] for time in low.times.tolist()])) - first
        distances = (apart - (apart @ along)[:, None] * along).norm(dim=1)
        widths = 2 * torch.asin(spheres.radii[0] / distances)
        # Two edges, of which each errs by as much as is assumed of it.
        assert float((high.angles - low.angles - widths).square().mean().sqrt()) < math.sqrt(2) * error
        turned = torch.atan2(apart @ upward / upward.norm(), apart @ across / across.norm())
        # Angles count from where the cameras look, and ours from where the sphere is on the average.
        drawn = (high.angles + low.angles) / 2 - turned
        assert float(drawn.std()) < error
        assert float(turned.std()) > 10 * error


def test_what_stands_still_for_long_is_no_background(tmp_path):
    """A pause of twice the video's length before a ground that nobody knows: the same half-planes touch as without."""
    scene = sphere_scene(tmp_path, [0.0, 0.11], frames=30, spheres=Spheres(1, 3), arc=Arc(60.0))
    scene.frame_cache.prepare(scene.cameras)
    shown = np.concatenate([np.arange(10), np.full(60, 10), np.arange(10, 30)])
    cameras = tuple(replace(camera, frame_count=len(shown)) for camera in scene.cameras)
    cache = OddFrames(scene, {camera.name: Odd(shown) for camera in cameras})
    paused = replace(scene, cameras=cameras, frame_cache=cache, _frames={})
    told = torch.from_numpy((shown != 10) | (np.arange(90) == 70))
    plain = tangents(*(outlines(scene, camera, torch.ones(30, dtype=torch.bool)) for camera in (0, 1)))
    seen = tangents(*(outlines(paused, camera, told) for camera in (0, 1)))
    error = ERROR * outlines(scene, 0, told[:30]).view.spacing
    for usual, late in zip(plain, seen, strict=True):
        for one, other in zip(usual, late, strict=True):
            assert len(other.times) == len(one.times) == 30
            assert float((one.angles - other.angles).abs().max()) < error


def test_flicker_moves_no_outline(tmp_path):
    """Spheres before white, a tenth darker in one frame and a tenth brighter, and so clipped, in the next."""
    scene = sphere_scene(tmp_path, [0.0, 0.11], frames=20, spheres=Spheres(1, 3), arc=Arc(60.0))
    scene.background = (1.0, 1.0, 1.0)
    scene.frame_cache.prepare(scene.cameras)
    gains = torch.tensor([0.9, 1.1] * 10)

    def pixels(frames: np.ndarray) -> np.ndarray:
        return (frames * gains.numpy()[:, None, None, None]).clip(0, 255).round().astype(np.uint8)

    shown = {camera.name: Odd(np.arange(20), pixels=pixels) for camera in scene.cameras}
    flickering = replace(scene, frame_cache=OddFrames(scene, shown), _frames={})
    told = torch.ones(20, dtype=torch.bool)
    plain = tangents(*(outlines(scene, camera, told) for camera in (0, 1)))
    seen = tangents(*(outlines(flickering, camera, told, gains) for camera in (0, 1)))
    error = ERROR * outlines(scene, 0, told).view.spacing
    for usual, late in zip(plain, seen, strict=True):
        for one, other in zip(usual, late, strict=True):
            assert len(other.times) == len(one.times) == 20
            assert float((one.angles - other.angles).abs().max()) < error


def test_tangents_of_a_scene_tell_the_lags(tmp_path):
    """Spheres before white; one camera reads its rows in 10 ms, another says nothing for half of the time."""
    offsets = torch.tensor([0.0, 0.11, -0.053, 0.07, 0.02], dtype=torch.float64)
    clocks = Clocks(row_times=[0.0, 0.01, 0.0, 0.0, 0.0])
    scene = sphere_scene(tmp_path, offsets.tolist(), frames=40, spheres=Spheres(3, 3), arc=Arc(120.0), clocks=clocks)
    scene.background = (1.0, 1.0, 1.0)
    scene.frame_cache.prepare(scene.cameras)
    cameras = prepare_cameras(scene)
    cameras.energies[3].informative[:20] = False
    start = offsets + torch.tensor([0.0, 0.3, -0.2, 0.1, -0.3]) * STEP
    seen, intervals = shared_tangents(scene, cameras), torch.full((5,), STEP, dtype=torch.float64)
    lags = tangent_lags(seen, intervals, start)
    errors = (lags.values - (offsets[lags.first] - offsets[lags.second])) / STEP
    assert len(errors) >= 8
    assert float(errors.abs().median()) < 0.05
    # Of a camera that is not determined nothing is asked.
    start[2] = torch.nan
    assert 2 not in torch.cat([(left := tangent_lags(seen, intervals, start)).first, left.second])
