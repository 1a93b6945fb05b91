"""One offset per camera from the pairs' lags: connect, fit robustly, and undo the lags' attraction to whole samples."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.sync.solve import Fit, Lags, connected, inner_inverse, offset_design, robust_fit, spanning_tree, spread

LOCKING, LOCKING_DEVIATION = 0.04, 0.04
"""Samples by which lags are drawn to whole samples at most, and how much that varies from scene to scene."""
LARGEST_LOCKING = 0.12
"""At 1 / (2 pi) lags near whole samples would all be measured as whole: they would tell nothing."""
LOCKING_ROUNDS, LOCKING_SETTLED = 20, 1e-6
"""Gauss-Newton steps at most, and the step, as a share of a sample, that ends them."""


@dataclass(frozen=True)
class Offsets:
    """The global solution over the cameras that lags connect with the reference.

    Attributes:
        known: which cameras are determined, bool, shape [C].
        offsets: seconds, 0 for the reference, NaN where undetermined, float64, shape [C].
        covariance: of the known cameras' offsets, from the residuals, in the free gauge, seconds^2, float64, shape
            [K, K].
        used: which lags the solution rests on, bool, shape [M].
        design: of the final least squares over the K known cameras (and, last, the locking): one row per used lag and
            one for what is known of the locking beforehand, float64, shape [rows, unknowns].
        deviations: of these rows, up to a common factor, seconds, float64, shape [rows].
        locking: samples by which lags are drawn to whole samples at most; 0 where none may be.
    """

    known: Bool[Tensor, " C"]
    offsets: Float64[Tensor, " determined"]
    covariance: Float64[Tensor, "K K"]
    used: Bool[Tensor, " M"]
    design: Float64[Tensor, "rows unknowns"]
    deviations: Float64[Tensor, " rows"]
    locking: float


def fit_offsets(lags: Lags, count: int, reference: int) -> Offsets:
    """Offsets of the cameras that lags connect with the reference; lags that contradict the others are left out."""
    usable = torch.ones(len(lags.values), dtype=torch.bool)
    while True:
        known = connected(lags.first[usable], lags.second[usable], count, reference)
        inside = usable & known[lags.first]
        if int(known.sum()) < 2:
            nothing = torch.full((count,), torch.nan, dtype=torch.float64)
            nothing[reference] = 0.0
            empty = torch.zeros(0, dtype=torch.float64)
            return Offsets(known, nothing, torch.zeros(1, 1).double(), inside, empty.reshape(0, 1), empty, 0.0)
        solution = _fit_component(lags.keep(inside), known, reference)
        if solution.used.all():
            break
        # A camera that hung on outliers alone is lost with them: look again at what is connected.
        usable = inside.clone()
        usable[inside] = solution.used
    offsets = torch.full((count,), torch.nan, dtype=torch.float64)
    offsets[known] = solution.offsets
    offsets -= offsets[reference].clone()
    return Offsets(known, offsets, solution.covariance, inside, solution.design, solution.deviations, solution.locking)


def _fit_component(lags: Lags, known: Tensor, reference: int) -> Offsets:
    """The solution over the known cameras alone."""
    start = spanning_tree(lags, len(known), reference)[known]
    start = start - start.mean()
    count = len(start)
    design = offset_design(lags, len(known))[:, known]
    deviations = lags.deviations
    gauge = torch.ones(1, count, dtype=torch.float64)
    fit = robust_fit(design, lags.values, deviations, gauge, start)
    if lags.samples is None or not lags.samples.any():
        return Offsets(known, fit.unknowns, fit.covariance, fit.used, design[fit.used], deviations[fit.used], 0.0)
    return _without_locking(lags.keep(fit.used), fit, known, design[fit.used])


def _without_locking(lags: Lags, plain: Fit, known: Tensor, design: Tensor) -> Offsets:
    """Offsets and locking together, by Gauss-Newton.

    Motion energy between frames is sampled too coarsely: motion that changes within a frame interval is seen at a
    wrong frequency, by both cameras, at the same samples. So correlations are too high where samples coincide, and lags
    are drawn to whole samples (particle image velocimetry calls it peak locking). The phase is that of the modelled
    lag, never of the measured one: a locking of -1 / (2 pi) would turn any measured lags into whole ones.

    Args:
        lags: that the fit without locking used.
        plain: that fit.
        known: which cameras are determined, bool, shape [C].
        design: derivative of each lag by each of their offsets, float64, shape [M, K].
    """
    row = torch.eye(design.shape[1] + 1, dtype=torch.float64)[-1:]
    gauge = 1 - row
    offsets, locking, variance = plain.unknowns, LOCKING, plain.variance
    # The lags of a camera err together: all pairs tell as much of the locking as one per camera.
    shared = max(1.0, len(design) / design.shape[1])
    for _ in range(LOCKING_ROUNDS):
        modelled = design @ offsets
        pull, slope = locking_pull(modelled, lags.samples)
        jacobian = torch.cat([torch.cat([design * (1 + locking * slope)[:, None], pull[:, None]], 1), row])
        # The deviations' common factor is only known from the residuals; what is known beforehand has none.
        prior = LOCKING_DEVIATION / math.sqrt(variance)
        deviations = torch.cat([lags.deviations, torch.tensor([prior / math.sqrt(shared)])])
        residuals = torch.cat([lags.values - modelled - locking * pull, torch.tensor([LOCKING - locking])])
        rows, left = jacobian / deviations[:, None], residuals / deviations
        inverse = inner_inverse(rows.T @ rows, gauge)
        step = inverse @ (rows.T @ left)
        offsets, locking = offsets + step[:-1], float((locking + step[-1]).clamp(0, LARGEST_LOCKING))
        variance = spread(left[:-1] - rows[:-1] @ step, design.shape[1] - 1)
        if float(step[:-1].abs().max()) < LOCKING_SETTLED * float(lags.samples.max()):
            break
    deviations[-1] = prior
    rows = jacobian / deviations[:, None]
    inverse = inner_inverse(rows.T @ rows, gauge)
    return Offsets(known, offsets, variance * inverse[:-1, :-1], plain.used, jacobian, deviations, locking)


def locking_pull(
    lags: Float64[Tensor, " M"], samples: Float64[Tensor, " M"]
) -> tuple[Float64[Tensor, " M"], Float64[Tensor, " M"]]:
    """How far a locking of one sample draws lags, and how that changes with them.

    Args:
        lags: modelled lags, seconds, float64, shape [M].
        samples: seconds between samples, 0 where nothing draws, float64, shape [M].

    Returns:
        ``-sin(2 pi lag)`` samples, in seconds, and its derivative by the lag, without unit; float64, shape [M].
    """
    phase = 2 * torch.pi * lags / samples.clamp_min(1e-12)
    return -samples * torch.sin(phase), -2 * torch.pi * torch.cos(phase) * (samples > 0)
