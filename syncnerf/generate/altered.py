"""Scenes with some of another's frames, or with them in another order; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from syncnerf.scene import Camera, Scene
from syncnerf.scene.frame_cache import FrameCache


class _PickedFrames(FrameCache):
    """A cache's frames through one slice per camera, by the camera's name."""

    def __init__(self, cache: FrameCache, cameras: Sequence[Camera], picks: dict[str, slice]):
        super().__init__(cache.directory, cache.sources)
        self._cache, self._picks = cache, picks
        self._whole = {camera.name: camera for camera in cameras}

    def prepare(self, cameras: Sequence[Camera]) -> None:
        """Decode what the whole cameras lack."""
        self._cache.prepare([self._whole[camera.name] for camera in cameras])

    def open(self, camera: Camera) -> np.ndarray:
        """The picked frames, uint8, shape [T, height, width, 3]."""
        return self._cache.open(self._whole[camera.name])[self._picks[camera.name]]


def picked(scene: Scene, picks: Sequence[slice]) -> Scene:
    """The scene with some of each camera's frames, at the times when these were exposed.

    The earliest picked frame's time becomes zero. ``slice(None, None, -1)`` plays a camera's video backwards: its times
    stay, its frames swap places.
    """
    begun = []
    for camera, pick in zip(scene.cameras, picks, strict=True):
        times = camera.frame_times[torch.arange(camera.frame_count).numpy()[pick].copy()].sort().values
        begun.append(times - 0.5 * camera.exposure)
    origin = min(times[0] for times in begun)
    cameras = []
    for camera, pick, times in zip(scene.cameras, picks, begun, strict=True):
        poses = camera.camera_to_world
        if camera.is_moving:
            poses = torch.from_numpy(poses.numpy()[pick].copy())
        cameras.append(replace(camera, camera_to_world=poses, frame_count=len(times), given_times=times - origin))
    by_name = dict(zip(scene.names, picks, strict=True))
    cache = _PickedFrames(scene.frame_cache, scene.cameras, by_name)
    return replace(scene, cameras=tuple(cameras), frame_cache=cache, true_offsets=None, _frames={})
