"""What may be where at a moment: a ball that flies past six cameras, which film it at times of their own."""

import numpy as np
import pytest
import torch
from filmed_balls import FPS, OFFSETS, SIDE, filmed
from scipy import ndimage
from spinning_ball import HULL, MIDDLE, RADIUS, VELOCITY, picture

from syncnerf.assembly import hulls_of_moments
from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.config import OffsetsConfig
from syncnerf.scene.moment_hulls import moment_hulls
from syncnerf.scene.moving_hulls import moving_hulls
from syncnerf.scene.visual_hull import grown, hull_points

FIRST, LAST, COUNT = -0.3, 1.5, 18
"""Seconds that the field's time spans, and its intervals: a frame each."""


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    return filmed(tmp_path_factory.mktemp("flight"), picture)


def carved(scene, offsets=OFFSETS, slack=0.0):
    own = [view.frame_times + offset for view, offset in zip(scene.cameras, offsets, strict=True)]
    times = [2.0 * (seconds - FIRST) / (LAST - FIRST) - 1.0 for seconds in own]
    return moment_hulls(scene, HULL, COUNT, times, [2.0 * slack / (LAST - FIRST)] * len(own))


@pytest.fixture(scope="module")
def swept(flight):
    """Cells whose middles are in the ball at some time of each interval, bool [COUNT, X, Y, Z]."""
    points = hull_points(flight.bounds, HULL.shape)[0]
    moments = torch.linspace(FIRST, LAST, 5 * COUNT + 1, dtype=torch.float64)
    inside = torch.stack([(points - VELOCITY * (time - MIDDLE)).norm(dim=-1) < RADIUS for time in moments])
    parts = [inside[5 * place : 5 * place + 6].any(dim=0) for place in range(COUNT)]
    return torch.stack(parts).reshape(-1, *HULL.shape)


def test_they_hold_what_flies_at_every_moment_and_little_else(flight, swept):
    found = carved(flight)
    assert not (swept & ~found).any()
    # All cameras film from 0.3 to 0.9 s: seven intervals.
    filmed_by_all = slice(6, 12)
    assert swept[filmed_by_all].any(dim=(1, 2, 3)).all()
    shares = found[filmed_by_all].sum(dim=(1, 2, 3)) / swept[filmed_by_all].sum(dim=(1, 2, 3))
    # Of cells and pixels as coarse as these, seen from above alone.
    assert float(shares.max()) < 6.5
    assert found[0].all()  # no camera films at the ends


def test_offsets_that_are_wrong_lose_it_but_for_slack(flight, swept):
    wrong = OFFSETS + torch.tensor([0.0, 2.2, -2.2, 2.2, -2.2, 0.0]) / FPS
    lost = swept & ~carved(flight, wrong)
    assert int(lost.sum()) > 0.1 * int(swept.sum())
    assert not (swept & ~carved(flight, wrong, slack=2.2 / FPS)).any()


def test_nothing_known_of_clocks_is_nothing_known_of_moments(flight):
    assert carved(flight, slack=float("inf")).all()


def clock(scene, start: ClockStart | None) -> Clock:
    own = [view.frame_times for view in scene.cameras]
    span = ClockSpan(torch.stack([t[0] for t in own]), torch.stack([t[-1] for t in own]), scene.frame_interval)
    return Clock(OffsetsConfig(), span, scene.reference, 100, start)


def test_they_are_carved_by_what_is_known_of_the_clocks_or_not_at_all(flight):
    assert hulls_of_moments(flight, clock(flight, None), HULL, COUNT) == (None, None)
    assert hulls_of_moments(flight, clock(flight, ClockStart(OFFSETS)), HULL, COUNT) == (None, None), "without errors"
    shares = []
    for error in (1e-3, 0.02, 0.1):
        known = clock(flight, ClockStart(OFFSETS, covariance=error**2 * torch.eye(6, dtype=torch.float64)))
        found, _ = hulls_of_moments(flight, known, HULL, COUNT)
        # The field's time ends a little beyond the frames: the ball's is that of the scene.
        moments = torch.linspace(known.first, known.last, COUNT + 1, dtype=torch.float64)
        points = hull_points(flight.bounds, HULL.shape)[0]
        for place, moment in enumerate((moments[1:] + moments[:-1]) / 2):
            ball = (points - VELOCITY * (moment - MIDDLE)).norm(dim=-1) < RADIUS
            assert found[place].reshape(-1)[ball].all()
        shares.append(float(found.float().mean()))
    assert shares == sorted(shares)
    assert shares[0] < 0.8 * shares[-1]


TABLE = -0.9
"""Height of a patterned table, which the ball never reaches."""


def over_table(view, time: float) -> np.ndarray:
    """The ball before a table that fills all of the pictures' lower parts."""
    rays = view.all_rays(0.1, 10.0)
    distance = (TABLE - rays.origins[:, 2]) / rays.directions[:, 2]
    where = (rays.origins + distance[:, None] * rays.directions)[:, :2]
    squares = (where / 0.4).floor().sum(dim=-1).remainder(2) == 0
    table = torch.where(squares[:, None], torch.tensor([230, 200, 60]), torch.tensor([60, 60, 110])).to(torch.uint8)
    hits = (distance > 0) & (where.abs() < 1.3).all(dim=-1)
    ball = picture(view, time).reshape(-1, 3)
    beside = np.where(hits[:, None].numpy(), table.numpy(), np.uint8(255))
    return np.where((ball != 255).any(axis=-1, keepdims=True), ball, beside).reshape(SIDE, SIDE, 3)


def test_before_a_table_what_moves_is_where_it_flies_and_in_little_else(tmp_path, swept):
    scene = filmed(tmp_path, over_table)
    own = [view.frame_times + offset for view, offset in zip(scene.cameras, OFFSETS, strict=True)]
    times = [2.0 * (seconds - FIRST) / (LAST - FIRST) - 1.0 for seconds in own]
    occupied = moment_hulls(scene, HULL, COUNT, times, [0.0] * len(own))
    moving = moving_hulls(scene, occupied, times, [0.0] * len(own))
    assert not (moving & ~occupied).any()
    assert not (swept & ~moving).any()
    filmed_by_all = slice(6, 12)
    there = swept[filmed_by_all].sum(dim=(1, 2, 3))
    assert float((occupied[filmed_by_all].sum(dim=(1, 2, 3)) / there).min()) > 25.0  # the table fills the pictures
    assert float((moving[filmed_by_all].sum(dim=(1, 2, 3)) / there).max()) < 9.0
    assert moving[0].all()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 13, 40])
def test_masks_grow_as_scipy_dilates_them(radius):
    """Also by more than their height."""
    mask = torch.rand(23, 61, generator=torch.Generator().manual_seed(0)) > 0.995
    assert mask.any()
    side = 2 * radius + 1
    expected = ndimage.binary_dilation(mask.numpy(), np.ones((side, side), bool))
    before = mask.clone()
    assert np.array_equal(grown(mask, radius).numpy(), expected)
    assert torch.equal(mask, before)
