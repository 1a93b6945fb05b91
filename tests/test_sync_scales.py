"""What finer lines and trends make of the offsets, and of their errors."""

from unittest.mock import Mock

import numpy as np
import torch

from syncnerf.scene import Scene
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.landscape import Peak
from syncnerf.sync.resolve import resolve
from syncnerf.sync.scales import BETWEEN_SCALES, between_scales, moved_by_scale, trend_over_directions
from syncnerf.sync.uncertainty import Sensitivity

STEP = 1 / 30


def test_what_all_lags_of_a_camera_share_shows_where_scales_differ():
    """A camera that is late by a frame on coarse lines and by half of one on fine ones; residuals are nothing."""
    first, second = torch.combinations(torch.arange(6)).T
    moved = torch.tensor([0.0, 0.0, 0.05, 0.0, 0.0, 0.0], dtype=torch.float64)
    design = torch.eye(6, dtype=torch.float64)[first] - torch.eye(6, dtype=torch.float64)[second]
    deviations = 0.01 * torch.linspace(1, 2, len(first), dtype=torch.float64)
    found = between_scales(moved_by_scale(design, deviations, moved[first] - moved[second], 6))
    own = (moved - moved.mean()).square()
    torch.testing.assert_close(found.diagonal(), BETWEEN_SCALES**2 * 0.5 * (own + own.mean()))
    assert torch.equal(found, torch.diag(found.diagonal()))
    # A row of what was known beforehand, as of the locking, says nothing of scales.
    longer = torch.cat([torch.cat([design, torch.zeros(len(first), 1)], 1), torch.eye(7, dtype=torch.float64)[-1:]])
    again = moved_by_scale(longer, torch.cat([deviations, deviations[:1]]), moved[first] - moved[second], 6)
    torch.testing.assert_close(between_scales(again), found)
    assert not between_scales(moved_by_scale(design, deviations, 0 * deviations, 6)).any()


def test_a_trend_over_directions_goes_on_as_from_scale_to_scale():
    """Cameras all around err by a linear function of their direction, of which a finer scale has lost a part."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(40, 3, generator=generator, dtype=torch.float64), dim=1)
    slope = torch.tensor([0.04, -0.02, 0.01], dtype=torch.float64)
    chance = 2e-3 * torch.randn(40, generator=generator, dtype=torch.float64)
    trend, covariance = trend_over_directions(directions @ slope + chance + 0.3, directions, 1.0)
    wanted = directions @ slope
    assert float((trend - wanted + wanted.mean()).abs().max()) < 2e-3
    # What is left may err along any direction by half as much again as the trend was, and by a hundredth.
    variance = BETWEEN_SCALES**2 * slope.square().mean() + 1e-4
    apart = directions - directions.mean(0)
    assert torch.linalg.matrix_rank(covariance) == 3
    torch.testing.assert_close(covariance, variance * apart @ apart.T, rtol=0.15, atol=1e-5)
    # Cameras in one place have no directions to tell, and few cameras none to spare.
    together = directions[:1] + 1e-3 * directions
    assert float(trend_over_directions(directions @ slope, together, 1.0)[0].abs().max()) < 1e-4
    assert not any(part.any() for part in trend_over_directions(wanted[:9], directions[:9], 1.0))


def test_offsets_of_exact_poses_follow_their_trend():
    """Finer lines have lost half of an error that is linear in the direction to the camera; the rest goes as far."""
    generator = np.random.default_rng(2)
    count = 14
    directions = torch.nn.functional.normalize(torch.from_numpy(generator.normal(size=(count, 3))), dim=1)
    trend = directions @ torch.tensor([0.01, -0.004, 0.006]).double()
    truth = torch.from_numpy(generator.uniform(-0.4, 0.4, count))
    pull, comparisons = Sensitivity(torch.zeros(80).double(), -torch.ones(80).double(), STEP), []
    for i, j in torch.combinations(torch.arange(count)).tolist():
        lag = float((truth + trend)[i] - (truth + trend)[j]) + 1e-4 * generator.normal()
        moved = float(trend[j] - trend[i])
        comparisons.append(Comparison(i, j, None, Peak(lag, 1e-3, 9.0, 9.0), "", pull, rescaled=moved))
    cameras = tuple(Mock(frame_times=STEP * torch.arange(81).double()) for _ in range(count))
    scene = Mock(spec=Scene, cameras=cameras, train=tuple(range(count)), test=(), frame_interval=STEP)
    scene.names = [f"cam{index:02d}" for index in range(count)]

    def error(result):
        off = result.offsets - truth
        return (off - off.mean()).abs().max()

    plain, followed = resolve(scene, "epipolar", comparisons), resolve(scene, "epipolar", comparisons, directions)
    assert float(error(plain)) > 5e-3
    assert float(error(followed)) < 0.1 * float(error(plain))
    assert float(followed.offsets[followed.reference]) == 0.0
    # What is left is uncertain along the directions, for all cameras together, and no longer for each by itself.
    along = directions[:, 0] - directions[:, 0].mean()
    assert float(along @ followed.covariance @ along) > float(along @ plain.covariance @ along)
    across = torch.linalg.qr(torch.cat([directions, torch.ones(count, 1)], 1), mode="complete")[0][:, 4:]
    before, after = (float((across.T @ each.covariance @ across).trace()) for each in (plain, followed))
    assert after < before
