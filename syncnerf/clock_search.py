"""The search for a camera's clock in a field that is held as it is: over a grid, then by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.camera_colours import fit_colours
from syncnerf.camera_pixels import CameraPixels, choose_pixels
from syncnerf.config import HeldOutConfig
from syncnerf.known_clocks import known_clock_error
from syncnerf.offset_fit import CONTRADICTION, OffsetFit
from syncnerf.photometry import ClockFit, explains, gauss_newton
from syncnerf.photometry import residuals as photometric_residuals
from syncnerf.pixels import render_pixels
from syncnerf.scene.scene import Scene
from syncnerf.seen import seen_span
from syncnerf.synced import SyncedBackend

LEAST_SHARE = 0.4
"""A candidate offset must leave this share of the frames inside the time that the training cameras saw."""
FINE_FACTOR = 4
"""The Gauss-Newton steps look at this many times the pixels of the grid."""
RIVAL_FRAMES, LEAST_LEAD = 2.0, 3.0
"""Frames from the fit on which another offset is a rival, and standard errors by which it must explain less."""
CLEARLY_WORSE = 3.0
"""A candidate whose squared error is so many times the best one's is no rival, wherever its valley's bottom lies."""


@dataclass(frozen=True)
class Valley:
    """What a search found.

    Attributes:
        grid: candidates in seconds, float64, shape [G].
        errors: their mean squared photometric errors, float64, shape [G]; NaN where too few frames fall into the seen
            time.
        fit: the clock at the bottom of the deepest valley; None where no candidate could be judged.
        reason: why it should not be believed; empty if it may be.
    """

    grid: Float64[Tensor, " G"]
    errors: Float64[Tensor, " G"]
    fit: ClockFit | None
    reason: str = ""


class ClockSearch:
    """Seeks the offset, and the rate where rates are learned, at which a camera's frames look as the field shows them.

    For any backend: it asks for pixels of views and their slopes. The field must be frozen meanwhile.

    Args:
        synced: clock and field.
        scene: cameras and frames.
        config: pixels, steps.
        seed: choice of the pixels.
        knowing: global indices of the training cameras whose times the field knows; all of them by default.
    """

    def __init__(
        self,
        synced: SyncedBackend,
        scene: Scene,
        config: HeldOutConfig,
        seed: int = 0,
        knowing: Sequence[int] | None = None,
    ):
        self.synced, self.scene, self.config = synced, scene, config
        self.device, self.seed = synced.device, seed
        self.knowing = scene.train if knowing is None else knowing
        self.fits_rate = synced.clock.config.offset_rates == "learn"
        self.first_seen, self.last_seen = seen_span(synced.clock, scene, self.knowing)

    def pixels_of(self, camera: int, mask: Bool[Tensor, "height width"], changing_only: bool = True) -> CameraPixels:
        """The pixels of a camera (global index) that are looked at, of those in a mask; on the device.

        Their times are those of a clock that runs at the rate known of it beforehand: fits tell what it runs besides.
        """
        row_time = self.synced.clock.row_times[camera].item()
        count, unknowns = self.config.test_pixels * FINE_FACTOR, ("shift", "rate")[: 1 + self.fits_rate]
        pixels = choose_pixels(self.scene, camera, row_time, mask, count, self.seed, unknowns, changing_only)
        times = self.scene.cameras[camera].frame_times
        along = (pixels.times - (times[0] + times[-1]) / 2) / ((times[-1] - times[0]) / 2).clamp_min(1e-9)
        return replace(pixels, times=pixels.times + self.known_skew(camera) * along).to(self.device)

    def known_skew(self, camera: int) -> float:
        """What a camera's known rate adds to its shift at its video's end, seconds; 0 if none is known."""
        return float(self.synced.clock.prior.values[camera, 1])

    def fit_of(
        self, camera: int, fit: ClockFit, grid: Float64[Tensor, " G"], errors: Float64[Tensor, " G"]
    ) -> OffsetFit:
        """A camera's offset and rate.

        Args:
            camera: global index.
            fit: what was found of its :meth:`pixels_of`.
            grid: candidates of the search in seconds, float64, shape [G].
            errors: their mean squared errors, float64, shape [G].
        """
        times = self.scene.cameras[camera].frame_times
        return OffsetFit.of(camera, fit, times, grid, errors, self.known_skew(camera))

    def look(self, pixels: CameraPixels, middle: float, first: float, last: float) -> Valley:
        """Look for the deepest valley, and go to its bottom.

        The colours of a camera that is not trained are fitted on the way.

        Args:
            pixels: of one camera.
            middle: a candidate offset, seconds; the others lie whole frames from it.
            first: the least candidate.
            last: the greatest.
        """
        spacing = 1.0 / self.scene.cameras[pixels.camera].fps
        # 0.6 s are 6 frames of 0.1 s, whatever floats say.
        before, after = (int((end - middle) / spacing + math.copysign(1e-6, end - middle)) for end in (first, last))
        grid = middle + torch.arange(before, after + 1, dtype=torch.float64) * spacing
        coarse = pixels.fewer(self.config.test_pixels)
        blocks = tqdm(grid.split(self.synced.backend.times_at_once), desc="searching offset", leave=False)
        errors = torch.cat([self.errors(coarse, block) for block in blocks])
        if errors.isnan().all():
            reason = f"no candidate leaves {LEAST_SHARE:.0%} of its frames in the time that the training cameras saw"
            return Valley(grid, errors, None, reason)
        start = self.unknowns(grid[errors.nan_to_num(torch.inf).argmin()].item())
        seen = pixels[self._seen(pixels.moments(start))]
        if self.synced.colours.learned and not self.synced.clock.is_trained[pixels.camera]:
            self.fit_colours(seen, seen.moments(start))
        fit = self.widened(gauss_newton(self.synced, seen, start, spacing, self.config.test_steps))
        reason = self._why_undetermined(fit, seen, (first, last)) or self._rival(fit, pixels, grid, errors)
        return Valley(grid, errors, fit, reason)

    def unknowns(self, offset: float) -> Float64[Tensor, " P"]:
        """The unknowns of a clock with a shift in seconds and the rate that is known, float64, shape [1] or [2]."""
        unknowns = torch.zeros(1 + self.fits_rate, dtype=torch.float64, device=self.device)
        unknowns[0] = offset
        return unknowns

    def fit_colours(self, pixels: CameraPixels, moments: Float64[Tensor, " F"]) -> None:
        """Give the pixels' camera the colours that suit its frames' scene times [F] best, by linear least squares."""
        seen = self._seen(moments)
        pixels, moments = pixels[seen], moments[seen]
        rendered = self._rendered(pixels, moments).reshape(-1, 3)
        self.synced.colours.set_camera(pixels.camera, *fit_colours(rendered, pixels.rgb.reshape(-1, 3)))

    def _rendered(self, pixels: CameraPixels, moments: Tensor) -> Tensor:
        """The scene's own colours of pixels [F, K] at scene times [F] or [F, G], shape [F, K, 3] or [F, K, G, 3]."""
        question = self.synced.at_scene_time(pixels.views, moments, readout=pixels.row_time)
        return render_pixels(self.synced.backend, question, pixels.places).rgb

    def errors(self, pixels: CameraPixels, offsets: Float64[Tensor, " G"]) -> Float64[Tensor, " G"]:
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

    def _why_undetermined(self, fit: ClockFit, pixels: CameraPixels, limits: tuple[float, float]) -> str:
        """Why a fit should not be believed; empty if it may be. Its own error counts where it ends at a limit."""
        if reason := self.unexplained(fit, pixels):
            return reason
        room = min(LEAST_LEAD * float(fit.covariance[0, 0].sqrt()), 0.5 * self.scene.frame_interval)
        if not limits[0] - room <= float(fit.unknowns[0]) <= limits[1] + room:
            return "the best offset lies beyond what was searched; raise --test-range"
        return ""

    @cached_property
    def _known_clock_error(self) -> float:
        """Seconds by which the field errs about clocks that it was trained with."""
        count = self.config.test_pixels * FINE_FACTOR
        return known_clock_error(self.synced, self.scene, self.knowing, count, self.seed)

    def widened(self, fit: ClockFit) -> ClockFit:
        """The fit with what the field has wrong of all clocks in its error too."""
        covariance = fit.covariance.clone()
        covariance[0, 0] += self._known_clock_error**2
        return replace(fit, covariance=covariance)

    def unexplained(self, fit: ClockFit, pixels: CameraPixels) -> str:
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
        start = self.unknowns(float(grid[best]))
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
