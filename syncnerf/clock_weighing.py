"""What a field says of all clocks, weighed against what was known of them beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.clock import Clock


@dataclass(frozen=True)
class Evidence:
    """What the field says of each camera's clock.

    Attributes:
        values: shift at the middle of each video, and the rate's share of it at the ends where rates are learned,
            seconds, float64, shape [C, P].
        covariances: of each camera's, float64, shape [C, P, P]; infinite where the field explains a camera's changing
            pixels no better than their mean colours do, and for cameras that were not trained.
        readout_variances: of the readout times where they are learned, seconds^2, float64, shape [C]; likewise.
        shares: of each camera's frames that were looked at, float64, shape [C]; None for all.
        doubts: errors that no residuals show, of clocks of which nothing was known, seconds, float64, shape [C]; None
            for none.
    """

    values: Float64[Tensor, "C P"]
    covariances: Float64[Tensor, "C P P"]
    readout_variances: Float64[Tensor, " C"] | None = None
    shares: Float64[Tensor, " C"] | None = None
    doubts: Float64[Tensor, " C"] | None = None

    def widened(self, factor: float) -> Evidence:
        """The same with the clocks' errors so many times as large; doubts, and readout times, as they are."""
        return replace(self, covariances=factor**2 * self.covariances)

    @property
    def of_all_frames(self) -> Float64[Tensor, "C P P"]:
        """Covariances of what all frames of a camera say, on which its clock was trained, float64, shape [C, P, P].

        A field that errs in one frame errs otherwise in the next; but no number of frames ends a doubt.
        """
        told = self.covariances if self.shares is None else self.shares[:, None, None] * self.covariances
        if self.doubts is None:
            return told
        return told + torch.diag_embed(self.doubts.square()[:, None].expand(self.values.shape))

    @property
    def readout_stderr(self) -> Float64[Tensor, " C"] | None:
        """Standard errors of the readout times where they are learned, by all frames likewise, seconds, shape [C]."""
        if self.readout_variances is None:
            return None
        shares = torch.ones_like(self.readout_variances) if self.shares is None else self.shares
        return (shares * self.readout_variances).sqrt()


def joint_covariance(clock: Clock, evidence: Evidence) -> Float64[Tensor, "C P C P"]:
    """Covariance of shifts and rates' shares from the field's evidence and from what was known, shape [C, P, C, P].

    A common shift (and stretch) of what was known beforehand means nothing; the field's time decides it. What neither
    tells is infinite on the diagonal, and 0 beside it.
    """
    count, unknowns = evidence.values.shape
    normal = torch.zeros(count, unknowns, count, unknowns, dtype=torch.float64)
    if clock.reckoned:
        for unknown, precision in enumerate(clock.prior.precisions(clock.is_trained, unknowns)):
            normal[:, unknown, :, unknown] += precision
    covariances = evidence.of_all_frames
    for camera in covariances[:, 0, 0].isfinite().nonzero()[:, 0].tolist():
        normal[camera, :, camera, :] += torch.linalg.inv(covariances[camera])
    size = count * unknowns
    matrix = normal.reshape(size, size)
    told = matrix.diagonal() > 0.0
    # What all have in common may be known by nothing.
    anchor = 1e-9 * matrix.diagonal().mean().clamp_min(1e-30) * torch.eye(size, dtype=torch.float64)
    widening = contradiction(clock, evidence) if clock.reckoned else 1.0
    covariance = widening * torch.linalg.inv(matrix + anchor)
    covariance = torch.where(told[:, None] & told, covariance, 0.0)
    covariance.diagonal()[~told] = torch.inf
    return covariance.reshape(count, unknowns, count, unknowns)


def contradiction(clock: Clock, evidence: Evidence) -> float:
    """Factor that the variances of the field's word and of what was known beforehand lack, at least 1.

    Where the two differ by more than their errors allow, over all cameras, one or both state too small ones. Which one
    cannot be told, so both are widened alike (Birge, 1932), and which of them counts for more stays as it is.
    """
    own, before = evidence.covariances[:, 0, 0], clock.prior.variances
    difference = evidence.values[:, 0] - clock.prior.values[:, 0].cpu()
    known = own.isfinite() & before.isfinite()
    if known.sum() < 3:
        return 1.0
    weights, difference = 1.0 / (own + before)[known].clamp_min(1e-30), difference[known]
    difference = difference - (weights * difference).sum() / weights.sum()
    return max(1.0, float((weights * difference.square()).sum()) / (len(weights) - 1))
