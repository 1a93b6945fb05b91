"""Lags from epipolar tangents: half-planes that touch an outline in one view touch it in the other at the same time.

The energy along epipolar lines is drawn by what turns, for two cameras do not see the same side of it. Where a
half-plane through both centres touches a body (a frontier point: Cipolla, Astrom and Giblin, ICCV 1995), it does so in
both views, whichever sides they see: its angle is a function of time alone (Sinha and Pollefeys, ICPR 2004, find whole
frames by it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.outlines import Outlines
from syncnerf.sync.pencils import half_plane_angles

RANGE = 0.6
"""Frames on either side of the lag known so far in which the tangents' is looked for."""
COARSE, FINE = 0.1, 0.02
"""Frames between the lags that are tried, at first and around the best."""
SUBFRAMES = 2
"""Moments per frame at which two tangents are compared. Between frames their noise is averaged, so that a comparison at
one camera's frames alone would shun lags of whole frames."""
LEAST_FRAMES = 12
"""A tangent that two cameras have in common for fewer says nothing."""
MOST_STEP = 1.5
"""Frames from one moment of a tangent to the next, at most, for what is between to be known."""


@dataclass(frozen=True)
class Tangent:
    """The angle of one tangent.

    Attributes:
        times: on the camera's own clock, seconds, float64, ascending, shape [N].
        angles: radians, float64, shape [N].
    """

    times: Float64[Tensor, " N"]
    angles: Float64[Tensor, " N"]

    def at(self, moments: Float64[Tensor, "*shape"], most_step: float) -> Float64[Tensor, "*shape"]:
        """Angles at other moments, by a cubic through its points; NaN further than ``most_step`` seconds between two.

        Slopes are those of the parabola through a point and its two neighbours, so that evenly spaced or not, the cubic
        follows a parabola exactly.
        """
        steps, rises = self.times.diff(), self.angles.diff()
        paces = rises / steps
        inner = (paces[:-1] * steps[1:] + paces[1:] * steps[:-1]) / (steps[:-1] + steps[1:])
        slopes = torch.cat([2 * paces[:1] - inner[:1], inner, 2 * paces[-1:] - inner[-1:]])
        left = (torch.searchsorted(self.times, moments, right=True) - 1).clamp(0, len(steps) - 1)
        step = steps[left]
        share = (moments - self.times[left]) / step
        value = (
            (1 + 2 * share) * (1 - share).square() * self.angles[left]
            + share.square() * (3 - 2 * share) * self.angles[left + 1]
            + share * (1 - share).square() * step * slopes[left]
            - share.square() * (1 - share) * step * slopes[left + 1]
        )
        known = (share >= 0) & (share <= 1) & (step <= most_step)
        return torch.where(known, value, torch.nan)


def tangents(first: Outlines, second: Outlines) -> list[tuple[Tangent, Tangent]]:
    """The lowest and the highest half-plane that touch two cameras' outlines, as each of them saw it.

    Frames in which that is where the picture ends say nothing.
    """
    found = []
    both = [
        angles.double().reshape(outline.cut.shape)
        for angles, outline in zip(half_plane_angles(first.view, second.view), (first, second), strict=True)
    ]
    for highest in (False, True):
        tracks = []
        for angles, outline in zip(both, (first, second), strict=True):
            sided = (angles if highest else -angles).nan_to_num(-math.inf)
            angle, place = sided.max(dim=1, keepdim=True)
            told = (angle.isfinite() & ~outline.cut.gather(1, place))[:, 0]
            times = outline.times + outline.late.gather(1, place)[:, 0]
            tracks.append(Tangent(times[told], angles.gather(1, place)[told, 0]))
        if min(len(track.times) for track in tracks) >= LEAST_FRAMES:
            found.append(tuple(tracks))
    return found


def tangents_lag(
    pairs: Sequence[tuple[Tangent, Tangent]], lag: float, interval: float, error: float
) -> tuple[float, float] | None:
    """The lag at which tangents agree best, and its deviation, seconds; None where they do not tell.

    Angles may differ by a constant, as the two views show edges of different sharpness.

    Args:
        pairs: of the first and of the second camera.
        lag: of the first camera's offset from the second's, known so far, seconds.
        interval: seconds between frames.
        error: radians by which an angle errs.
    """
    compared = [(_sampled(first, interval), second) for first, second in pairs]
    tried = torch.arange(-RANGE, RANGE + COARSE / 2, COARSE, dtype=torch.float64) * interval + lag
    costs = _costs(compared, tried, interval, error)
    best = int(costs.argmin())
    if not costs.isfinite().all() or best in (0, len(costs) - 1):
        return None
    reach = round(COARSE / FINE)
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    costs = _costs(compared, tried[best] + places * FINE * interval, interval, error)
    # The parabola through all of them, whose powers are orthogonal on evenly spaced places.
    squares = places.square() - places.square().mean()
    slope = float((places * costs).sum() / places.square().sum())
    bend = float((squares * costs).sum() / squares.square().sum())
    if bend <= 0.0:
        return None
    place = min(max(-slope / (2 * bend), -reach), reach)
    return float(tried[best]) + place * FINE * interval, FINE * interval / math.sqrt(2 * bend)


def _sampled(tangent: Tangent, interval: float) -> Tangent:
    """The tangent at evenly spaced moments, several a frame."""
    start, end = float(tangent.times[0]), float(tangent.times[-1])
    moments = torch.arange(start, end, interval / SUBFRAMES, dtype=torch.float64)
    angles = tangent.at(moments, MOST_STEP * interval)
    known = ~angles.isnan()
    return Tangent(moments[known], angles[known])


def _costs(pairs: Sequence[tuple[Tangent, Tangent]], lags: Tensor, interval: float, error: float) -> Tensor:
    """Minus the logarithm of the likelihood (Cauchy's) of tangents at lags [K]; infinite where too little is shared.

    The first tangent of each pair is compared at its moments.
    """
    total = torch.zeros_like(lags)
    for first, second in pairs:
        misfit = first.angles - second.at(first.times + lags[:, None], MOST_STEP * interval)
        shared = (~misfit.isnan()).sum(dim=1)
        if int(shared.min()) < SUBFRAMES * LEAST_FRAMES:
            continue
        misfit = misfit - misfit.nanmedian(dim=1, keepdim=True).values
        each = (0.5 * torch.log1p((misfit / error).square())).nanmean(dim=1)
        total = total + each * shared.double().mean() / SUBFRAMES
    return total if total.any() else torch.full_like(lags, torch.inf)
