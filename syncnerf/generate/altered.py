"""Scenes with some of another's frames, or with them in another order; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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
    """The scene with some of each camera's frames, taken for consecutive ones.

    Args:
        scene: of any cameras.
        picks: frames of each camera; ``slice(None, None, -1)`` plays its video backwards.
    """
    cameras = []
    for camera, pick in zip(scene.cameras, picks, strict=True):
        count = len(range(camera.frame_count)[pick])
        pose = camera.camera_to_world[list(range(camera.frame_count)[pick])] if camera.is_moving else camera.pose(0)
        cameras.append(replace(camera, camera_to_world=pose, frame_count=count, given_times=None))
    by_name = dict(zip(scene.names, picks, strict=True))
    cache = _PickedFrames(scene.frame_cache, scene.cameras, by_name)
    return replace(scene, cameras=tuple(cameras), frame_cache=cache, true_offsets=None, _frames={})
