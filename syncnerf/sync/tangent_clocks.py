"""Clocks that drift, from epipolar tangents over whole videos: all cameras' offsets and rates at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from syncnerf.sync.drift import Clocks, referred
from syncnerf.sync.shared_tangents import LEAST_PAIRS, SHARED, WIDENING, SharedTangent
from syncnerf.sync.solve import inner_inverse
from syncnerf.sync.tangents import MOST_STEP, SUBFRAMES
from syncnerf.sync.uncertainty import MOST_BLOCKS, blended

ROUNDS = 20
"""Gauss-Newton steps at most."""
SETTLED = 3e-4
"""Frames; they end when nothing moves further."""
NEAR = 0.25
"""Frames before and after a moment between which the pace of an angle is taken."""
LEAST_SHARED = 300
"""Frames that two cameras must have in common: in fewer, what misleads a tangent for a while does not average out, and
windows of time alone are as good (measured)."""
DISAGREEMENT = 3.0
"""Standard errors between windows and tangents, root mean square, beyond which outlines are not believed."""


@dataclass(frozen=True)
class _Said:
    """What tangents say of the K clocks that they tell, of which a common shift and a common stretch are unknown.

    Attributes:
        inside: which they are, bool, shape [C].
        values: how much later the scene's time is than each camera's own, in the middle of the scene's time, and by how
            much more at its end, seconds, float64, shape [2 K].
        covariance: of these, shape [2 K, 2 K].
    """

    inside: Bool[Tensor, " C"]
    values: Float64[Tensor, " K2"]
    covariance: Float64[Tensor, "K2 K2"]


def with_tangent_clocks(clocks: Clocks, tangents: Sequence[SharedTangent], reference: int, interval: float) -> Clocks:
    """The best of what windows of time and tangents say of the clocks, each as far as it is certain.

    Both are widened alike where they differ by more than their errors; where they contradict each other, windows alone
    are believed.

    Args:
        clocks: of the windows.
        tangents: of all pairs.
        reference: global index of the camera whose offset and rate are zero.
        interval: seconds between frames.
    """
    count = len(clocks.known)
    offsets, rates = clocks.offsets.nan_to_num(0.0), clocks.rates.nan_to_num(0.0)
    usable = [each for each in tangents if clocks.known[each.first] and clocks.known[each.second]]
    usable = [each for each in usable if min(len(angle.times) for angle in each.angles) >= LEAST_SHARED]
    inside = _seen_by_several(usable, count)
    usable = [each for each in usable if inside[each.first] and inside[each.second]]
    if int(inside.sum()) < LEAST_PAIRS:
        return clocks
    ends = [offsets[each.first] + each.angles[0].times[[0, -1]] for each in usable]
    start, end = float(torch.stack(ends).min()), float(torch.stack(ends).max())
    middle, half = (start + end) / 2, (end - start) / 2
    said = _solve(usable, inside, offsets, rates, (middle, half), interval)
    return _combined(clocks, said, reference, middle, half)


def _seen_by_several(tangents: Sequence[SharedTangent], count: int) -> Bool[Tensor, " C"]:
    """Which cameras share tangents with several others of these."""
    inside = torch.ones(count, dtype=torch.bool)
    while True:
        others = torch.zeros(count, count, dtype=torch.bool)
        for each in tangents:
            both = inside[each.first] & inside[each.second]
            others[each.first, each.second] |= both
            others[each.second, each.first] |= both
        enough = others.sum(1) >= LEAST_PAIRS
        if torch.equal(enough & inside, inside):
            return inside
        inside &= enough


def _solve(
    tangents: Sequence[SharedTangent], inside: Tensor, offsets: Tensor, rates: Tensor, span: tuple[float, float],
    interval: float,
) -> _Said:  # fmt: skip
    """Robust Gauss-Newton of all tangents' differences by offsets, rates and one constant each, and its errors."""
    middle, half = span
    cameras, numbers = int(inside.sum()), inside.cumsum(0) - 1
    values = _of_scene_time(offsets[inside], rates[inside], middle, half)
    gauge = torch.zeros(2, 2 * cameras + len(tangents), dtype=torch.float64)
    gauge[0, :cameras], gauge[1, cameras : 2 * cameras] = 1.0, 1.0
    moments = torch.arange(middle - half, middle + half, interval / SUBFRAMES, dtype=torch.float64)
    for _ in range(ROUNDS):
        normal = torch.zeros(MOST_BLOCKS, *2 * [gauge.shape[1]], dtype=torch.float64)
        pull, squares, weights = normal[:, 0].clone(), 0.0, 0.0
        for number, each in enumerate(tangents):
            pair = int(numbers[each.first]), int(numbers[each.second])
            place = torch.tensor([*pair, *(cameras + camera for camera in pair), 2 * cameras + number])
            rows, misfit, block = _linearised(each, moments, values[place[:4]], (middle, half), interval)
            weight = 1 / (1 + misfit.square()) / SUBFRAMES
            weighed = weight[:, None] * rows
            parts = torch.zeros(MOST_BLOCKS, 5, 5, dtype=torch.float64)
            parts.index_add_(0, block, weighed[:, :, None] * rows[:, None])
            normal[:, place[:, None], place] += parts
            pull[:, place] -= torch.zeros(MOST_BLOCKS, 5).double().index_add_(0, block, weighed * misfit[:, None])
            squares, weights = squares + float(weight @ misfit.square()), weights + float(weight.sum())
        inverse = inner_inverse(normal.sum(0), gauge)
        step = (inverse @ pull.sum(0))[: 2 * cameras]
        values = values + step
        if float(step.abs().max()) < SETTLED * interval:
            break
    parts = zip(normal.sum(0) - normal, pull.sum(0) - pull, strict=True)
    without = [inner_inverse(left, gauge) @ pulled for left, pulled in parts]
    solved = torch.stack(without, dim=1)[: 2 * cameras]
    plain = squares / max(weights, 1e-9) * inverse[: 2 * cameras, : 2 * cameras]
    shared = torch.zeros(2 * cameras, dtype=torch.float64)
    shared[:cameras] = (SHARED * interval) ** 2
    return _Said(inside, values, WIDENING**2 * blended(solved, plain) + torch.diag(shared))


