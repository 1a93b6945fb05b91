"""Bodies that fly free of others, planted on a grid: a ball is thrown beside somebody who walks."""

import pytest
import torch

from syncnerf.starting.bodies import BEYOND, free_bodies
from syncnerf.starting.surfaces import ColouredPoints

CELL = torch.tensor([0.05, 0.06, 0.05])
"""Scene units; not a cube."""
STEP = 1 / 30
"""Seconds from moment to moment."""
MOMENTS = 0.4 + STEP * torch.arange(24, dtype=torch.float64)
RADIUS = 0.15
"""Of the ball, as wide as the walker's leg is thick."""
THROWN = range(6, 18)
"""Moments at which it flies; before and after it is in a hand."""
SPEED, GRAVITY = torch.tensor([2.5, -1.5, 4.0]), torch.tensor([0.0, 0.0, -9.8])
"""Scene units per second when it leaves the hand, and per second squared."""


def body(middle: torch.Tensor, half: tuple[float, float, float]) -> torch.Tensor:
    """Middles of the cells of a rounded solid, [P, 3]."""
    half = torch.tensor(half)
    ends = (half / CELL).ceil().int().tolist()
    ticks = [torch.arange(-end, end + 1) for end in ends]
    cells = torch.cartesian_prod(*ticks) + (middle / CELL).round()
    places = cells * CELL
    return places[((places - middle) / half).square().sum(dim=-1) < 1.0]


def ball_at(number: int) -> torch.Tensor:
    """Where the ball is at a moment, [3]."""
    since = STEP * (min(max(number, THROWN.start), THROWN.stop - 1) - THROWN.start)
    return torch.tensor([0.45, 0.0, 1.4]) + SPEED * since + 0.5 * GRAVITY * since**2


def walker_at(number: int) -> torch.Tensor:
    return torch.tensor([0.0, 1.2 * STEP * number, 0.9])


@pytest.fixture(scope="module")
def passing() -> ColouredPoints:
    """What passes: the walker (red) and the ball (green), which before and after its flight touches a hand (red)."""
    places, times, colours = [], [], []
    for number, moment in enumerate(MOMENTS):
        ball = ball_at(number)
        parts = [body(walker_at(number), (0.25, 0.25, 0.9)), body(ball, (RADIUS,) * 3)]
        if number not in THROWN:
            parts.append(body(ball - torch.tensor([0.0, 0.3, 0.0]), (0.12, 0.5, 0.12)))
        for part, colour in zip(parts, ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), strict=False):
            places.append(part)
            times.append(moment.expand(len(part)))
            colours.append(torch.tensor(colour).expand(len(part), 3))
    return ColouredPoints(torch.cat(places), torch.cat(times), torch.cat(colours))


def test_the_thrown_ball_alone_flies(passing):
    _, flies = free_bodies(passing, MOMENTS, CELL)
    numbers = ((passing.times - MOMENTS[0]) / STEP).round()
    thrown = (numbers >= THROWN.start) & (numbers < THROWN.stop) & (passing.colours[:, 1] == 1.0)
    assert torch.equal(flies, thrown)


def test_velocities_are_those_of_the_throw(passing):
    flying, _ = free_bodies(passing, MOMENTS, CELL)
    for number in range(THROWN.start + 1, THROWN.stop - 1):
        there = flying.times == MOMENTS[number]
        true = SPEED + GRAVITY * STEP * (number - THROWN.start)
        assert (flying.velocities[there] - true).norm(dim=-1).max() < 0.1 * float(true.norm()) + 0.1
        assert (flying.places[there].mean(dim=0) - ball_at(number)).norm() < 0.01


def test_it_flies_on_for_moments_at_which_it_hangs_together_with_a_hand(passing):
    flying, _ = free_bodies(passing, MOMENTS, CELL)
    known = [*range(THROWN.start - BEYOND, THROWN.stop + BEYOND)]
    assert torch.equal(flying.times.unique(), MOMENTS[known])
    before = flying.times == MOMENTS[THROWN.start - 1]
    since = torch.tensor(-STEP)
    thrown = ball_at(THROWN.start) + SPEED * since + 0.5 * GRAVITY * since**2
    assert (flying.places[before].mean(dim=0) - thrown).norm() < 0.3 * RADIUS


def test_moments_before_the_first_and_after_the_last_are_none(passing):
    some = slice(THROWN.start + 1, THROWN.stop - 1)
    flying, _ = free_bodies(passing, MOMENTS[some], CELL)
    assert torch.equal(flying.times.unique(), MOMENTS[some])


def test_at_the_top_of_its_flight_a_ball_still_flies():
    """Thrown straight up, it stands still there."""
    since = STEP * torch.arange(len(MOMENTS))
    heights = 4.0 * since - 0.5 * 9.8 * since**2
    parts = [body(torch.tensor([0.0, 0.0, float(height)]), (RADIUS,) * 3) for height in heights]
    times = torch.cat([moment.expand(len(part)) for moment, part in zip(MOMENTS, parts, strict=True)])
    _, flies = free_bodies(ColouredPoints(torch.cat(parts), times, torch.zeros(len(times), 3)), MOMENTS, CELL)
    assert flies.all()


def test_what_goes_slowly_trembles_or_is_seen_for_two_moments_does_not_fly():
    generator = torch.Generator().manual_seed(0)
    places, times = [], []
    for number, moment in enumerate(MOMENTS):
        slow = body(torch.tensor([0.0, 0.6 * STEP * number, 0.0]), (RADIUS,) * 3)
        restless = body(torch.tensor([2.0, 0.0, 0.0]) + 0.1 * torch.randn(3, generator=generator), (RADIUS,) * 3)
        parts = [slow, restless]
        if number in (4, 5):
            parts.append(body(torch.tensor([-2.0, 0.1 * number, 0.0]), (RADIUS,) * 3))
        places += parts
        times += [moment.expand(len(part)) for part in parts]
    passing = ColouredPoints(torch.cat(places), torch.cat(times), torch.zeros(len(torch.cat(places)), 3))
    flying, flies = free_bodies(passing, MOMENTS, CELL)
    assert flying is None
    assert not flies.any()


def test_nothing_flies_where_nothing_passes():
    none = ColouredPoints(torch.empty(0, 3), torch.empty(0, dtype=torch.float64), torch.empty(0, 3))
    flying, flies = free_bodies(none, MOMENTS, CELL)
    assert flying is None
    assert flies.shape == (0,)
