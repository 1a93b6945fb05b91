"""Scenes made of some frames of other scenes: windows of them, or the whole at a low rate."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from syncnerf.scene import Scene
from syncnerf.scene.camera import Camera
from syncnerf.scene.excerpts import Excerpt
from syncnerf.scene.frame_cache import FrameCache

THINNED_SIDE = 48
"""Pixels of the larger side of frames that are thinned."""


def thinned(camera: Camera, rate: float) -> list[int]:
    """Indices of the frames next after every moment of a low rate."""
    moments = torch.arange(int((camera.duration - float(camera.frame_times[0])) * rate) + 1, dtype=torch.float64) / rate
    return (
        torch.searchsorted(camera.frame_times, moments + camera.frame_times[0] - 1e-6)
        .clamp_max(camera.frame_count - 1)
        .tolist()
    )


@contextmanager
def excerpts(scene: Scene, frames: list[list[int]], rate: float | None = None) -> Iterator[Scene]:
    """The scene with some frames of each camera, decoded to a passing cache; clocks begin at 0 with the first of them.

    Args:
        scene: of any cameras.
        frames: of each camera, in order.
        rate: what the frames are thinned to, per second: they are small then, and may be others shortly after.
    """
    cameras, sources = [], {}
    for camera, own in zip(scene.cameras, frames, strict=True):
        if camera.is_moving:
            camera = replace(camera, camera_to_world=camera.camera_to_world[own])
        if rate is None:
            times = None if camera.given_times is None else camera.given_times[own] - camera.given_times[own[0]]
            changed = replace(camera, frame_count=len(own), given_times=times, exposure=0.0)
        else:
            side = THINNED_SIDE / max(camera.intrinsics.width, camera.intrinsics.height)
            size = [max(1, round(side * length)) for length in (camera.intrinsics.width, camera.intrinsics.height)]
            small = camera.resized(*size) if side < 1 else camera
            changed = replace(small, frame_count=len(own), fps=rate, given_times=None, exposure=0.0)
        cameras.append(changed)
        sources[camera.name] = Excerpt(scene.frame_cache.sources[camera.name], tuple(own), rate is None)
    scene.frame_cache.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="excerpt-", dir=scene.frame_cache.directory) as folder:
        cache = FrameCache(Path(folder), sources)
        yield replace(scene, cameras=tuple(cameras), frame_cache=cache, true_offsets=None, _frames={})
