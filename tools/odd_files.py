"""Recordings whose files are named, joined or cleaned wrongly."""

from __future__ import annotations

import numpy as np
from odd_frames import Odd, some_cameras

from syncnerf.scene import Camera, Scene


def swapped(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Two cameras that stand next to each other have each other's videos."""
    one = scene.cameras[int(generator.integers(len(scene.cameras)))]
    place = one.pose(0)[:3, 3]
    apart = [float((c.pose(0)[:3, 3] - place).norm()) if c is not one else np.inf for c in scene.cameras]
    two = scene.cameras[int(np.argmin(apart))]
    return {one.name: _video_of(scene, one, two), two.name: _video_of(scene, two, one)}


def renamed(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Every camera has the video of the one before it."""
    cameras = scene.cameras
    return {c.name: _video_of(scene, c, cameras[index - 1]) for index, c in enumerate(cameras)}


def _video_of(scene: Scene, camera: Camera, other: Camera) -> Odd:
    """A camera's recording replaced by another's."""
    late = float(scene.true_offsets[scene.index_of(other.name)] - scene.true_offsets[scene.index_of(camera.name)])
    return Odd(np.arange(other.frame_count), lead=-late * camera.fps, source=other.name)


def shuffled(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One file is joined of its halves, or its thirds, in a wrong order."""
    odds = {}
    for camera in some_cameras(scene, generator):
        count = int(generator.integers(2, 4))
        pieces, order = np.array_split(np.arange(camera.frame_count), count), np.arange(count)
        while (order == np.arange(count)).all():
            order = generator.permutation(count)
        odds[camera.name] = Odd(np.concatenate([pieces[piece] for piece in order]))
    return odds


def smeared(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera mixes each frame with half to four fifths of what it showed before, against noise."""
    odds = {}
    for camera in some_cameras(scene, generator):

        def pixels(frames: np.ndarray, kept: float = float(generator.uniform(0.5, 0.8))) -> np.ndarray:
            return mixed(frames, kept)

        odds[camera.name] = Odd(np.arange(camera.frame_count), pixels=pixels)
    return odds


def mixed(frames: np.ndarray, kept: float) -> np.ndarray:
    """Frames [T, height, width, 3] that keep a share of what was shown before, as recursive noise filters do."""
    shown, result = frames[0].astype(np.float32), np.empty_like(frames)
    for index, frame in enumerate(frames):
        shown = kept * shown + (1 - kept) * frame
        result[index] = shown.round()
    return result
