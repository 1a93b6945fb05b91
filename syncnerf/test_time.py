"""Fitting the offset of a camera that was not trained: one number, everything else frozen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from syncnerf.config import TestTimeConfig
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.camera import intrinsics_table, pixel_rays
from syncnerf.scene.rays import Rays
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.4
"""A candidate offset must leave this share of the pixels inside the time that the training cameras saw."""
FINE_FACTOR = 4
"""The Gauss-Newton steps look at this many times the pixels of the grid."""


@dataclass(frozen=True)
class OffsetFit:
    """A fitted offset.

    Attributes:
        camera: global index.
        seconds: the offset.
        stderr: its standard error in seconds.
        grid: candidates of the coarse search in seconds, shape [G].
        errors: their mean squared photometric errors, shape [G]; NaN where too few pixels fall into the seen time.
        steps: refinement steps taken.
    """

    camera: int
    seconds: float
    stderr: float
    grid: Tensor
    errors: Tensor
    steps: int


@dataclass(frozen=True)
class _Pixels:
    """The fixed pixel subset that a fit looks at: rays, times on the camera's own clock, colours, frame numbers."""

    rays: Rays
    times: Tensor
    rgb: Tensor
    frames: Tensor

    def __getitem__(self, index: slice | Tensor) -> _Pixels:
        return _Pixels(self.rays[index], self.times[index], self.rgb[index], self.frames[index])


