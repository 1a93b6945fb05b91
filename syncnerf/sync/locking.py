"""Lags are drawn to whole samples: how far, and what they are without it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.sync.solve import Fit, Lags, inner_inverse, spread

LOCKING, LOCKING_DEVIATION = 0.04, 0.04
"""Samples by which lags are drawn to whole samples at most, and how much that varies from scene to scene."""
LARGEST_LOCKING = 0.12
"""At 1 / (2 pi) lags near whole samples would all be measured as whole: they would tell nothing."""
ROUNDS, SETTLED = 20, 1e-6
"""Gauss-Newton steps at most, and the step, as a share of a sample, that ends them."""


@dataclass(frozen=True)
class UnlockedFit:
    """What lags say of unknowns, their locking undone.

    Attributes:
        unknowns: float64, shape [U].
        covariance: of these, shape [U, U].
        design: derivatives by the unknowns and, last, by the locking: a row for each lag, and one for what is known of
            the locking beforehand; float64, shape [M + 1, U + 1].
        deviations: of these rows, up to a common factor, seconds, float64, shape [M + 1].
        residuals: of these rows, measured minus modelled, seconds, float64, shape [M + 1].
        locking: samples by which lags are drawn to whole samples at most.
    """

    unknowns: Float64[Tensor, " U"]
    covariance: Float64[Tensor, "U U"]
    design: Float64[Tensor, "M1 U1"]
    deviations: Float64[Tensor, " M1"]
    residuals: Float64[Tensor, " M1"]
    locking: float


def fit_without_locking(
    lags: Lags, plain: Fit, design: Float64[Tensor, "M U"], gauge: Float64[Tensor, "G U"]
) -> UnlockedFit:
    """Unknowns and locking together, by Gauss-Newton.

    Motion energy between frames is sampled too coarsely: motion that changes within a frame interval is seen at a
    wrong frequency, by both cameras, at the same samples. So correlations are too high where samples coincide, and lags
    are drawn to whole samples (particle image velocimetry calls it peak locking). The phase is that of the modelled
    lag, never of the measured one: a locking of -1 / (2 pi) would turn any measured lags into whole ones.

    Args:
        lags: that the fit without locking used.
        plain: that fit.
        design: derivative of each lag by each unknown, float64, shape [M, U].
        gauge: directions of the unknowns that no lag sees, float64, shape [G, U].
    """
    row = torch.eye(design.shape[1] + 1, dtype=torch.float64)[-1:]
    gauge = pad(gauge, (0, 1))
    unknowns, locking, variance = plain.unknowns, LOCKING, plain.variance
    # The lags of a camera err together: all pairs tell as much of the locking as one per camera.
    shared = max(1.0, len(design) / design.shape[1])
    for _ in range(ROUNDS):
        jacobian, residuals = _linearised(lags, design, unknowns, locking)
        jacobian, residuals = torch.cat([jacobian, row]), torch.cat([residuals, torch.tensor([LOCKING - locking])])
        # The deviations' common factor is only known from the residuals; what is known beforehand has none.
        prior = LOCKING_DEVIATION / math.sqrt(variance)
        deviations = torch.cat([lags.deviations, torch.tensor([prior / math.sqrt(shared)])])
        rows, left = jacobian / deviations[:, None], residuals / deviations
        inverse = inner_inverse(rows.T @ rows, gauge)
        step = inverse @ (rows.T @ left)
        unknowns, locking = unknowns + step[:-1], float((locking + step[-1]).clamp(0, LARGEST_LOCKING))
        variance = spread(left[:-1] - rows[:-1] @ step, design.shape[1] - 1)
        # Where nothing draws, one step is all that straight lines need.
        if not lags.samples.any() or float(step[:-1].abs().max()) < SETTLED * float(lags.samples.max()):
            break
    deviations[-1] = prior
    rows = jacobian / deviations[:, None]
    inverse = inner_inverse(rows.T @ rows, gauge)
    return UnlockedFit(unknowns, variance * inverse[:-1, :-1], jacobian, deviations, residuals, locking)


def _linearised(lags: Lags, design: Tensor, unknowns: Tensor, locking: float) -> tuple[Tensor, Tensor]:
    """Derivatives of measured lags by unknowns and locking [M, U + 1], and measured minus modelled lags [M]."""
    modelled = design @ unknowns
    pull, slope = locking_pull(modelled, lags.samples, lags.meetings)
    jacobian = torch.cat([design * (1 + locking * slope)[:, None], pull[:, None]], 1)
    return jacobian, lags.values - modelled - locking * pull


def locking_pull(
    lags: Float64[Tensor, " M"], samples: Float64[Tensor, " M"], meetings: Float64[Tensor, "M 2"] | None = None
) -> tuple[Float64[Tensor, " M"], Float64[Tensor, " M"]]:
    """How far a locking of one sample draws lags, and how that changes with them.

    Args:
        lags: modelled lags, seconds, float64, shape [M].
        samples: seconds between samples, 0 where nothing draws, float64, shape [M].
        meetings: lags at which samples come together, and how nearly all do, shape [M, 2]; None for 0 and 1.

    Returns:
        ``-sin(2 pi lag)`` samples, in seconds, and its derivative by the lag, without unit; float64, shape [M]. The lag
        counts from where samples come together; where not all do, it is as much less.
    """
    if meetings is not None:
        lags = lags - meetings[:, 0]
    phase = 2 * torch.pi * lags / samples.clamp_min(1e-12)
    pull, slope = -samples * torch.sin(phase), -2 * torch.pi * torch.cos(phase) * (samples > 0)
    return (pull, slope) if meetings is None else (meetings[:, 1] * pull, meetings[:, 1] * slope)