def _linearised(
    tangent: SharedTangent, moments: Tensor, clocks: Tensor, span: tuple[float, float], interval: float
) -> tuple[Float64[Tensor, "N 5"], Float64[Tensor, " N"], Int64[Tensor, " N"]]:
    """How both cameras' angles differ, in units of their error, at those of the moments at which both tell.

    Args:
        tangent: as the two saw it.
        moments: of scene time, seconds.
        clocks: by how much later than the cameras' own the scene's time is, in its middle, and by how much more at
            its end, seconds, shape [4].
        span: middle and half of the scene time, seconds.
        interval: seconds between frames.

    Returns:
        Derivatives of the difference by the clocks and by a constant, the difference, and the stretch of time.
    """
    since = (moments - span[0]) / span[1]
    angles, paces = [], []
    for angle, offset, gain in zip(tangent.angles, clocks[:2], clocks[2:], strict=True):
        own, reach = moments - offset - gain * since, MOST_STEP * interval
        before, now, after = (angle.at(own + by * NEAR * interval, reach) for by in (-1, 0, 1))
        angles.append(now / tangent.error)
        paces.append((after - before) / (2 * NEAR * interval * tangent.error))
    told = ~torch.stack([*angles, *paces]).isnan().any(dim=0)
    since, misfit, (first, second) = since[told], (angles[0] - angles[1])[told], (pace[told] for pace in paces)
    rows = torch.stack([-first, second, -first * since, second * since, torch.ones_like(first)], dim=1)
    block = ((since + 1) / 2 * MOST_BLOCKS).long().clamp_max(MOST_BLOCKS - 1)
    return rows, misfit - misfit.nanmedian(), block


def _combined(clocks: Clocks, said: _Said, reference: int, middle: float, half: float) -> Clocks:
    """Clocks of the windows and what tangents say of some of them, weighed by their errors."""
    known, inside = clocks.known, said.inside[clocks.known]
    cameras = int(known.sum())
    both = torch.cat([inside, inside])
    offsets, rates = clocks.offsets[known], clocks.rates[known]
    before = _of_scene_time(offsets, rates, middle, half)
    # Its derivatives by offsets and rates, which are small.
    one, nothing = torch.eye(cameras, dtype=torch.float64), torch.zeros(cameras, cameras, dtype=torch.float64)
    turned = torch.cat([torch.cat([one, torch.diag(middle - offsets)], 1), torch.cat([nothing, half * one], 1)])
    spread = turned @ clocks.covariance @ turned.T
    gauge = torch.zeros(2, 2 * cameras, dtype=torch.float64)
    gauge[0, :cameras], gauge[1, cameras:] = 1.0, 1.0
    own = inner_inverse(spread, gauge)
    precision = torch.zeros_like(own)
    precision[both[:, None] & both] = inner_inverse(said.covariance, gauge[:, both]).flatten()
    values = torch.zeros_like(before)
    values[both] = said.values
    joint = inner_inverse(own + precision, gauge)
    found = joint @ (own @ before + precision @ values)
    misfits = (before - found, own), (values - found, precision)
    excess = sum(float(misfit @ weight @ misfit) for misfit, weight in misfits) / max(int(both.sum()) - 2, 1)
    if excess > DISAGREEMENT**2:
        return clocks
    back = torch.linalg.inv(turned)
    covariance = max(1.0, excess) * back @ joint @ back.T
    late, gained = found.chunk(2)
    rates = gained / (half - gained)
    clock = torch.cat([late * (1 + rates) - rates * middle, rates])
    return referred(clock, covariance, known, int(known[:reference].sum()))


def _of_scene_time(offsets: Tensor, rates: Tensor, middle: float, half: float) -> Tensor:
    """What :class:`_Said` holds of clocks whose own time k is the scene's ``k (1 + rate) + offset``, shape [2 K]."""
    return torch.cat([(offsets + rates * middle) / (1 + rates), rates / (1 + rates) * half])
