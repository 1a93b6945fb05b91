"""Reckoning: where the cameras' clocks stand, from what was known of them beforehand and what the field says of them.

Both are estimates with errors, and the clock holds the best of both: it is never moved further than the field's
evidence is worth. (A field that is trained on wrong offsets adapts to them; one that explains little says anything.)
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.clock import Clock
from syncnerf.photometry import CameraPixels, choose_pixels, frozen, gauss_newton, residuals
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)

PIXELS = 1024
"""Pixels of each camera that a reckoning looks at."""
LAST_FACTOR = 4
"""The last one looks at so many times more."""
LAST_STEPS = 2
"""Gauss-Newton steps of the last one; the others take one each."""
SHARES = (0.6, 0.8)
"""Shares of the training after which there is a reckoning, beside its end; none before the offsets may move."""
ADAPTED = 2.0
"""A field that was trained on a camera's frames has followed that camera's clock in part: its evidence, with the field
held, moves back towards the truth by less than the clock is off, and claims more than it knows. Its errors are taken so
many times larger."""
DISAGREEMENT = 4.0
"""Standard errors by which field and beforehand may differ without a word."""


@dataclass(frozen=True)
class Evidence:
    """What the field says of each camera's clock.

    Attributes:
        values: shift at the middle of each video, and the rate's share of it at the ends where rates are learned,
            seconds, float64, shape [C, P].
        readout_stderr: standard errors of the readout times where they are learned, seconds, float64, shape [C].
        covariances: of each camera's, float64, shape [C, P, P]; infinite where the field explains a camera's changing
            pixels no better than their mean colours do, and for cameras that were not trained.
    """

    values: Tensor
    covariances: Tensor
    readout_stderr: Tensor | None = None


class Reckoner:
    """Reckons the clock of a training at some of its steps.

    Args:
        synced: clock and field.
        scene: cameras and frames.
        steps: length of the training.
        device: where rays are rendered.
        seed: choice of the pixels.
    """

    def __init__(self, synced: SyncedBackend, scene: Scene, steps: int, device: torch.device | str, seed: int = 0):
        self.synced, self.scene, self.device, self.seed = synced, scene, torch.device(device), seed
        self.last, self.shares = steps, {round(share * steps) for share in SHARES}

    def __call__(self, done: int) -> bool:
        """Reckon where it is time for it, after so many steps; whether the clock was moved."""
        clock = self.synced.clock
        last = done == self.last
        waits = done < max(int(clock.start_step), 1)
        if not clock.learned or waits or not (last or (clock.reckoned and done in self.shares)):
            return False
        evidence = self._evidence(PIXELS * (LAST_FACTOR if last else 1), LAST_STEPS if last else 1, done)
        values, covariance = combine(clock, evidence)
        if last and clock.reckoned:
            self._compare(evidence)
        # Without anything known beforehand the training itself is the estimate, from all pixels; this gives its errors.
        clock.settle(values if clock.reckoned else None, covariance, evidence.readout_stderr)
        return clock.reckoned

    def _evidence(self, count: int, most_steps: int, done: int) -> Evidence:
        clock, scene = self.synced.clock, self.scene
        values, known = clock.middle_values(), clock.unknown_count
        unknowns = ("shift", "rate")[:known] + (("readout",) if "row_times" in clock.unknowns else ())
        covariances = torch.full((len(values), *[len(unknowns)] * 2), torch.inf, dtype=torch.float64)
        with frozen(self.synced):
            for camera in scene.train:
                size = scene.cameras[camera].intrinsics
                everywhere = torch.ones(size.height, size.width, dtype=torch.bool)
                row_time = float(clock.row_times[camera])
                seed = self.seed + 1_000_003 * done
                pixels = choose_pixels(scene, camera, row_time, everywhere, count, seed, unknowns).to(self.device)
                # Readout times follow the gradient; here they only widen the errors of what they are confused with.
                start = pad(values[camera], (0, len(unknowns) - known)).to(self.device)
                if not explains(self.synced, pixels, start):
                    continue
                fit = gauss_newton(self.synced, pixels, start, scene.frame_interval, most_steps)
                values[camera], covariances[camera] = fit.unknowns[:known].cpu(), ADAPTED**2 * fit.covariance.cpu()
        readout = covariances[:, known, known].sqrt() if len(unknowns) > known else None
        return Evidence(values, covariances[:, :known, :known], readout)

    def _compare(self, evidence: Evidence) -> None:
        """Warn of cameras of which the field says something else than was known beforehand."""
        clock = self.synced.clock
        errors = (evidence.covariances[:, 0, 0] + clock.prior.variances).sqrt()
        difference = evidence.values[:, 0] - clock.prior.values[:, 0].cpu()
        known = errors.isfinite()
        difference = difference - (difference[known].median() if known.any() else 0.0)
        for camera in (known & (difference.abs() > DISAGREEMENT * errors)).nonzero()[:, 0].tolist():
            better = evidence.covariances[camera, 0, 0] < clock.prior.variances[camera]
            logger.warning(
                "%s: the field puts its offset %.4f s from where it was known to be, %.1f standard errors away; %s has "
                "the smaller error of the two", self.scene.names[camera], difference[camera],
                (difference[camera] / errors[camera]).abs(), "the field" if better else "what was known",
            )  # fmt: skip


def explains(synced: SyncedBackend, pixels: CameraPixels, unknowns: Tensor) -> bool:
    """Whether the field shows changing pixels better than their mean colours over the video do."""
    values, _ = residuals(synced, pixels, unknowns, slopes=False)
    return bool(values.square().sum() < (pixels.rgb - pixels.still).square().sum())


def combine(clock: Clock, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """The best of what was known beforehand and of the field's evidence: generalised least squares of both.

    A common shift (and stretch) of what was known beforehand means nothing; the field's time decides it. Where the two
    differ by more than their errors allow, over all cameras, the field's errors are too small (it has adapted to what
    it was trained on) and are widened by what is missing (DerSimonian and Laird, 1986).

    Returns:
        Values as in :class:`Evidence`, float64, shape [C, P], and their covariance, shape [C, P, C, P].
    """
    values, count = clock.middle_values(), clock.unknown_count
    shape = (len(values), count)
    normal, right = torch.zeros(2, *shape, *shape, dtype=torch.float64)[0], torch.zeros(shape, dtype=torch.float64)
    widened = evidence.covariances.clone()
    if clock.reckoned:
        widened[:, 0, 0] += excess_variance(clock, evidence)
    told = widened[:, 0, 0].isfinite().nonzero()[:, 0].tolist()
    for camera in told:
        weight = torch.linalg.inv(widened[camera])
        normal[camera, :, camera, :] += weight
        right[camera] += weight @ evidence.values[camera]
    known = clock.prior.values.cpu()
    for unknown, precision in enumerate(clock.prior.precisions(clock.is_trained, count)):
        normal[:, unknown, :, unknown] += precision
        right[:, unknown] += precision @ known[:, unknown]
    # What neither tells stays where it is.
    size = math.prod(shape)
    matrix, scale = normal.reshape(size, size), normal.reshape(size, size).diagonal().mean().clamp_min(1e-30)
    anchor = 1e-9 * scale * torch.eye(size, dtype=torch.float64)
    inverse = torch.linalg.inv(matrix + anchor)
    found = inverse @ (right.reshape(size) + anchor @ values.reshape(size))
    return found.reshape(shape), inverse.reshape(*shape, *shape)


def excess_variance(clock: Clock, evidence: Evidence) -> float:
    """Variance (seconds^2) that the field's errors lack, from how far it is from what was known beforehand."""
    own, before = evidence.covariances[:, 0, 0], clock.prior.variances
    difference = evidence.values[:, 0] - clock.prior.values[:, 0].cpu()
    known = own.isfinite() & before.isfinite()
    if known.sum() < 3:
        return 0.0
    weights, difference = 1.0 / (own + before)[known].clamp_min(1e-30), difference[known]
    difference = difference - (weights * difference).sum() / weights.sum()
    missing = (weights * difference.square()).sum() - (len(weights) - 1)
    return max(0.0, float(missing / (weights.sum() - weights.square().sum() / weights.sum())))
