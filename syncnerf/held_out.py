"""Fitting the clock of a camera that was not trained, everything else frozen."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor
from tqdm import tqdm

from syncnerf.camera_colours import fit_colours
from syncnerf.camera_pixels import CameraPixels, choose_pixels
from syncnerf.config import HeldOutConfig
from syncnerf.known_clocks import known_clock_error
from syncnerf.modes import frozen
from syncnerf.offset_fit import CONTRADICTION, OffsetFit, combined
from syncnerf.photometry import ClockFit, clustered_covariance, explains, gauss_newton
from syncnerf.photometry import residuals as photometric_residuals
from syncnerf.pixels import render_pixels
from syncnerf.scene.scene import Scene
from syncnerf.seen import seen_span
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.4
"""A candidate offset must leave this share of the frames inside the time that the training cameras saw."""
FINE_FACTOR = 4
"""The Gauss-Newton steps look at this many times the pixels of the grid."""
KNOWN_ERRORS, KNOWN_FRAMES = 5.0, 2.0
"""Where an offset was known beforehand it is sought within so many of its standard errors, and frames at least."""
RIVAL_FRAMES, LEAST_LEAD = 2.0, 3.0
"""Frames from the fit on which another offset is a rival, and standard errors by which it must explain less."""
CLEARLY_WORSE = 3.0
"""A candidate whose squared error is so many times the best one's is no rival, wherever its valley's bottom lies."""


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
        self.device, self.seed = synced.device, seed
        self.fits_rate = synced.clock.config.offset_rates == "learn"
        self.first_seen, self.last_seen = seen_span(synced.clock, scene)

    def fit(self, camera: int, mask: Bool[Tensor, "height width"]) -> OffsetFit:
        """Fit one camera's offset, and its rate where rates are learned, and store them in the clock.

        Args:
            camera: global index of a camera that was not trained.
            mask: pixels that the fit may see, bool, shape [height, width].

        Returns:
            The fit; the clock's entry for ``camera``, and its colours where they are learned, are all that changed:
            every other number, ``requires_grad`` and the train/eval modes are as before, also after an exception.
        """
        row_time = float(self.synced.clock.row_times[camera])
        count, unknowns = self.config.test_pixels * FINE_FACTOR, ("shift", "rate")[: 1 + self.fits_rate]
        pixels = choose_pixels(self.scene, camera, row_time, mask, count, self.seed, unknowns).to(self.device)
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
                alike = choose_pixels(
                    self.scene, camera, row_time, mask, count, self.seed, unknowns, changing_only=False
                ).to(self.device)
                self._fit_colours(alike, (1.0 + fit.rate) * alike.times + fit.seconds)
        logger.info(
            "%s: offset %.5f s +- %.5f after %d steps", self.scene.names[camera], fit.seconds, fit.stderr, fit.steps
        )
        return fit

    def _fit_colours(self, pixels: CameraPixels, moments: Tensor) -> None:
        """Give the pixels' camera the colours that suit its frames' scene times [F] best, by linear least squares."""
        seen = self._seen(moments)
        pixels, moments = pixels[seen], moments[seen]
        rendered = self._rendered(pixels, moments).reshape(-1, 3)
        self.synced.colours.set_camera(pixels.camera, *fit_colours(rendered, pixels.rgb.reshape(-1, 3)))

    def _rendered(self, pixels: CameraPixels, moments: Tensor) -> Tensor:
        """The scene's own colours of pixels [F, K] at scene times [F] or [F, G], shape [F, K, 3] or [F, K, G, 3]."""
        question = self.synced.at_scene_time(pixels.views, moments, readout=pixels.row_time)
        return render_pixels(self.synced.backend, question, pixels.places).rgb

    def _errors(self, pixels: CameraPixels, offsets: Tensor) -> Tensor:
        """Mean squared errors at candidate offsets [G], over the frames that each leaves in the seen time, shape [G].

        NaN where it leaves too few of them. Where colours are learned, a candidate is judged with those that suit it.
        """
        moments = pixels.times[:, None] + offsets.to(self.device)
        seen = self._seen(moments)
        seen &= seen.double().mean(dim=0) >= LEAST_SHARE
        errors = torch.full(offsets.shape, torch.nan, dtype=torch.float64)
        asked = seen.any(dim=1)
        if not asked.any():
            return errors
        rendered, rgb = self._rendered(pixels[asked], moments[asked]), pixels.rgb[asked]
        for candidate in seen.any(dim=0).nonzero()[:, 0].tolist():
            own = seen[asked, candidate]
            shown, truth = (part.reshape(-1, 3).double() for part in (rendered[own, :, candidate], rgb[own]))
            if self.synced.colours.learned:
                gain, bias = fit_colours(shown, truth)
                shown = shown * gain + bias
            errors[candidate] = (shown - truth).square().mean().cpu()
        return errors

    def _seen(self, times: Tensor) -> Tensor:
        """Which corrected times lie in what the training cameras saw, bool, same shape."""
        return (times >= self.first_seen) & (times <= self.last_seen)

    # -- the methods ---------------------------------------------------------------------------------------------

    def _grid_then_gauss_newton(self, index: int, pixels: CameraPixels, known: tuple[float, float] | None) -> OffsetFit:
        camera = self.scene.cameras[index]
        spacing, (middle, first, last) = 1.0 / camera.fps, self._searched(index, known)
        # 0.6 s are 6 frames of 0.1 s, whatever floats say.
        before, after = (int((end - middle) / spacing + math.copysign(1e-6, end - middle)) for end in (first, last))
        grid = middle + torch.arange(before, after + 1, dtype=torch.float64) * spacing
        coarse = pixels.fewer(self.config.test_pixels)
        blocks = tqdm(grid.split(self.synced.backend.times_at_once), desc="searching offset", leave=False)
        errors = torch.cat([self._errors(coarse, block) for block in blocks])
        if errors.isnan().all():
            reason = f"no candidate leaves {LEAST_SHARE:.0%} of its frames in the time that the training cameras saw"
            return self._undetermined(index, known, grid, errors, reason)
        start = self._unknowns(grid[errors.nan_to_num(torch.inf).argmin()].item())
        seen = pixels[self._seen(pixels.moments(start))]
        if self.synced.colours.learned:
            self._fit_colours(seen, seen.moments(start))
        fit = self._widened(gauss_newton(self.synced, seen, start, spacing, self.config.test_steps))
        reason = self._why_undetermined(fit, seen, (first, last)) or self._rival(fit, pixels, grid, errors)
        if reason:
            return self._undetermined(index, known, grid, errors, reason)
        if known is not None:
            fit = combined(fit, *known, camera.name)
        return OffsetFit.of(index, fit, camera.frame_times, grid, errors)

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

    def _why_undetermined(self, fit: ClockFit, pixels: CameraPixels, limits: tuple[float, float]) -> str:
        """Why a fit should not be believed; empty if it may be. Its own error counts where it ends at a limit."""
        if reason := self._unexplained(fit, pixels):
            return reason
        room = min(LEAST_LEAD * float(fit.covariance[0, 0].sqrt()), 0.5 * self.scene.frame_interval)
        if not limits[0] - room <= float(fit.unknowns[0]) <= limits[1] + room:
            return "the best offset lies beyond what was searched; raise --test-range"
        return ""

    @cached_property
    def _known_clock_error(self) -> float:
        """Seconds by which the field errs about clocks that it was trained with."""
        return known_clock_error(self.synced, self.scene, self.config.test_pixels * FINE_FACTOR, self.seed)

    def _widened(self, fit: ClockFit) -> ClockFit:
        """The fit with what the field has wrong of all clocks in its error too."""
        covariance = fit.covariance.clone()
        covariance[0, 0] += self._known_clock_error**2
        return replace(fit, covariance=covariance)

    def _unexplained(self, fit: ClockFit, pixels: CameraPixels) -> str:
        """That the field shows nothing of what changes; empty if it does."""
        if explains(self.synced, pixels, fit.unknowns):
            return ""
        return "the field shows what changes there hardly better than a still picture does; train longer"

    def _rival(self, fit: ClockFit, pixels: CameraPixels, grid: Tensor, errors: Tensor) -> str:
        """Another offset of the search that explains the colours about as well; empty if none does.

        It is refined as the fit was, and compared frame by frame over those that both place in the seen time: the fit's
        lead must be sure.
        """
        found, spacing = float(fit.unknowns[0]), float(grid[1] - grid[0]) if len(grid) > 1 else 0.0
        apart = max(RIVAL_FRAMES * spacing, CONTRADICTION * float(fit.covariance[0, 0].sqrt()))
        elsewhere = errors.masked_fill((grid - found).abs() <= apart, torch.nan)
        best = int(elsewhere.nan_to_num(torch.inf).argmin())
        if not float(elsewhere[best]) <= CLEARLY_WORSE * float(errors.nan_to_num(torch.inf).min()):
            return ""
        start = self._unknowns(float(grid[best]))
        start_seen = pixels[self._seen(pixels.moments(start))]
        other = gauss_newton(self.synced, start_seen, start, spacing, self.config.test_steps).unknowns
        if abs(float(other[0]) - found) <= apart:
            return ""
        both = self._seen(pixels.moments(fit.unknowns)) & self._seen(pixels.moments(other))
        shared = pixels[both]
        squares = [
            photometric_residuals(self.synced, shared, unknowns, slopes=False)[0].square().reshape(int(both.sum()), -1)
            for unknowns in (fit.unknowns, other)
        ]
        lead = (squares[1] - squares[0]).sum(dim=1)
        if len(lead) > 1 and float(lead.mean()) > LEAST_LEAD * float(lead.std()) / len(lead) ** 0.5:
            return ""
        return (
            f"{float(other[0]):+.3f} s explains its colours about as well as {found:+.3f} s; train longer, or give a "
            "--test-range that holds one of them"
        )

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

    def _unknowns(self, offset: float) -> Tensor:
        unknowns = torch.zeros(1 + self.fits_rate, dtype=torch.float64, device=self.device)
        unknowns[0] = offset
        return unknowns

    def _adam(self, index: int, pixels: CameraPixels) -> OffsetFit:
        """Adam on the mean squared error from offset 0, as the paper does it."""
        unknowns = self._unknowns(0.0).requires_grad_()
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
        fit = self._widened(ClockFit(unknowns, covariance, self.config.test_adam_steps))
        if reason := self._unexplained(fit, pixels):
            return self._undetermined(index, None, nothing, nothing, reason)
        return OffsetFit.of(index, fit, self.scene.cameras[index].frame_times, nothing, nothing)
