"""Bodies that fly freely, spin, and bounce off each other, the ground and an unseen wall: fast motion with corners."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np

from blender_scenes.motion import Pose, rotation_by, translation

GRAVITY = 12.0
"""Scene units per second squared."""
STEP = 1e-3
"""Seconds between the moments at which contacts are looked for."""


@dataclass(frozen=True)
class Drum:
    """Where the bodies are: a drum about the z axis, its floor, ceiling and radius in scene units."""

    floor: float = -0.62
    ceiling: float = 0.85
    radius: float = 0.92


@dataclass
class Course:
    """One body's flight: at each of its ``times`` (of contacts, seconds) where it is, how it moves, turns and lies.

    ``places``, ``velocities`` and ``spins`` (radians per second about the axis of their direction) are [3],
    ``attitudes`` [3, 3].
    """

    times: list[float] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    velocities: list[np.ndarray] = field(default_factory=list)
    spins: list[np.ndarray] = field(default_factory=list)
    attitudes: list[np.ndarray] = field(default_factory=list)

    def append(self, time: float, place: np.ndarray, velocity: np.ndarray, spin: np.ndarray) -> None:
        """From ``time`` on the body flies as given, until the next contact."""
        attitude = np.eye(3)
        if self.times:
            attitude = rotation_by(self.spins[-1] * (time - self.times[-1])) @ self.attitudes[-1]
        self.times.append(time)
        self.places.append(place.copy())
        self.velocities.append(velocity.copy())
        self.spins.append(spin.copy())
        self.attitudes.append(attitude)

    def pose(self, time: float) -> np.ndarray:
        """The body's pose [4, 4] at ``time``; before the first moment it flies as just after it."""
        last = max(bisect.bisect_right(self.times, time) - 1, 0)
        since = time - self.times[last]
        place = self.places[last] + self.velocities[last] * since
        place[2] -= 0.5 * GRAVITY * since**2
        matrix = translation(*place)
        matrix[:3, :3] = rotation_by(self.spins[last] * since) @ self.attitudes[last]
        return matrix


def fly(
    generator: np.random.Generator, radii: np.ndarray, speed: float, spin: float, span: tuple[float, float], drum: Drum
) -> list[Course]:
    """Throws bodies and follows them.

    Contacts are elastic and between equal masses, so the energy of all together stays what it was; each gives the
    bodies new spins.

    Args:
        generator: of the throws and the spins.
        radii: of the balls as which the bodies collide, scene units, [N].
        speed: deviation of each component of the first velocities, scene units per second.
        spin: deviation of each component of the spins, radians per second.
        span: first and last moment, seconds.
        drum: what they bounce off.
    """
    count = len(radii)
    turns = 2.0 * np.pi * (np.arange(count) + generator.uniform(0.0, 0.5)) / count
    places = np.stack([0.55 * np.cos(turns), 0.55 * np.sin(turns), generator.uniform(-0.2, 0.5, count)], axis=-1)
    velocities = generator.normal(0.0, speed, (count, 3))
    courses = [Course() for _ in range(count)]
    for body, course in enumerate(courses):
        course.append(span[0], places[body], velocities[body], generator.normal(0.0, spin, 3))
    for step in range(1, round((span[1] - span[0]) / STEP) + 1):
        places += velocities * STEP
        places[:, 2] -= 0.5 * GRAVITY * STEP**2
        velocities[:, 2] -= GRAVITY * STEP
        for body in _bounce(places, velocities, radii, drum):
            courses[body].append(span[0] + step * STEP, places[body], velocities[body], generator.normal(0.0, spin, 3))
    return courses


def _bounce(places: np.ndarray, velocities: np.ndarray, radii: np.ndarray, drum: Drum) -> list[int]:
    """Reflects ``velocities`` [N, 3] in place at contacts of approaching bodies; returns the bodies concerned."""
    touched = set()
    distances = np.hypot(places[:, 0], places[:, 1])
    contacts = (
        (distances > drum.radius - radii, lambda body: np.array([*-places[body, :2], 0.0]) / distances[body]),
        (places[:, 2] < drum.floor + radii, lambda body: np.array([0.0, 0.0, 1.0])),
        (places[:, 2] > drum.ceiling - radii, lambda body: np.array([0.0, 0.0, -1.0])),
    )
    for reached, normal_at in contacts:
        for body in np.flatnonzero(reached).tolist():
            normal = normal_at(body)
            inward = float(velocities[body] @ normal)
            if inward < 0:
                velocities[body] -= 2.0 * inward * normal
                touched.add(body)
    first, second = np.triu_indices(len(radii), 1)
    apart = places[first] - places[second]
    near = (apart**2).sum(axis=1) < (radii[first] + radii[second]) ** 2
    for i, j, line in zip(first[near], second[near], apart[near], strict=True):
        normal = line / np.linalg.norm(line)
        closing = float((velocities[i] - velocities[j]) @ normal)
        if closing < 0:
            velocities[i] -= closing * normal
            velocities[j] += closing * normal
            touched.update((int(i), int(j)))
    return sorted(touched)


def flown_poses(
    generator: np.random.Generator, radii: list[float], span: tuple[float, float] = (-3.0, 9.0)
) -> list[Pose]:
    """Poses of thrown bodies that collide as balls of ``radii``, fast ones among them at about 13 units a second."""
    courses = fly(generator, np.array(radii), speed=3.3, spin=6.0, span=span, drum=Drum())
    return [course.pose for course in courses]
