"""Standard errors that hold: what the offsets would be without each stretch of time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import pad

MOST_BLOCKS = 8
"""Stretches of time that are left out in turn."""
LEAST_BLOCKS = 3
"""Fewer stretches tell nothing."""
LEAST_BLOCK = 6
"""Frames that a stretch holds at least."""
LEAST_SPARE = 1e-6
"""Share of a row's weight that others must check; less is rounding."""
SYSTEMATIC = 0.01
"""Frames by which interpolation between frames may err without any stretch of time showing it; added in quadrature."""


@dataclass(frozen=True)
class Sensitivity:
    """How each frame pulls at a pair's lag: the landscape at its peak is a sum over frames.

    Attributes:
        slope: first derivative of each frame's share by the lag, per second, float64, shape [T].
        bend: second derivative, per second^2, float64, shape [T].
        interval: seconds between these frames, which begin at 0 on the clock of the pair's first camera.
    """

    slope: Float64[Tensor, " T"]
    bend: Float64[Tensor, " T"]
    interval: float

    def shifts_without(self, block: Int64[Tensor, " T"], count: int) -> Float64[Tensor, " blocks"]:
        """By how much the peak moves when each block of frames is left out (one Newton step).

        Args:
            block: the block of each frame, int64, shape [T].
            count: number of blocks.

        Returns:
            Seconds, float64, shape [count]; 0 where what is left has no peak.
        """
        slopes = self.slope.sum() - torch.zeros(count, dtype=torch.float64).index_add_(0, block, self.slope)
        bends = self.bend.sum() - torch.zeros(count, dtype=torch.float64).index_add_(0, block, self.bend)
        whole = self.slope.sum() / self.bend.sum() if self.bend.sum() < 0 else 0.0
        moved = torch.where(bends < 0, whole - slopes / bends.clamp_max(-1e-30), 0.0)
        # A Newton step beyond a few frames is outside the peak it started from.
        return moved.clamp(-2 * self.interval, 2 * self.interval)


def jackknife(
    design: Float64[Tensor, "rows U"],
    deviations: Float64[Tensor, " rows"],
    sensitivities: list[Sensitivity],
    starts: Float64[Tensor, " M"],
    covariance: Float64[Tensor, "C C"],
) -> Float64[Tensor, "C C"]:
    """Covariance of the offsets from leaving out stretches of scene time (delete-a-block jackknife), all pairs at once.

    The residuals of the global fit cannot see errors that all pairs of a camera share (what only this camera sees,
    moving at the wrong moment); these change from one stretch of time to the next, so leaving stretches out shows
    them.

    Args:
        design: of the used lags and, after them, of anything known beforehand; float64, shape [M or more, U]. The first
            C unknowns are the offsets; the null space is their common shift.
        deviations: of these rows, seconds, float64.
        sensitivities: of the used lags, M of them.
        starts: offset of the first camera of each lag, seconds, float64, shape [M].
        covariance: from the residuals, seconds^2, float64, shape [C, C].

    Returns:
        Covariance in the free gauge, seconds^2, float64, shape [C, C].
    """
    blocks, count = scene_blocks(sensitivities, starts)
    if count < LEAST_BLOCKS:
        return covariance
    shifts = [pull.shifts_without(block, count) for pull, block in zip(sensitivities, blocks, strict=True)]
    # Rows beyond the lags state what was known beforehand, whichever stretch is left out.
    moved = pad(torch.stack(shifts), (0, 0, 0, len(design) - len(shifts)))
    solved = torch.linalg.pinv(design / deviations[:, None]) @ (moved / deviations[:, None])
    systematic = SYSTEMATIC * max(s.interval for s in sensitivities)
    cameras = len(covariance)
    return blended(solved[:cameras], covariance) + systematic**2 * torch.eye(cameras, dtype=torch.float64)


def variances_by_rows(
    design: Float64[Tensor, "rows U"], deviations: Float64[Tensor, " rows"], residuals: Float64[Tensor, " rows"]
) -> Float64[Tensor, " U"]:
    """Variances of a least-squares solution's unknowns in which each row errs as its own residual says.

    What is usual for all rows says little of an unknown that a few bad ones determine. Each residual is enlarged by the
    part of it that the row itself takes away, so that rows of equal errors give the usual variances on the average
    (MacKinnon & White, Journal of Econometrics 1985, HC2).

    Args:
        design: derivatives by the unknowns, shape [rows, U].
        deviations: of the rows, up to a common factor.
        residuals: measured minus modelled.

    Returns:
        In the unknowns' unit squared, float64, shape [U]. A row that alone determines something adds nothing.
    """
    rows = design / deviations[:, None]
    inverse = torch.linalg.pinv(rows)
    spare = 1 - (rows * inverse.T).sum(1)
    squares = torch.where(spare > LEAST_SPARE, (residuals / deviations).square() / spare.clamp_min(LEAST_SPARE), 0.0)
    return inverse.square() @ squares


def not_below(covariance: Float64[Tensor, "C C"], variances: Float64[Tensor, " C"]) -> Float64[Tensor, "C C"]:
    """A covariance, its correlations as they are, widened to these variances where it is smaller."""
    found = covariance.diagonal()
    grown = (torch.maximum(found, variances) / found.clamp_min(1e-30)).sqrt()
    return covariance * grown[:, None] * grown


def scene_blocks(pulls: list[Sensitivity], starts: Float64[Tensor, " M"]) -> tuple[list[Int64[Tensor, " _"]], int]:
    """Which stretch of scene time each frame of each pair belongs to.

    Args:
        pulls: of the pairs, M of them.
        starts: offset of the first camera of each, seconds, float64, shape [M].

    Returns:
        Stretches, int64, shape [T] each, and their number; fewer than 3 are of no use.
    """
    ends = [float(start) + len(s.slope) * s.interval for start, s in zip(starts, pulls, strict=True)]
    begin, length = float(starts.min()), max(ends) - float(starts.min())
    count = min(MOST_BLOCKS, max(len(s.slope) for s in pulls) // LEAST_BLOCK)
    blocks = []
    for start, pull in zip(starts.tolist(), pulls, strict=True):
        times = start - begin + (torch.arange(len(pull.slope), dtype=torch.float64) + 0.5) * pull.interval
        blocks.append((times / length * count).long().clamp(0, count - 1))
    return blocks, count


def blended(solved: Float64[Tensor, "C stretches"], covariance: Float64[Tensor, "C C"]) -> Float64[Tensor, "C C"]:
    """Covariance from solutions without each stretch of time and from the residuals.

    With few stretches each unknown's own figure is rough: half of its variance is taken from it, half from the
    residuals' figure scaled so that both agree over all cameras; and it is never below the residuals' figure (wrong
    matches of tracks stay wrong whichever stretch is left out).

    Args:
        solved: what each unknown would be without each stretch, float64, shape [C, stretches].
        covariance: from the residuals, in the same unit squared, float64, shape [C, C].
    """
    count = solved.shape[1]
    moved = solved - solved.mean(dim=1, keepdim=True)
    own = (count - 1) / count * moved @ moved.T
    plain = covariance.diagonal()
    mixed = 0.5 * own + 0.5 * covariance * own.diagonal().mean() / plain.mean().clamp_min(1e-30)
    return not_below(mixed, plain)
