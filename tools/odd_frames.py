"""Recordings whose files show other frames of a scene than they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from syncnerf.scene import Camera, Scene

Pixels = Callable[[np.ndarray], np.ndarray]
"""Changes all frames of one camera, uint8 [T, height, width, 3]."""


@dataclass
class Odd:
    """What becomes of one camera's frames.

    Attributes:
        shown: which frame of the source each frame shows, int64, shape [T].
        lead: frames by which the recording now starts earlier than the source did.
        rate: frames per second now, as a share of the source's.
        pixels: what is done to the pictures afterwards; None for nothing.
        told: the file tells when each of these frames was taken.
        source: name of the camera whose frames they are; empty for its own.
    """

    shown: np.ndarray
    lead: float = 0.0
    rate: float = 1.0
    pixels: Pixels | None = None
    told: bool = False
    source: str = ""


@dataclass
class OddFrames:
    """A frame cache that shows the frames of a scene as its cameras' damages say.

    Attributes:
        scene: the whole scene.
        odd: by camera name.
    """

    scene: Scene
    odd: dict[str, Odd]

    def prepare(self, cameras: tuple[Camera, ...]) -> None:
        """Nothing to do: the whole scene's frames are decoded."""

    def open(self, camera: Camera) -> np.ndarray:
        """The odd frames, uint8, shape [T, height, width, 3]."""
        odd = self.odd[camera.name]
        frames = self.scene.frames(self.scene.index_of(odd.source or camera.name))[odd.shown]
        return frames if odd.pixels is None else odd.pixels(frames)


def part_of(scene: Scene, count: int, seed: int) -> Scene:
    """A rig of some of a scene's cameras, chosen by chance; the whole one where it has no more."""
    if count >= len(scene.cameras):
        return scene
    chosen = sorted(np.random.default_rng(1000 + seed).permutation(len(scene.cameras))[:count].tolist())
    offsets = scene.true_offsets[chosen]
    cameras = tuple(scene.cameras[index] for index in chosen)
    return replace(scene, cameras=cameras, true_offsets=offsets - offsets[0], test=(), _frames={})


def some_cameras(scene: Scene, generator: np.random.Generator, most: int = 1) -> list[Camera]:
    """One camera or some, but less than half of them."""
    count = min(most, (len(scene.cameras) - 1) // 2)
    return [scene.cameras[index] for index in generator.permutation(len(scene.cameras))[:count]]
