"""Smooth functions of continuous time, defined for every t in seconds (also before 0 and after the last frame)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Pose = Callable[[float], np.ndarray]
"""Maps a time in seconds to a 4x4 object-to-world matrix."""


@dataclass(frozen=True)
class Signal:
    """``centre + drift * t + sum_i amplitudes[i] * sin(2 pi frequencies[i] t + phases[i])``; frequencies in Hz."""

    centre: float
    drift: float
    amplitudes: np.ndarray
    frequencies: np.ndarray
    phases: np.ndarray

    def __call__(self, time: float) -> float:
        """The value at ``time`` seconds."""
        waves = np.sin(2.0 * np.pi * self.frequencies * time + self.phases)
        return float(self.centre + self.drift * time + self.amplitudes @ waves)


def wander(
    generator: np.random.Generator, centre: float = 0.0, amplitude: float = 1.0, pace: float = 1.0, drift: float = 0.0
) -> Signal:
    """A random signal that stays within ``centre +- amplitude`` (when ``drift``, per second, is 0).

    Three waves of about 0.31, 0.73 and 1.37 Hz times ``pace``: no common period within minutes, turning points
    several times in a two-second video, and little energy fast enough to be missed by 30 frames per second.
    """
    frequencies = np.array([0.31, 0.73, 1.37]) * pace * generator.uniform(0.9, 1.1, 3)
    shares = np.array([0.45, 0.38, 0.17]) * amplitude
    return Signal(centre, drift, shares, frequencies, generator.uniform(0.0, 2.0 * np.pi, 3))


def translation(x: float, y: float, z: float) -> np.ndarray:
    """The 4x4 matrix that moves by (x, y, z) scene units."""
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """The 4x4 matrix that turns by x, then y, then z radians about the fixed axes."""
    cosine, sine = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cosine[0], -sine[0]], [0, sine[0], cosine[0]]])
    about_y = np.array([[cosine[1], 0, sine[1]], [0, 1, 0], [-sine[1], 0, cosine[1]]])
    about_z = np.array([[cosine[2], -sine[2], 0], [sine[2], cosine[2], 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    return matrix


def rotation_by(vector: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] about the direction of ``vector`` [3] by its length in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def wandering_pose(
    generator: np.random.Generator,
    centre: tuple[float, float, float],
    reach: tuple[float, float, float],
    turn: tuple[float, float, float],
    pace: float = 1.0,
    spin: float = 0.0,
) -> Pose:
    """A pose whose position stays within ``centre +- reach`` and whose angles swing by ``turn`` radians.

    ``spin`` adds a steady turn about the vertical axis, in radians per second.
    """
    position = [wander(generator, c, r, pace) for c, r in zip(centre, reach, strict=True)]
    angles = [wander(generator, 0.0, a, pace) for a in turn[:2]]
    angles.append(wander(generator, 0.0, turn[2], pace, drift=spin))

    def pose(time: float) -> np.ndarray:
        return translation(*(s(time) for s in position)) @ rotation(*(a(time) for a in angles))

    return pose


def still(matrix: np.ndarray) -> Pose:
    """The pose that never changes."""
    return lambda time: matrix


def hanging_limb(
    root: Pose, socket: np.ndarray, rest: np.ndarray, length: float, swing: list[Callable[[float], float]]
) -> tuple[Pose, Pose]:
    """Poses of a limb that hangs from ``socket`` of ``root``: of its middle, and of its far joint."""

    def joint(time: float) -> np.ndarray:
        return root(time) @ socket @ rest @ rotation(*(angle(time) for angle in swing))

    return (
        lambda time: joint(time) @ translation(0.0, 0.0, -length / 2),
        lambda time: joint(time) @ translation(0.0, 0.0, -length),
    )
