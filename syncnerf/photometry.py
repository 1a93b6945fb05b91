"""Fits one camera's clock to a field: least squares of rendered against true colours over its offset and rate.

The unknowns are seconds (see :class:`~syncnerf.camera_pixels.CameraPixels`), one or two, P in all. Rendering gives each
pixel's colour and its derivative by time, the *slope*; from these Gauss-Newton steps and standard errors follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from syncnerf.camera_pixels import CameraPixels
from syncnerf.pixels import render_pixels
from syncnerf.questions import COLOURS, SLOPES
from syncnerf.synced import SyncedBackend

MOST_STEP = 1.0
"""Longest Gauss-Newton step, in frames."""
LEAST_EXPLAINED = 0.1
"""Share of the pixels' changes over time that a field must explain before its word on an unknown clock counts."""
CONVERGED = 1e-4
"""The fit has converged once a step is shorter than this, in frames."""


def residuals(
    synced: SyncedBackend, pixels: CameraPixels, unknowns: Float64[Tensor, " P"], slopes: bool = True
) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "N 3"]]:
    """Rendered minus true colours, float64, shape [N, 3], and their derivatives by scene time [N, 3], per second.

    With ``slopes=False`` the derivatives are not computed; zeros take their place.
    """
    moments, readout = pixels.moments(unknowns), pixels.readout(unknowns)
    question = synced.at_scene_time(pixels.views, moments, SLOPES if slopes else COLOURS, readout)
    cameras = torch.full_like(pixels.frames, pixels.camera)
    shown = synced.colours(cameras, render_pixels(synced.backend, question, pixels.places))
    values = (shown.rgb - pixels.rgb).detach().double().reshape(-1, 3)
    if not slopes:
        return values, torch.zeros_like(values)
    return values, (shown.slopes.double() * synced.clock.spans(moments.new_ones(()))).reshape(-1, 3)


def explains(synced: SyncedBackend, pixels: CameraPixels, unknowns: Float64[Tensor, " P"]) -> bool:
    """Whether the field predicts changing pixels clearly better than each pixel's mean colour over the video would."""
    values, _ = residuals(synced, pixels, unknowns, slopes=False)
    return _better_than_still(values, pixels, LEAST_EXPLAINED)


def _better_than_still(values: Tensor, pixels: CameraPixels, least: float = 0.0) -> bool:
    return bool(values.square().sum() < (1 - least) * (pixels.rgb - pixels.still).square().sum())


@dataclass(frozen=True)
class ClockFit:
    """What least squares found.

    Attributes:
        unknowns: seconds, float64, shape [P].
        covariance: of the unknowns, seconds^2, float64, shape [P, P]; infinite if colours do not determine them.
        steps: steps taken.
        doubt: further error in seconds, to be added if the field learned this clock while it learned what to show.
    """

    unknowns: Float64[Tensor, " P"]
    covariance: Float64[Tensor, "P P"]
    steps: int
    doubt: float = 0.0


def linear_fit(
    synced: SyncedBackend, pixels: CameraPixels, start: Float64[Tensor, " P"], interval: float
) -> ClockFit | None:
    """A single Gauss-Newton step from a start near the optimum, which renders only once.

    The residuals after the step are extrapolated linearly. None if the field predicts changing pixels no better than
    their mean colours over the video would.

    Args:
        synced: clock and field, frozen.
        pixels: of one camera.
        start: unknowns in seconds, float64, shape [P].
        interval: seconds between frames.
    """
    values, slopes = residuals(synced, pixels, start)
    if not _better_than_still(values, pixels):
        return None
    basis = pixels.basis.flatten(0, 1)
    step = _step(*_normal_equations(values, slopes, basis), interval)
    left = values + slopes * (basis @ step)[:, None]
    covariance = clustered_covariance(left, slopes, basis, pixels.groups())
    return ClockFit(start + step, covariance, 1, _doubt(values, slopes, pixels))


