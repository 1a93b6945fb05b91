"""What the epipolar tangents of all pairs of cameras make of their offsets."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.sync.shared_tangents import LEAST_PAIRS, SHARED, WIDENING, SharedTangent
from syncnerf.sync.solve import Lags, connected, inner_inverse, offset_design, robust_fit
from syncnerf.sync.tangents import tangents_lag
from syncnerf.sync.workers import in_parallel

DISAGREEMENT = 3.0
"""Deviations by which pairs may contradict each other for outlines to be believed as those of bodies."""
CONTRADICTION = 3.0
"""Standard errors between motion and outlines from which on a camera's outlines are left out."""


def by_tangents(
    seen: Sequence[SharedTangent],
    intervals: Float64[Tensor, " C"],
    offsets: Float64[Tensor, " C"],
    covariance: Float64[Tensor, "K K"],
) -> tuple[Float64[Tensor, " K"], Float64[Tensor, "K K"]]:
    """Offsets of the K determined cameras and their covariance, by what their outlines' tangents say as well.

    Args:
        seen: tangents of all pairs, pair by pair.
        intervals: seconds between each camera's frames.
        offsets: of all cameras, seconds; NaN for those that are not determined.
        covariance: of the determined ones, seconds^2.
    """
    known = ~offsets.isnan()
    lags = tangent_lags(seen, intervals, offsets)
    numbers = known.cumsum(0) - 1
    lags = replace(lags, first=numbers[lags.first], second=numbers[lags.second])
    return with_tangents(offsets[known], covariance, lags, float(intervals.median()))


def tangent_lags(
    seen: Sequence[SharedTangent], intervals: Float64[Tensor, " C"], offsets: Float64[Tensor, " C"]
) -> Lags:
    """What the tangents of pairs of cameras say of their lags.

    Args:
        seen: tangents of all pairs, pair by pair.
        intervals: seconds between each camera's frames.
        offsets: known so far, seconds; NaN for cameras to be left out.
    """
    known = [each for each in seen if not offsets[[each.first, each.second]].isnan().any()]
    pairs = {pair: list(own) for pair, own in groupby(known, lambda each: (each.first, each.second))}

    def compare(pair: tuple[int, int]) -> tuple[float, float] | None:
        first, second = pair
        interval, lag = float(intervals[[first, second]].max()), float(offsets[first] - offsets[second])
        return tangents_lag([each.angles for each in pairs[pair]], lag, interval, pairs[pair][0].error)

    found = in_parallel(compare, list(pairs), "tangents' lags", "pair")
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

    Where pairs contradict each other by more than three times their deviations, outlines are not those of bodies but of
    shadows, noise or what stands in front, and nothing changes. A camera whose outlines contradict what was known is
    left out.

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
