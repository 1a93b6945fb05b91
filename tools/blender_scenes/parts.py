"""What scenes are made of: things with a shape, a paint, and a pose in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_scenes.motion import Pose
from blender_scenes.shapes import Mesh


@dataclass(frozen=True)
class Paint:
    """A procedural texture: patches of the ``colours`` (linear RGB), with darker spots inside them.

    ``patches`` and ``spots`` are spatial frequencies per scene unit, in the rest shape, so the paint sticks.
    """

    colours: tuple[tuple[float, float, float], ...]
    patches: float = 3.5
    spots: float = 7.0


@dataclass(frozen=True)
class Part:
    """One moving thing. ``deform``, where given, maps a time in seconds to the vertices [V, 3] before the pose."""

    name: str
    mesh: Mesh
    paint: Paint
    pose: Pose
    deform: Callable[[float], np.ndarray] | None = None

    def vertices(self, time: float) -> np.ndarray:
        """World positions [V, 3] of the vertices at ``time`` seconds."""
        local = self.mesh.vertices if self.deform is None else self.deform(time)
        pose = self.pose(time)
        return local @ pose[:3, :3].T + pose[:3, 3]


RED, ORANGE, YELLOW = (0.55, 0.03, 0.03), (0.75, 0.22, 0.03), (0.80, 0.58, 0.08)
GREEN, TEAL, BLUE = (0.05, 0.32, 0.06), (0.03, 0.35, 0.40), (0.04, 0.09, 0.50)
PURPLE, PINK, CREAM = (0.25, 0.05, 0.38), (0.75, 0.20, 0.35), (0.72, 0.66, 0.52)
DARK, GREY, BROWN = (0.03, 0.03, 0.04), (0.25, 0.26, 0.28), (0.20, 0.09, 0.04)
"""Linear RGB."""
