"""Places with figures in them, as real rigs film: a hall, a stage and a garden, in metres, +Z up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_scenes.figures import THROW, figure, random_walk, throw_time, thrown_ball
from blender_scenes.lighting import Light, Lighting
from blender_scenes.motion import rotation, still, translation
from blender_scenes.parts import (
    BLUE,
    BROWN,
    CREAM,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    PURPLE,
    RED,
    TEAL,
    YELLOW,
    Paint,
    Part,
)
from blender_scenes.shapes import panel, rounded_solid
from blender_scenes.sounds import Claps

PAINTS = (
    (Paint((RED, CREAM, BLUE, YELLOW, DARK), 6.0, 12.0), Paint((YELLOW, ORANGE, CREAM, BROWN, DARK), 9.0, 16.0),
     Paint((TEAL, CREAM, PURPLE, DARK, YELLOW), 7.0, 14.0)),
    (Paint((GREEN, YELLOW, CREAM, DARK, TEAL), 6.0, 12.0), Paint((PINK, CREAM, BROWN, ORANGE, DARK), 9.0, 16.0),
     Paint((ORANGE, DARK, CREAM, RED, BLUE), 7.0, 14.0)),
    (Paint((PURPLE, PINK, CREAM, DARK, TEAL), 6.0, 12.0), Paint((CREAM, BROWN, YELLOW, DARK, RED), 9.0, 16.0),
     Paint((GREY, YELLOW, DARK, GREEN, CREAM), 7.0, 14.0)),
)  # fmt: skip
"""Of each figure: trunk, head, limbs."""


@dataclass(frozen=True)
class Place:
    """A place, what moves in it, and the rig that films it.

    Attributes:
        standing: parts that never move.
        moving: groups of parts that are near each other.
        lighting: its lights cast shadows; no light is passed on from thing to thing, so that what moves changes the
            picture only where it or its shadow is.
        box: lowest and highest corner, [2, 3], beyond which no shadow is looked for.
        positions, targets: [C, 3] of the cameras and of what they look at; camera 0 is among the others.
        angle: horizontal field of view of the mean camera, radians.
        claps: of the ball in a hand.
        differences: of the cameras, as of :func:`sensors.draw_sensors`.
    """

    standing: list[Part]
    moving: list[list[Part]]
    lighting: Lighting
    box: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    angle: float
    claps: Claps
    differences: dict[str, float]

    @property
    def parts(self) -> list[Part]:
        """All parts, the moving ones last."""
        return [*self.standing, *itertools.chain.from_iterable(self.moving)]


def _lit(lights: tuple[Light, ...], ambient: float, sky: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Lighting:
    return Lighting(lights, sky, sky_is_seen=True, ambient=ambient, bounces=0)


def _room(size: tuple[float, float, float]) -> list[Part]:
    """Four walls, floor and ceiling of a room of ``size`` about the z axis, each painted differently."""
    x, y, z = size
    quarter, upright = np.pi / 2, rotation(np.pi / 2, 0.0, 0.0)
    sides = {
        "floor": (x, y, np.eye(4), Paint((GREY, CREAM, BROWN, CREAM, GREY), 1.3, 2.5)),
        "ceiling": (x, y, translation(0, 0, z) @ rotation(np.pi, 0, 0), Paint((CREAM, GREY, CREAM), 0.7, 1.2)),
        "north": (x, z, translation(0, y / 2, z / 2) @ upright, Paint((TEAL, CREAM, BLUE, GREY), 0.9, 2.2)),
        "south": (x, z, translation(0, -y / 2, z / 2) @ rotation(0, 0, np.pi) @ upright,
                  Paint((ORANGE, CREAM, BROWN, YELLOW), 0.9, 2.2)),
        "east": (y, z, translation(x / 2, 0, z / 2) @ rotation(0, 0, -quarter) @ upright,
                 Paint((GREEN, CREAM, GREY, YELLOW), 0.9, 2.2)),
        "west": (y, z, translation(-x / 2, 0, z / 2) @ rotation(0, 0, quarter) @ upright,
                 Paint((PURPLE, CREAM, PINK, GREY), 0.9, 2.2)),
    }  # fmt: skip
    return [Part(name, panel(a, b), paint, still(pose)) for name, (a, b, pose, paint) in sides.items()]


def _block(name: str, place: tuple[float, float], half: tuple[float, float, float], paint: Paint, turn: float) -> Part:
    """A box that stands on the floor at ``place``, of ``half`` sizes, turned about z."""
    pose = translation(*place, half[2]) @ rotation(0.0, 0.0, turn)
    return Part(name, rounded_solid(half, 10.0, resolution=10), paint, still(pose))


def _company(
    generator: np.random.Generator, walks: list[tuple[tuple[float, float], float, float]]
) -> tuple[list[list[Part]], Claps]:
    """A figure for each walk (centre, distance, turn), the first two throw a ball to each other; and its claps."""
    made = [
        figure(f"figure{k}", generator, random_walk(generator, *walk), PAINTS[k % len(PAINTS)], parity=k % 2)
        for k, walk in enumerate(walks)
    ]
    ball = thrown_ball((made[0][1], made[1][1]), Paint((RED, CREAM, ORANGE, DARK, YELLOW), 9.0, 14.0))
    claps = Claps(throw_time, lambda number: ball.pose(throw_time(number))[:3, 3], THROW)
    return [*(parts for parts, _ in made), [ball]], claps


def _dome(
    count: int, radius: float, heights: tuple[float, float], span: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and targets [C, 3] of cameras about the z axis, over ``span`` degrees of azimuth about -Y.

    Azimuths are even, heights spread by the golden ratio, so that neighbours differ; camera 0 is in their midst.
    """
    order = np.roll(np.arange(count), count // 2)
    azimuth = np.radians(-90.0 + span * ((order + 0.5) / count - 0.5)) + generator.normal(0.0, 0.03, count)
    height = heights[0] + (heights[1] - heights[0]) * ((order * 0.618 + 0.3) % 1.0)
    reach = radius * (1.0 + 0.04 * generator.standard_normal(count)).clip(0.9, 1.05)
    positions = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), height], axis=-1)
    return positions, generator.normal([0.0, 0.0, 1.0], [0.25, 0.25, 0.1], (count, 3))


