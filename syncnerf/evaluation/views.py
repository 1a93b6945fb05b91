"""Whole images from a field that answers rays: test views and camera paths alike, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from syncnerf.backend import Rendering
from syncnerf.scene.camera import Camera
from syncnerf.scene.rays import Rays
from syncnerf.synced import SyncedBackend

RenderRays = Callable[[Rays, Tensor, Tensor], Rendering]
"""Renders N rays at times in seconds, float64, shape [N] or [N, T], in rows of an image, -1/2 to 1/2, shape [N]."""

SHOWN_EXTRAS = ("static_rgb", "dynamic_rgb")


@dataclass
class View:
    """One rendered image, on the CPU.

    Attributes:
        rgb: colours in [0, 1], float32, shape [H, W, 3].
        depth: expected distance along each pixel's ray, float32, shape [H, W].
        accumulation: opacity in [0, 1], float32, shape [H, W].
        extras: ``static_rgb`` and ``dynamic_rgb`` [H, W, 3], where the backend gives them.
    """

    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)


def at_own_clock(synced: SyncedBackend, camera_index: int) -> RenderRays:
    """A renderer whose times are those of a camera's own clock, row by row; its current offset is added."""
    return lambda rays, times, rows: synced.render_camera(rays, camera_index, times, rows)


def at_scene_time(synced: SyncedBackend) -> RenderRays:
    """A renderer whose times are scene times, the same in all rows; for free cameras, and for offset 0."""
    return lambda rays, times, rows: synced.render_moments(rays, times)


def render_views(
    render: RenderRays,
    camera: Camera,
    frames: Sequence[int],
    times: Tensor,
    near: float,
    far: float,
    *,
    chunk: int = 16384,
    device: torch.device | str = "cpu",
    times_at_once: int = 1,
    description: str | None = "rendering",
) -> Iterator[View]:
    """Render a camera's images one after the other, without gradients; only ``times_at_once`` of them are in memory.

    Args:
        render: :func:`at_own_clock` of a test camera, or :func:`at_scene_time`.
        camera: intrinsics and poses; a path is a camera with one pose per frame.
        frames: the frames whose poses are taken, F of them.
        times: seconds at which they are rendered, float64, shape [F].
        near: distance from the camera at which the scene may begin.
        far: distance at which it ends.
        chunk: rays (times moments, if several are rendered at once) in one call of ``render``.
        device: where the rays go.
        times_at_once: moments asked of a ray in one call; more than one suits a ``time_series`` backend and has no
            effect on a moving camera, whose rays differ from frame to frame.
        description: label of the progress bar; None for no bar.

    Yields:
        One view for each frame, in order.
    """
    block = 1 if camera.is_moving else max(1, times_at_once)
    times = times.to(device=device, dtype=torch.float64)
    rays = None
    height, width = camera.intrinsics.height, camera.intrinsics.width
    rows = ((torch.arange(height, device=device) + 0.5) / height - 0.5).repeat_interleave(width)
    with tqdm(total=len(frames), desc=description, unit="frame", leave=False, disable=description is None) as progress:
        for start in range(0, len(frames), block):
            if rays is None or camera.is_moving:
                rays = camera.all_rays(near, far, frames[start]).to(device)
            moments = times[start : start + block]
            images = _render_block(render, rays, moments, rows, max(1, chunk // len(moments)), times_at_once > 1)
            for index in range(len(moments)):
                yield _view({name: value[index] for name, value in images.items()}, height, width)
                progress.update()


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module and its parts in eval mode, and each part back in its own mode afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def evaluated_frames(frame_count: int, wanted: int) -> list[int]:
    """Numbers of ``wanted`` evenly spaced frames, first and last included; all frames for 0 or more than there are."""
    if wanted <= 0 or wanted >= frame_count:
        return list(range(frame_count))
    return sorted({round(value) for value in torch.linspace(0, frame_count - 1, wanted, dtype=torch.float64).tolist()})


def own_pace(camera: Camera, frames: Sequence[int]) -> float:
    """Frames per second at which a video of some of a camera's frames lasts as long as the camera's own."""
    return camera.fps * len(frames) / camera.frame_count


@torch.no_grad()
def _render_block(
    render: RenderRays, rays: Rays, moments: Tensor, rows: Tensor, chunk: int, as_series: bool
) -> dict[str, Tensor]:
    """Render all rays at T moments; each tensor has shape [T, N, ...] and lies on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(rays), chunk):
        some = rays[start : start + chunk]
        shape = (len(some), len(moments)) if as_series else (len(some),)
        rendering = render(some, moments.expand(shape), rows[start : start + chunk])
        tensors = {"rgb": rendering.rgb, "depth": rendering.depth, "accumulation": rendering.accumulation}
        tensors |= {name: rendering.extras[name] for name in SHOWN_EXTRAS if name in rendering.extras}
        for name, value in tensors.items():
            # A part that does not change (static_rgb) may come without the dimension of time.
            has_time = as_series and value.ndim == (2 if name in ("depth", "accumulation") else 3)
            series = value.transpose(0, 1) if has_time else value[None].expand(len(moments), *value.shape)
            parts.setdefault(name, []).append(series.float().cpu())
    return {name: torch.cat(pieces, dim=1) for name, pieces in parts.items()}


def _view(tensors: dict[str, Tensor], height: int, width: int) -> View:
    images = {name: value.reshape(height, width, *value.shape[1:]) for name, value in tensors.items()}
    for name in ("rgb", *SHOWN_EXTRAS):
        if name in images:
            images[name] = images[name].clamp(0.0, 1.0)
    return View(images.pop("rgb"), images.pop("depth"), images.pop("accumulation"), images)