def _doubt(values: Tensor, slopes: Tensor, pixels: CameraPixels) -> float:
    """Seconds by which a clock may be off if it was learned from zero, by a field that is not finished.

    Such a field has fitted the camera's frames at the times that its wrong clock gave. It therefore agrees with that
    clock, and residuals and slopes alone would state far too small an error. What does reveal it is the share of the
    changes that the field does not explain yet. The estimate is the error of time that would explain all residuals,
    times the square of that share. Clocks were off by 0.3 to 1.2 times as much (root mean square; measured on eight
    trainings of four scenes by Gaussians, of 39 to 4500 steps, that left 2% to 90% unexplained).
    """
    squares = values.square().sum()
    share = squares / (pixels.rgb - pixels.still).double().square().sum().clamp_min(1e-30)
    return float(share.square() * (squares / slopes.square().sum().clamp_min(1e-30)).sqrt())


def gauss_newton(
    synced: SyncedBackend, pixels: CameraPixels, start: Float64[Tensor, " P"], interval: float, most_steps: int
) -> ClockFit:
    """Damped Gauss-Newton from a start within a frame of the optimum.

    Args:
        synced: clock and field, frozen.
        pixels: of one camera.
        start: unknowns in seconds, float64, shape [P].
        interval: seconds between frames.
        most_steps: steps at most.
    """
    damping, unknowns, steps = 0.0, start, 0
    basis = pixels.basis.flatten(0, 1)
    values, slopes = residuals(synced, pixels, unknowns)
    while steps < most_steps:
        steps += 1
        normal, pull = _normal_equations(values, slopes, basis)
        step = _step(normal + damping * torch.diag(normal.diagonal()), pull, interval)
        trial = unknowns + step
        new_values, new_slopes = residuals(synced, pixels, trial)
        if new_values.square().sum() <= values.square().sum():
            unknowns, values, slopes, damping = trial, new_values, new_slopes, 0.1 * damping
        else:
            damping = max(1.0, 4.0 * damping)
        if float(step.abs().max()) < CONVERGED * interval:
            break
    return ClockFit(unknowns, clustered_covariance(values, slopes, basis, *pixels.groupings()), steps)


def _step(normal: Tensor, pull: Tensor, interval: float) -> Tensor:
    """The solution [P] of normal equations, shortened to :data:`MOST_STEP` frames."""
    solvable = normal + 1e-30 * torch.eye(len(normal)).to(normal)
    step = -torch.linalg.lstsq(solvable, pull[:, None]).solution[:, 0]
    return step * min(1.0, MOST_STEP * interval / max(float(step.abs().max()), 1e-30))


def _normal_equations(values: Tensor, slopes: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Normal matrix [P, P] and right side [P] of residuals and slopes [N, 3]."""
    weights = slopes.square().sum(dim=-1)
    return basis.T @ (weights[:, None] * basis), basis.T @ (slopes * values).sum(dim=-1)


def clustered_covariance(
    values: Float[Tensor, "N 3"],
    slopes: Float[Tensor, "N 3"],
    basis: Float[Tensor, "N P"],
    *groupings: Int64[Tensor, " N"],
) -> Float[Tensor, "P P"]:
    """Covariance of least-squares unknowns, in the squared unit of time of the slopes, float64, shape [P, P].

    The usual estimate, ``sigma^2 / sum(slope^2)``, assumes that every pixel errs independently, while a field errs
    alike in neighbouring pixels of a frame, and so the estimate is too small. Cluster-robust (sandwich) estimates allow
    errors to be shared within groups of pixels. For each unknown the largest variance of all estimates is taken, with
    the correlations of the last sandwich estimate.

    Args:
        values: residuals, shape [N, 3].
        slopes: their derivatives by time, shape [N, 3].
        basis: derivatives of each pixel's time by the unknowns, shape [N, P].
        groupings: one or more ways to group pixels whose errors may be shared, each the group's number of every pixel,
            int64, shape [N].
    """
    normal, _ = _normal_equations(values, slopes, basis)
    if float(torch.linalg.det(normal)) <= 0.0:
        return torch.full_like(normal, torch.inf)
    inverse = torch.linalg.inv(normal)
    plain = values.square().mean() * inverse
    scores, largest = (values * slopes).sum(dim=-1)[:, None] * basis, plain.diagonal()
    for groups in groupings:
        by_group = torch.zeros(int(groups.max()) + 1, basis.shape[1]).to(scores).index_add(0, groups, scores)
        robust = inverse @ (by_group.T @ by_group) @ inverse
        largest = torch.maximum(largest, robust.diagonal())
    scale = (largest / robust.diagonal().clamp_min(1e-300)).sqrt()
    return scale[:, None] * robust * scale