def hall(generator: np.random.Generator, cameras: int) -> Place:
    """A room with two walkers who throw a ball; cameras all around, their colours and exposures differ."""
    positions, targets = _dome(cameras, 3.4, (1.0, 2.9), 360.0, generator)
    lamp = Light("AREA", (0.6, -0.4, 3.6), energy=260.0, size=0.6)
    moving, claps = _company(generator, [((-0.5, 0.2), 0.9, 0.9), ((0.7, -0.2), 0.8, -0.9)])
    return Place(
        standing=[
            *_room((8.0, 8.0, 3.8)),
            _block("chest", (-2.3, 3.2), (0.6, 0.3, 0.45), Paint((BROWN, ORANGE, DARK), 3.0, 6.0), 0.2),
            _block("column", (3.3, 3.2), (0.25, 0.25, 1.5), Paint((CREAM, GREY, TEAL), 3.0, 5.0), 0.4),
        ],
        moving=moving, claps=claps,
        lighting=_lit((lamp,), 0.35), box=np.array([[-4.0, -4.0, 0.0], [4.0, 4.0, 3.8]]),
        positions=positions, targets=targets, angle=math.radians(68.0),
        differences={"focal": 0.02, "centre": 0.01, "distortion": 0.0, "exposure": 0.12, "balance": 0.08,
                     "noise": 0.0},
    )  # fmt: skip


