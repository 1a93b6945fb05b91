"""Figures that walk about and throw a ball to each other, in metres; +Z up, a figure looks along its own +Y."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_scenes.motion import Pose, hanging_limb, rotation, translation, wander
from blender_scenes.parts import Paint, Part
from blender_scenes.shapes import rounded_solid

HIP = 0.92
"""Height of the hips above the floor."""
STEP = 0.75
"""Length of a step."""
STIFF = (lambda time: 0.0, lambda time: 0.0)
"""Angles of a joint that only bends forward."""
THROW = 0.85
"""Mean time between one hand's ball and the next hand's, seconds."""


def throw_time(number: int) -> float:
    """When the ball is in a hand for the ``number``-th time, which may be negative, seconds; not quite regular."""
    return THROW * (number + 0.22 * math.sin(2.4 * number))


@dataclass(frozen=True)
class Walk:
    """Walking round ``centre`` [2]: the angle and the distance from it in time."""

    centre: tuple[float, float]
    angle: Callable[[float], float]
    distance: Callable[[float], float]

    def place(self, time: float) -> np.ndarray:
        """Where on the floor, [2]."""
        angle, distance = self.angle(time), self.distance(time)
        return np.array(self.centre) + distance * np.array([np.cos(angle), np.sin(angle)])

    def root(self, time: float) -> np.ndarray:
        """The pose [4, 4] of the hips, upright, looking ahead."""
        bob = 0.03 * math.cos(2.0 * self.stride(time))
        ahead = self.place(time + 0.05) - self.place(time - 0.05)
        heading = math.atan2(ahead[1], ahead[0]) - np.pi / 2
        return translation(*self.place(time), HIP + bob) @ rotation(0.0, 0.0, heading)

    def stride(self, time: float) -> float:
        """Phase of the legs, radians: pi a step."""
        return self.angle(time) * self.distance(time) * np.pi / STEP


def random_walk(generator: np.random.Generator, centre: tuple[float, float], distance: float, turn: float) -> Walk:
    """A walk about ``distance`` metres around ``centre``, ``turn`` radians per second, faster and slower."""
    start = generator.uniform(0.0, 2.0 * np.pi)
    angle = wander(generator, start, 0.35, pace=0.5, drift=turn * generator.uniform(0.85, 1.15))
    return Walk(centre, angle, wander(generator, distance, 0.25 * distance, pace=0.4))


def _raised(time: float, parity: int) -> float:
    """How far, 0 to 1, the arm of the figure is up that has the ball at numbers of ``parity``."""
    nearest = round(time / THROW)
    bumps = [abs(time - throw_time(k)) for k in range(nearest - 3, nearest + 4) if k % 2 == parity]
    return max(0.0, math.cos(min(min(bumps) / 0.4, 1.0) * np.pi / 2)) ** 2


def figure(
    name: str, generator: np.random.Generator, walk: Walk, paints: tuple[Paint, Paint, Paint], parity: int
) -> tuple[list[Part], Pose]:
    """A walking figure's parts, and the pose of the hand that throws.

    Args:
        name: begins the parts' names.
        generator: of what the head does.
        walk: where it goes.
        paints: of the trunk, of the head, of the limbs.
        parity: 0 or 1, of the numbers of :func:`throw_time` at which it has the ball.
    """
    root, nod = walk.root, wander(generator, 0.0, 0.5)

    def head(time: float) -> np.ndarray:
        return root(time) @ translation(0.0, 0.02, 0.76) @ rotation(0.0, 0.0, nod(time))

    trunk = rounded_solid((0.21, 0.14, 0.33), 3.0, resolution=12)
    parts = [
        Part(f"{name}_trunk", trunk, paints[0], lambda time: root(time) @ translation(0.0, 0.0, 0.3)),
        Part(f"{name}_head", rounded_solid((0.11, 0.13, 0.15), resolution=12), paints[1], head),
    ]
    for limb, socket, lengths, thick, swing, bend in _limbs(walk, parity):
        middle, joint = hanging_limb(
            root, translation(*socket), rotation(0.0, -math.copysign(0.08, socket[0]), 0.0), lengths[0], [swing, *STIFF]
        )
        outer, end = hanging_limb(joint, np.eye(4), np.eye(4), lengths[1], [bend, *STIFF])
        for link, length, pose in (("upper", lengths[0], middle), ("lower", lengths[1], outer)):
            solid = rounded_solid((thick, thick, 0.55 * length), 2.6, resolution=10)
            parts.append(Part(f"{name}_{limb}_{link}", solid, paints[2], pose))
    return parts, end


def _limbs(walk: Walk, parity: int) -> list[tuple]:
    """Of each limb, the throwing arm last: name, socket from the hips, lengths of its links, thickness, and how far
    forward, in radians, its root swings and its joint bends in time.
    """

    def leg(side: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
        late = 2.2 if side > 0 else 2.2 + np.pi
        return (
            lambda time: 0.5 * side * math.sin(walk.stride(time)),
            lambda time: -0.45 * (1.0 + math.sin(walk.stride(time) + late)),
        )

    def throwing(time: float) -> float:
        up = _raised(time, parity)
        return 2.3 * up - 0.3 * (1.0 - up) * math.sin(walk.stride(time))

    return [
        ("left_leg", (-0.1, 0.0, 0.0), (0.44, 0.46), 0.075, *leg(-1.0)),
        ("right_leg", (0.1, 0.0, 0.0), (0.44, 0.46), 0.075, *leg(1.0)),
        ("left_arm", (-0.25, 0.0, 0.56), (0.3, 0.28), 0.055,
         lambda time: 0.55 * math.sin(walk.stride(time)), lambda time: 0.4),
        ("right_arm", (0.25, 0.0, 0.56), (0.3, 0.28), 0.055,
         throwing, lambda time: 0.4 + 0.5 * _raised(time, parity)),
    ]  # fmt: skip


def thrown_ball(hands: tuple[Pose, Pose], paint: Paint, radius: float = 0.14, gravity: float = 9.81) -> Part:
    """A ball that flies from hand to hand under ``gravity``, spinning about an axis of its own."""

    def place(time: float) -> np.ndarray:
        number = math.floor(time / THROW)
        while throw_time(number + 1) <= time:
            number += 1
        while throw_time(number) > time:
            number -= 1
        start, end = throw_time(number), throw_time(number + 1)
        first, second = hands[number % 2](start)[:3, 3], hands[(number + 1) % 2](end)[:3, 3]
        share = (time - start) / (end - start)
        height = 0.5 * gravity * (time - start) * (end - time)
        return first + share * (second - first) + [0.0, 0.0, height]

    def pose(time: float) -> np.ndarray:
        return translation(*place(time)) @ rotation(5.0 * time, 1.3 * time, 0.4)

    return Part("ball", rounded_solid((radius, radius, radius), resolution=12), paint, pose)
