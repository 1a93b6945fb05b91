"""One offset per camera from the pairs' lags: connect, fit robustly, and undo the lags' attraction to whole samples."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from syncnerf.sync.solve import Lags, connected, offset_design, robust_fit, spanning_tree

LOCKING, LOCKING_DEVIATION = 0.05, 0.03
"""Samples by which lags are drawn to whole samples at most, and how much that varies from scene to scene."""


@dataclass(frozen=True)
class Offsets:
    """The global solution over the cameras that lags connect with the reference.

    Attributes:
        known: which cameras are determined, bool, shape [C].
        offsets: seconds, 0 for the reference, NaN where undetermined, float64, shape [C].
        stderr: standard errors from the residuals, in the free gauge, likewise.
        used: which lags the solution rests on, bool, shape [M].
        design: of the final least squares over the K known cameras (and, last, the locking): one row per used lag and
            one for what is known of the locking beforehand, float64, shape [rows, unknowns].
        deviations: of these rows, up to a common factor, seconds, float64, shape [rows].
        locking: samples by which lags are drawn to whole samples at most; 0 where none may be.
    """

    known: Tensor
    offsets: Tensor
    stderr: Tensor
    used: Tensor
    design: Tensor
    deviations: Tensor
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
            return Offsets(known, nothing, nothing.clone(), inside, empty.reshape(0, 1), empty, 0.0)
        solution = _fit_component(lags.keep(inside), known, reference)
        if solution.used.all():
            break
        # A camera that hung on outliers alone is lost with them: look again at what is connected.
        usable = inside.clone()
        usable[inside] = solution.used
    offsets = torch.full((count,), torch.nan, dtype=torch.float64)
    stderr = offsets.clone()
    offsets[known], stderr[known] = solution.offsets, solution.stderr
    offsets -= offsets[reference].clone()
    return Offsets(known, offsets, stderr, inside, solution.design, solution.deviations, solution.locking)


def _fit_component(lags: Lags, known: Tensor, reference: int) -> Offsets:
    """The solution over the known cameras alone."""
    start = spanning_tree(lags, len(known), reference)[known]
    start = start - start.mean()
    count = len(start)
    design = offset_design(lags, len(known))[:, known]
    deviations = lags.deviations
    gauge = torch.ones(1, count, dtype=torch.float64)
    fit = robust_fit(design, lags.values, deviations, gauge, start)
    used, locking = fit.used, 0.0
    if lags.samples is not None and lags.samples.any():
        column = locking_column(lags)
        # The deviations' common factor is only known from a first fit; what is known beforehand has none.
        scale = math.sqrt(fit.variance)
        design = torch.cat([torch.cat([design, column[:, None]], 1), torch.eye(count + 1, dtype=torch.float64)[-1:]])
        deviations = torch.cat([deviations, torch.tensor([LOCKING_DEVIATION / scale], dtype=torch.float64)])
        values = torch.cat([lags.values, torch.tensor([LOCKING], dtype=torch.float64)])
        gauge = torch.cat([gauge, torch.zeros(1, 1, dtype=torch.float64)], 1)
        begin = torch.cat([fit.unknowns, torch.tensor([LOCKING], dtype=torch.float64)])
        fit = robust_fit(design, values, deviations, gauge, begin)
        used, locking = fit.used[:-1], float(fit.unknowns[-1])
    offsets, stderr = fit.unknowns[:count], fit.covariance.diagonal()[:count].sqrt()
    return Offsets(known, offsets, stderr, used, design, deviations, locking)


def locking_column(lags: Lags) -> Tensor:
    """By how many seconds each lag is drawn to whole samples, for a locking of one sample; float64, shape [M].

    Motion energy between frames is sampled too coarsely: motion that changes within a frame interval is seen at a
    wrong frequency, by both cameras, at the same samples. So correlations are too high where samples coincide, and lags
    are drawn to whole samples, as ``-sin(2 pi lag)`` (particle image velocimetry calls it peak locking). A camera whose
    lags to most others are, say, a third of a sample above whole ones would be wrong by that, at all times alike.
    """
    phase = lags.values / lags.samples.clamp_min(1e-12)
    return -lags.samples * torch.sin(2 * torch.pi * phase)
