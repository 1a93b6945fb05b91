"""What a field says of one camera's clock: least squares of colours by its offset, and its rate."""

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
"""Frames by which a Gauss-Newton step moves a frame's moment at most."""
LEAST_EXPLAINED = 0.1
"""Share of what changes that a field must explain for a clock that it does not know to be told by it."""
CONVERGED = 1e-4
"""A step of fewer frames ends the fit."""


def residuals(
    synced: SyncedBackend, pixels: CameraPixels, unknowns: Float64[Tensor, " P"], slopes: bool = True
) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "N 3"]]:
    """Rendered minus true colours, float64, shape [N, 3], and their derivatives by scene time [N, 3], per second.

    Without ``slopes`` they are not computed, and zero.
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
    """Whether the field shows changing pixels clearly better than their mean colours over the video do."""
    values, _ = residuals(synced, pixels, unknowns, slopes=False)
    return _better_than_still(values, pixels, LEAST_EXPLAINED)


def _better_than_still(values: Tensor, pixels: CameraPixels, least: float = 0.0) -> bool:
    return bool(values.square().sum() < (1 - least) * (pixels.rgb - pixels.still).square().sum())


@dataclass(frozen=True)
class ClockFit:
    """What least squares found.

    Attributes:
        unknowns: seconds, float64, shape [P].
        covariance: of the unknowns, seconds^2, float64, shape [P, P]; infinite where the colours do not tell.
        steps: steps taken.
        doubt: seconds by which the clock may be off besides, if the field learned it together with its own contents.
    """

    unknowns: Float64[Tensor, " P"]
    covariance: Float64[Tensor, "P P"]
    steps: int
    doubt: float = 0.0


def linear_fit(
    synced: SyncedBackend, pixels: CameraPixels, start: Float64[Tensor, " P"], interval: float
) -> ClockFit | None:
    """A single Gauss-Newton step from near the valley's bottom, rendered once: what is left then is taken for linear.

    None where the field shows changing pixels no better than their mean colours over the video do.

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
    """Seconds by which a clock may be off that a field learned from nothing while it learned what to show.

    An unfinished field shows a camera's frames when that camera's wrong clock says, beside what the others show: held
    as it is, it pulls at the clock by a fraction of the error, and frame by frame it agrees with itself. What tells is
    how much of the changes it does not explain yet. All of that as an error of time, were it one, times the square of
    that share is what such clocks were off by, 0.3 to 1.2 times (root mean square; measured on eight trainings of four
    scenes by Gaussians, of 39 to 4500 steps, that left 2% to 90% unexplained).
    """
    squares = values.square().sum()
    share = squares / (pixels.rgb - pixels.still).double().square().sum().clamp_min(1e-30)
    return float(share.square() * (squares / slopes.square().sum().clamp_min(1e-30)).sqrt())


def gauss_newton(
    synced: SyncedBackend, pixels: CameraPixels, start: Float64[Tensor, " P"], interval: float, most_steps: int
) -> ClockFit:
    """Damped Gauss-Newton from a start within a frame of the valley's bottom.

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
    """The step [P] that normal equations ask for, no longer than is sensible."""
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
    """Covariance of least-squares unknowns, in the unit of time of the slopes squared, float64, shape [P, P].

    The curvature alone, ``sigma^2 / sum(slope^2)``, takes every pixel for independent; a field's errors are shared by
    neighbouring pixels of a frame. So the largest, by each unknown's variance, of that and of the cluster-robust
    (sandwich) estimates is taken, with the correlations of the last of these.

    Args:
        values: residuals, shape [N, 3].
        slopes: their derivatives by time, shape [N, 3].
        basis: derivatives of each pixel's time by the unknowns, shape [N, P].
        groupings: of the pixels whose errors may be shared, the number of each one's group, int64, shape [N]: one or
            more such.
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