def stage(generator: np.random.Generator, cameras: int) -> Place:
    """A dome of cameras in a large room: three figures walk, two throw; distortion, noise, blur, colours differ."""
    positions, targets = _dome(cameras, 4.4, (0.7, 4.0), 360.0, generator)
    lamp = Light("AREA", (0.4, 0.3, 4.8), energy=420.0, size=0.5)
    moving, claps = _company(generator, [((-0.9, 0.5), 0.9, 0.9), ((0.9, -0.4), 0.9, -0.85), ((0.1, 0.2), 2.1, 0.4)])
    return Place(
        standing=[
            *_room((10.4, 10.4, 5.0)),
            _block("podium", (0.0, 3.6), (1.3, 0.5, 0.2), Paint((BROWN, ORANGE, DARK, CREAM), 2.5, 5.0), 0.0),
            _block("chest", (-3.6, 3.2), (0.5, 0.4, 0.5), Paint((BLUE, GREY, CREAM), 3.0, 6.0), 0.3),
            _block("column", (4.2, -3.9), (0.3, 0.3, 1.9), Paint((CREAM, TEAL, DARK), 3.0, 5.0), 0.5),
            _block("shelf", (4.6, 2.6), (0.3, 0.9, 1.0), Paint((GREEN, DARK, YELLOW), 2.5, 5.0), 0.0),
        ],
        moving=moving, claps=claps,
        lighting=_lit((lamp,), 0.3), box=np.array([[-5.2, -5.2, 0.0], [5.2, 5.2, 5.0]]),
        positions=positions, targets=targets, angle=math.radians(66.0),
        differences={"focal": 0.03, "centre": 0.01, "distortion": 0.1, "exposure": 0.15, "balance": 0.08,
                     "noise": 0.02},
    )  # fmt: skip


def garden(generator: np.random.Generator, cameras: int) -> Place:
    """Two figures throw a ball between trees before a hedge; a few cameras on one side only."""
    positions, targets = _dome(cameras, 5.5, (1.2, 2.4), 80.0, generator)
    sun = Light("SUN", (-6.0, -5.0, 9.0), energy=2.2, size=0.02)
    leaves, bark = Paint((GREEN, TEAL, YELLOW, DARK), 3.0, 6.0), Paint((BROWN, DARK, GREY), 4.0, 8.0)
    trees = []
    for k, (x, y, crown) in enumerate(((-3.2, 2.6, 1.1), (3.4, 3.4, 1.3), (0.6, 5.2, 1.5), (-4.6, 6.4, 1.6))):
        trunk = rounded_solid((0.16, 0.16, 1.0), 6.0, cylinder=True, resolution=10)
        trees.append(Part(f"trunk{k}", trunk, bark, still(translation(x, y, 1.0))))
        trees.append(Part(f"crown{k}", rounded_solid((crown, crown, 0.9 * crown)), leaves,
                          still(translation(x, y, 1.8 + 0.8 * crown) @ rotation(0.0, 0.0, 1.3 * k))))  # fmt: skip
    moving, claps = _company(generator, [((-1.0, 0.0), 0.7, 0.9), ((1.0, 0.2), 0.7, -0.9)])
    return Place(
        standing=[
            Part("lawn", panel(60.0, 60.0), Paint((GREEN, TEAL, GREEN, BROWN, YELLOW), 1.1, 2.4), still(np.eye(4))),
            _block("hedge", (0.0, 9.0), (9.0, 0.5, 1.1), Paint((GREEN, DARK, TEAL, GREEN), 1.5, 3.0), 0.0),
            _block("house", (5.5, 12.0), (3.0, 1.5, 2.6), Paint((CREAM, ORANGE, RED, BROWN), 0.8, 1.8), -0.1),
            _block("bench", (1.9, 1.9), (0.6, 0.2, 0.24), Paint((BROWN, ORANGE, DARK), 3.0, 6.0), 0.4),
            *trees,
        ],
        moving=moving, claps=claps,
        lighting=_lit((sun,), 0.35, sky=(0.35, 0.55, 0.85)), box=np.array([[-12.0, -12.0, 0.0], [12.0, 14.0, 6.0]]),
        positions=positions, targets=targets, angle=math.radians(62.0),
        differences={"focal": 0.02, "centre": 0.01, "distortion": 0.06, "exposure": 0.1, "balance": 0.06,
                     "noise": 0.01},
    )  # fmt: skip


PLACES: dict[str, Callable[[np.random.Generator, int], Place]] = {"hall": hall, "stage": stage, "garden": garden}

PLACE_DEFAULTS: dict[str, dict] = {
    "hall": {"cameras": 15, "size": (160, 120), "crf": 10},
    "stage": {"cameras": 24, "size": (640, 360), "crf": 23, "exposure": [0.012]},
    "garden": {"cameras": 8, "size": (640, 360), "crf": 18, "exposure": [0.004]},
}
"""The command's options where they are not given."""
