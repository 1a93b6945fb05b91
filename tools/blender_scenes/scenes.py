"""The animated scenes: what there is, how it is painted, and where it is at time t (seconds).

Every scene keeps inside a ball of radius 1.3 scene units about the origin at all times, so that a camera at radius 4
with a horizontal field of view of 0.69 rad sees all of it, and inside the box +-1.3 that the backends assume.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from blender_scenes.flight import flown_poses
from blender_scenes.motion import hanging_limb, rotation, still, translation, wander, wandering_pose
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
from blender_scenes.shapes import Mesh, rounded_solid, torus


def _plinth(radius: float, top: float) -> Part:
    """The small round ground that receives the shadows; ``top`` is the height of its upper face."""
    mesh = rounded_solid((radius, radius, 0.07), exponent=12.0, cylinder=True, resolution=28)
    paint = Paint((GREY, CREAM, BROWN, CREAM, TEAL), patches=2.5, spots=4.0)
    return Part("plinth", mesh, paint, still(translation(0.0, 0.0, top - 0.07)))


def toys(generator: np.random.Generator) -> list[Part]:
    """Four solids that drift, bob and tumble over a plinth and shadow each other."""
    tumble = (0.9, 0.9, 1.4)
    return [
        _plinth(0.95, -0.62),
        Part(
            "ball",
            rounded_solid((0.30, 0.30, 0.30)),
            Paint((RED, CREAM, ORANGE, DARK, YELLOW)),
            wandering_pose(generator, (0.48, 0.36, -0.14), (0.16, 0.16, 0.16), tumble),
        ),
        Part(
            "cube",
            rounded_solid((0.25, 0.25, 0.25), exponent=7.0),
            Paint((BLUE, CREAM, TEAL, YELLOW, DARK)),
            wandering_pose(generator, (-0.46, 0.40, -0.10), (0.14, 0.14, 0.14), tumble),
        ),
        Part(
            "ring",
            torus(0.25, 0.12),
            Paint((GREEN, YELLOW, CREAM, TEAL, DARK)),
            wandering_pose(generator, (0.05, -0.50, -0.08), (0.20, 0.12, 0.12), (1.1, 0.9, 1.2)),
        ),
        Part(
            "drum",
            rounded_solid((0.22, 0.22, 0.27), exponent=6.0, cylinder=True),
            Paint((PURPLE, PINK, CREAM, ORANGE, DARK)),
            wandering_pose(generator, (0.02, 0.02, 0.58), (0.30, 0.30, 0.10), (1.0, 1.0, 1.2)),
        ),
    ]


def gyroscope(generator: np.random.Generator) -> list[Part]:
    """Three thick nested hoops turn about changing axes around a core: most surfaces are hidden most of the time."""
    paints = [
        Paint((RED, CREAM, ORANGE, DARK, YELLOW), patches=3.0),
        Paint((BLUE, TEAL, CREAM, DARK, PURPLE), patches=3.5),
        Paint((GREEN, YELLOW, CREAM, BROWN, TEAL), patches=4.0),
    ]
    parts = [
        Part(
            "core",
            rounded_solid((0.24, 0.20, 0.24), exponent=4.0),
            Paint((PINK, CREAM, PURPLE, YELLOW, DARK), patches=4.0, spots=8.0),
            wandering_pose(generator, (0.0, 0.0, 0.0), (0.06, 0.06, 0.06), (1.2, 1.2, 1.4)),
        )
    ]
    for index, (major, paint) in enumerate(zip((0.92, 0.67, 0.43), paints, strict=True)):
        pose = wandering_pose(
            generator, (0.0, 0.0, 0.0), (0.02, 0.02, 0.02), (1.3, 1.3, 1.0), pace=0.6, spin=(0.7, -0.5, 0.4)[index]
        )
        parts.append(Part(f"hoop_{index}", torus(major, 0.10), paint, pose))
    return parts


def dancer(generator: np.random.Generator) -> list[Part]:
    """An articulated figure (torso, head, two-part arms and legs) that dances on a plinth; limbs cross the body."""
    sway = wandering_pose(generator, (0.0, 0.0, 0.12), (0.14, 0.14, 0.05), (0.22, 0.22, 0.8))
    facing_the_cap = rotation(0.0, 0.0, np.pi / 2)

    def root(time: float) -> np.ndarray:
        return sway(time) @ facing_the_cap

    torso = rounded_solid((0.22, 0.15, 0.32), exponent=3.0)
    nod = [wander(generator, 0.0, a) for a in (0.5, 0.4, 0.9)]
    parts = [
        _plinth(0.80, -0.88),
        Part("torso", torso, Paint((RED, CREAM, BLUE, YELLOW, DARK)), root),
        Part(
            "head",
            rounded_solid((0.17, 0.18, 0.21)),
            Paint((YELLOW, ORANGE, CREAM, BROWN, DARK), patches=4.5, spots=8.0),
            lambda time: (
                root(time) @ translation(0, 0, 0.31) @ rotation(*(a(time) for a in nod)) @ translation(0, 0, 0.2)
            ),
        ),
    ]
    upper = Paint((TEAL, CREAM, PURPLE, DARK, YELLOW))
    lower = Paint((PINK, CREAM, GREEN, DARK, ORANGE))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for limb, socket, lean, length, reach in (
            ("arm", translation(sign * 0.25, 0, 0.24), -sign * 1.0, 0.34, (1.0, 0.7, 0.4)),
            ("leg", translation(sign * 0.12, 0, -0.28), -sign * 0.15, 0.36, (0.55, 0.14, 0.3)),
        ):
            swing = [wander(generator, 0.0, a, pace=0.9) for a in reach]
            middle, far = hanging_limb(root, socket, rotation(0.0, lean, 0.0), length, swing)
            bend_sign = -1.0 if limb == "arm" else 1.0
            bend = [wander(generator, bend_sign * 0.6, 0.5), wander(generator, 0.0, 0.2), wander(generator, 0.0, 0.3)]
            outer, _ = hanging_limb(far, np.eye(4), np.eye(4), length * 0.9, bend)
            thick = 0.10 if limb == "arm" else 0.12
            parts.append(Part(f"{side}_{limb}", rounded_solid((thick, thick, length * 0.6), 2.6), upper, middle))
            parts.append(Part(f"{side}_lower_{limb}", rounded_solid((thick, thick, length * 0.56), 2.6), lower, outer))
    return parts


def _wobble(generator: np.random.Generator, mesh: Mesh, amount: float) -> Callable[[float], np.ndarray]:
    """Vertices [V, 3] of ``mesh`` swelling in four smooth modes of up to ``amount`` in all, and twisting about z."""
    directions = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    x, y, z = directions.T
    modes = np.stack([x * y * 2.0, x**2 - y**2, 1.5 * z**2 - 0.5, 2.6 * x * y * z * 2.0])
    strengths = [wander(generator, 0.0, amount / len(modes)) for _ in modes]
    twist = wander(generator, 0.0, 0.8)

    def deform(time: float) -> np.ndarray:
        swelling = 1.0 + np.array([strength(time) for strength in strengths]) @ modes
        vertices = mesh.vertices * swelling[:, None]
        angle = twist(time) * vertices[:, 2]
        cosine, sine = np.cos(angle), np.sin(angle)
        turned = np.stack([cosine * vertices[:, 0] - sine * vertices[:, 1],
                           sine * vertices[:, 0] + cosine * vertices[:, 1]], axis=-1)  # fmt: skip
        return np.concatenate([turned, vertices[:, 2:]], axis=-1)

    return deform


def jelly(generator: np.random.Generator) -> list[Part]:
    """A body that swells and twists (no rigid motion explains it), with two balls that circle it."""
    body = rounded_solid((0.46, 0.46, 0.46), exponent=2.5, resolution=28)
    parts = [
        _plinth(0.95, -0.72),
        Part(
            "body",
            body,
            Paint((GREEN, CREAM, TEAL, YELLOW, DARK)),
            wandering_pose(generator, (0.0, 0.0, 0.06), (0.08, 0.08, 0.08), (0.3, 0.3, 0.7)),
            _wobble(generator, body, 0.9),
        ),
    ]
    for name, paint, phase in (
        ("first_ball", Paint((RED, CREAM, ORANGE, DARK, YELLOW)), 0.0),
        ("second_ball", Paint((BLUE, CREAM, PINK, DARK, PURPLE)), np.pi),
    ):
        circle = wander(generator, phase, 1.0, drift=0.6)
        height, distance = wander(generator, 0.05, 0.40), wander(generator, 0.90, 0.05)
        tumble = [wander(generator, 0.0, 1.5) for _ in range(3)]

        def pose(time, circle=circle, height=height, distance=distance, tumble=tumble) -> np.ndarray:
            angle, outward = circle(time), distance(time)
            return translation(outward * np.cos(angle), outward * np.sin(angle), height(time)) @ rotation(
                *(a(time) for a in tumble)
            )

        parts.append(Part(name, rounded_solid((0.19, 0.19, 0.19)), paint, pose))
    return parts


def flight(generator: np.random.Generator) -> list[Part]:
    """Five small bodies thrown over a plinth: they fly, spin and bounce off each other, up to 20 pixels a frame."""
    solids = {
        "ball": (rounded_solid((0.15, 0.15, 0.15)), Paint((RED, CREAM, ORANGE, DARK, YELLOW), patches=5.0, spots=9.0)),
        "cube": (
            rounded_solid((0.13, 0.13, 0.13), exponent=7.0),
            Paint((BLUE, CREAM, TEAL, YELLOW, DARK), patches=5.0, spots=9.0),
        ),
        "ring": (torus(0.14, 0.06), Paint((GREEN, YELLOW, CREAM, TEAL, DARK), patches=5.0, spots=9.0)),
        "club": (
            rounded_solid((0.07, 0.07, 0.24), exponent=3.0),
            Paint((PINK, CREAM, PURPLE, DARK, ORANGE), patches=6.0, spots=10.0),
        ),
        "disc": (
            rounded_solid((0.2, 0.2, 0.06), exponent=4.0, cylinder=True),
            Paint((PURPLE, YELLOW, CREAM, DARK, TEAL), patches=5.0, spots=9.0),
        ),
    }
    poses = flown_poses(generator, [float(mesh.vertices.max()) for mesh, _ in solids.values()])
    bodies = [Part(name, *solid, pose) for (name, solid), pose in zip(solids.items(), poses, strict=True)]
    return [_plinth(0.95, -0.62), *bodies]


SCENES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "toys": toys,
    "gyroscope": gyroscope,
    "dancer": dancer,
    "jelly": jelly,
    "flight": flight,
}


def build_scene(name: str, seed: int) -> list[Part]:
    """The parts of scene ``name``; the same seed gives the same motion."""
    return SCENES[name](np.random.default_rng([seed, 2]))
