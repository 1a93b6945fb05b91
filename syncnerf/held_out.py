"""Fitting the clock of a camera that was not trained, everything else frozen."""

from __future__ import annotations

import logging
import math

import torch
from jaxtyping import Bool
from torch import Tensor
from tqdm import tqdm

from syncnerf.camera_pixels import CameraPixels
from syncnerf.clock_search import ClockSearch
from syncnerf.config import HeldOutConfig
from syncnerf.modes import frozen
from syncnerf.offset_fit import OffsetFit, combined
from syncnerf.photometry import ClockFit, clustered_covariance
from syncnerf.photometry import residuals as photometric_residuals
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)

KNOWN_ERRORS, KNOWN_FRAMES = 5.0, 2.0
"""Where an offset was known beforehand it is sought within so many of its standard errors, and frames at least."""


class HeldOutOptimizer:
    """The test-time offset optimizer, for any backend: it asks for pixels of views and their slopes.

    A grid over the whole plausible range finds the right valley, damped Gauss-Newton its bottom. Where synchronisation
    has determined the camera's offset together with the others', it is sought around that alone, and both are combined
    by their errors; not so where the fit may see a part of the images only, since synchronisation saw all of them.
    Sync-NeRF's Adam (section 4.3 of the paper) is there for comparison.

    Args:
        synced: clock and field, schedules already at the step to evaluate.
        scene: cameras and frames.
        config: method, range, pixels, steps.
        seed: choice of the pixel subset.
    """

    def __init__(self, synced: SyncedBackend, scene: Scene, config: HeldOutConfig, seed: int = 0):
        self.synced, self.scene, self.config = synced, scene, config
        self.search = ClockSearch(synced, scene, config, seed)

    def fit(self, camera: int, mask: Bool[Tensor, "height width"]) -> OffsetFit:
        """Fit one camera's offset, and its rate where rates are learned, and store them in the clock.

        Args:
            camera: global index of a camera that was not trained.
            mask: pixels that the fit may see, bool, shape [height, width].

        Returns:
            The fit; the clock's entry for ``camera``, and its colours where they are learned, are all that changed:
            every other number, ``requires_grad`` and the train/eval modes are as before, also after an exception.
        """
        pixels = self.search.pixels_of(camera, mask)
        with frozen(self.synced):
            self.synced.colours.forget(camera)
            if self.config.test_method == "adam":
                fit = self._adam(camera, pixels)
            else:
                clock = self.synced.clock
                known = clock.prior.offset_of(camera, clock.reference) if bool(mask.all()) else None
                fit = self._grid_then_gauss_newton(camera, pixels, known)
            self.synced.clock.set_camera(camera, fit.seconds, fit.rate)
            if self.synced.colours.learned:
                alike = self.search.pixels_of(camera, mask, changing_only=False)
                self.search.fit_colours(alike, (1.0 + fit.rate) * alike.times + fit.seconds)
        if not fit.reason:
            logger.info(
                "%s: offset %.5f s +- %.5f after %d steps", self.scene.names[camera], fit.seconds, fit.stderr, fit.steps
            )
        return fit

    # -- the methods ---------------------------------------------------------------------------------------------

    def _grid_then_gauss_newton(self, index: int, pixels: CameraPixels, known: tuple[float, float] | None) -> OffsetFit:
        camera, found = self.scene.cameras[index], self.search.look(pixels, *self._searched(index, known))
        if found.reason:
            return self._undetermined(index, known, found.grid, found.errors, found.reason)
        fit = found.fit if known is None else combined(found.fit, *known, camera.name)
        return OffsetFit.of(index, fit, camera.frame_times, found.grid, found.errors)

    def _searched(self, index: int, known: tuple[float, float] | None) -> tuple[float, float, float]:
        """Where a camera's offset is sought: a candidate, the first offset and the last, seconds."""
        camera = self.scene.cameras[index]
        reach = self.config.test_range or camera.duration / 2
        if known is not None:
            middle, error = known
            reach = min(reach, max(KNOWN_ERRORS * error, KNOWN_FRAMES / camera.fps))
            return middle, middle - reach, middle + reach
        prior, start = self.synced.clock.prior, 0.0
        # A start without errors, as of a file, may lie further away than half the video.
        if not self.config.test_range and prior.offset_of(index, self.synced.clock.reference) is None:
            start = float(prior.values[index, 0])
        return 0.0, min(0.0, start) - reach, max(0.0, start) + reach

    def _undetermined(
        self, index: int, known: tuple[float, float] | None, grid: Tensor, errors: Tensor, reason: str
    ) -> OffsetFit:
        """What was known of the camera beforehand, where its colours tell nothing; else no offset but the reason."""
        name = self.scene.names[index]
        if known is None:
            logger.warning("%s: its offset is undetermined: %s", name, reason)
            return OffsetFit(index, 0.0, math.inf, 0.0, 0.0, grid, errors, 0, reason)
        logger.warning("%s: its colours tell nothing of its offset (%s); that of its motion is kept", name, reason)
        return OffsetFit(index, *known, 0.0, 0.0, grid, errors, 0)

    def _adam(self, index: int, pixels: CameraPixels) -> OffsetFit:
        """Adam on the mean squared error from offset 0, as the paper does it."""
        unknowns = self.search.unknowns(0.0).requires_grad_()
        optimizer = torch.optim.Adam([unknowns], lr=self.config.test_adam_lr * self.scene.cameras[index].duration)
        coarse = pixels.fewer(self.config.test_pixels)
        for _ in tqdm(range(self.config.test_adam_steps), desc="fitting offset (Adam)", leave=False):
            values, slopes = photometric_residuals(self.synced, coarse, unknowns.detach())
            unknowns.grad = 2 * coarse.basis.flatten(0, 1).T @ (values * slopes).sum(dim=-1) / values.numel()
            optimizer.step()
        unknowns = unknowns.detach()
        covariance = clustered_covariance(
            *photometric_residuals(self.synced, pixels, unknowns),
            pixels.basis.flatten(0, 1),
            *pixels.groupings(),
        )
        nothing = torch.empty(0, dtype=torch.float64)
        fit = self.search.widened(ClockFit(unknowns, covariance, self.config.test_adam_steps))
        if reason := self.search.unexplained(fit, pixels):
            return self._undetermined(index, None, nothing, nothing, reason)
        return OffsetFit.of(index, fit, self.scene.cameras[index].frame_times, nothing, nothing)
