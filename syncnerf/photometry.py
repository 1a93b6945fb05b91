"""What a field says of one camera's clock: least squares of colours by its offset, and its rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.camera import intrinsics_table, pixel_rays, pixel_rows
from syncnerf.scene.rays import Rays
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

CHUNK = 4096
"""Rays rendered at once."""
UNKNOWNS = ("shift", "rate", "readout")
"""A camera's shift at the middle of its video; the share of it that its rate has made at the ends; its readout time."""
MOST_STEP = 1.0
"""Frames by which a Gauss-Newton step moves a frame's moment at most."""
CONVERGED = 1e-4
"""A step of fewer frames ends the fit."""


@dataclass(frozen=True)
class CameraPixels:
    """Some of a camera's pixels at some of its frames.

    Attributes:
        camera: global index.
        rays: N rays.
        times: when each was exposed on the camera's own clock, its row counted, seconds, float64, shape [N].
        basis: derivatives of the corrected times by the clock's unknowns (of :data:`UNKNOWNS`) that were asked for,
            float64, shape [N, P].
        rgb: true colours, float32, shape [N, 3].
        still: the pixels' mean colours over the video, float32, shape [N, 3].
        frames: frame numbers, int64, shape [N].
    """

    camera: int
    rays: Rays
    times: Tensor
    basis: Tensor
    rgb: Tensor
    still: Tensor
    frames: Tensor

    def __getitem__(self, index: slice | Tensor) -> CameraPixels:
        parts = (self.times, self.basis, self.rgb, self.still, self.frames)
        return CameraPixels(self.camera, self.rays[index], *(part[index] for part in parts))

    def to(self, device: torch.device | str) -> CameraPixels:
        """The same pixels on another device."""
        parts = (self.times, self.basis, self.rgb, self.still, self.frames)
        return CameraPixels(self.camera, self.rays.to(device), *(part.to(device) for part in parts))

    def moments(self, unknowns: Tensor) -> Tensor:
        """Scene times in seconds at which the pixels were exposed, float64, shape [N], for unknowns [P] in seconds."""
        return self.times + self.basis @ unknowns


def choose_pixels(
    scene: Scene,
    index: int,
    row_time: float,
    mask: Tensor,
    count: int,
    seed: int,
    unknowns: tuple[str, ...] = ("shift",),
    changing_only: bool = True,
) -> CameraPixels:
    """Changing pixels of a camera first, at random frames; any allowed ones where too few change.

    Args:
        scene: cameras and frames.
        index: global index of the camera.
        row_time: seconds from its first to its last row.
        mask: pixels that may be chosen, bool, shape [height, width].
        count: how many; drawn with replacement.
        seed: of the choice.
        unknowns: of :data:`UNKNOWNS`, in the order of the basis.
        changing_only: prefer pixels that change; False for all allowed ones alike.
    """
    camera, frames = scene.cameras[index], scene.frames(index)
    generator = torch.Generator().manual_seed(seed)
    statistics = pixel_statistics(scene, index)
    deviation = torch.from_numpy(statistics.deviation).reshape(-1)
    allowed = mask.reshape(-1).nonzero()[:, 0]
    changing = allowed[deviation[allowed] > 0.5 * deviation[allowed].quantile(0.98).item()]
    if not changing_only or len(changing) * camera.frame_count < count:
        changing = allowed
    pixel = changing[torch.randint(len(changing), (count,), generator=generator)]
    frame = torch.randint(camera.frame_count, (count,), generator=generator)
    row, column = pixel // mask.shape[1], pixel % mask.shape[1]
    rgb = torch.from_numpy(frames[frame.numpy(), row.numpy(), column.numpy()]).float() / 255.0
    poses = camera.camera_to_world[frame] if camera.is_moving else camera.camera_to_world.expand(count, 4, 4)
    table, own = intrinsics_table([camera]), torch.zeros_like(pixel)
    rays = pixel_rays(table, poses, own, pixel, scene.near, scene.far)
    times, rows = camera.frame_times, pixel_rows(table, own, pixel).double()
    middle, half = (times[0] + times[-1]) / 2, (times[-1] - times[0]) / 2
    columns = {"shift": torch.ones_like(rows), "rate": (times[frame] - middle) / half, "readout": rows}
    basis = torch.stack([columns[name] for name in unknowns], dim=1)
    exposed = times[frame] + row_time * rows
    still = torch.from_numpy(statistics.mean).reshape(-1, 3)[pixel].float()
    return CameraPixels(index, rays, exposed, basis, rgb, still, frame)


