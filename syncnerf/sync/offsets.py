"""One offset per camera from the pairs' lags: connect, fit robustly, and undo the lags' attraction to whole samples."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.sync.locking import fit_without_locking
from syncnerf.sync.solve import Lags, connected, offset_design, robust_fit, spanning_tree


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
        residuals: of these rows, measured minus modelled, seconds, float64, shape [rows].
        locking: samples by which lags are drawn to whole samples at most; 0 where none may be.
    """

    known: Bool[Tensor, " C"]
    offsets: Float64[Tensor, " determined"]
    covariance: Float64[Tensor, "K K"]
    used: Bool[Tensor, " M"]
    design: Float64[Tensor, "rows unknowns"]
    deviations: Float64[Tensor, " rows"]
    residuals: Float64[Tensor, " rows"]
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
            return Offsets(known, nothing, torch.zeros(1, 1).double(), inside, empty.reshape(0, 1), empty, empty, 0.0)
        solution = _fit_component(lags.keep(inside), known, reference)
        if solution.used.all():
            break
        # A camera that hung on outliers alone is lost with them: look again at what is connected.
        usable = inside.clone()
        usable[inside] = solution.used
    offsets = torch.full((count,), torch.nan, dtype=torch.float64)
    offsets[known] = solution.offsets
    offsets -= offsets[reference].clone()
    return replace(solution, offsets=offsets, used=inside)


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
        kept = (each[fit.used] for each in (design, deviations, fit.residuals))
        return Offsets(known, fit.unknowns, fit.covariance, fit.used, *kept, 0.0)
    unlocked = fit_without_locking(lags.keep(fit.used), fit, design[fit.used], gauge)
    rows = (unlocked.design, unlocked.deviations, unlocked.residuals)
    return Offsets(known, unlocked.unknowns, unlocked.covariance, fit.used, *rows, unlocked.locking)
