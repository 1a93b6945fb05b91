"""A scene one of whose videos lacks frames, or holds them: its cameras' offsets, and what its file shows."""

from dataclasses import replace

import numpy as np
from odd_frames import Odd, OddFrames

from syncnerf.scene import Scene

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02, -0.21]
"""Seconds."""


def shown(scene: Scene, name: str, frames: np.ndarray) -> Scene:
    """The scene with one camera's file showing these frames of it."""
    odds = {c.name: Odd(np.arange(c.frame_count)) for c in scene.cameras} | {name: Odd(frames)}
    cameras = tuple(replace(c, frame_count=len(odds[c.name].shown)) for c in scene.cameras)
    return replace(scene, cameras=cameras, frame_cache=OddFrames(scene, odds), _frames={})
