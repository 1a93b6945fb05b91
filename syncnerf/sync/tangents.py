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
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.epipolar import EpipolarCameras
from syncnerf.sync.outlines import Outlines, outlines
from syncnerf.sync.pencils import half_plane_angles
from syncnerf.sync.solve import Lags, connected, inner_inverse, offset_design, robust_fit
from syncnerf.sync.workers import in_parallel

RANGE = 1.0
"""Frames on either side of the lag known so far in which the tangents' is looked for."""
COARSE, FINE = 0.1, 0.02
"""Frames between the lags that are tried, at first and around the best."""
SUBFRAMES = 4
"""Moments per frame at which two tangents are compared. Between frames their noise is averaged, so that a comparison at
one camera's frames alone would shun lags of whole frames."""
ERROR = 0.2
"""Pixels by which a tangent errs; larger differences count ever less."""
LEAST_FRAMES = 12
"""A tangent that two cameras have in common for fewer says nothing."""
LEAST_PAIRS = 3
"""A camera whose tangents agree with fewer others' is left out."""
MOST_STEP = 1.5
"""Frames from one moment of a tangent to the next, at most, for what is between to be known."""
DISAGREEMENT = 3.0
"""Deviations by which pairs contradict each other, at most, for outlines to be believed: else they are no bodies'."""
WIDENING, SHARED = 2.0, 0.02
"""Factor that the errors lack, and frames that a camera errs by in all of its pairs; measured."""
CONTRADICTION = 3.0
"""Standard errors between motion and outlines from which on a camera's outlines are left out."""


@dataclass(frozen=True)
class Track:
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


def tangents(first: Outlines, second: Outlines) -> list[tuple[Track, Track]]:
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
            tracks.append(Track(times[told], angles.gather(1, place)[told, 0]))
        if min(len(track.times) for track in tracks) >= LEAST_FRAMES:
            found.append(tuple(tracks))
    return found


def tangents_lag(
    pairs: Sequence[tuple[Track, Track]], lag: float, interval: float, error: float
) -> tuple[float, float] | None:
    """The lag at which tangents agree best, and its deviation, seconds; None where they do not tell.

    Angles may differ by a constant, as the two views show edges of different sharpness.

    Args:
        pairs: of the first and of the second camera.
        lag: of the first camera's offset from the second's, known so far, seconds.
        interval: seconds between frames.
        error: radians by which an angle errs.
    """
    tried = torch.arange(-RANGE, RANGE + COARSE / 2, COARSE, dtype=torch.float64) * interval + lag
    costs = _costs(pairs, tried, interval, error)
    best = int(costs.argmin())
    if not costs.isfinite().all() or best in (0, len(costs) - 1):
        return None
    reach = round(COARSE / FINE)
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    costs = _costs(pairs, tried[best] + places * FINE * interval, interval, error)
    # The parabola through all of them, whose powers are orthogonal on evenly spaced places.
    squares = places.square() - places.square().mean()
    slope = float((places * costs).sum() / places.square().sum())
    bend = float((squares * costs).sum() / squares.square().sum())
    if bend <= 0.0:
        return None
    place = min(max(-slope / (2 * bend), -reach), reach)
    return float(tried[best]) + place * FINE * interval, FINE * interval / math.sqrt(2 * bend)


def _costs(pairs: Sequence[tuple[Track, Track]], lags: Tensor, interval: float, error: float) -> Tensor:
    """Minus the logarithm of the likelihood (Cauchy's) of tangents at lags [K]; infinite where too little is shared."""
    total = torch.zeros_like(lags)
    for first, second in pairs:
        start, end = float(first.times[0]), float(first.times[-1])
        moments = torch.arange(start, end, interval / SUBFRAMES, dtype=torch.float64)
        angles = first.at(moments, MOST_STEP * interval)
        misfit = angles - second.at(moments + lags[:, None], MOST_STEP * interval)
        shared = (~misfit.isnan()).sum(dim=1)
        if int(shared.min()) < SUBFRAMES * LEAST_FRAMES:
            continue
        misfit = misfit - misfit.nanmedian(dim=1, keepdim=True).values
        each = (0.5 * torch.log1p((misfit / error).square())).nanmean(dim=1)
        total = total + each * shared.double().mean() / SUBFRAMES
    return total if total.any() else torch.full_like(lags, torch.inf)


