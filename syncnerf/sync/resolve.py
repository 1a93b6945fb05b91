"""From the pairs' comparisons to offsets with standard errors, and an account of every pair and camera."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.consistent import connected_reference, fit_consistent
from syncnerf.sync.landscape import BEYOND
from syncnerf.sync.offsets import Offsets
from syncnerf.sync.result import CONTRADICTION, UNCONNECTED, PairLag, SyncResult
from syncnerf.sync.scales import between_scales, moved_by_scale, trend_over_directions
from syncnerf.sync.solve import Lags
from syncnerf.sync.uncertainty import jackknife, not_below, variances_by_rows

Refine = Callable[[Float64[Tensor, " C"], Float64[Tensor, "K K"]], tuple[Tensor, Tensor]]
"""From all offsets, NaN where undetermined, and the covariance of the determined ones to better ones of these."""


def resolve(
    scene: Scene,
    method: str,
    comparisons: list[Comparison],
    directions: Float64[Tensor, "C 3"] | None = None,
    refine: Refine | None = None,
) -> SyncResult:
    """Offsets from the pairs' lags: reject, connect, fit, and account for every pair and camera.

    Args:
        scene: the cameras.
        method: ``epipolar`` or ``tracks``.
        comparisons: of all pairs.
        directions: to the cameras, see :func:`viewing_directions`, where their poses are so exact that offsets may be
            believed to follow them; None elsewhere.
        refine: what else says something of the offsets; None for nothing.
    """
    accepted = [c for c in comparisons if c.peak is not None and not c.reason]
    lags = _lags(accepted)
    reference = connected_reference(lags, len(scene.cameras), (*scene.train, *scene.test))
    spans = torch.stack([camera.frame_times[[0, -1]] for camera in scene.cameras])
    solution, removed = fit_consistent(lags, spans, reference, scene.frame_interval)
    known = solution.known
    kept = [c for c, keep in zip(accepted, solution.used.tolist(), strict=True) if keep]
    offsets, stderr = solution.offsets.clone(), solution.offsets * 0.0
    correlations = torch.eye(len(known), dtype=torch.float64)
    if int(known.sum()) > 1:
        shift, covariance = _refined_by_scale(scene, solution, kept, directions)
        offsets[known] += shift
        offsets -= offsets[reference].clone()
        if refine is not None:
            offsets[known], covariance = refine(offsets, covariance)
            offsets -= offsets[reference].clone()
        stderr[known] = covariance.diagonal().sqrt()
        correlations[known[:, None] & known] = (covariance / (stderr[known, None] * stderr[known])).flatten()
    outliers = {(c.first, c.second) for c in accepted} - {(c.first, c.second) for c in kept}
    pairs = [_pair_lag(comparison, offsets, outliers, known) for comparison in comparisons]
    reasons = {
        scene.names[camera]: removed.get(camera) or _why_undetermined(camera, pairs, scene.names, reference)
        for camera in (~known).nonzero()[:, 0].tolist()
    }
    landscapes = [comparison.landscape for comparison in comparisons if comparison.landscape is not None]
    return SyncResult(
        scene.names,
        reference,
        method,
        offsets,
        stderr,
        pairs,
        landscapes,
        reasons=reasons,
        locking=solution.locking,
        correlations=correlations,
    )


def _lags(accepted: list[Comparison]) -> Lags:
    """The lags of the accepted comparisons, M of them, as the solution takes them."""
    return Lags(
        torch.tensor([c.first for c in accepted], dtype=torch.int64),
        torch.tensor([c.second for c in accepted], dtype=torch.int64),
        torch.tensor([c.peak.lag for c in accepted], dtype=torch.float64),
        torch.tensor([c.peak.deviation for c in accepted], dtype=torch.float64),
        torch.tensor([c.samples for c in accepted], dtype=torch.float64),
        torch.tensor([c.meeting for c in accepted], dtype=torch.float64).reshape(-1, 2),
    )


def _refined_by_scale(
    scene: Scene, solution: Offsets, kept: list[Comparison], directions: Tensor | None
) -> tuple[Float64[Tensor, " K"], Float64[Tensor, "K K"]]:
    """What the finer scale adds to the K determined offsets, seconds, and the covariance of the sum, seconds^2.

    Args:
        scene: the cameras.
        solution: over the determined ones.
        kept: the comparisons whose lags it rests on.
        directions: as of :func:`resolve`; without them nothing is added.
    """
    known = solution.known
    first = [c.first for c in kept]
    began = torch.stack([camera.frame_times[0] for camera in scene.cameras])
    starts = (solution.offsets + began)[first]
    pulls = [c.sensitivity for c in kept]
    covariance = jackknife(solution.design, solution.deviations, pulls, starts, solution.covariance)
    # Where few weak pairs hold a camera, how far they contradict each other says more than what is usual for all.
    by_rows = variances_by_rows(solution.design, solution.deviations, solution.residuals)
    covariance = not_below(covariance, by_rows[: len(covariance)])
    rescaled = torch.tensor([c.rescaled for c in kept], dtype=torch.float64)
    moved = moved_by_scale(solution.design, solution.deviations, rescaled, len(covariance))
    trend = torch.zeros_like(moved)
    if directions is not None:
        trend, uncertainty = trend_over_directions(moved, directions[known], scene.frame_interval)
        covariance = covariance + uncertainty
    return trend, covariance + between_scales(moved - trend)


def _pair_lag(comparison: Comparison, offsets: Tensor, outliers: set[tuple[int, int]], known: Tensor) -> PairLag:
    first, second, peak = comparison.first, comparison.second, comparison.peak
    if peak is None:
        return PairLag(first, second, float("nan"), float("nan"), 0.0, float("nan"), comparison.reason)
    residual = peak.lag - float(offsets[first] - offsets[second])
    reason = comparison.reason
    if not reason and (first, second) in outliers:
        reason = CONTRADICTION if known[first] and known[second] else UNCONNECTED
    return PairLag(first, second, peak.lag, peak.deviation, peak.significance, residual, reason)


def _why_undetermined(camera: int, pairs: list[PairLag], names: list[str], reference: int) -> str:
    """One line: which of the camera's pairs failed and why."""
    own = [pair for pair in pairs if camera in (pair.first, pair.second)]
    beyond = [pair for pair in own if pair.reason.endswith(BEYOND)]
    if beyond:
        surest = max(beyond, key=lambda pair: pair.significance)
        other = surest.second if surest.first == camera else surest.first
        return f"with {names[other]} it {surest.reason}"
    if any(pair.reason == UNCONNECTED for pair in own):
        return f"shares motion with some cameras, but nothing connects them with the reference {names[reference]}"
    reasons = [pair.reason for pair in own]
    return max(set(reasons), key=reasons.count) if reasons else "no pair to compare"
