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
"""An offset that was known beforehand is searched for within so many standard errors of it, and so many frames."""


class HeldOutOptimizer:
    """Finds when a test camera started: by the offset at which the field renders its pictures best.

    A grid over the whole plausible range finds the neighbourhood of the best offset, and damped Gauss-Newton refines
    it. The derivative of colours by time, which that needs, comes from the backend, whichever it is. Where
    synchronisation has already determined the camera's offset, only the surroundings of that are searched, and both
    results are combined by their errors. An evaluation that shows the fit only a part of each picture must not do so,
    since synchronisation has seen all of it. Sync-NeRF's Adam (section 4.3 of the paper) is there for comparison.

    Args:
        synced: clock and field, schedules already at the step to evaluate.
        scene: cameras and frames.
        config: method, range, pixels, steps.
        seed: of the random choice of pixels.
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
            The fit. Only the clock's entry for ``camera``, and its colour correction if colours are learned, have
            changed: all other numbers, ``requires_grad`` and the train/eval modes are as before, also after an
            exception.
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
                own_times = self.scene.cameras[camera].frame_times.to(alike.times)[alike.frames]
                self.search.fit_colours(alike, (1.0 + fit.rate) * own_times + fit.seconds)
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
        return self.search.fit_of(index, fit, found.grid, found.errors)

    def _searched(self, index: int, known: tuple[float, float] | None) -> tuple[float, float, float]:
        """Where to search for a camera's offset: a first guess, the least and the largest offset, in seconds."""
        camera = self.scene.cameras[index]
        reach = self.config.test_range or camera.duration / 2
        if known is not None:
            middle, error = known
            reach = min(reach, max(KNOWN_ERRORS * error, KNOWN_FRAMES / camera.fps))
            return middle, middle - reach, middle + reach
        prior, start = self.synced.clock.prior, 0.0
        # An offset from a file without errors may lie further away than half the video.
        if not self.config.test_range and prior.offset_of(index, self.synced.clock.reference) is None:
            start = float(prior.values[index, 0])
        return 0.0, min(0.0, start) - reach, max(0.0, start) + reach

    def _undetermined(
        self, index: int, known: tuple[float, float] | None, grid: Tensor, errors: Tensor, reason: str
    ) -> OffsetFit:
        """The fit of a camera whose colours tell nothing: what was known before, else no offset and the reason."""
        name = self.scene.names[index]
        if known is None:
            logger.warning("%s: its offset is undetermined: %s", name, reason)
            return OffsetFit(index, 0.0, math.inf, 0.0, 0.0, grid, errors, 0, reason)
        logger.warning("%s: its colours tell nothing of its offset (%s); that of its motion is kept", name, reason)
        shift, error = torch.tensor(known, dtype=torch.float64)
        return self.search.fit_of(index, ClockFit(shift[None], error.square()[None, None], 0), grid, errors)

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
        return self.search.fit_of(index, fit, nothing, nothing)
