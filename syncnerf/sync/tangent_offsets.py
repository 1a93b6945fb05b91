"""What the epipolar tangents of all pairs of cameras make of their offsets."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.epipolar import EpipolarCameras
from syncnerf.sync.shared_tangents import ERROR, seen_outlines
from syncnerf.sync.solve import Lags, connected, inner_inverse, offset_design, robust_fit
from syncnerf.sync.tangents import tangents, tangents_lag
from syncnerf.sync.workers import in_parallel

LEAST_PAIRS = 3
"""A camera whose tangents agree with fewer others' is left out."""
DISAGREEMENT = 3.0
"""Deviations by which pairs contradict each other, at most, for outlines to be believed: else they are no bodies'."""
WIDENING, SHARED = 2.0, 0.02
"""Factor that the errors lack, and frames that a camera errs by in all of its pairs; measured."""
CONTRADICTION = 3.0
"""Standard errors between motion and outlines from which on a camera's outlines are left out."""


def by_tangents(
    scene: Scene, cameras: EpipolarCameras, offsets: Float64[Tensor, " C"], covariance: Float64[Tensor, "K K"]
) -> tuple[Float64[Tensor, " K"], Float64[Tensor, "K K"]]:
    """Offsets of the K determined cameras and their covariance, by what their outlines' tangents say as well."""
    known = ~offsets.isnan()
    lags = tangent_lags(scene, cameras, offsets)
    numbers = known.cumsum(0) - 1
    lags = replace(lags, first=numbers[lags.first], second=numbers[lags.second])
    return with_tangents(offsets[known], covariance, lags, scene.frame_interval)


def tangent_lags(scene: Scene, cameras: EpipolarCameras, offsets: Float64[Tensor, " C"]) -> Lags:
    """What the tangents of all pairs of cameras say of their lags.

    Args:
        scene: cameras and frames, static.
        cameras: which frames say something.
        offsets: known so far, seconds, float64, shape [C]; NaN for cameras to be left out.
    """
    known = (~offsets.isnan()).tolist()
    chosen = [camera for camera, energy in enumerate(cameras.energies) if known[camera] and energy.pace == 1]
    seen = seen_outlines(scene, cameras, chosen)
    pairs = [(first, second) for first in chosen for second in chosen if first < second]

    def compare(pair: tuple[int, int]) -> tuple[float, float] | None:
        first, second = pair
        views = [seen[camera].view for camera in pair]
        if float((views[0].centre - views[1].centre).norm()) <= cameras.least_baseline:
            return None
        interval = 1 / min(cameras.rates[camera] for camera in pair)
        error = ERROR * max(view.spacing for view in views)
        lag = float(offsets[first] - offsets[second])
        return tangents_lag(tangents(seen[first], seen[second]), lag, interval, error)

    found = in_parallel(compare, pairs, "tangents", "pair")
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

    Where pairs contradict each other by more than three times their deviations, outlines are no bodies' (shadows,
    noise, what stands in front), and nothing changes; where a camera's contradict what was known, they are left out.

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
