"""From pairwise lags to one offset per camera: spanning tree, robust weighted least squares, standard errors."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

SOFT_WIDTH = 1.5
"""Residuals beyond this many deviations count less than quadratically (soft-L1)."""
OUTLIER = 6.0
"""Lags this many deviations from the solution are left out at the end."""
ROUNDS = 30
"""Reweighting rounds at most."""
FEW_SPARE = 3
"""With fewer measurements more than unknowns the stated deviations are believed."""
SETTLED = 1e-8
"""Seconds; rounds end when no unknown moves further."""


@dataclass(frozen=True)
class Lags:
    """Measured lags between cameras; one row per measurement.

    Attributes:
        first: camera index, int64, shape [M].
        second: camera index, int64, shape [M].
        values: offset[first] - offset[second], seconds, float64, shape [M].
        deviations: standard errors up to a common factor, seconds, float64, shape [M].
        samples: seconds between the samples of the compared signals where these draw the lag to whole samples, 0
            elsewhere, float64, shape [M]; None where that is so nowhere.
        meetings: of these samples: a lag at which those of both cameras come together, seconds, and how nearly all of
            them do, from 0 to 1, float64, shape [M, 2]; None where all do at a lag of 0.
    """

    first: Int64[Tensor, " M"]
    second: Int64[Tensor, " M"]
    values: Float64[Tensor, " M"]
    deviations: Float64[Tensor, " M"]
    samples: Float64[Tensor, " M"] | None = None
    meetings: Float64[Tensor, "M 2"] | None = None

    def keep(self, mask: Bool[Tensor, " M"]) -> "Lags":
        """The measurements that a mask selects."""
        drawn = (None if each is None else each[mask] for each in (self.samples, self.meetings))
        return Lags(self.first[mask], self.second[mask], self.values[mask], self.deviations[mask], *drawn)


@dataclass(frozen=True)
class Fit:
    """A robust least-squares solution.

    Attributes:
        unknowns: float64, shape [U].
        covariance: of the unknowns, float64, shape [U, U].
        variance: square of the factor that the stated deviations lacked.
        residuals: measured minus modelled, float64, shape [M].
        used: which measurements the final solution rests on, bool, shape [M].
    """

    unknowns: Float64[Tensor, " U"]
    covariance: Float64[Tensor, "U U"]
    variance: float
    residuals: Float64[Tensor, " M"]
    used: Bool[Tensor, " M"]


def connected(first: Int64[Tensor, " M"], second: Int64[Tensor, " M"], count: int, start: int) -> Bool[Tensor, " C"]:
    """Which cameras the pairs connect with ``start``, bool, shape [count]."""
    reached = torch.zeros(count, dtype=torch.bool)
    reached[start] = True
    while True:
        grown = reached.clone()
        grown[second[reached[first]]] = True
        grown[first[reached[second]]] = True
        if torch.equal(grown, reached):
            return reached
        reached = grown


def spanning_tree(lags: Lags, count: int, reference: int) -> Float64[Tensor, " C"]:
    """Offsets along the tree of the surest lags (Prim), seconds, float64, shape [count]; NaN where nothing connects."""
    offsets = torch.full((count,), torch.nan, dtype=torch.float64)
    offsets[reference] = 0.0
    while True:
        from_known = ~offsets[lags.first].isnan() & offsets[lags.second].isnan()
        to_known = offsets[lags.first].isnan() & ~offsets[lags.second].isnan()
        edges = (from_known | to_known).nonzero()[:, 0]
        if len(edges) == 0:
            return offsets
        edge = edges[lags.deviations[edges].argmin()]
        i, j, lag = lags.first[edge], lags.second[edge], lags.values[edge]
        if from_known[edge]:
            offsets[j] = offsets[i] - lag
        else:
            offsets[i] = offsets[j] + lag


def offset_design(lags: Lags, count: int) -> Float64[Tensor, "M C"]:
    """Which offsets each lag compares: +1 for the first camera, -1 for the second, float64, shape [M, count]."""
    rows = torch.arange(len(lags.values))
    design = torch.zeros(len(rows), count, dtype=torch.float64)
    design[rows, lags.first] = 1.0
    design[rows, lags.second] -= 1.0
    return design


def robust_fit(
    design: Float64[Tensor, "M U"],
    values: Float64[Tensor, " M"],
    deviations: Float64[Tensor, " M"],
    gauge: Float64[Tensor, "G U"],
    start: Float64[Tensor, " U"],
) -> Fit:
    """Robust weighted least squares by iterative reweighting.

    L1 from the starting point on, whose median residual gives the scale; then soft-L1; then measurements beyond 6
    deviations are left out and the rest is fitted by weighted least squares. The covariance is that solution's, scaled
    by the remaining residuals (and never below a hundredth of the stated deviations).

    Args:
        design: derivative of each measurement by each unknown, float64, shape [M, U].
        values: measurements, float64, shape [M].
        deviations: their standard errors up to a common factor, float64, shape [M].
        gauge: directions of the unknowns that no measurement sees, float64, shape [G, U]; the solution and its
            covariance are orthogonal to them (the free, inner gauge).
        start: where to begin, float64, shape [U].

    Returns:
        The solution, in the inner gauge.
    """
    rows, seen = design / deviations[:, None], values / deviations
    unknowns = start
    for _ in range(ROUNDS):
        # L1 finds the majority even when a bad lag has slipped into the tree and spoilt every residual's scale.
        residuals = seen - rows @ unknowns
        before, unknowns = unknowns, _solve(rows, seen, 1 / residuals.abs().clamp_min(1e-2), gauge)[0]
        if _settled(before, unknowns):
            break
    # Estimated once: bad lags that pull the fit and so widen the scale would pull ever more.
    scale = _scale(seen - rows @ unknowns, design.shape[1] - len(gauge))
    for _ in range(ROUNDS):
        residuals = seen - rows @ unknowns
        weights = 1 / (1 + (residuals / (SOFT_WIDTH * scale)).square()).sqrt()
        before, unknowns = unknowns, _solve(rows, seen, weights, gauge)[0]
        if _settled(before, unknowns):
            break
    residuals = seen - rows @ unknowns
    used = residuals.abs() <= OUTLIER * scale
    if int(torch.linalg.matrix_rank(rows[used])) < design.shape[1] - len(gauge):
        # What is left would not determine everything: none can be told to be the bad one, and the error becomes wide.
        used[:] = True
    unknowns, inverse = _solve(rows, seen, used.double(), gauge)
    residuals = seen - rows @ unknowns
    variance = spread(residuals[used], design.shape[1] - len(gauge))
    return Fit(unknowns, inverse * variance, variance, residuals * deviations, used)


def spread(residuals: Float64[Tensor, " M"], unknowns: int) -> float:
    """Square of the factor that stated deviations lack, from residuals in their units, never below 1e-4.

    Few spare measurements (two or three cameras, a bare tree) tell little: never below 1 then.
    """
    freedom = len(residuals) - unknowns
    floor = 1.0 if freedom < FEW_SPARE else 1e-4
    return max(float(residuals.square().sum()) / max(freedom, 1), floor)


def _settled(before: Tensor, after: Tensor) -> bool:
    return float((after - before).abs().max()) < SETTLED


def _scale(residuals: Tensor, unknowns: int) -> float:
    """Robust deviation of residuals: their median size, for a fit that has as many unknowns, never below 0.01; with
    few spare measurements the stated one, 1."""
    # A fit passes exactly through as many measurements as it has unknowns (L1 does so literally): they do not count.
    spare = residuals.abs().sort().values[unknowns:]
    if len(spare) < FEW_SPARE:
        return 1.0
    return max(1.4826 * float(spare.median()), 1e-2)


def _solve(rows: Tensor, seen: Tensor, weights: Tensor, gauge: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted solution and inverse normal matrix in the inner gauge."""
    inverse = inner_inverse(rows.T @ (weights[:, None] * rows), gauge)
    return inverse @ (rows.T @ (weights * seen)), inverse


def inner_inverse(normal: Float64[Tensor, "U U"], gauge: Float64[Tensor, "G U"]) -> Float64[Tensor, "U U"]:
    """Inverse of a normal matrix on the complement of the gauge directions, zero along them.

    Adding the gauge directions and projecting them out afterwards is the pseudo-inverse, without its rank decision.

    Args:
        normal: shape [U, U].
        gauge: shape [G, U].
    """
    basis = torch.linalg.qr(gauge.T)[0]
    project = torch.eye(len(normal), dtype=torch.float64) - basis @ basis.T
    return project @ torch.linalg.inv(normal + normal.diagonal().mean() * basis @ basis.T) @ project
