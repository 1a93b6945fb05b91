"""A camera's fitted offset and rate: from what least squares found, and from what was known beforehand."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.photometry import ClockFit

logger = logging.getLogger(__name__)

CONTRADICTION = 4.0
"""Standard errors by which the colours may differ from what was known beforehand without a word."""


@dataclass(frozen=True)
class OffsetFit:
    """A fitted clock.

    Attributes:
        camera: global index.
        seconds: the offset, that of the camera's own time 0.
        stderr: its standard error in seconds.
        rate: how much faster than the reference's its clock runs; 0 where rates are not learned.
        rate_stderr: its standard error; 0 likewise.
        grid: candidates of the coarse search in seconds, shape [G].
        errors: their mean squared photometric errors, shape [G]; NaN where too few frames fall into the seen time.
        steps: refinement steps taken.
        reason: why the offset is not determined; ``seconds`` is then what was known beforehand, or 0. Empty if it is.
    """

    camera: int
    seconds: float
    stderr: float
    rate: float
    rate_stderr: float
    grid: Float64[Tensor, " G"]
    errors: Float64[Tensor, " G"]
    steps: int
    reason: str = ""

    @classmethod
    def of(
        cls,
        camera: int,
        fit: ClockFit,
        times: Float64[Tensor, " T"],
        grid: Float64[Tensor, " G"],
        errors: Float64[Tensor, " G"],
        skew: float = 0.0,
    ) -> OffsetFit:
        """Offset and rate of a fit, whose unknowns are the shift at the video's middle and the rate's share of it.

        Args:
            camera: global index.
            fit: of 1 unknown or of 2.
            times: the camera's frames on its own clock, seconds, float64, shape [T].
            grid: see above.
            errors: likewise.
            skew: the rate's share that the fit went by, and tells no more of, seconds.
        """
        unknowns, covariance = fit.unknowns.cpu(), fit.covariance.cpu()
        if len(unknowns) == 1 and not skew:
            return cls(camera, *_number(unknowns, covariance, torch.ones(1)), 0.0, 0.0, grid, errors, fit.steps)
        middle, half = (times[0] + times[-1]).item() / 2, (times[-1] - times[0]).item() / 2
        if len(unknowns) == 1:
            # The rate is taken as it is known, and its error is none of this fit's.
            unknowns, covariance = torch.cat([unknowns, unknowns.new_zeros(1)]), covariance.new_zeros(2, 2)
            covariance[0, 0] = fit.covariance[0, 0]
        unknowns = unknowns + unknowns.new_tensor([0.0, skew])
        offset = _number(unknowns, covariance, unknowns.new_tensor([1.0, -middle / half]))
        rate = _number(unknowns, covariance, unknowns.new_tensor([0.0, 1.0 / half]))
        return cls(camera, *offset, *rate, grid, errors, fit.steps)


def combined(fit: ClockFit, known: float, error: float, name: str) -> ClockFit:
    """A fit and what was known of its shift beforehand, each by its errors; the better one where they disagree.

    Args:
        fit: what the colours say; of infinite covariance where they say nothing.
        known: the shift that was known, seconds.
        error: its standard error, seconds.
        name: the camera's, for the warning where they disagree.
    """
    own = float(fit.covariance[0, 0].sqrt())
    difference = float(fit.unknowns[0]) - known
    if abs(difference) > CONTRADICTION * math.hypot(own, error):
        logger.warning(
            "%s: its colours put its offset %.4f s from where its motion did (%.4f +- %.4f s and %.4f +- %.4f s); "
            "the one with the smaller error is kept", name, difference, known + difference, own, known, error,
        )  # fmt: skip
        gain = float(error < own)
    elif not math.isfinite(own):
        gain = 1.0
    else:
        gain = own**2 / (own**2 + error**2)
    # The shift's gain pulls what is correlated with it, the rate, along.
    column = torch.eye(len(fit.unknowns)).to(fit.unknowns)[0]
    if math.isfinite(own):
        column = fit.covariance[:, 0] / fit.covariance[0, 0]
    unknowns = fit.unknowns - gain * difference * column
    if gain == 1.0:
        # Nothing that the colours say of the rate is kept either.
        variances = torch.full_like(unknowns, torch.inf)
        variances[0] = error**2
        return ClockFit(unknowns, torch.diag(variances), fit.steps)
    covariance = fit.covariance - gain * torch.outer(column, column) * fit.covariance[0, 0]
    return ClockFit(unknowns, covariance, fit.steps)


def _number(unknowns: Tensor, covariance: Tensor, factors: Tensor) -> tuple[float, float]:
    """A linear combination of unknowns, and its standard error."""
    factors = factors.double()
    # An unknown that does not count must not make nan of an infinite variance.
    terms = torch.where(factors[:, None] * factors == 0, 0.0, factors[:, None] * covariance * factors)
    variance = float(terms.sum())  # nan: infinities of both signs
    return float(factors @ unknowns), math.inf if math.isnan(variance) else math.sqrt(variance)