def residuals(
    synced: SyncedBackend, pixels: CameraPixels, unknowns: Tensor, slopes: bool = True
) -> tuple[Tensor, Tensor]:
    """Rendered minus true colours, float64, shape [N, 3], and their derivatives by scene time [N, 3], per second.

    Three backward passes give the derivatives: a ray's colour depends on its own time alone. Without ``slopes`` they
    are not computed, and zero.
    """
    differences, derivatives = [], []
    moments = pixels.moments(unknowns)
    for part in torch.arange(len(moments), device=moments.device).split(CHUNK):
        times = moments[part].detach().requires_grad_(slopes)
        with torch.set_grad_enabled(slopes):
            rgb = synced.colours.recorded(pixels.camera, synced.render_moments(pixels.rays[part], times).rgb)
        differences.append((rgb - pixels.rgb[part]).detach().double())
        channels = [torch.zeros_like(times)] * 3
        if slopes:
            channels = [torch.autograd.grad(rgb[:, c].sum(), times, retain_graph=c < 2)[0] for c in range(3)]
        derivatives.append(torch.stack(channels, dim=-1).double())
    return torch.cat(differences), torch.cat(derivatives)


def explains(synced: SyncedBackend, pixels: CameraPixels, unknowns: Tensor) -> bool:
    """Whether the field shows changing pixels better than their mean colours over the video do."""
    values, _ = residuals(synced, pixels, unknowns, slopes=False)
    return bool(values.square().sum() < (pixels.rgb - pixels.still).square().sum())


@contextmanager
def frozen(synced: SyncedBackend) -> Iterator[None]:
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


@dataclass(frozen=True)
class ClockFit:
    """What least squares found.

    Attributes:
        unknowns: seconds, float64, shape [P].
        covariance: of the unknowns, seconds^2, float64, shape [P, P]; infinite where the colours do not tell.
        steps: steps taken.
    """

    unknowns: Tensor
    covariance: Tensor
    steps: int


def gauss_newton(
    synced: SyncedBackend, pixels: CameraPixels, start: Tensor, interval: float, most_steps: int
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
    values, slopes = residuals(synced, pixels, unknowns)
    while steps < most_steps:
        steps += 1
        normal, pull = _normal_equations(values, slopes, pixels.basis)
        damped = normal + damping * torch.diag(normal.diagonal()) + 1e-30 * torch.eye(len(normal)).to(normal)
        step = -torch.linalg.lstsq(damped, pull[:, None]).solution[:, 0]
        step = step * min(1.0, MOST_STEP * interval / max(float(step.abs().max()), 1e-30))
        trial = unknowns + step
        new_values, new_slopes = residuals(synced, pixels, trial)
        if new_values.square().sum() <= values.square().sum():
            unknowns, values, slopes, damping = trial, new_values, new_slopes, 0.1 * damping
        else:
            damping = max(1.0, 4.0 * damping)
        if float(step.abs().max()) < CONVERGED * interval:
            break
    return ClockFit(unknowns, clustered_covariance(values, slopes, pixels.basis, pixels.frames), steps)


def _normal_equations(values: Tensor, slopes: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Normal matrix [P, P] and right side [P] of residuals and slopes [N, 3]."""
    weights = slopes.square().sum(dim=-1)
    return basis.T @ (weights[:, None] * basis), basis.T @ (slopes * values).sum(dim=-1)


def clustered_covariance(values: Tensor, slopes: Tensor, basis: Tensor, groups: Tensor) -> Tensor:
    """Covariance of least-squares unknowns, in the unit of time of the slopes squared, float64, shape [P, P].

    The curvature alone, ``sigma^2 / sum(slope^2)``, takes every pixel for independent; a field's errors are shared by
    neighbouring pixels of a frame. So the larger, by each unknown's variance, of that and of the cluster-robust
    (sandwich) estimate is taken.

    Args:
        values: residuals, shape [N, 3].
        slopes: their derivatives by time, shape [N, 3].
        basis: derivatives of each pixel's time by the unknowns, shape [N, P].
        groups: frame of each pixel, int64, shape [N].
    """
    normal, _ = _normal_equations(values, slopes, basis)
    if float(torch.linalg.det(normal)) <= 0.0:
        return torch.full_like(normal, torch.inf)
    inverse = torch.linalg.inv(normal)
    plain = values.square().mean() * inverse
    scores = (values * slopes).sum(dim=-1)[:, None] * basis
    by_group = torch.zeros(int(groups.max()) + 1, basis.shape[1]).to(scores).index_add(0, groups, scores)
    robust = inverse @ (by_group.T @ by_group) @ inverse
    larger = torch.maximum(plain.diagonal(), robust.diagonal()) / robust.diagonal().clamp_min(1e-300)
    scale = larger.sqrt()
    return scale[:, None] * robust * scale
