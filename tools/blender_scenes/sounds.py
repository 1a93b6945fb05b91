"""What the cameras of a place hear: the ball as it is caught and thrown, and noise of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_scenes.clocks import CameraClock

RATE = 48_000
"""Samples per second."""
SPEED = 343.0
"""Metres that sound goes in a second."""
LENGTH = 0.06
"""Seconds of a clap."""


@dataclass(frozen=True)
class Claps:
    """A sound that a place makes again and again.

    Attributes:
        moment: scene time of each clap, by its number (any integer), increasing; seconds.
        place: where it is heard from, [3], by its number.
        about: the mean of the time between two, seconds.
    """

    moment: Callable[[int], float]
    place: Callable[[int], np.ndarray]
    about: float


def clap(number: int) -> np.ndarray:
    """The samples of one clap, float32: noise that dies away, of its own for each number."""
    generator = np.random.default_rng([abs(number), int(number < 0), 5])
    fade = np.exp(-np.arange(round(LENGTH * RATE)) / (0.012 * RATE))
    return (0.2 * fade * generator.standard_normal(len(fade))).astype(np.float32)


def heard(claps: Claps, position: np.ndarray, clock: CameraClock, generator: np.random.Generator) -> np.ndarray:
    """A camera's sound from its first frame's time stamp to its last frame's end, float32 [samples].

    Each clap comes as much later as its way to the camera is long, and is fainter by its length; on the camera's clock,
    whose rate and offset are those of its pictures.

    Args:
        claps: what there is to hear.
        position: of the camera, [3], metres.
        clock: of the camera.
        generator: of its noise.
    """
    samples = round(clock.frames / clock.fps * RATE)
    sound = 0.002 * generator.standard_normal(samples + round(LENGTH * RATE), dtype=np.float32)
    first = math.floor(clock.offset / claps.about) - 3
    last = math.ceil((clock.offset + clock.frames / clock.fps) / claps.about) + 3
    for number in range(first, last + 1):
        way = float(np.linalg.norm(claps.place(number) - position))
        begin = (claps.moment(number) + way / SPEED - clock.offset) / (1.0 + clock.rate) * RATE
        whole = math.floor(begin)
        if 0 <= whole < samples:
            samples_of_it = clap(number)
            places = np.arange(len(samples_of_it))
            late = np.interp(places - (begin - whole), places, samples_of_it)  # by the rest of a sample
            sound[whole : whole + len(late)] += late / max(way, 0.5)
    return sound[:samples]
