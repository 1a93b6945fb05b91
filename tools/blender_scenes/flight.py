"""Bodies that fly freely, spin, and bounce off each other, the ground and an unseen wall: fast motion with corners."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from functools import partial

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


class Flight:
    """Bodies that were thrown, followed as far as somebody asks.

    Contacts are elastic and between equal masses, so the energy of all together stays what it was; each gives the
    bodies new spins.

    Args:
        generator: of the throws and the spins.
        radii: of the balls as which the bodies collide, scene units, [N].
        speed: deviation of each component of the first velocities, scene units per second.
        spin: deviation of each component of the spins, radians per second.
        begin: first moment, seconds.
        drum: what they bounce off.
    """

    def __init__(
        self, generator: np.random.Generator, radii: np.ndarray, speed: float, spin: float, begin: float, drum: Drum
    ):
        self.generator, self.radii, self.spin, self.begin, self.drum = generator, radii, spin, begin, drum
        count = len(radii)
        turns = 2.0 * np.pi * (np.arange(count) + generator.uniform(0.0, 0.5)) / count
        heights = generator.uniform(-0.2, 0.5, count)
        self.places = np.stack([0.55 * np.cos(turns), 0.55 * np.sin(turns), heights], axis=-1)
        self.velocities = generator.normal(0.0, speed, (count, 3))
        self.courses = [Course() for _ in range(count)]
        self.steps = 0
        for body in range(count):
            self._turn(body)

    def pose(self, body: int, time: float) -> np.ndarray:
        """A body's pose [4, 4] at a time, seconds."""
        self.follow(time)
        return self.courses[body].pose(time)

    def follow(self, time: float) -> None:
        """Find all contacts until a time, seconds."""
        while self.begin + self.steps * STEP < time:
            self.steps += 1
            self.places += self.velocities * STEP
            self.places[:, 2] -= 0.5 * GRAVITY * STEP**2
            self.velocities[:, 2] -= GRAVITY * STEP
            for body in _bounce(self.places, self.velocities, self.radii, self.drum):
                self._turn(body)

    def _turn(self, body: int) -> None:
        """Let a body go on from here with another spin."""
        time, spin = self.begin + self.steps * STEP, self.generator.normal(0.0, self.spin, 3)
        self.courses[body].append(time, self.places[body], self.velocities[body], spin)


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


def flown_poses(generator: np.random.Generator, radii: list[float], begin: float = -3.0) -> list[Pose]:
    """Poses of thrown bodies that collide as balls of ``radii``, fast ones among them at about 13 units a second."""
    flight = Flight(generator, np.array(radii), speed=3.3, spin=6.0, begin=begin, drum=Drum())
    return [partial(flight.pose, body) for body in range(len(radii))]
