"""Small bodies among what passes that move free of everything else, faster than neighbours could tell: thrown balls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from syncnerf.starting.flying import FlyingPoints
from syncnerf.starting.surfaces import ColouredPoints

FEWEST_POINTS = 5
"""Points of a body at least: fewer may be nothing."""
REACH = 2.0
"""Times its own size that a body goes at most from a moment to the next."""
FAST = 0.2
"""Share of its own size by which it goes at least."""
AHEAD = 0.8
"""Share of its way that it gets ahead by at least: what only trembles goes to and fro."""
FEWEST_MOMENTS = 3
"""Moments in a row at which a body must be found, and fly."""
AROUND = 2
"""Moments before and after one by which it is told whether it flies there."""
BEYOND = 2
"""Moments that it is taken to fly on at either end: where it leaves a hand, both hang together."""


@dataclass(frozen=True)
class Body:
    """What hangs together at a moment.

    Attributes:
        moment: its number.
        points: numbers of its points, int64, shape [P].
        middle: mean of these, scene units, shape [3].
        size: largest side of the box around them, a cell at least.
    """

    moment: int
    points: Int64[Tensor, " P"]
    middle: Float[Tensor, " 3"]
    size: float


def free_bodies(
    passing: ColouredPoints, moments: Float64[Tensor, " J"], cell: Float[Tensor, " 3"]
) -> tuple[FlyingPoints | None, Bool[Tensor, " P"]]:
    """Points on what flies, with velocities, and which of the points that pass these are.

    Bodies are what hangs together at a moment. They are followed from moment to moment, each to the one that is nearest
    to it and to which it is nearest.

    Args:
        passing: surfaces of P points in the middles of cells, scene units and seconds.
        moments: at which these were looked for, seconds, ascending, evenly spaced.
        cell: its sides, shape [3].
    """
    flies = torch.zeros(len(passing.places), dtype=torch.bool)
    step = float(moments.diff().median()) if len(moments) > 1 else 1.0
    parts = []
    for way in _ways([_bodies(passing, moment, number, cell) for number, moment in enumerate(moments.tolist())]):
        for body, displacement, later in _flights(way):
            if not later:
                flies[body.points] = True
            if 0 <= body.moment + later < len(moments):
                places = passing.places[body.points] + later * displacement
                times = moments[body.moment + later].expand(len(places))
                velocities = (displacement / step).expand_as(places)
                parts.append((places, times, passing.colours[body.points], velocities))
    return FlyingPoints(*(torch.cat(part) for part in zip(*parts, strict=True))) if parts else None, flies


def _flights(way: list[Body]) -> Iterator[tuple[Body, Tensor, int]]:
    """Bodies on a way that fly, their displacements from moment to moment [3], and how many moments later.

    Not 0 before and after a way's ends: there they are as they were last seen.
    """
    middles = torch.stack([body.middle for body in way])
    fast = [place for place in range(len(way)) if _is_fast(way, middles, place)]
    # From the first to the last: at the top of its flight a ball hardly moves.
    flight = range(fast[0], fast[-1] + 1) if fast else range(0)
    for place in flight if len(flight) >= FEWEST_MOMENTS else ():
        # Of a fall, the mean speed from one moment to another is that of the moment half way.
        near = middles[max(0, place - 1) : place + 2]
        displacement = (near[-1] - near[0]) / (len(near) - 1)
        yield way[place], displacement, 0
        for later in range(1, BEYOND + 1):
            if place == 0:
                yield way[place], displacement, -later
            if place == len(way) - 1:
                yield way[place], displacement, later


def _is_fast(way: list[Body], middles: Tensor, place: int) -> bool:
    """Whether a body on its way (and its middles [K, 3]) gets ahead by much of its size around a moment."""
    around = middles[max(0, place - AROUND) : place + AROUND + 1]
    ahead, path = float((around[-1] - around[0]).norm()), float(around.diff(dim=0).norm(dim=-1).sum())
    return ahead > max(FAST * way[place].size * (len(around) - 1), AHEAD * path)


def _bodies(passing: ColouredPoints, moment: float, number: int, cell: Tensor) -> list[Body]:
    """What hangs together at a moment."""
    there = (passing.times == moment).nonzero()[:, 0]
    places = passing.places[there]
    found = []
    for mine in _together(((places - places[0]) / cell).round().long()) if len(places) else ():
        if len(mine) >= FEWEST_POINTS:
            extent = places[mine].amax(dim=0) - places[mine].amin(dim=0) + cell
            found.append(Body(number, there[mine], places[mine].mean(dim=0), float(extent.max())))
    return found


def _together(cells: Tensor) -> tuple[Tensor, ...]:
    """Numbers of the cells [P, 3] that touch each other, be it at a corner."""
    cells = cells - cells.amin(dim=0) + 1
    shape = cells.amax(dim=0) + 2
    strides = torch.tensor([int(shape[1] * shape[2]), int(shape[2]), 1])
    keys, order = (cells * strides).sum(dim=1).sort()
    around = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
    steps = (around * strides).sum(dim=1)
    place = torch.searchsorted(keys, keys[:, None] + steps).clamp_max(len(keys) - 1)
    touching = torch.where(keys[place] == keys[:, None] + steps, place, torch.arange(len(keys))[:, None])
    names = torch.arange(len(keys))
    while True:
        # The smallest number among neighbours, and that one's own, until none gets smaller.
        smaller = names[touching].amin(dim=1)
        smaller = smaller[smaller]
        if torch.equal(smaller, names):
            break
        names = smaller
    names, by_name = names.sort(stable=True)
    return order[by_name].split(names.unique(return_counts=True)[1].tolist())


def _ways(bodies: list[list[Body]]) -> list[list[Body]]:
    """Bodies that are each other's nearest from moment to moment, those of many moments in a row."""
    ways, open_ways = [], {}
    for now, later in zip(bodies, [*bodies[1:], []], strict=True):
        following = _following(now, later)
        going_on = {}
        for place, body in enumerate(now):
            way = open_ways.get(place, [])
            way.append(body)
            if following[place] is None:
                ways.append(way)
            else:
                going_on[following[place]] = way
        open_ways = going_on
    return [way for way in ways if len(way) >= FEWEST_MOMENTS]


def _following(now: list[Body], later: list[Body]) -> list[int | None]:
    """Which body of a moment each of the one before has become."""
    if not now or not later:
        return [None] * len(now)
    apart = torch.cdist(torch.stack([body.middle for body in now]), torch.stack([body.middle for body in later]))
    forth, back = apart.argmin(dim=1).tolist(), apart.argmin(dim=0).tolist()

    def is_same(one: int, two: int) -> bool:
        sizes = now[one].size, later[two].size
        return back[two] == one and float(apart[one, two]) < REACH * min(sizes) and max(sizes) < REACH * min(sizes)

    return [two if is_same(one, two) else None for one, two in enumerate(forth)]