class TestTimeOffsets:
    """The test-time offset optimizer, for any backend whose gradients reach the times.

    A grid over the whole plausible range finds the right valley, damped Gauss-Newton its bottom: the residuals'
    derivatives by time come from one backward pass per colour channel, since a ray's colour depends on its own time
    alone. Sync-NeRF's Adam (section 4.3 of the paper) is there for comparison.

    Args:
        synced: offsets and field, schedules already at the step to evaluate.
        scene: cameras and frames.
        config: method, range, pixels, steps.
        device: where rays are rendered.
        chunk: rays rendered at once.
        seed: choice of the pixel subset.
        times_at_once: candidate offsets that the backend answers in one call; more than one suits a ``time_series``
            backend.
    """

    __test__ = False  # pytest: not a test, whatever its name begins with

    def __init__(
        self,
        synced: SyncedBackend,
        scene: Scene,
        config: TestTimeConfig,
        device: torch.device | str = "cpu",
        chunk: int = 4096,
        seed: int = 0,
        times_at_once: int = 1,
    ):
        self.synced, self.scene, self.config = synced, scene, config
        self.device, self.chunk, self.seed = torch.device(device), chunk, seed
        self.times_at_once = times_at_once
        offsets = synced.offsets.values().detach().cpu()
        self.first_seen = min(offsets[i].item() for i in scene.train)
        self.last_seen = max(offsets[i].item() + scene.cameras[i].duration for i in scene.train)

    def fit(self, camera: int, mask: Tensor) -> OffsetFit:
        """Fit one camera's offset and store it in the shared embedding.

        Args:
            camera: global index of a camera that was not trained.
            mask: pixels that the fit may see, bool, shape [height, width].

        Returns:
            The fit; the embedding's entry for ``camera`` is all that changed: every other number, ``requires_grad`` and
            the train/eval modes are as before, also after an exception.
        """
        pixels = self._choose_pixels(camera, mask)
        with _frozen(self.synced):
            if self.config.test_method == "adam":
                fit = self._adam(camera, pixels)
            else:
                fit = self._grid_then_gauss_newton(camera, pixels)
        self.synced.offsets.set_camera(camera, fit.seconds)
        logger.info(
            "%s: offset %.5f s +- %.5f after %d steps", self.scene.names[camera], fit.seconds, fit.stderr, fit.steps
        )
        return fit

    # -- the pixels ----------------------------------------------------------------------------------------------

    def _choose_pixels(self, index: int, mask: Tensor) -> _Pixels:
        """Changing pixels first, at random frames; padded with any allowed ones where too few change."""
        camera, frames = self.scene.cameras[index], self.scene.frames(index)
        generator = torch.Generator().manual_seed(self.seed)
        count = self.config.test_pixels * FINE_FACTOR
        deviation = torch.from_numpy(pixel_statistics(self.scene, index).deviation).reshape(-1)
        allowed = mask.reshape(-1).nonzero()[:, 0]
        changing = allowed[deviation[allowed] > 0.5 * deviation[allowed].quantile(0.98).item()]
        if len(changing) * camera.frame_count < count:
            changing = allowed
        pixel = changing[torch.randint(len(changing), (count,), generator=generator)]
        frame = torch.randint(camera.frame_count, (count,), generator=generator)
        row, column = pixel // mask.shape[1], pixel % mask.shape[1]
        rgb = torch.from_numpy(frames[frame.numpy(), row.numpy(), column.numpy()]).float() / 255.0
        poses = camera.camera_to_world[frame] if camera.is_moving else camera.camera_to_world.expand(count, 4, 4)
        rays = pixel_rays(
            intrinsics_table([camera]), poses, torch.zeros_like(pixel), pixel, self.scene.near, self.scene.far
        )
        return _Pixels(
            rays.to(self.device), camera.frame_times[frame].to(self.device), rgb.to(self.device), frame.to(self.device)
        )

    def _residuals(self, pixels: _Pixels, offset: float) -> tuple[Tensor, Tensor]:
        """Rendered minus true colours [N, 3], and their derivatives by the offset [N, 3] per second."""
        residuals, derivatives = [], []
        for part in torch.arange(len(pixels.rays), device=self.device).split(self.chunk):
            times = (pixels.times[part] + offset).requires_grad_()
            rgb = self.synced.render_moments(pixels.rays[part], times).rgb
            residuals.append((rgb - pixels.rgb[part]).detach().double())
            channels = [torch.autograd.grad(rgb[:, c].sum(), times, retain_graph=c < 2)[0] for c in range(3)]
            derivatives.append(torch.stack(channels, dim=-1).double())
        return torch.cat(residuals), torch.cat(derivatives)

    @torch.no_grad()
    def _errors(self, pixels: _Pixels, offsets: Tensor) -> Tensor:
        """Mean squared errors at candidate offsets [G], over the pixels that each leaves in the seen time, shape [G].

        NaN where it leaves too few of them.
        """
        times = pixels.times[:, None] + offsets.to(self.device)
        seen = self._seen(times)
        judged = seen.float().mean(dim=0) >= LEAST_SHARE
        totals = torch.zeros(len(offsets), dtype=torch.float64, device=self.device)
        for part in (seen & judged).any(dim=1).nonzero()[:, 0].split(max(1, self.chunk // len(offsets))):
            asked = times[part] if self.times_at_once > 1 else times[part, 0]
            rgb = self.synced.render_moments(pixels.rays[part], asked).rgb.reshape(*times[part].shape, 3)
            squares = (rgb - pixels.rgb[part, None]).double().square().mean(dim=-1)
            totals += (squares * seen[part]).sum(dim=0)
        return torch.where(judged, totals / seen.sum(dim=0), torch.nan).cpu()

    def _seen(self, times: Tensor) -> Tensor:
        """Which corrected times lie in what the training cameras saw, bool, same shape."""
        return (times >= self.first_seen) & (times <= self.last_seen)

    # -- the methods ---------------------------------------------------------------------------------------------

    def _grid_then_gauss_newton(self, index: int, pixels: _Pixels) -> OffsetFit:
        camera = self.scene.cameras[index]
        reach = self.config.test_range or camera.duration / 2
        spacing = 1.0 / camera.fps
        count = int(reach / spacing + 1e-6)  # 0.6 s are 6 frames of 0.1 s, whatever floats say
        grid = torch.arange(-count, count + 1, dtype=torch.float64) * spacing
        coarse = pixels[: self.config.test_pixels]
        blocks = tqdm(grid.split(self.times_at_once), desc="searching offset", leave=False)
        errors = torch.cat([self._errors(coarse, block) for block in blocks])
        start = grid[errors.nan_to_num(torch.inf).argmin()].item()
        offset, stderr, steps = self._gauss_newton(pixels[self._seen(pixels.times + start)], start, spacing)
        return OffsetFit(index, offset, stderr, grid, errors, steps)

    def _gauss_newton(self, pixels: _Pixels, offset: float, spacing: float) -> tuple[float, float, int]:
        """Damped Gauss-Newton from a start within a frame of the valley's bottom; returns offset, error, steps."""
        damping = 0.0
        residuals, slopes = self._residuals(pixels, offset)
        steps = 0
        while steps < self.config.test_steps:
            steps += 1
            curvature = slopes.square().sum().item()
            step = -(slopes * residuals).sum().item() / (curvature * (1.0 + damping) + 1e-30)
            step = max(-spacing, min(spacing, step))
            trial = offset + step
            new_residuals, new_slopes = self._residuals(pixels, trial)
            if new_residuals.square().sum() <= residuals.square().sum():
                offset, residuals, slopes, damping = trial, new_residuals, new_slopes, 0.1 * damping
            else:
                damping = max(1.0, 4.0 * damping)
            if abs(step) < 1e-4 * spacing:
                break
        return offset, standard_error(residuals, slopes, pixels.frames), steps

    def _adam(self, index: int, pixels: _Pixels) -> OffsetFit:
        """Adam on the mean squared error from offset 0, as the paper does it."""
        offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([offset], lr=self.config.test_adam_lr * self.scene.cameras[index].duration)
        coarse = pixels[: self.config.test_pixels]
        for _ in tqdm(range(self.config.test_adam_steps), desc="fitting offset (Adam)", leave=False):
            residuals, slopes = self._residuals(coarse, offset.item())
            offset.grad = (2 * residuals * slopes).mean().cpu()
            optimizer.step()
        residuals, slopes = self._residuals(pixels, offset.item())
        stderr = standard_error(residuals, slopes, pixels.frames)
        nothing = torch.empty(0, dtype=torch.float64)
        return OffsetFit(index, offset.item(), stderr, nothing, nothing, self.config.test_adam_steps)


def standard_error(residuals: Tensor, slopes: Tensor, groups: Tensor) -> float:
    """Standard error of the least-squares offset, in the unit of time of the slopes.

    The curvature alone, ``sigma^2 / sum(slope^2)``, takes every pixel for independent; a field's errors are shared by
    neighbouring pixels of a frame. So the larger of that and the cluster-robust (sandwich) estimate is taken.

    Args:
        residuals: shape [N, 3].
        slopes: derivatives of the residuals by the offset, shape [N, 3].
        groups: frame of each pixel, int64, shape [N].
    """
    curvature = slopes.square().sum()
    if curvature == 0:
        return float("inf")
    variance = residuals.square().mean() / curvature
    scores = (residuals * slopes).sum(dim=-1)
    by_group = torch.zeros(int(groups.max()) + 1, dtype=scores.dtype, device=scores.device).index_add(0, groups, scores)
    return torch.maximum(variance, by_group.square().sum() / curvature.square()).sqrt().item()


@contextmanager
def _frozen(synced: SyncedBackend) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside; everything as before outside."""
    modes = [(module, module.training) for module in synced.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in synced.parameters()]
    try:
        synced.eval()
        for parameter, _ in gradients:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, required in gradients:
            parameter.requires_grad_(required)