def tangent_lags(scene: Scene, cameras: EpipolarCameras, offsets: Float64[Tensor, " C"]) -> Lags:
    """What the tangents of all pairs of cameras say of their lags.

    Args:
        scene: cameras and frames, static.
        cameras: which frames say something.
        offsets: known so far, seconds, float64, shape [C]; NaN for cameras to be left out.
    """
    known = (~offsets.isnan()).tolist()
    chosen = [camera for camera, energy in enumerate(cameras.energies) if known[camera] and energy.pace == 1]

    def outline(camera: int) -> Outlines:
        informative = cameras.informative(camera)
        edge = informative.new_zeros(1)
        told = torch.cat([informative, edge]) | torch.cat([edge, informative])
        return outlines(scene, camera, told)

    seen = dict(zip(chosen, in_parallel(outline, chosen, "outlines", "camera"), strict=True))
    pairs = [(first, second) for first in chosen for second in chosen if first < second]

    def compare(pair: tuple[int, int]) -> tuple[float, float] | None:
        first, second = pair
        views = [seen[camera].view for camera in pair]
        if float((views[0].centre - views[1].centre).norm()) <= cameras.least_baseline:
            return None
        interval = 1 / min(cameras.rates[camera] for camera in pair)
        error = ERROR * max(view.spacing for view in views)
        lag = float(offsets[first] - offsets[second])
        return tangents_lag(tangents(seen[first], seen[second]), lag, interval, error)

    found = in_parallel(compare, pairs, "tangents", "pair")
    told = [(*pair, *lag) for pair, lag in zip(pairs, found, strict=True) if lag is not None]
    first, second, values, deviations = zip(*told, strict=True) if told else ((),) * 4
    integers, reals = {"dtype": torch.int64}, {"dtype": torch.float64}
    return Lags(
        torch.tensor(first, **integers),
        torch.tensor(second, **integers),
        torch.tensor(values, **reals),
        torch.tensor(deviations, **reals),
    )


def with_tangents(
    offsets: Float64[Tensor, " C"], covariance: Float64[Tensor, "C C"], lags: Lags, interval: float
) -> tuple[Float64[Tensor, " C"], Float64[Tensor, "C C"]]:
    """The best of what was known and of what tangents say, each as far as it is certain.

    Where pairs contradict each other by more than three times their deviations, outlines are no bodies' (shadows,
    noise, what stands in front), and nothing changes; where a camera's contradict what was known, they are left out.

    Args:
        offsets: known so far, seconds.
        covariance: of these, seconds^2.
        lags: of :func:`tangent_lags`, between these cameras.
        interval: seconds between frames.
    """
    told = torch.ones(len(offsets), dtype=torch.bool)
    least = 1e-9 * covariance.diagonal().mean() * torch.eye(len(offsets), dtype=torch.float64)
    before = torch.linalg.inv(covariance + least)
    for _ in range(len(offsets)):
        kept = lags.keep(told[lags.first] & told[lags.second])
        fit = _fit(kept, offsets, interval)
        if fit is None:
            return offsets, covariance
        inside, values, errors = fit
        within = inside[:, None] & inside
        # Of a common shift tangents say nothing.
        gauge = torch.ones(1, int(inside.sum()), dtype=torch.float64)
        precision = torch.zeros_like(covariance)
        precision[within] = inner_inverse(errors, gauge).flatten()
        joint = torch.linalg.inv(before + precision)
        said = torch.zeros_like(offsets)
        said[inside] = values
        found = joint @ (before @ offsets + precision @ said)
        difference = (offsets - found - (offsets - found)[inside].mean())[inside]
        limit = CONTRADICTION * covariance.diagonal()[inside].sqrt()
        if not (difference.abs() > limit).any():
            return found, joint
        worst = inside.nonzero()[int((difference.abs() / limit).argmax()), 0]
        told[worst] = False
    return offsets, covariance


def _fit(lags: Lags, start: Tensor, interval: float) -> tuple[Bool[Tensor, " C"], Tensor, Tensor] | None:
    """Which cameras the tangents' lags connect, their offsets and covariance; None where the lags contradict."""
    counts = torch.bincount(torch.cat([lags.first, lags.second]), minlength=len(start))
    inside = counts >= LEAST_PAIRS
    lags = lags.keep(inside[lags.first] & inside[lags.second])
    inside &= connected(lags.first, lags.second, len(start), int(counts.argmax()))
    lags = lags.keep(inside[lags.first] & inside[lags.second])
    if int(inside.sum()) < LEAST_PAIRS or len(lags.values) < int(inside.sum()):
        return None
    design = offset_design(lags, len(start))[:, inside]
    gauge = torch.ones(1, design.shape[1], dtype=torch.float64)
    fit = robust_fit(design, lags.values, lags.deviations, gauge, start[inside] - start[inside].mean())
    if fit.variance > DISAGREEMENT**2:
        return None
    shared = (SHARED * interval) ** 2 * torch.eye(design.shape[1], dtype=torch.float64)
    return inside, fit.unknowns, max(fit.variance, 1.0) / fit.variance * WIDENING**2 * fit.covariance + shared
